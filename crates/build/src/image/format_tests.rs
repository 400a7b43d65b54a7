//! Images go in and out in every form and stay what they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cairn_oci::{
    Compression, Descriptor, Digest, History, ImageConfig, Index, Manifest, MediaType, Platform,
    Reference, RunConfig, layout,
};
use cairn_sandbox::Cancel;
use cairn_store::Store;
use cairn_testkit::{LayerTar, OciLayout, TempStore, gzip};

use super::export::{Export, ExportError, Form};
use super::load::{LoadError, LoadOptions, Loaded, Source, load};
use super::pack::Image;
use super::record::ImageRecord;

const CREATED: &str = "2023-11-14T22:13:20Z";

fn config() -> ImageConfig {
    ImageConfig {
        created: Some(CREATED.into()),
        config: RunConfig {
            env: vec!["A=1".into()],
            cmd: Some(vec!["/bin/app".into()]),
            ..RunConfig::default()
        },
        history: vec![History {
            created_by: Some("COPY app /bin/app".into()),
            ..History::default()
        }],
        ..ImageConfig::new(&Platform::new("linux", "amd64"))
    }
}

fn layer() -> Vec<u8> {
    let tar = LayerTar::new()
        .mtime(1_600_000_000)
        .dir("bin")
        .file("bin/app", "#!app")
        .hard_link("bin/alias", "bin/app")
        .symlink("run", "bin/app");
    tar.mode(0o4750).file("bin/setuid", "s").finish()
}

/// A layout with one image, tagged `v1`.
fn layout_with(directory: &Path, config: ImageConfig, layers: &[Vec<u8>]) -> Descriptor {
    OciLayout::new(directory).image("v1", config, layers)
}

fn options(platform: &str) -> LoadOptions {
    LoadOptions {
        platform: platform.parse().unwrap(),
        platform_required: false,
    }
}

fn load_all(store: &Store, source: &str) -> Result<Vec<Loaded>, LoadError> {
    load(store, &Source::parse(source), &options("linux/amd64"))
}

fn load_one(store: &Store, source: &str) -> Loaded {
    let mut loaded = load_all(store, source).unwrap();
    assert_eq!(loaded.len(), 1);
    loaded.remove(0)
}

fn export(store: &Store, record: &ImageRecord, form: Form, path: &Path) -> Option<Digest> {
    let names = ["app:v1".parse::<Reference>().unwrap()];
    let export = Export {
        image: Image::One(record),
        names: &names,
        form,
        compression: Compression::Gzip,
        split: None,
        deletes: false,
        keeps_times: false,
        attestation_prefix: "",
        cancel: &Cancel::new(),
    };
    let exported = export.to_path(store, path).unwrap();
    exported.packed.map(|packed| packed.root.digest)
}

/// All files below a directory with their bytes.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

struct Bench {
    store: TempStore,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            store: TempStore::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self, kind: &str, name: &str) -> String {
        format!("{kind}{}", self.path(name).display())
    }
}

#[test]
fn a_layout_keeps_every_digest_through_every_form() {
    let bench = Bench::new();
    let manifest = layout_with(&bench.path("in"), config(), &[layer()]);
    let loaded = load_one(&bench.store, &bench.source("oci:", "in"));
    assert_eq!(loaded.record.config, config().config);
    assert_eq!(loaded.record.epoch, 1_700_000_000);
    assert!(loaded.names.is_empty(), "a bare tag is no name");

    for (form, out) in [(Form::OciDirectory, "out"), (Form::OciArchive, "out.tar")] {
        let digest = export(&bench.store, &loaded.record, form, &bench.path(out));
        assert_eq!(digest.as_ref(), Some(&manifest.digest), "{form:?}");
        let other = TempStore::new();
        let again = load_one(&other, &bench.source("", out));
        assert_eq!(
            again.record.packed.as_ref().unwrap().digest,
            manifest.digest,
            "{form:?}"
        );
        assert_eq!(again.names, ["docker.io/library/app:v1"]);
        let content = again.record.content();
        assert_eq!(content, loaded.record.content(), "{form:?}");
    }
}

#[test]
fn a_docker_archive_keeps_the_config() {
    let bench = Bench::new();
    let layers = [layer(), LayerTar::new().file("etc/x", "2").finish()];
    layout_with(&bench.path("in"), config(), &layers);
    let loaded = load_one(&bench.store, &bench.source("oci:", "in"));
    export(
        &bench.store,
        &loaded.record,
        Form::DockerArchive,
        &bench.path("d.tar"),
    );

    let other = TempStore::new();
    let again = load_one(&other, &bench.source("docker-archive:", "d.tar"));
    assert_eq!(again.names, ["app:v1"]);
    let config_of = |store: &Store, record: &ImageRecord| {
        let manifest = store
            .read_blob(&record.packed.as_ref().unwrap().digest)
            .unwrap();
        Manifest::from_json_bytes(&manifest).unwrap().config.digest
    };
    assert_eq!(
        config_of(&other, &again.record),
        config_of(&bench.store, &loaded.record)
    );
    assert_eq!(again.record.filesystem(), loaded.record.filesystem());
}

#[test]
fn an_old_docker_archive_with_links_between_layers_is_read() {
    let bench = Bench::new();
    let tar = layer();
    let mut config = config();
    let diff_id = cairn_oci::DiffId(Digest::sha256(&tar));
    config.rootfs.diff_ids = vec![diff_id.clone(), diff_id];
    let manifest =
        r#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let archive = LayerTar::new()
        .file("a/layer.tar", &tar)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("c.json", config.to_json_bytes())
        .file("manifest.json", manifest)
        .finish();
    fs::write(bench.path("d.tar.gz"), gzip(&archive)).unwrap();
    let loaded = load_one(&bench.store, &bench.source("", "d.tar.gz"));
    assert_eq!(loaded.record.layers.len(), 2);
    assert!(loaded.names.is_empty());
}

#[test]
fn a_root_file_system_becomes_one_layer_with_its_own_bytes() {
    let bench = Bench::new();
    let tar = layer();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).unwrap();
    let variants = [
        ("plain.tar", tar.clone()),
        ("gzip.tar", gzip(&tar)),
        ("zstd.tar", zstd::encode_all(tar.as_slice(), 1).unwrap()),
        ("bzip2.tar", bzip2.finish().unwrap()),
    ];
    for (name, bytes) in variants {
        fs::write(bench.path(name), bytes).unwrap();
        for prefix in ["tar:", ""] {
            let loaded = load_one(&bench.store, &bench.source(prefix, name));
            assert_eq!(loaded.record.layers.len(), 1, "{prefix}{name}");
            let digest = export(
                &bench.store,
                &loaded.record,
                Form::OciDirectory,
                &bench.path("o"),
            );
            assert_eq!(digest, loaded.record.packed.map(|packed| packed.digest));
            let again = load_one(&TempStore::new(), &bench.source("", "o"));
            let diff_ids = Digest::sha256(&tar).to_string();
            let config = files(&bench.path("o"));
            let names_diff_id = config.values().any(|bytes| {
                bytes
                    .windows(diff_ids.len())
                    .any(|part| part == diff_ids.as_bytes())
            });
            assert!(
                names_diff_id && again.record.layers.len() == 1,
                "{prefix}{name}"
            );
        }
    }
}

#[test]
fn an_image_without_layers_is_an_image() {
    let bench = Bench::new();
    let mut empty = config();
    empty.history[0].empty_layer = true;
    layout_with(&bench.path("in"), empty, &[]);
    // BuildKit writes `null` where nothing is.
    let text = |name: &str| fs::read_to_string(bench.path("in").join(name)).unwrap();
    assert!(text(layout::INDEX_FILE).contains("manifests"));
    let loaded = load_one(&bench.store, &bench.source("oci:", "in"));
    for (form, out) in [
        (Form::OciDirectory, "o"),
        (Form::OciArchive, "o.tar"),
        (Form::DockerArchive, "d.tar"),
    ] {
        export(&bench.store, &loaded.record, form, &bench.path(out));
        let again = load_one(&TempStore::new(), &bench.source("", out));
        assert!(again.record.layers.is_empty(), "{form:?}");
    }
    export(
        &bench.store,
        &loaded.record,
        Form::Directory,
        &bench.path("root"),
    );
    assert!(files(&bench.path("root")).is_empty());
}

#[test]
fn the_platform_decides_between_several() {
    let bench = Bench::new();
    let directory = bench.path("in");
    let mut layout = OciLayout::new(&directory);
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().unwrap());
    let mut manifests: Vec<Descriptor> = platforms
        .iter()
        .map(|platform| {
            let config = ImageConfig::new(platform);
            let tar = LayerTar::new()
                .file("arch", &platform.architecture)
                .finish();
            let mut manifest = layout.image("x", config, &[tar]);
            manifest.annotations.clear();
            manifest.platform = Some(platform.clone());
            manifest
        })
        .collect();
    // An attestation as BuildKit adds it: no image, and its platform says so.
    let mut attestation = layout.blob(MediaType::OciManifest, b"{}");
    attestation.platform = Some(Platform::new("unknown", "unknown"));
    manifests.push(attestation);
    let inner = Index::new(manifests).to_json_bytes();
    let inner = layout.blob(MediaType::OciIndex, &inner);
    let outer = Index::new(vec![inner]).to_json_bytes();
    fs::write(directory.join(layout::INDEX_FILE), outer).unwrap();

    let source = Source::parse(&bench.source("oci:", "in"));
    for platform in ["linux/arm64", "linux/amd64"] {
        let loaded = load(&bench.store, &source, &options(platform)).unwrap();
        assert_eq!(loaded[0].record.platform.to_string(), platform);
    }
    let error = load(&bench.store, &source, &options("linux/riscv64")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("linux/amd64, linux/arm64"), "{text}");
}

#[test]
fn the_only_image_is_taken_unless_the_platform_was_asked_for() {
    let bench = Bench::new();
    layout_with(&bench.path("in"), config(), &[layer()]);
    let source = Source::parse(&bench.source("oci:", "in"));
    let mut options = options("linux/arm64");
    let loaded = load(&bench.store, &source, &options).unwrap();
    assert_eq!(loaded[0].record.platform.to_string(), "linux/amd64");
    options.platform_required = true;
    let error = load(&bench.store, &source, &options).unwrap_err();
    assert!(matches!(error, LoadError::NoSuchPlatform { .. }));
}

#[test]
fn a_tag_chooses_one_of_several() {
    let bench = Bench::new();
    let mut layout = OciLayout::new(&bench.path("in"));
    layout.image("v1", config(), &[layer()]);
    let second = layout.image("v2", config(), &[]);
    assert_eq!(
        load_all(&bench.store, &bench.source("oci:", "in"))
            .unwrap()
            .len(),
        2
    );
    let source = format!("{}:v2", bench.source("oci:", "in"));
    let loaded = load_one(&bench.store, &source);
    assert_eq!(loaded.record.packed.unwrap().digest, second.digest);
    let source = format!("{}:v3", bench.source("oci:", "in"));
    let error = load_all(&bench.store, &source).unwrap_err().to_string();
    assert!(error.contains("v1, v2"), "{error}");
}

/// Breaks a good layout and gives what loading it says.
fn broken(breaks: impl FnOnce(&Path, &Descriptor)) -> String {
    let bench = Bench::new();
    let manifest = layout_with(&bench.path("in"), config(), &[layer()]);
    breaks(&bench.path("in"), &manifest);
    let error = load_all(&bench.store, &bench.source("", "in")).unwrap_err();
    assert!(bench.store.list_refs().unwrap().is_empty());
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn blob(directory: &Path, descriptor: &Descriptor) -> PathBuf {
    directory.join("blobs/sha256").join(descriptor.digest.hex())
}

fn manifest_of(directory: &Path, descriptor: &Descriptor) -> Manifest {
    Manifest::from_json_bytes(&fs::read(blob(directory, descriptor)).unwrap()).unwrap()
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_refused() {
    let text = broken(|directory, descriptor| {
        let layer = &manifest_of(directory, descriptor).layers[0];
        fs::write(blob(directory, layer), gzip(b"other")).unwrap();
    });
    assert!(text.contains("expected sha256:"), "{text}");
    let text = broken(|directory, descriptor| {
        let layer = &manifest_of(directory, descriptor).layers[0];
        fs::remove_file(blob(directory, layer)).unwrap();
    });
    assert!(text.contains("cannot read"), "{text}");
    let text = broken(|directory, descriptor| {
        fs::write(blob(directory, descriptor), "{").unwrap();
    });
    assert!(text.contains("expected sha256:"), "{text}");
    let text = broken(|directory, _| {
        fs::write(directory.join(layout::INDEX_FILE), "[]").unwrap();
    });
    assert!(text.contains("index.json"), "{text}");
    let text = broken(|directory, _| {
        let empty = Index::new(Vec::new()).to_json_bytes();
        fs::write(directory.join(layout::INDEX_FILE), empty).unwrap();
    });
    assert!(text.contains("index is empty"), "{text}");
}

#[test]
fn a_config_that_does_not_fit_its_layers_is_refused() {
    let replace_config = |change: fn(&mut ImageConfig)| {
        broken(move |directory, descriptor| {
            let mut manifest = manifest_of(directory, descriptor);
            let bytes = fs::read(blob(directory, &manifest.config)).unwrap();
            let mut config = ImageConfig::from_json_bytes(&bytes).unwrap();
            change(&mut config);
            let layout = OciLayout::new(directory);
            manifest.config = layout.blob(MediaType::OciConfig, &config.to_json_bytes());
            let manifest = layout.blob(MediaType::OciManifest, &manifest.to_json_bytes());
            let index = Index::new(vec![manifest]).to_json_bytes();
            fs::write(directory.join(layout::INDEX_FILE), index).unwrap();
        })
    };
    let text = replace_config(|config| config.rootfs.diff_ids.clear());
    assert!(text.contains("0 layers, the manifest of 1"), "{text}");
    let text = replace_config(|config| {
        config.rootfs.diff_ids[0] = cairn_oci::DiffId(Digest::sha256(b"other"));
    });
    assert!(text.contains("its image says"), "{text}");
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let bench = Bench::new();
    let said = |source: &str| load_all(&bench.store, source).unwrap_err().to_string();
    fs::create_dir(bench.path("empty")).unwrap();
    assert!(said(&bench.source("", "empty")).contains("oci-layout"));
    assert!(said(&bench.source("oci:", "empty")).contains("index.json"));
    assert!(said(&bench.source("", "missing")).contains("cannot read"));
    fs::write(bench.path("text"), "hello").unwrap();
    load_all(&bench.store, &bench.source("", "text")).unwrap_err();
    let escape = r#"[{"Config":"../../../etc/hostname","Layers":["/etc/passwd"]}]"#;
    let archive = LayerTar::new().file("manifest.json", escape).finish();
    fs::write(bench.path("d.tar"), archive).unwrap();
    assert!(said(&bench.source("", "d.tar")).contains("cannot read"));
}

#[test]
fn files_of_an_image_become_files() {
    let bench = Bench::new();
    layout_with(&bench.path("in"), config(), &[layer()]);
    let record = load_one(&bench.store, &bench.source("oci:", "in")).record;
    let root = bench.path("root");
    export(&bench.store, &record, Form::Directory, &root);
    let app = fs::metadata(root.join("bin/app")).unwrap();
    assert_eq!((app.nlink(), app.mtime()), (2, 1_600_000_000));
    assert_eq!(
        fs::read_link(root.join("run")).unwrap(),
        Path::new("bin/app")
    );
    let setuid = fs::metadata(root.join("bin/setuid")).unwrap();
    assert_eq!(setuid.permissions().mode() & 0o7777, 0o4750);
    assert_eq!(
        fs::metadata(root.join("bin")).unwrap().mtime(),
        1_600_000_000
    );

    // Into a directory with files the image's are merged, over links too.
    fs::write(root.join("own"), "mine").unwrap();
    fs::remove_file(root.join("bin/app")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.join("bin/app")).unwrap();
    export(&bench.store, &record, Form::Directory, &root);
    assert_eq!(fs::read(root.join("bin/app")).unwrap(), b"#!app");
    assert_eq!(fs::read(root.join("own")).unwrap(), b"mine");

    export(&bench.store, &record, Form::Tar, &bench.path("root.tar"));
    let again = load_one(&TempStore::new(), &bench.source("tar:", "root.tar"));
    assert_eq!(again.record.filesystem(), record.filesystem());
}

#[test]
fn files_of_a_built_image_are_no_younger_than_the_image() {
    let bench = Bench::new();
    layout_with(&bench.path("in"), config(), &[layer()]);
    let mut record = load_one(&bench.store, &bench.source("oci:", "in")).record;
    record.packed = None;
    (record.epoch, record.epoch_is_given) = (1_000_000_000, true);
    let root = bench.path("root");
    export(&bench.store, &record, Form::Directory, &root);
    let times = ["bin", "bin/app"].map(|name| fs::metadata(root.join(name)).unwrap().mtime());
    assert_eq!(times, [record.epoch; 2]);
    export(&bench.store, &record, Form::Tar, &bench.path("root.tar"));
    let tar = fs::read(bench.path("root.tar")).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    for entry in archive.entries().unwrap() {
        let mtime = entry.unwrap().header().mtime().unwrap();
        assert!(mtime <= 1_000_000_000, "{mtime}");
    }
}

#[test]
fn a_destination_appears_whole_or_not_at_all() {
    let bench = Bench::new();
    layout_with(&bench.path("in"), config(), &[layer()]);
    let record = load_one(&bench.store, &bench.source("oci:", "in")).record;
    let names = |bench: &Bench| {
        let mut names: Vec<String> = fs::read_dir(bench.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    export(
        &bench.store,
        &record,
        Form::OciDirectory,
        &bench.path("out"),
    );
    fs::write(bench.path("out/blobs/stale"), "x").unwrap();
    export(
        &bench.store,
        &record,
        Form::OciDirectory,
        &bench.path("out"),
    );
    assert!(
        !bench.path("out/blobs/stale").exists(),
        "an old layout is replaced"
    );
    export(
        &bench.store,
        &record,
        Form::OciArchive,
        &bench.path("out.tar"),
    );
    export(
        &bench.store,
        &record,
        Form::OciArchive,
        &bench.path("out.tar"),
    );
    assert_eq!(names(&bench), ["in", "out", "out.tar"]);

    fs::create_dir(bench.path("full")).unwrap();
    fs::write(bench.path("full/file"), "x").unwrap();
    let occupied = Export {
        image: Image::One(&record),
        names: &[],
        form: Form::OciDirectory,
        compression: Compression::Gzip,
        split: None,
        deletes: false,
        keeps_times: false,
        attestation_prefix: "",
        cancel: &Cancel::new(),
    };
    let error = occupied
        .to_path(&bench.store, &bench.path("full"))
        .unwrap_err();
    assert!(matches!(error, ExportError::Occupied(_)));

    let layer = record.packed.as_ref().unwrap();
    let manifest = bench.store.read_blob(&layer.digest).unwrap();
    let lost = &Manifest::from_json_bytes(&manifest).unwrap().layers[0];
    fs::remove_file(bench.store.blob_path(&lost.digest)).unwrap();
    for (form, name) in [(Form::OciDirectory, "a"), (Form::OciArchive, "b")] {
        let failing = Export { form, ..occupied };
        failing
            .to_path(&bench.store, &bench.path(name))
            .unwrap_err();
    }
    assert_eq!(names(&bench), ["full", "in", "out", "out.tar"]);
}

#[test]
fn an_export_that_is_to_stop_leaves_nothing() {
    let bench = Bench::new();
    layout_with(&bench.path("in"), config(), &[layer()]);
    let record = load_one(&bench.store, bench.path("in").to_str().unwrap()).record;
    let cancel = Cancel::new();
    cancel.cancel();
    for form in [
        Form::OciDirectory,
        Form::OciArchive,
        Form::DockerArchive,
        Form::Tar,
        Form::Directory,
    ] {
        let export = Export {
            image: Image::One(&record),
            names: &[],
            form,
            compression: Compression::Gzip,
            split: None,
            deletes: false,
            keeps_times: false,
            attestation_prefix: "",
            cancel: &cancel,
        };
        export
            .to_path(&bench.store, &bench.path("out"))
            .unwrap_err();
        let left = fs::read_dir(bench.path(""))
            .unwrap()
            .map(|it| it.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["in"], "{form:?}");
    }
}

#[test]
fn equal_images_give_equal_bytes() {
    let archive = |form: Form| {
        let bench = Bench::new();
        layout_with(&bench.path("in"), config(), &[layer()]);
        let record = load_one(&bench.store, &bench.source("oci:", "in")).record;
        export(&bench.store, &record, form, &bench.path("out"));
        fs::read(bench.path("out")).unwrap()
    };
    for form in [Form::OciArchive, Form::DockerArchive, Form::Tar] {
        assert!(archive(form) == archive(form), "{form:?}");
    }
}

#[test]
fn sources_are_recognised_by_their_prefix() {
    let oci = |path: &str, tag: Option<&str>| Source::Oci {
        path: path.into(),
        tag: tag.map(str::to_owned),
    };
    assert_eq!(Source::parse("oci:/x"), oci("/x", None));
    assert_eq!(Source::parse("oci:/x:v1"), oci("/x", Some("v1")));
    assert_eq!(Source::parse("oci-archive:x.tar"), oci("x.tar", None));
    assert_eq!(
        Source::parse("docker-archive:x"),
        Source::DockerArchive("x".into())
    );
    assert_eq!(Source::parse("tar:x"), Source::RootFs("x".into()));
    assert_eq!(Source::parse("./x:y"), Source::Unknown("./x:y".into()));
}
