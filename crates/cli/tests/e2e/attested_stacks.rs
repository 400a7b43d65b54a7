//! What `publish` attests: beside the images, at every registry, through promotion and removal.

use cairn_oci::{Digest, Index};
use cairn_testkit::{DockerRegistry, Guard};
use serde_json::Value;

use crate::serving::{INDEX, MANIFEST, Serving};
use crate::workshop::Workshop;

const ATTEST: [&str; 2] = ["--provenance=true", "--sbom=true"];

/// A stack whose image runs nothing, for two platforms.
fn stack(workshop: &Workshop, places: &[&str]) {
    let places: Vec<String> = places.iter().map(|it| format!("\"{it}/lab\"")).collect();
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"s\"\nregistries = [{}]\n\
             platforms = [\"linux/s390x\", \"linux/arm64\"]\n\
             [tags]\nmain = [\"latest\"]\n\
             [retention]\ngenerations = 1\ndays = 0\ndelay-days = 0\nbranches = false\nkeep = [\"latest\"]\n\
             [image.app]\ncontext = \"app\"\n",
            places.join(", ")
        ),
    );
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY word /\nENV A=b\n");
    workshop.write("app/word", "one");
}

fn index(serving: &Serving, name: &str) -> (Digest, Index) {
    let path = format!("/v2/lab/app/manifests/{name}");
    let found = serving.get(&path).is(200);
    assert_eq!(found.header("content-type"), INDEX);
    let index = Index::from_json_bytes(&found.body).expect("an index");
    (Digest::sha256(&found.body), index)
}

fn manifest(serving: &Serving, digest: &Digest) -> Value {
    let path = format!("/v2/lab/app/manifests/{digest}");
    let found = serving.get(&path).is(200);
    assert_eq!(found.header("content-type"), MANIFEST);
    found.json()
}

#[test]
fn generations_are_attested_joined_promoted_and_kept() {
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let mut workshop = Workshop::empty();
    workshop.move_to_store("served");
    let serving = Serving::start(&workshop, &["--allow-push"]);
    stack(&workshop, &[registry.host(), serving.host()]);
    let publish = |workshop: &mut Workshop, store: &str, more: &[&str]| {
        workshop.move_to_store(store);
        let base = ["publish", "--json", "--ref", "main"];
        workshop.cairn(&[&base[..], more].concat()).success()
    };

    // Two machines bring a platform each, with what is attested of it.
    let part = [&ATTEST[..], &["--part-of=run", "--platform=linux/s390x"]].concat();
    publish(&mut workshop, "one", &part).err_has("no tag is moved");
    let rest = [&ATTEST[..], &["--part-of=run", "--platform=linux/arm64"]].concat();
    publish(&mut workshop, "other", &rest);
    let (root, found) = index(&serving, "latest");
    let platforms: Vec<String> = found
        .manifests
        .iter()
        .map(|it| it.platform.as_ref().expect("a platform").to_string())
        .collect();
    let expected = [
        "linux/s390x",
        "linux/arm64",
        "unknown/unknown",
        "unknown/unknown",
    ];
    assert_eq!(platforms, expected);
    for (image, attested) in found.manifests[..2].iter().zip(&found.manifests[2..]) {
        let about = attested.annotations.get("vnd.docker.reference.digest");
        assert_eq!(about.map(String::as_str), Some(image.digest.as_str()));
        let told = manifest(&serving, &attested.digest);
        assert_eq!(told["subject"]["digest"], image.digest.as_str());
        let layers = told["layers"].as_array().expect("statements");
        let kinds = layers
            .iter()
            .map(|it| &it["annotations"]["in-toto.io/predicate-type"]);
        let kinds: Vec<&str> = kinds.filter_map(Value::as_str).collect();
        assert_eq!(
            kinds,
            [
                "https://spdx.dev/Document",
                "https://slsa.dev/provenance/v1"
            ]
        );
        let path = format!(
            "/v2/lab/app/blobs/{}",
            layers[1]["digest"].as_str().unwrap()
        );
        let statement = serving.get(&path).is(200).json();
        let subject = &statement["subject"][0];
        assert_eq!(subject["digest"]["sha256"], image.digest.hex());
        assert_eq!(subject["name"], "_", "it has a name at each registry");
        let text = statement.to_string();
        assert!(text.contains("\"src\":\"word\""), "{text}");
        assert!(
            !text.contains("/var/tmp"),
            "no place of this machine: {text}"
        );
        let told = serving.get(&format!("/v2/lab/app/referrers/{}", image.digest));
        assert_eq!(
            told.is(200).json()["manifests"][0]["digest"],
            attested.digest.as_str()
        );
    }

    // A machine that builds all of it attests the same bytes, and says so at the other registry, too.
    let all = [&ATTEST[..], &["--tag", "again"]].concat();
    publish(&mut workshop, "third", &all).err_has("0 sent");
    assert_eq!(index(&serving, "again").0, root);
    workshop.move_to_store("reader");
    workshop.cairn(&["promote", "latest", "stable"]).success();
    assert_eq!(index(&serving, "stable").0, root);
    let name = format!("{}/lab/app:stable", registry.host());
    let told = workshop.cairn(&["registry", "referrers", &name]).success();
    told.out_has("provenance").out_has("spdx");
    workshop
        .cairn(&["pull", "--platform=linux/arm64", &name])
        .success();

    // Without the flags it is as it was before, and what is not needed goes with all that it had.
    workshop.write("app/word", "two");
    publish(&mut workshop, "third", &[]);
    let (plain, found) = index(&serving, "latest");
    assert_eq!(found.manifests.len(), 2);
    let attested = &index(&serving, root.as_str()).1.manifests[3].digest;
    workshop.cairn(&["registry", "gc"]).success();
    manifest(&serving, attested);
    workshop.cairn(&["promote", "latest", "stable"]).success();
    workshop.cairn(&["registry", "gc"]).success();
    assert_eq!(index(&serving, "stable").0, plain);
    let path = format!("/v2/lab/app/manifests/{attested}");
    serving.get(&path).is(404);
}

#[test]
fn what_is_published_beside_an_image_changes_nothing_of_it() {
    let mut workshop = Workshop::empty();
    workshop.move_to_store("served");
    let serving = Serving::start(&workshop, &["--allow-push"]);
    stack(&workshop, &[serving.host()]);
    let spec = workshop.read("cairn.toml")
        + "[image.aside]\ncontext = \"aside\"\n[image.base]\ncontext = \"base\"\n";
    workshop.write("cairn.toml", &spec);
    workshop.write("aside/Dockerfile", "FROM scratch\nCOPY word /\n");
    workshop.write("aside/word", "aside");
    workshop.write("base/Dockerfile", "FROM scratch\nCOPY below /\n");
    workshop.write("base/below", "base");
    workshop.write("app/Dockerfile", "FROM base\nCOPY word /\n");
    let publish = |workshop: &mut Workshop, store: &str, more: &[&str]| {
        workshop.move_to_store(store);
        let base = ["publish", "--ref", "main"];
        workshop
            .cairn(&[&base[..], &ATTEST, more].concat())
            .success();
    };
    publish(&mut workshop, "one", &["--tag", "alone", "app"]);
    publish(&mut workshop, "other", &["--tag", "all"]);
    let (alone, found) = index(&serving, "alone");
    assert_eq!(index(&serving, "all").0, alone);
    let told = manifest(&serving, &found.manifests[2].digest);
    let layers = told["layers"].as_array().expect("statements");
    let path = format!(
        "/v2/lab/app/blobs/{}",
        layers[1]["digest"].as_str().unwrap()
    );
    let text = serving.get(&path).is(200).json().to_string();
    assert!(text.contains("\"name\":\"context-base\""), "{text}");
}

#[test]
fn what_cannot_be_attested_of_a_stack_is_refused() {
    let workshop = Workshop::empty();
    stack(&workshop, &["127.0.0.1:1"]);
    workshop
        .cairn(&["publish", "--tag", "1", "--sbom", "generator=g"])
        .code(2)
        .err_has("`generator=` is for lone Dockerfiles");
    workshop
        .cairn(&["publish", "--tag", "1", "--provenance", "mode=most"])
        .code(2)
        .err_has("`min` and `max`");
}
