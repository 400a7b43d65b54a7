//! Reading an OCI image layout.

use cairn_oci::{
    Descriptor, Digest, ImageConfig, Index, Manifest, MediaType, Platform, Reference, annotation,
    layout,
};

use super::bundle::Bundle;
use super::load::{LoadError, Loaded, Loader, blob_name};

/// Indexes may point to indexes; this deep and no deeper.
const INDEX_DEPTH_MAX: usize = 4;
/// BuildKit marks its attestations so; they are no images.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// Loads the images of a layout: all that have a name of their own, or the one with the tag.
pub(super) fn load(
    loader: &Loader<'_>,
    bundle: &Bundle,
    tag: Option<&str>,
) -> Result<Vec<Loaded>, LoadError> {
    if !bundle.has(layout::INDEX_FILE) {
        return Err(loader.no_image("it has no `index.json`"));
    }
    let bytes = bundle.document(layout::INDEX_FILE);
    let bytes = bytes.map_err(|source| loader.unreadable(layout::INDEX_FILE, source))?;
    let index = Index::from_json_bytes(&bytes)
        .map_err(|source| loader.broken(layout::INDEX_FILE, source))?;
    let groups = by_name(index.manifests);
    if groups.is_empty() {
        return Err(loader.no_image("its index is empty"));
    }
    let wanted: Vec<&Group> = match tag {
        None => groups.iter().collect(),
        Some(tag) => groups.iter().filter(|group| group.is_called(tag)).collect(),
    };
    if wanted.is_empty() {
        return Err(LoadError::NoSuchTag {
            path: loader.path.clone(),
            tag: tag.unwrap_or_default().to_owned(),
            found: groups
                .iter()
                .filter_map(|group| group.label.clone())
                .collect(),
        });
    }
    let mut images = Vec::new();
    for group in wanted {
        let manifest = choose(loader, bundle, group.manifests.clone())?;
        let record = image(loader, bundle, manifest)?;
        let names = group.name.iter().cloned().collect();
        images.push(Loaded { record, names });
    }
    Ok(images)
}

/// The manifests of one name.
#[derive(Debug)]
struct Group {
    /// What the layout calls it.
    label: Option<String>,
    /// The label if it is a whole reference and no bare tag.
    name: Option<String>,
    manifests: Vec<Descriptor>,
}

impl Group {
    fn is_called(&self, tag: &str) -> bool {
        self.label.as_deref() == Some(tag)
            || self.name.as_deref().is_some_and(|name| {
                let parsed = name.parse::<Reference>();
                name == tag || parsed.is_ok_and(|reference| reference.tag() == Some(tag))
            })
    }
}

fn by_name(manifests: Vec<Descriptor>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for manifest in manifests {
        if is_attestation(&manifest) {
            continue;
        }
        let label = manifest.annotations.get(annotation::REF_NAME).cloned();
        let full = manifest
            .annotations
            .get(annotation::CONTAINERD_NAME)
            .cloned();
        let is_full = |label: &String| label.contains(['/', ':']);
        let name = full.or_else(|| label.clone().filter(is_full));
        let same = |group: &&mut Group| group.label == label && group.name == name;
        match groups.iter_mut().find(same) {
            Some(group) => group.manifests.push(manifest),
            None => groups.push(Group {
                label,
                name,
                manifests: vec![manifest],
            }),
        }
    }
    groups
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    let is_unknown = |platform: &Platform| platform.os == "unknown";
    descriptor.annotations.contains_key(ATTESTATION)
        || descriptor.platform.as_ref().is_some_and(is_unknown)
}

/// Picks the manifest for the platform out of some, looking into indexes.
fn choose(
    loader: &Loader<'_>,
    bundle: &Bundle,
    manifests: Vec<Descriptor>,
) -> Result<Descriptor, LoadError> {
    let mut found = Vec::new();
    expand(loader, bundle, manifests, INDEX_DEPTH_MAX, &mut found)?;
    if found.is_empty() {
        return Err(loader.no_image("its index names no image"));
    }
    let platforms = found
        .iter()
        .map(|manifest| platform_of(loader, bundle, manifest))
        .collect::<Result<Vec<_>, _>>()?;
    let wanted = &loader.options.platform;
    let fits = platforms
        .iter()
        .position(|platform| wanted.matches(platform));
    match fits {
        Some(at) => Ok(found.swap_remove(at)),
        None if found.len() == 1 && !loader.options.platform_required => Ok(found.remove(0)),
        None => Err(LoadError::NoSuchPlatform {
            path: loader.path.clone(),
            wanted: wanted.to_string(),
            found: platforms.iter().map(Platform::to_string).collect(),
        }),
    }
}

fn expand(
    loader: &Loader<'_>,
    bundle: &Bundle,
    manifests: Vec<Descriptor>,
    depth_left: usize,
    found: &mut Vec<Descriptor>,
) -> Result<(), LoadError> {
    for descriptor in manifests {
        if is_attestation(&descriptor) {
            continue;
        }
        if !descriptor.media_type.is_index() {
            found.push(descriptor);
            continue;
        }
        if depth_left == 0 {
            return Err(loader.inconsistent("its indexes are nested too deep".to_owned()));
        }
        let bytes = document(loader, bundle, &descriptor)?;
        let index = Index::from_json_bytes(&bytes)
            .map_err(|source| loader.broken(format!("index {}", descriptor.digest), source))?;
        expand(loader, bundle, index.manifests, depth_left - 1, found)?;
    }
    Ok(())
}

/// The platform of an image: as its descriptor says, else as its config does.
fn platform_of(
    loader: &Loader<'_>,
    bundle: &Bundle,
    descriptor: &Descriptor,
) -> Result<Platform, LoadError> {
    if let Some(platform) = &descriptor.platform {
        return Ok(platform.clone().normalised());
    }
    let (_, config) = documents(loader, bundle, descriptor)?;
    Ok(config.platform().normalised())
}

/// Reads a document by digest; the bytes are verified.
fn document(
    loader: &Loader<'_>,
    bundle: &Bundle,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, LoadError> {
    let name = blob_name(&descriptor.digest);
    loader.put(bundle, &name, descriptor)?;
    Ok(loader.store.read_blob(&descriptor.digest)?)
}

fn documents(
    loader: &Loader<'_>,
    bundle: &Bundle,
    descriptor: &Descriptor,
) -> Result<(Manifest, ImageConfig), LoadError> {
    let bytes = document(loader, bundle, descriptor)?;
    let manifest = Manifest::from_json_bytes(&bytes)
        .map_err(|source| loader.broken(format!("manifest {}", descriptor.digest), source))?;
    let is_config = manifest.config.media_type.is_config();
    if manifest.artifact_type.is_some() || !is_config {
        let what = match &manifest.artifact_type {
            Some(kind) => kind.clone(),
            None => manifest.config.media_type.to_string(),
        };
        return Err(loader.inconsistent(format!("it holds no image but `{what}`")));
    }
    let bytes = document(loader, bundle, &manifest.config)?;
    let config = ImageConfig::from_json_bytes(&bytes)
        .map_err(|source| loader.broken(format!("config {}", manifest.config.digest), source))?;
    Ok((manifest, config))
}

fn image(
    loader: &Loader<'_>,
    bundle: &Bundle,
    descriptor: Descriptor,
) -> Result<super::ImageRecord, LoadError> {
    let (manifest, config) = documents(loader, bundle, &descriptor)?;
    for layer in &manifest.layers {
        check_layer(loader, layer)?;
        loader.put(bundle, &blob_name(&layer.digest), layer)?;
    }
    // What the layout's index says of the image belongs to the layout.
    let bare = Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size);
    loader.record(bare, &manifest.layers, config, manifest.annotations)
}

fn check_layer(loader: &Loader<'_>, layer: &Descriptor) -> Result<(), LoadError> {
    let is_foreign = matches!(
        layer.media_type,
        MediaType::OciForeignLayer(_) | MediaType::DockerForeignLayer
    );
    if is_foreign || layer.media_type.layer_compression().is_some() {
        return Ok(());
    }
    let digest: &Digest = &layer.digest;
    let kind = &layer.media_type;
    Err(loader.inconsistent(format!("layer {digest} is of the unknown kind `{kind}`")))
}
