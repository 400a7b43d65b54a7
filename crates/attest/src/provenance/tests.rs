//! The fields that readers of BuildKit's provenance look at are where they look.

use cairn_oci::MediaType;

use super::*;

fn provenance(version: SlsaVersion) -> Provenance {
    let step = |op, inputs, line| Step {
        op,
        inputs,
        lines: Some((line, line)),
        layers: line,
    };
    Provenance {
        version,
        builder_id: "https://ci/1".into(),
        invocation_id: "once".into(),
        started: "2024-01-01T00:00:00Z".into(),
        finished: "2024-01-01T00:00:01Z".into(),
        reproducible: true,
        config_source: ConfigSource {
            uri: Some("https://h/a.git#v1".into()),
            digest: Some(Pin::Commit("ab".repeat(20))),
            path: "Dockerfile".into(),
        },
        request: Request {
            frontend: "dockerfile.v0".into(),
            args: [("build-arg:A", "1"), ("label:b", "2"), ("target", "t")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            secrets: vec![Handed {
                id: "s".into(),
                optional: true,
            }],
            ssh: vec![Handed {
                id: "default".into(),
                optional: false,
            }],
            locals: vec!["dockerfile".into()],
        },
        builder_platform: "linux/amd64".into(),
        materials: vec![Material {
            uri: "pkg:docker/a@1".into(),
            digest: Some(Pin::Digest(Digest::sha256(b""))),
        }],
        request_complete: true,
        materials_complete: false,
        hermetic: true,
        vcs: [("revision".to_owned(), "12".to_owned())].into(),
        detail: Some(Detail {
            steps: vec![
                step(json!({ "Op": { "source": {} } }), vec![], 1),
                step(json!({ "Op": { "exec": {} } }), vec![0], 2),
                Step::result(1),
            ],
            source: SourceText {
                file_name: "Dockerfile".into(),
                text: "FROM a\n".into(),
            },
        }),
    }
}

fn layers() -> Vec<Descriptor> {
    [&b"1"[..], b"2"]
        .map(|bytes| Descriptor::of(MediaType::from("layer"), bytes))
        .into()
}

#[test]
fn version_1_has_its_fields() {
    let told = provenance(SlsaVersion::V1).predicate(&layers());
    let at = |pointer: &str| told.pointer(pointer).cloned().unwrap_or_default();
    let external = "/buildDefinition/externalParameters";
    assert_eq!(
        at(&format!("{external}/configSource/digest/sha1")),
        "ab".repeat(20)
    );
    assert_eq!(at(&format!("{external}/request/args/build-arg:A")), "1");
    assert_eq!(at(&format!("{external}/request/secrets/0/optional")), true);
    assert_eq!(
        at(&format!("{external}/request/ssh/0")),
        json!({ "id": "default" })
    );
    let config = "/buildDefinition/internalParameters/buildConfig";
    assert_eq!(
        at(&format!("{config}/llbDefinition/2")),
        json!({ "id": "step2", "op": { "Op": null }, "inputs": ["step1:0"] })
    );
    let mapping = at(&format!("{config}/digestMapping"));
    assert_eq!(mapping.as_object().map(Map::len), Some(3));
    let metadata = "/runDetails/metadata";
    assert_eq!(at(&format!("{metadata}/buildkit_hermetic")), true);
    assert_eq!(
        at(&format!("{metadata}/buildkit_completeness")),
        json!({ "request": true, "resolvedDependencies": false })
    );
    let own = format!("{metadata}/buildkit_metadata");
    assert_eq!(at(&format!("{own}/source/infos/0/data")), "RlJPTSBhCg==");
    assert_eq!(
        at(&format!(
            "{own}/source/locations/step1/locations/0/ranges/0/start/line"
        )),
        2
    );
    let chain = at(&format!("{own}/layers/step1:0"));
    assert_eq!(chain[0].as_array().map(Vec::len), Some(2));
    assert_eq!(chain[0][0], at(&format!("{own}/layers/step0:0"))[0][0]);
}

#[test]
fn version_0_2_says_the_same_elsewhere() {
    let told = provenance(SlsaVersion::V02).predicate(&layers());
    let at = |pointer: &str| told.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/buildType"), "https://mobyproject.org/buildkit@v1");
    assert_eq!(at("/builder/id"), "https://ci/1");
    assert_eq!(at("/invocation/configSource/entryPoint"), "Dockerfile");
    assert_eq!(at("/invocation/environment/platform"), "linux/amd64");
    assert_eq!(at("/materials/0/uri"), "pkg:docker/a@1");
    assert_eq!(at("/metadata/completeness/environment"), true);
    assert_eq!(at("/metadata/reproducible"), true);
    let metadata = &told["metadata"]["https://mobyproject.org/buildkit@v1#metadata"];
    assert_eq!(metadata["vcs"]["revision"], "12");
    assert!(at("/buildConfig/llbDefinition").is_array());
}

#[test]
fn the_short_form_tells_no_values() {
    let short = provenance(SlsaVersion::V1).minimal();
    assert!(!short.request_complete);
    let told = short.predicate(&layers()).to_string();
    for absent in [
        "build-arg",
        "label:",
        "secrets",
        "ssh",
        "llbDefinition",
        "infos",
        "step0",
    ] {
        assert!(!told.contains(absent), "{absent}");
    }
    assert!(told.contains(r#""target":"t""#) && told.contains("pkg:docker/a@1"));
    let nothing_hidden = Provenance {
        request: Request::default(),
        ..provenance(SlsaVersion::V1)
    };
    assert!(nothing_hidden.minimal().request_complete);
}
