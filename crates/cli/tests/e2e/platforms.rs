//! Images for several platforms out of one run, and images as outputs.

use cairn_testkit::{DockerRegistry, Guard};
use serde_json::Value;

use crate::workshop::Workshop;

/// Where no step is for a foreign CPU: what is run is run on the building machine's platform.
const FILE: &str = "FROM --platform=$BUILDPLATFORM base AS work\n\
                    ARG TARGETARCH\nRUN echo made for $TARGETARCH > /out\n\
                    FROM scratch\nARG TARGETPLATFORM\nLABEL is=$TARGETPLATFORM\nCOPY --from=work /out /\n";
const PLATFORMS: &str = "--platform=linux/s390x,linux/arm/v6";

/// A document of a layout that was unpacked into `layout`.
fn document(workshop: &Workshop, name: &str) -> Value {
    serde_json::from_str(&workshop.read(&format!("layout/{name}"))).expect("JSON")
}

fn blob(workshop: &Workshop, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().expect("a digest");
    document(workshop, &format!("blobs/{}", digest.replace(':', "/")))
}

#[test]
fn several_platforms_leave_together() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", FILE);
    let build = |output: &str, more: &[&str]| {
        let line = ["build", "-o", output];
        workshop.cairn(&[&line, more, &["./app"]].concat())
    };
    build("type=local,dest=tree", &[PLATFORMS]).success();
    assert_eq!(workshop.read("tree/linux_s390x/out"), "made for s390x\n");
    assert_eq!(workshop.read("tree/linux_arm_v6/out"), "made for arm\n");

    build("type=oci,tar=false,dest=layout", &[PLATFORMS]).success();
    let index = blob(
        &workshop,
        &document(&workshop, "index.json")["manifests"][0],
    );
    let of = |number: usize| {
        let descriptor = &index["manifests"][number];
        let config = blob(&workshop, &blob(&workshop, descriptor)["config"]);
        let label = config["config"]["Labels"]["is"].as_str();
        let architecture = descriptor["platform"]["architecture"].as_str();
        (label.map(str::to_owned), architecture.map(str::to_owned))
    };
    let own = |one: &str, other: &str| (Some(one.to_owned()), Some(other.to_owned()));
    assert_eq!(of(0), own("linux/s390x", "s390x"));
    assert_eq!(of(1), own("linux/arm/v6", "arm"));

    build("type=docker,dest=x.tar", &[PLATFORMS])
        .code(2)
        .err_has("one platform only");
    let alone = "--build-arg=BUILDKIT_MULTI_PLATFORM=1";
    build("type=local,dest=one", &[alone, "--platform=linux/s390x"]).success();
    assert_eq!(workshop.read("one/linux_s390x/out"), "made for s390x\n");
    build("type=local,dest=two", &["--platform=linux/s390x"]).success();
    assert_eq!(workshop.read("two/out"), "made for s390x\n");
}

#[test]
fn files_of_platforms_lie_beside_each_other_where_that_is_asked_for() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let file = "FROM scratch\nARG TARGETARCH\nCOPY here /all/$TARGETARCH\nARG CLASH\nCOPY here /x$CLASH$TARGETARCH\n";
    workshop.write("app/Dockerfile", file);
    workshop.write("app/here", "x");
    let both = "--platform=linux/s390x,linux/amd64";
    let build = |output: &str, more: &[&str]| {
        let line = ["build", "-o", output, both];
        workshop.cairn(&[&line, more, &["./app"]].concat())
    };
    build("type=local,dest=tree,platform-split=false", &[]).success();
    assert_eq!(workshop.read("tree/all/s390x"), "x");
    assert_eq!(workshop.read("tree/all/amd64"), "x");
    build("type=tar,dest=both.tar,platform-split=false", &[]).success();
    let tar = std::fs::File::open(workshop.path().join("both.tar")).unwrap();
    let mut names = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    let folders = names.iter().filter(|name| *name == "all/").count();
    assert_eq!(folders, 1, "{names:?}");

    workshop.write("app/Dockerfile", "FROM scratch\nCOPY here /same\n");
    build("type=local,dest=other,platform-split=false", &[])
        .code(1)
        .err_has("cannot overwrite /same from linux/s390x with linux/amd64");
    build("type=local,dest=other", &[]).success();
}

#[test]
fn an_image_is_named_and_pushed_by_an_output() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", FILE);
    let build = |workshop: &Workshop, arguments: &[&str]| {
        workshop.cairn(&[&["build"], arguments, &["./app"]].concat())
    };
    build(&workshop, &["-o", "type=image,name=lab/named"]).success();
    workshop.cairn(&["export", "lab/named", "n.tar"]).success();
    for kept in ["type=docker", "type=cacheonly"] {
        build(&workshop, &["-o", kept]).success();
    }
    build(&workshop, &["--push"])
        .code(2)
        .err_has("nothing says where to push");

    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let name = format!("{}/lab/app:1", registry.host());
    let output = format!("type=image,push=true,name={name}");
    build(&workshop, &[PLATFORMS, "-o", &output]).success();
    workshop.move_to_store("fresh");
    workshop
        .cairn(&["pull", "--platform=linux/arm/v6", &name])
        .success();
    workshop
        .cairn(&["export", "--format=local", &name, "pulled"])
        .success();
    assert_eq!(workshop.read("pulled/out"), "made for arm\n");
    let other = format!("{}/lab/app:2", registry.host());
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    build(&workshop, &["-t", &other, "--push"]).success();
    workshop.cairn(&["pull", &other]).success();
}
