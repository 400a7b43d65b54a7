//! Signatures: made on publish, checked by others' tools, asked for of bases.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_testkit::{DockerRegistry, Guard, needs};

use crate::serving::Serving;
use crate::workshop::Workshop;

fn openssl(workshop: &Workshop, arguments: &[&str]) -> bool {
    let ran = Command::new("openssl")
        .args(arguments)
        .current_dir(workshop.path())
        .output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// A key and its public half, `NAME.key` and `NAME.pub`.
fn make_key(workshop: &Workshop, name: &str, kind: &[&str]) {
    let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
    let made = openssl(workshop, &[&["genpkey"], kind, &["-out", &key]].concat());
    let arguments = ["pkey", "-in", &key, "-pubout", "-out", &public];
    assert!(made && openssl(workshop, &arguments));
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// What is signed on publish is found signed by OpenSSL, which knows nothing of us.
#[test]
fn published_images_are_signed_as_others_check_it() {
    let workshop = Workshop::empty();
    if !needs("openssl", openssl(&workshop, &["version"])) {
        return;
    }
    make_key(&workshop, "lab", &P256);
    make_key(&workshop, "other", &["-algorithm", "ed25519"]);
    let registry = Workshop::empty();
    let serving = Serving::start(&registry, &["--allow-push"]);
    let place = format!("{}/lab", serving.host());
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"s\"\nregistries = [\"{place}\"]\n[image.one]\ncontext = \"a\"\n"
        ),
    );
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let publish = |key: &str| workshop.cairn(&["publish", "--tag", "t", "--sign-key", key]);
    publish("lab.pub").code(2).err_has("`PUBLIC KEY`");
    publish("lab.key").success().err_has("1 new signature");
    publish("lab.key").success().err_has("0 new signatures");
    publish("other.key").success().err_has("1 new signature");

    let image = format!("{place}/one:t");
    let verify = |more: &[&str]| workshop.cairn(&[&["registry", "verify"], more].concat());
    for key in ["lab.pub", "other.pub"] {
        verify(&[&image, "--key", key]).success();
    }
    let found = verify(&[&image, "--key", "lab.pub"]).success().out;
    let pinned = found.trim();
    let hex = pinned.rsplit(':').next().unwrap();
    let manifest = serving.get(&format!("/v2/lab/one/manifests/sha256-{hex}.sig"));
    let layer = &manifest.json()["layers"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let signature = text(&layer["annotations"]["dev.cosignproject.cosign/signature"]);
    let payload = serving.get(&format!("/v2/lab/one/blobs/{}", text(&layer["digest"])));
    std::fs::write(workshop.path().join("payload"), &payload.body).unwrap();
    std::fs::write(
        workshop.path().join("signature"),
        STANDARD.decode(signature).unwrap(),
    )
    .unwrap();
    let checked = [
        "dgst",
        "-sha256",
        "-verify",
        "lab.pub",
        "-signature",
        "signature",
        "payload",
    ];
    assert!(openssl(&workshop, &checked));
    let says = &payload.json()["critical"];
    assert_eq!(
        text(&says["image"]["docker-manifest-digest"]),
        format!("sha256:{hex}")
    );
    let referring = workshop.cairn(&["registry", "referrers", pinned]).success();
    assert!(referring.out.contains("cosign"), "{}", referring.out);

    // Without the registry, by what was found before.
    serving.stop();
    verify(&[pinned, "--offline", "--key", "lab.pub"]).success();
    make_key(&workshop, "third", &P256);
    verify(&[pinned, "--offline", "--key", "third.pub"])
        .code(1)
        .err_has("2 signatures by others");
}

/// A base that must be signed and is not is neither used nor downloaded.
#[test]
fn bases_are_used_if_they_are_signed_as_the_spec_asks() {
    let workshop = Workshop::empty();
    let has_openssl = needs("openssl", openssl(&workshop, &["version"]));
    let Some(mut registry) = DockerRegistry::start(Guard::Open).filter(|_| has_openssl) else {
        return;
    };
    make_key(&workshop, "lab", &P256);
    make_key(&workshop, "other", &P256);
    let base = format!("{}/lab/base", registry.host());
    workshop.write("b/Dockerfile", "FROM scratch\nCOPY Dockerfile /base\n");
    workshop
        .cairn(&["build", "-q", "-t", "base", "b"])
        .success();
    workshop.cairn(&["push", "base", &base]).success();
    workshop.write("a/Dockerfile", &format!("FROM {base}\nCOPY Dockerfile /\n"));
    let spec = |rule: &str| {
        let text = format!("[stack]\nname = \"s\"\n{rule}[image.one]\ncontext = \"a\"\n");
        workshop.write("cairn.toml", &text);
    };
    let host = registry.host().to_owned();
    let rule = |key: &str| format!("[verify]\n\"{host}/lab\" = {{ keys = \"{key}\" }}\n");
    spec(&rule("missing.pub"));
    workshop
        .cairn(&["build"])
        .code(2)
        .err_has("missing.pub cannot be used")
        .err_has("cairn.toml:4\n");
    spec("[verify]\nlab = {}\n");
    workshop
        .cairn(&["build"])
        .code(2)
        .err_has("nobody could have signed")
        .err_has("names no registry");
    spec(&rule("lab.pub"));
    let asked = registry.log().matches("/blobs/").count();
    workshop
        .cairn(&["build"])
        .code(2)
        .err_has("asks for a signature by the key")
        .err_has("none that is known")
        .err_has("cairn registry sign IMAGE --key FILE")
        .err_lacks("cairn load");
    assert_eq!(registry.log().matches("/blobs/").count(), asked);
    let sign = |key: &str| workshop.cairn(&["registry", "sign", &base, "--key", key]);
    sign("other.key").success();
    workshop
        .cairn(&["build"])
        .code(2)
        .err_has("one by somebody else");
    sign("lab.key").success();
    workshop.cairn(&["build"]).success();
    // What was found is known without the registry; a rule that came later holds for what is there.
    registry.stop();
    workshop.cairn(&["build", "--offline"]).success();
    workshop.write(
        "a/Dockerfile",
        &format!("FROM {base}\nCOPY Dockerfile /two\n"),
    );
    workshop.cairn(&["build", "--offline"]).success();
    make_key(&workshop, "third", &P256);
    spec(&rule("third.pub"));
    workshop
        .cairn(&["build", "--offline"])
        .code(2)
        .err_has("is not used: `[verify]` asks for a signature");
    spec("");
    workshop.cairn(&["build", "--offline"]).success();
}

/// `[sign]` signs without a flag, where and when it says so; `pull` heeds `[verify]`.
#[test]
fn the_spec_says_who_signs_and_whose_signature_counts() {
    let workshop = Workshop::empty();
    if !needs("openssl", openssl(&workshop, &["version"])) {
        return;
    }
    make_key(&workshop, "lab", &P256);
    make_key(&workshop, "other", &P256);
    let registry = Workshop::empty();
    let serving = Serving::start(&registry, &["--allow-push"]);
    let place = format!("{}/lab", serving.host());
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let spec = |more: &str| {
        let text = format!(
            "[stack]\nname = \"s\"\nregistries = [\"{place}\"]\n{more}[image.one]\ncontext = \"a\"\n"
        );
        workshop.write("cairn.toml", &text);
    };
    let publish = |more: &[&str]| workshop.cairn(&[&["publish", "--tag", "t"], more].concat());
    let image = format!("{place}/one:t");
    let pull = |more: &[&str]| workshop.cairn(&[&["pull", &image], more].concat());

    spec("[sign]\nkey = \"no.key\"\n");
    publish(&[])
        .code(2)
        .err_has("no.key")
        .err_has("`--no-sign`");
    publish(&["--dry-run"]).success();
    for rule in ["when = \"release\"", "registries = \"ghcr.io/lab\""] {
        spec(&format!("[sign]\nkey = \"lab.key\"\n{rule}\n"));
        publish(&[]).success().err_lacks("signature");
    }
    let rule = format!(
        "[sign]\nkey = \"lab.key\"\nform = \"bundle\"\nwhen = \"manual\"\nregistries = \"{place}\"\n"
    );
    spec(&rule);
    publish(&["--no-sign"]).success().err_lacks("signature");
    publish(&[]).success().err_has("1 new signature");
    publish(&["--sign-key", "other.key"])
        .success()
        .err_has("1 new signature");

    let verify = |keys: &str| spec(&format!("[verify]\n\"{place}\" = {{ keys = {keys} }}\n"));
    verify("\"lab.pub\"");
    let pinned = pull(&[]).success().out;
    assert!(
        pinned.starts_with(&format!("{place}/one@sha256:")),
        "{pinned}"
    );
    make_key(&workshop, "third", &P256);
    verify("\"third.pub\"");
    pull(&[])
        .code(1)
        .err_has("is not pulled: `[verify]` asks for a signature by the key")
        .err_has("cairn registry sign IMAGE --key FILE");
    // What another stack asks for, and one that nobody can read.
    workshop.write(
        "b/cairn.toml",
        "[stack]\nname = \"b\"\n[image.x]\ncontext = \"x\"\n",
    );
    pull(&["--stack", "b"]).success();
    spec("[verify\n");
    pull(&[]).code(2).err_has("`--stack DIR` names another");
}

/// As cosign 3 makes them: OpenSSL finds the signature over the envelope's text.
#[test]
fn an_image_is_signed_by_a_bundle() {
    let workshop = Workshop::empty();
    if !needs("openssl", openssl(&workshop, &["version"])) {
        return;
    }
    make_key(&workshop, "lab", &P256);
    make_key(&workshop, "other", &["-algorithm", "ed25519"]);
    let registry = Workshop::empty();
    let serving = Serving::start(&registry, &["--allow-push"]);
    let image = format!("{}/lab/one:t", serving.host());
    workshop.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    workshop.cairn(&["build", "-q", "-t", "one", "."]).success();
    let pinned = workshop.cairn(&["push", "one", &image]).success().out;
    let pinned = pinned.trim();
    let (_, hex) = pinned.rsplit_once(':').unwrap();

    let sign = |key: &str| {
        let arguments = ["registry", "sign", &image, "--form", "bundle", "--key", key];
        workshop.cairn(&arguments).success()
    };
    let verify = |key: &str| workshop.cairn(&["registry", "verify", &image, "--key", key]);
    let pull = |key: &str| workshop.cairn(&["pull", &image, "--key", key]);
    verify("lab.pub").code(1).err_has("it has no signature");
    pull("lab.pub").code(1).err_has("it has no signature");
    sign("lab.key").err_has("signed by the key");
    sign("lab.key").err_has("has signed it before");
    verify("lab.pub").success();
    pull("lab.pub").success();
    verify("other.pub").code(1).err_has("1 signature by others");
    pull("other.pub").code(1).err_has("1 signature by others");
    sign("other.key");
    verify("other.pub").success();
    let offline = [
        "registry",
        "verify",
        pinned,
        "--offline",
        "--key",
        "other.pub",
    ];
    workshop.cairn(&offline).success();

    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let referrers = serving.get(&format!("/v2/lab/one/referrers/sha256:{hex}"));
    let referrers = referrers.is(200).json();
    let first = &referrers["manifests"][0];
    assert_eq!(first["artifactType"], kind);
    assert_eq!(
        first["annotations"]["dev.sigstore.bundle.content"],
        "dsse-envelope"
    );
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let decoded = |value: &serde_json::Value| STANDARD.decode(text(value)).unwrap();
    // Either may be listed first.
    let checked = referrers["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .any(|one| {
            let manifest = format!("/v2/lab/one/manifests/{}", text(&one["digest"]));
            let layer = &serving.get(&manifest).is(200).json()["layers"][0];
            assert_eq!(layer["mediaType"], kind);
            let blob = format!("/v2/lab/one/blobs/{}", text(&layer["digest"]));
            let bundle = serving.get(&blob).is(200).json();
            assert!(bundle["verificationMaterial"]["publicKey"]["hint"].is_string());
            let envelope = &bundle["dsseEnvelope"];
            let statement = String::from_utf8(decoded(&envelope["payload"])).unwrap();
            assert!(statement.contains(hex), "{statement}");
            let kind = text(&envelope["payloadType"]);
            let signed = format!(
                "DSSEv1 {} {kind} {} {statement}",
                kind.len(),
                statement.len()
            );
            let write = |name: &str, bytes: &[u8]| {
                std::fs::write(workshop.path().join(name), bytes).unwrap();
            };
            write("signed", signed.as_bytes());
            write("signature", &decoded(&envelope["signatures"][0]["sig"]));
            let key = ["-verify", "lab.pub", "-signature", "signature", "signed"];
            openssl(&workshop, &[&["dgst", "-sha256"][..], &key].concat())
        });
    assert!(checked);
}
