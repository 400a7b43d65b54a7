//! Images for several platforms out of one run, of a lone Dockerfile and of a stack, and images as
//! outputs.

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

/// Three images: `tools` runs steps, `base` does not, `app` takes files that `tools` made on the
/// building machine.
fn stack() -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write(
        "made/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nLABEL is=$TARGETARCH\nCOPY a /\n",
    );
    workshop.write("made/a", "a");
    workshop.write("made/s.yaml", STRUCTURE);
    workshop.write("tools/Dockerfile", "FROM base\nRUN echo tool > /tool\n");
    let app = "FROM --platform=$BUILDPLATFORM tools AS work\nARG TARGETARCH\n\
               RUN cat /tool > /out && echo $TARGETARCH >> /out\n\
               FROM made\nCOPY --from=work /out /\n";
    workshop.write("app/Dockerfile", app);
    let spec = format!(
        "[stack]\nname = \"lab\"\nplatforms = [\"{here}\", \"linux/s390x\"]\n\
         [image.made]\ncontext = \"made\"\ntests = {{ structure = \"made/s.yaml\" }}\n\
         [image.tools]\ncontext = \"tools\"\n[image.app]\ncontext = \"app\"\n",
        here = here()
    );
    workshop.write("cairn.toml", &spec);
    Some(workshop)
}

const STRUCTURE: &str = "schemaVersion: 2.0.0\nfileExistenceTests:\n\
                         - {name: a, path: /a, shouldExist: true}\n";

fn here() -> String {
    cairn_oci::Platform::of_this_program().to_string()
}

#[test]
fn a_stack_is_built_for_all_platforms_that_the_machine_can_build() {
    let Some(workshop) = stack() else { return };
    let up = workshop.cairn(&["up", "--json"]).success();
    let up = up.err_has("left out for linux/s390x: tools");
    let report: Value = serde_json::from_str(&up.out).unwrap();
    let told: Vec<String> = report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it["image"].as_str().unwrap(),
                it["platform"].as_str().unwrap()
            )
        })
        .collect();
    let here = here();
    let own = |name: &str| format!("{name} {here}");
    let other = |name: &str| format!("{name} linux/s390x");
    let wanted = [
        own("made"),
        own("tools"),
        own("app"),
        other("made"),
        other("app"),
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        report["tests"].as_array().unwrap().len(),
        5,
        "tests of each platform"
    );

    workshop
        .cairn(&[
            "export",
            "--format=local",
            "--platform=linux/s390x",
            "app",
            "tree",
        ])
        .success();
    assert_eq!(
        workshop.read("tree/out"),
        "tool\ns390x\n",
        "made here, for there"
    );
    let images = workshop.cairn(&["images", "app"]).success();
    assert!(
        images.out.contains(&here) && images.out.contains("s390x"),
        "{}",
        images.out
    );

    // Nothing changed: nothing runs, for no platform, and each is told apart.
    let plan = workshop.cairn(&["plan", "--json"]).success();
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let decisions = plan["images"].as_array().unwrap().iter();
    assert!(
        decisions.clone().all(|it| it["decision"] == "reuse"),
        "{plan}"
    );
    assert_eq!(decisions.count(), 5);
    workshop.write("made/a", "changed");
    let matrix = workshop.cairn(&["plan", "--github-matrix"]).success();
    let matrix: Value = serde_json::from_str(&matrix.out).unwrap();
    let jobs = matrix["include"].as_array().unwrap().iter();
    let of_s390x = jobs.filter(|job| job["platform"] == "linux/s390x");
    let images: Vec<&str> = of_s390x.map(|job| job["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["made", "app"]);
    workshop
        .cairn(&["why", "app"])
        .success()
        .out_has("app linux/s390x");
    workshop
        .cairn(&["rm", "--platform=linux/s390x", "app"])
        .success();
    workshop
        .cairn(&["run", "--platform=linux/s390x", "app", "true"])
        .code(125)
        .err_has("is there for");
}

#[test]
fn what_was_asked_for_and_cannot_be_built_is_an_error() {
    let Some(workshop) = stack() else { return };
    // The base is there for this machine only.
    workshop
        .cairn(&["build", "--platform=all"])
        .code(2)
        .err_has("`tools` cannot be for linux/s390x");
    // What it was locked to was this machine's.
    std::fs::remove_file(workshop.path().join("cairn.lock")).unwrap();
    workshop
        .cairn(&[
            "load",
            "--platform=linux/s390x",
            "-t",
            "base",
            "tar:base.tar",
        ])
        .success();
    workshop
        .cairn(&["build", "--platform=linux/s390x", "tools"])
        .code(3)
        .err_has("tools for linux/s390x: `RUN echo tool > /tool` (./tools/Dockerfile:2)")
        .err_has("emulator");
    workshop
        .cairn(&["build", "--platform=linux/s390x", "made"])
        .success()
        .out_has("made");
}

#[test]
fn a_slip_in_a_platform_is_told_and_taken() {
    let workshop = Workshop::empty();
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let said = workshop.cairn(&["build", "--platform", "linux/amd46", "app", "-t", "slip"]);
    if said.code == 3 {
        let _ = cairn_testkit::needs("a store", false);
        return;
    }
    let said = said.success().err_has("did you mean `linux/amd64`?");
    assert_eq!(said.err.matches("linux/amd46` is no platform").count(), 1);
    workshop
        .cairn(&["build", "--platform", "linux/s390x", "app", "-t", "known"])
        .success()
        .err_lacks("is no platform");
}
