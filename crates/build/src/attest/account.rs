//! The account of an image: its steps as BuildKit would tell them, and what came from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_attest::image_purl;
use cairn_attest::provenance::{Handed, Material, Pin, Step};
use cairn_diagnostic::Label;
use cairn_oci::{Compression, Digest, Platform, Reference, redact};

use super::ops::{self, CopyInputs, NO_INPUT};
use super::{AttestError, Origin};
use crate::engine::Engine;
use crate::event::VertexId;
use crate::filesystem::Filesystem;
use crate::graph::{CopyOp, ExecNetwork, FileSource, Fs, Op, RepositorySource, Vertex};
use crate::image::pack::pack;
use crate::image::record::ImageRecord;
use crate::image::source::StoreImages;
use crate::lower::LoweredImage;
use crate::mount::MountKind;
use crate::resolve::BaseImage;
use crate::run::Prepared;

/// What an image is made of.
#[derive(Debug, Default)]
pub struct Account {
    /// Its steps, inputs first; the last one says what the result is.
    pub steps: Vec<Step>,
    /// What came from outside: images, repositories, files of the web, each sorted.
    pub materials: Vec<Material>,
    /// Secrets that its steps ask for.
    pub secrets: Vec<Handed>,
    /// Agents that its steps ask for.
    pub ssh: Vec<Handed>,
    /// The contexts of this machine that it took files from.
    pub locals: Vec<String>,
    /// Whether a step could reach a network.
    pub has_network: bool,
}

impl Account {
    /// Tells an image of a run; `origins` are those of the run's contexts.
    pub fn of(
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
        image: &LoweredImage,
        record: &ImageRecord,
        results: &HashMap<VertexId, Arc<Filesystem>>,
        origins: &[Origin],
    ) -> Result<Self, AttestError> {
        let mut walk = Walk {
            prepared,
            engine,
            platform: &image.platform,
            record,
            results,
            origins,
            account: Self::default(),
            of_vertex: HashMap::new(),
            of_source: HashMap::new(),
            images: BTreeMap::new(),
            repositories: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        if let Some(vertex) = image.fs.vertex() {
            let last = walk.vertex(vertex)?;
            walk.account.steps.push(Step::result(last));
        }
        Ok(walk.finish())
    }
}

struct Walk<'a> {
    prepared: &'a Prepared<'a>,
    engine: &'a Engine<'a>,
    platform: &'a Platform,
    record: &'a ImageRecord,
    results: &'a HashMap<VertexId, Arc<Filesystem>>,
    origins: &'a [Origin],
    account: Account,
    of_vertex: HashMap<VertexId, usize>,
    of_source: HashMap<String, usize>,
    /// By what sorts them.
    images: BTreeMap<String, Material>,
    repositories: BTreeMap<String, Material>,
    files: BTreeMap<String, Material>,
}

impl Walk<'_> {
    /// The step of a vertex, behind those of its inputs.
    fn vertex(&mut self, id: VertexId) -> Result<usize, AttestError> {
        if let Some(known) = self.of_vertex.get(&id) {
            return Ok(*known);
        }
        let prepared = self.prepared;
        let vertex = prepared.lowered.graph.vertex(id);
        let base = match vertex.base {
            Fs::Scratch => None,
            Fs::Of(base) => Some(self.vertex(base)?),
        };
        let mut inputs = Inputs::default();
        let step = match &vertex.op {
            Op::Image(image) => {
                let identifier = self.image(image)?;
                ops::source(&identifier, &image.platform)
            }
            Op::Debian(base) => {
                let identifier = format!("debian://{}", base.lock.suite);
                ops::source(&identifier, self.platform)
            }
            Op::MakeDir(dir) => ops::make_dir(dir, inputs.add(base), self.platform),
            Op::Exec(exec) => {
                let lowest = inputs.add(base);
                self.account.has_network |= exec.network != ExecNetwork::None;
                let mut mounts = Vec::new();
                for mount in &exec.mounts {
                    self.note(&mount.kind);
                    let from = match &mount.kind {
                        MountKind::Bind { from, .. }
                        | MountKind::Cache {
                            from: Some((from, _)),
                            ..
                        } => self.file_source(*from)?,
                        _ => None,
                    };
                    mounts.push(inputs.add(from));
                }
                ops::exec(exec, lowest, &mounts, self.platform)
            }
            Op::Copy(copy) => return self.copy(id, vertex, copy, base),
        };
        Ok(self.push(Some(id), vertex, step, inputs.0))
    }

    /// A `COPY` is one step; with `--link` its files are one, and lie on what was there by another.
    fn copy(
        &mut self,
        id: VertexId,
        vertex: &Vertex,
        copy: &CopyOp,
        base: Option<usize>,
    ) -> Result<usize, AttestError> {
        let mut inputs = Inputs::default();
        let lowest = match copy.link {
            true => NO_INPUT,
            false => inputs.add(base),
        };
        let mut from = CopyInputs {
            files: NO_INPUT,
            ..CopyInputs::default()
        };
        if !copy.paths.is_empty() {
            from.files = inputs.add(self.file_source(copy.from)?);
        }
        for remote in &copy.remote {
            let digest = self.prepared.fetched(self.engine, remote)?;
            let step = self.file(&redact(&remote.url), digest);
            from.remote.push(inputs.add(Some(step)));
        }
        for source in &copy.repositories {
            let commit = self.prepared.commit(self.engine, source)?;
            let step = self.repository(&address_of(source), commit);
            from.repositories.push(inputs.add(Some(step)));
        }
        let step = ops::copy(copy, lowest, &from, self.platform);
        let Some(base) = base.filter(|_| copy.link) else {
            return Ok(self.push(Some(id), vertex, step, inputs.0));
        };
        let files = self.push(None, vertex, step, inputs.0);
        let merged = ops::merge(self.platform);
        Ok(self.push(Some(id), vertex, merged, vec![base, files]))
    }

    fn push(
        &mut self,
        id: Option<VertexId>,
        vertex: &Vertex,
        op: serde_json::Value,
        inputs: Vec<usize>,
    ) -> usize {
        let layers = id.map_or(0, |id| self.layers_of(id));
        self.account.steps.push(Step {
            op,
            inputs,
            lines: vertex.origin.label.as_ref().map(lines),
            layers,
        });
        let number = self.account.steps.len() - 1;
        if let Some(id) = id {
            self.of_vertex.insert(id, number);
        }
        number
    }

    /// How many layers of the image a vertex' result consists of, if it is a part of the image.
    fn layers_of(&self, id: VertexId) -> usize {
        let result = self.results.get(&id).map(|result| result.layers.as_slice());
        let is_part = |layers: &&[_]| self.record.layers.starts_with(layers);
        result.filter(is_part).map_or(0, <[_]>::len)
    }

    fn file_source(&mut self, from: FileSource) -> Result<Option<usize>, AttestError> {
        match from {
            FileSource::Fs(Fs::Scratch) => Ok(None),
            FileSource::Fs(Fs::Of(vertex)) => self.vertex(vertex).map(Some),
            FileSource::Context(id) => {
                let origins = self.origins;
                Ok(match origins.get(id.0 as usize) {
                    Some(Origin::Local(name)) => {
                        if !self.account.locals.contains(name) {
                            self.account.locals.push(name.clone());
                        }
                        Some(self.source(&format!("local://{name}")))
                    }
                    Some(Origin::Git { url, commit }) => Some(self.repository(url, commit.clone())),
                    Some(Origin::File { url, digest }) => Some(self.file(url, digest.clone())),
                    None => None,
                })
            }
        }
    }

    fn repository(&mut self, url: &str, commit: String) -> usize {
        let material = Material {
            uri: url.to_owned(),
            digest: Some(Pin::Commit(commit)),
        };
        self.repositories.insert(url.to_owned(), material);
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        self.source(&format!("git://{rest}"))
    }

    fn file(&mut self, url: &str, digest: Digest) -> usize {
        let material = Material {
            uri: url.to_owned(),
            digest: Some(Pin::Digest(digest)),
        };
        self.files.insert(url.to_owned(), material);
        self.source(url)
    }

    fn source(&mut self, identifier: &str) -> usize {
        if let Some(known) = self.of_source.get(identifier) {
            return *known;
        }
        self.account.steps.push(Step {
            op: ops::source(identifier, self.platform),
            inputs: Vec::new(),
            lines: None,
            layers: 0,
        });
        let number = self.account.steps.len() - 1;
        self.of_source.insert(identifier.to_owned(), number);
        number
    }

    /// Notes an image from outside; gives how BuildKit would name it.
    fn image(&mut self, image: &BaseImage) -> Result<String, AttestError> {
        let digest = match &image.digest {
            Some(digest) => Some(digest.clone()),
            None => self.packed_digest(image)?,
        };
        let (kind, scheme, name) = match &image.layout_of {
            Some(name) => ("oci", "oci-layout", name),
            None => ("docker", "docker-image", &image.name),
        };
        let pin = digest.clone().map(Pin::Digest);
        let Ok(mut reference) = name.parse::<Reference>() else {
            let uri = format!("pkg:{kind}/{name}");
            self.images
                .insert(name.clone(), Material { uri, digest: pin });
            return Ok(format!("{scheme}://{name}"));
        };
        if let (Some(digest), true) = (&digest, image.layout_of.is_some()) {
            reference = reference.without_tag().with_digest(digest.clone());
        }
        let uri = image_purl(kind, &reference, Some(&image.platform)).to_string();
        let material = Material { uri, digest: pin };
        self.images.insert(reference.to_string(), material);
        if let Some(digest) = digest {
            reference = reference.with_digest(digest);
        }
        Ok(format!("{scheme}://{reference}"))
    }

    /// The digest that the manifest of an image has which was built here.
    fn packed_digest(&self, image: &BaseImage) -> Result<Option<Digest>, AttestError> {
        let images = StoreImages {
            store: self.engine.store,
        };
        let record = images.find_for(&image.name, &image.platform)?;
        let Some(record) = record.filter(|it| it.filesystem() == image.content) else {
            return Ok(None);
        };
        let packed = pack(self.engine.store, &record, Compression::default())?;
        Ok(Some(packed.manifest.digest))
    }

    fn note(&mut self, kind: &MountKind) {
        let (list, id, required) = match kind {
            MountKind::Secret { name, required, .. } => {
                (&mut self.account.secrets, name, *required)
            }
            MountKind::Ssh { name, required, .. } => (&mut self.account.ssh, name, *required),
            _ => return,
        };
        match list.iter_mut().find(|known| known.id == *id) {
            Some(known) => known.optional &= !required,
            None => list.push(Handed {
                id: id.clone(),
                optional: !required,
            }),
        }
    }

    fn finish(self) -> Account {
        let mut account = self.account;
        let sorted = [self.images, self.repositories, self.files];
        account.materials = sorted.into_iter().flat_map(BTreeMap::into_values).collect();
        account.secrets.sort();
        account.ssh.sort();
        account
    }
}

/// The inputs of one step, each once.
#[derive(Default)]
struct Inputs(Vec<usize>);

impl Inputs {
    /// The number that an input has among those of its step.
    fn add(&mut self, step: Option<usize>) -> i64 {
        let Some(step) = step else { return NO_INPUT };
        let known = self.0.iter().position(|known| *known == step);
        let at = known.unwrap_or_else(|| {
            self.0.push(step);
            self.0.len() - 1
        });
        i64::try_from(at).unwrap_or(NO_INPUT)
    }
}

/// A repository as it may be told: what was asked for, without a login.
fn address_of(source: &RepositorySource) -> String {
    let remote = redact(&source.address.remote);
    match &source.address.reference {
        Some(reference) => format!("{remote}#{reference}"),
        None => remote,
    }
}

/// The first and the last line of an instruction.
fn lines(label: &Label) -> (usize, usize) {
    let text = label.source.text.get(label.span.start..label.span.end);
    let length = text.unwrap_or_default().trim_end().len();
    let line = |offset: usize| label.source.position(offset).line;
    (
        line(label.span.start),
        line(label.span.start + length.saturating_sub(1)),
    )
}
