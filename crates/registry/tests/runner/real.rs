//! Against Debian's `docker-registry`: with skopeo, what others push is pulled as they made it.

use std::path::Path;
use std::process::Command;

use cairn_oci::{Compression, Descriptor, ImageConfig, Manifest, MediaType, Platform, Reference};
use cairn_registry::{Document, Places, RegistryClient, RegistryOptions, Watch};
use cairn_testkit::{DockerRegistry, Guard, LayerTar, OciLayout, TempStore, gzip, needs};

use crate::answering::options;

fn skopeo(arguments: &[&str]) {
    // Without a directory named here it looks for logins in one that an ordinary user may not read.
    let ran = Command::new("skopeo")
        .args(arguments)
        .env("XDG_RUNTIME_DIR", "/var/tmp")
        .output()
        .unwrap();
    assert!(ran.status.success(), "skopeo {arguments:?}: {ran:?}");
}

fn has_skopeo() -> bool {
    needs(
        "skopeo",
        Command::new("skopeo").arg("--version").output().is_ok(),
    )
}

fn layout(place: &Path) {
    let tar = LayerTar::new().file("word", b"one").finish();
    let config = ImageConfig::new(&Platform::new("linux", "amd64"));
    OciLayout::new(place).image("1", config, &[tar]);
}

fn pulled_word(registry: &RegistryOptions, name: &str) -> String {
    let store = TempStore::new();
    let client = RegistryClient::new(registry.clone());
    let name: Reference = name.parse().unwrap();
    let platform = Platform::new("linux", "amd64");
    let pulled = client
        .pull(&store, &name, &platform, true, Watch::NONE)
        .unwrap();
    let snapshot = store.snapshot_dir(&pulled.layers[0]);
    std::fs::read_to_string(snapshot.join("word")).unwrap()
}

#[test]
fn what_skopeo_pushes_is_pulled_in_every_form() {
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    if !has_skopeo() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    layout(place.path());
    let source = format!("oci:{}:1", place.path().display());
    for (form, format) in [("gzip", "oci"), ("zstd", "oci"), ("gzip", "v2s2")] {
        let name = format!("{}/lab/{form}-{format}:1", registry.host());
        skopeo(&[
            "copy",
            "--dest-tls-verify=false",
            "--dest-compress-format",
            form,
            "--format",
            format,
            &source,
            &format!("docker://{name}"),
        ]);
        assert_eq!(pulled_word(&options(), &name), "one");
    }
}

#[test]
fn what_is_pushed_is_there_once_and_mounted_elsewhere() {
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let store = TempStore::new();
    // Larger than what goes in one request.
    let noise: Vec<u8> = (0..1_500_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let layer = gzip(&LayerTar::new().file("noise", &noise).finish());
    let config = ImageConfig::new(&Platform::new("linux", "amd64")).to_json_bytes();
    let mut blobs = Vec::new();
    for (kind, bytes) in [
        (MediaType::OciConfig, &config),
        (MediaType::OciLayer(Compression::Gzip), &layer),
    ] {
        store.put_blob_bytes(bytes).unwrap();
        blobs.push(Descriptor::of(kind, bytes));
    }
    let bytes = Manifest::new(blobs[0].clone(), vec![blobs[1].clone()]).to_json_bytes();
    let document = Document {
        descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
        bytes,
    };
    let client = RegistryClient::new(options());
    let push = |name: &str, places: &Places| {
        let name: Reference = format!("{}/{name}", registry.host()).parse().unwrap();
        let pushed = client.push_image(&store, &name, &document, &blobs, places, Watch::NONE);
        client.put_manifest(&name, &document, Watch::NONE).unwrap();
        let found = client.look_up(&name, Watch::NONE).unwrap().unwrap();
        assert_eq!(found.digest, document.descriptor.digest);
        pushed.unwrap()
    };
    let first = push("lab/one:1", &Places::new());
    assert_eq!((first.sent, first.there, first.mounted), (3, 0, 0));
    let again = push("lab/one:2", &Places::new());
    assert_eq!((again.sent, again.bytes), (0, 0));
    let places = blobs
        .iter()
        .map(|blob| (blob.digest.clone(), vec!["lab/one".to_owned()]));
    let elsewhere = push("lab/two:1", &places.collect());
    assert_eq!((elsewhere.mounted, elsewhere.sent), (2, 1));
    assert!(elsewhere.bytes < 10_000, "{elsewhere:?}");
}

#[test]
fn a_registry_with_tls_and_a_password_lets_us_in() {
    let Some(registry) = DockerRegistry::start(Guard::TlsAndPassword) else {
        return;
    };
    if !has_skopeo() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    layout(place.path());
    let name = format!("{}/lab/app:1", registry.host());
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        "joe:hunter2",
        &format!("oci:{}:1", place.path().display()),
        &format!("docker://{name}"),
    ]);
    let login = place.path().join("auth.json");
    let auth = format!(
        "{{\"auths\":{{\"{}\":{{\"auth\":\"am9lOmh1bnRlcjI=\"}}}}}}",
        registry.host()
    );
    std::fs::write(&login, auth).unwrap();
    let mut options = options();
    let refused = |options: &RegistryOptions| {
        let client = RegistryClient::new(options.clone());
        let found = client.document(&name.parse().unwrap(), Watch::NONE);
        let error = found.unwrap_err();
        format!(
            "{error}: {:?} {:?}",
            std::error::Error::source(&error),
            error.hints()
        )
    };
    let stranger = refused(&options);
    assert!(
        stranger.contains("GET https://") && stranger.contains("UnknownIssuer"),
        "{stranger}"
    );
    let advice = format!(
        "as `ca.crt` into /etc/containers/certs.d/{}",
        registry.host()
    );
    assert!(
        stranger.contains("SSL_CERT_FILE") && stranger.contains(&advice),
        "{stranger}"
    );
    assert!(
        stranger.contains("attempts: 1"),
        "it will not be believed later either: {stranger}"
    );
    options.certificate_directories = vec![registry.certificates().to_owned()];
    assert!(refused(&options).contains("there is no login for 127.0.0.1"));
    options.credentials.files = vec![login];
    assert_eq!(pulled_word(&options, &name), "one");
}
