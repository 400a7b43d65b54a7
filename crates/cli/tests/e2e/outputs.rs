//! What `--output`, `--annotation` and `--metadata-file` say beside where an image goes.

use std::fs;
use std::path::Path;

use cairn_testkit::{DockerRegistry, Guard, needs};
use serde_json::Value;

use crate::registries::skopeo;
use crate::workshop::Workshop;

const TWO: &str = "--platform=linux/amd64,linux/arm64";
const OCI: &str = "application/vnd.oci.image";
const DOCKER: &str = "application/vnd.docker";

fn document(path: &Path) -> Value {
    let bytes = fs::read(path).expect("a document");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A workshop whose `app` needs no base, and runs nothing.
fn workshop() -> Workshop {
    let workshop = Workshop::empty();
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY a /\n");
    workshop.write("app/a", "a");
    workshop
}

/// The documents of an image in a layout: what its index names, from there down.
struct Layout<'a>(&'a Workshop);

impl Layout<'_> {
    fn build(&self, arguments: &[&str], attributes: &str) -> Value {
        let output = format!("type=oci,tar=false,dest=out{attributes}");
        let all = [&["build", "-o", &output], arguments, &["./app"]].concat();
        self.0.cairn(&all).success();
        document(&self.0.path().join("out/index.json"))["manifests"][0].clone()
    }

    fn blob(&self, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let place = format!("out/blobs/{}", digest.replace(':', "/"));
        document(&self.0.path().join(place))
    }
}

#[test]
fn annotations_stand_where_they_are_wanted() {
    let workshop = workshop();
    let layout = Layout(&workshop);
    let flags = [
        TWO,
        "--annotation=a=every manifest",
        "--annotation=index,index-descriptor:b=both",
        "--annotation=manifest[linux/arm64],manifest-descriptor[linux/arm64]:c=arm",
    ];
    let root = layout.build(&flags, ",annotation-index.d=of the output");
    assert_eq!(root["annotations"]["b"], "both");
    let index = layout.blob(&root);
    assert_eq!(index["annotations"]["b"], "both");
    assert_eq!(index["annotations"]["d"], "of the output");
    let told = |at: usize| {
        let descriptor = &index["manifests"][at];
        let manifest = layout.blob(descriptor);
        assert_eq!(manifest["annotations"]["a"], "every manifest");
        let of = |document: &Value| document["annotations"]["c"].clone();
        (of(descriptor), of(&manifest))
    };
    assert_eq!(told(0), (Value::Null, Value::Null));
    assert_eq!(told(1), ("arm".into(), "arm".into()));

    // Those of the build are the image's, those of an output are not; an index is made for them.
    workshop.cairn(&[
        "build",
        "-t=app",
        "--annotation=index:b=kept",
        "-o=type=image,annotation-index.d=gone",
        "./app",
    ]);
    workshop
        .cairn(&["export", "--output=type=oci,tar=false,dest=out", "app"])
        .success();
    let root = document(&workshop.path().join("out/index.json"))["manifests"][0].clone();
    let index = layout.blob(&root);
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(index["annotations"]["b"], "kept");
    assert_eq!(index["annotations"]["d"], Value::Null);
    workshop
        .cairn(&["build", "--annotation=layer:a=1", "./app"])
        .code(2)
        .err_has("unknown annotation type \"layer\"; manifest,");
}

#[test]
fn an_output_may_ask_for_older_words() {
    let workshop = workshop();
    let layout = Layout(&workshop);
    let kinds = |root: &Value| {
        let manifest = layout.blob(root);
        let kind = |value: &Value| value["mediaType"].as_str().unwrap_or_default().to_owned();
        [
            kind(root),
            kind(&manifest),
            kind(&manifest["config"]),
            kind(&manifest["layers"][0]),
        ]
    };
    let is_all = |root: &Value, words: &str| {
        let kinds = kinds(root);
        assert!(
            kinds.iter().all(|kind| kind.starts_with(words)),
            "{kinds:?}"
        );
    };
    let docker = ",oci-mediatypes=false";
    is_all(&layout.build(&[], docker), DOCKER);
    is_all(&layout.build(&[], ""), OCI);
    // Docker's words have no place for these.
    is_all(&layout.build(&["--annotation=a=1"], docker), OCI);
    is_all(
        &layout.build(&[], &format!("{docker},compression=zstd")),
        OCI,
    );
    let root = layout.build(&[TWO], docker);
    assert_eq!(
        root["mediaType"],
        format!("{DOCKER}.distribution.manifest.list.v2+json")
    );
    is_all(&layout.blob(&root)["manifests"][0], DOCKER);

    let attested = |attributes: &str, variable: &str| {
        let output = format!("type=oci,tar=false,dest=out{attributes}");
        let ran = workshop
            .command(&["build", "--provenance=mode=min", "-o", &output, "./app"])
            .env("BUILDX_NO_DEFAULT_OCI_ARTIFACT", variable)
            .output();
        assert!(ran.expect("the program runs").status.success());
        let root = document(&workshop.path().join("out/index.json"))["manifests"][0].clone();
        let manifest = layout.blob(&layout.blob(&root)["manifests"][1]);
        let is_artifact = manifest["subject"].is_object();
        let config = layout.blob(&manifest["config"]);
        let is_image = config["rootfs"]["diff_ids"][0] == manifest["layers"][0]["digest"];
        (is_artifact, is_image)
    };
    assert_eq!(attested("", ""), (true, false));
    assert_eq!(attested(",oci-artifact=false", ""), (false, true));
    assert_eq!(attested("", "1"), (false, true));
    assert_eq!(attested(",oci-artifact=true", "1"), (true, false));
}

#[test]
fn an_image_can_be_pushed_without_a_tag() {
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let workshop = workshop();
    let name = format!("{}/lab/app", registry.host());
    let output = "type=image,push-by-digest=true,name-canonical=true,push=true";
    let build = |name: &str| {
        let arguments = [
            "build",
            "--metadata-file=m",
            "-t",
            name,
            "-o",
            output,
            "./app",
        ];
        workshop.cairn(&arguments)
    };
    build(&name).success();
    let digest = document(&workshop.path().join("m"))["containerimage.digest"].clone();
    let digest = digest.as_str().expect("a digest");
    let looked = |reference: &str| {
        let ran = skopeo()
            .args(["inspect", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{reference}"))
            .output();
        ran.ok().map(|ran| ran.status.success())
    };
    let found = looked(&format!("{name}@{digest}"));
    if !needs("skopeo", found.is_some()) {
        return;
    }
    assert_eq!(found, Some(true));
    assert_eq!(looked(&format!("{name}:latest")), Some(false));
    build(&format!("{name}:1"))
        .code(2)
        .err_has("can't push tagged ref")
        .err_has(&format!("name the repository alone: `{name}`"));
}

#[test]
fn a_directory_loses_what_is_not_in_the_image_where_that_is_asked() {
    let workshop = workshop();
    let stale = ["out/stale", "out/old/deep", "out/linux_amd64/old"];
    for name in stale {
        workshop.write(name, "stale");
    }
    let build = |arguments: &[&str]| workshop.cairn(&[&["build"], arguments, &["./app"]].concat());
    let is_there = |name: &str| workshop.path().join(name).exists();
    build(&["-o", "type=local,dest=out,mode=copy"]).success();
    assert!(is_there("out/a") && stale.iter().all(|name| is_there(name)));
    std::os::unix::fs::symlink(workshop.path(), workshop.path().join("out/link")).unwrap();
    build(&[TWO, "-o", "type=local,dest=out,mode=delete"])
        .success()
        .err_lacks("was not empty");
    let names = |at: &str| {
        let entries = fs::read_dir(workshop.path().join(at)).expect("a directory");
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names("out"), ["linux_amd64", "linux_arm64"]);
    assert_eq!(names("out/linux_amd64"), ["a"]);
    assert!(is_there("app/a"), "links are not followed");
    for place in [".", "app", "/"] {
        build(&["-o", &format!("type=local,dest={place},mode=delete")])
            .code(2)
            .err_has("`mode=delete` would clear");
    }
}

#[test]
fn a_file_tells_what_was_built_under_the_names_of_buildx() {
    let workshop = workshop();
    workshop.write("app/Dockerfile", "FROM scratch as b\ncopy a /\n");
    let told = |arguments: &[&str], variables: &[(&str, &str)]| {
        let all = [&["build", "--metadata-file=m"], arguments, &["./app"]].concat();
        let ran = workshop
            .command(&all)
            .envs(variables.iter().copied())
            .output();
        assert!(ran.expect("the program runs").status.code() < Some(2));
        document(&workshop.path().join("m"))
    };
    let plain = told(&[], &[]);
    let reference = plain["buildx.build.ref"].as_str().expect("a name");
    assert_eq!(reference.split('/').count(), 3);
    let provenance = &plain["buildx.build.provenance"];
    assert_eq!(
        provenance["buildType"],
        "https://mobyproject.org/buildkit@v1"
    );
    assert_eq!(provenance["buildConfig"], Value::Null, "a short one");
    assert_eq!(plain["buildx.build.warnings"], Value::Null);
    let most = told(
        &[],
        &[
            ("BUILDX_METADATA_PROVENANCE", "max"),
            ("BUILDX_METADATA_WARNINGS", "true"),
        ],
    );
    assert!(most["buildx.build.provenance"]["buildConfig"].is_object());
    assert_eq!(
        most["buildx.build.warnings"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        most["containerimage.digest"],
        plain["containerimage.digest"]
    );
    let none = told(&[], &[("BUILDX_METADATA_PROVENANCE", "disabled")]);
    assert_eq!(none["buildx.build.provenance"], Value::Null);
    let two = told(&[TWO], &[]);
    assert!(two["buildx.build.provenance/linux/arm64"].is_object());

    for call in ["check", "outline", "targets,format=json"] {
        let answer = told(&["--call", call], &[]);
        assert!(
            answer["result.json"]["sources"].is_array(),
            "{call}: {answer}"
        );
    }
}
