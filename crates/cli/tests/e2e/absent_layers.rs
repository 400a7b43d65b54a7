//! Images that are published without their bases' layers being fetched, and plans that fetch none.

use cairn_oci::Digest;
use serde_json::Value;

use crate::lazy_bases::Counting;
use crate::serving::{Answer, Serving};
use crate::workshop::Workshop;

/// A registry with a base of two layers, seen through a proxy that counts, and a store that has never
/// seen the base.
struct Scene {
    workshop: Workshop,
    serving: Serving,
    registry: Counting,
    /// The base's manifest.
    base: Value,
}

impl Scene {
    fn new() -> Option<Self> {
        let mut workshop = Workshop::with_base()?;
        let serving = Serving::start(&workshop, &["--allow-push"]);
        let registry = Counting::before(serving.host());
        workshop.write("tool/Dockerfile", "FROM base\nRUN echo t > /compiler\n");
        let built = workshop.cairn(&["build", "-q", "-t", "tool", "tool"]);
        built.success();
        let pushed = format!("{}/lab/tool:1", serving.host());
        workshop.cairn(&["push", "tool", &pushed]).success();
        let base = serving.get("/v2/lab/tool/manifests/1").is(200).json();
        workshop.move_to_store("fresh");
        Some(Self {
            workshop,
            serving,
            registry,
            base,
        })
    }

    /// A stack that is published to these places, with images by their names and Dockerfiles.
    fn stack(&self, places: &[String], images: &[(&str, &str, &str)]) {
        let places: Vec<String> = places.iter().map(|it| format!("\"{it}\"")).collect();
        let mut spec = format!(
            "[stack]\nname = \"s\"\nregistries = [{}]\n",
            places.join(", ")
        );
        for (name, more, dockerfile) in images {
            spec.push_str(&format!("[image.{name}]\ncontext = \"{name}\"\n{more}"));
            let text = dockerfile.replace("TOOL", &format!("{}/lab/tool:1", self.registry.host));
            self.workshop.write(&format!("{name}/Dockerfile"), &text);
        }
        self.workshop.write("cairn.toml", &spec);
    }

    /// How many layers of the base were asked for since the last time.
    fn fetched(&self) -> usize {
        self.registry.layers("lab/tool", &self.base)
    }

    fn publish(&self, more: &[&str]) -> Value {
        let said = self
            .workshop
            .cairn(&[&["publish", "--json"], more].concat());
        serde_json::from_str(&said.success().out).expect("JSON")
    }

    fn here(&self) -> String {
        format!("{}/lab", self.registry.host)
    }
}

fn digests(published: &Value) -> Vec<String> {
    let images = published["images"].as_array().expect("images").iter();
    images
        .map(|image| image["digest"].as_str().expect("a digest").to_owned())
        .collect()
}

fn manifest(serving: &Serving, path: &str) -> Answer {
    serving.get(path).is(200)
}

#[test]
fn settings_on_a_base_are_published_without_its_layers() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let images = [
        ("app", "", "FROM TOOL\nENV GREETING=hello\nLABEL kind=app\n"),
        ("leaf", "", "FROM app\nCMD [\"cat\", \"/compiler\"]\n"),
    ];
    scene.stack(&[scene.here()], &images);
    let said = scene
        .workshop
        .cairn(&["publish", "--tag", "1", "--json"])
        .success();
    let said = said.err_has("2 layers of bases stayed in their registries");
    let first: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(scene.fetched(), 0, "nothing was needed");
    let found = manifest(&scene.serving, "/v2/lab/app/manifests/1");
    assert_eq!(Digest::sha256(&found.body).to_string(), digests(&first)[0]);
    assert_eq!(found.json()["layers"].as_array().unwrap().len(), 2);

    // It has no name here, and is nothing that one could run.
    scene.workshop.cairn(&["run", "app", "true"]).code(125);
    assert!(
        !scene
            .workshop
            .cairn(&["images"])
            .success()
            .out
            .contains("app")
    );
    let again = scene.workshop.cairn(&["publish", "--tag", "1"]).success();
    again.err_has("0 sent");
    assert_eq!(scene.fetched(), 0);

    // With all files here it is the same image, to the byte.
    scene.workshop.cairn(&["build", "-q"]).success();
    assert_eq!(scene.fetched(), 2, "an image of this store has its files");
    assert_eq!(digests(&scene.publish(&["--tag", "2"])), digests(&first));
    scene.workshop.move_to_store("reader");
    let leaf = format!("{}/lab/leaf:1", scene.serving.host());
    scene.workshop.cairn(&["pull", &leaf]).success();
    scene.workshop.cairn(&["run", &leaf]).success().out_has("t");
}

#[test]
fn a_registry_that_lacks_the_layers_is_sent_them_once() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let other = Serving::start(&scene.workshop, &["--allow-push"]);
    scene.workshop.move_to_store("third");
    let third = Serving::start(&scene.workshop, &["--allow-push"]);
    scene.workshop.move_to_store("fresh again");
    let places = [
        format!("{}/lab", other.host()),
        scene.here(),
        format!("{}/lab", third.host()),
    ];
    scene.stack(&places, &[("app", "", "FROM TOOL\nENV A=b\n")]);
    scene.publish(&["--tag", "1"]);
    assert_eq!(scene.fetched(), 2, "each layer once, for two registries");
    let bodies: Vec<Vec<u8>> = [&scene.serving, &other, &third]
        .map(|it| manifest(it, "/v2/lab/app/manifests/1").body)
        .into();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    for layer in scene.base["layers"].as_array().unwrap() {
        let path = format!("/v2/lab/app/blobs/{}", layer["digest"].as_str().unwrap());
        let bytes = other.get(&path).is(200).body;
        assert_eq!(
            Digest::sha256(&bytes).as_str(),
            layer["digest"].as_str().unwrap()
        );
    }

    // A layer that is nowhere any more stops it before any tag moves.
    let layer = scene.base["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v2/lab/tool/blobs/{layer}");
    scene.serving.ask("DELETE", &path, &[], b"").is(202);
    scene.workshop.move_to_store("fourth");
    let fourth = Serving::start(&scene.workshop, &["--allow-push"]);
    scene.workshop.move_to_store("fresh once more");
    let place = format!("{}/lab", fourth.host());
    scene.stack(&[place], &[("app", "", "FROM TOOL\nENV A=c\n")]);
    let said = scene.workshop.cairn(&["publish", "--tag", "1"]).code(3);
    said.err_has(&format!("/v2/lab/tool/blobs/{layer}"));
    fourth.get("/v2/lab/app/manifests/1").is(404);
}

#[test]
fn what_looks_into_an_image_has_its_files_fetched() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let rows = [
        // A step writes on the base's files, and what follows it is as if they had been here first.
        ("", "FROM TOOL\nCOPY Dockerfile /opt/\n"),
        ("", "FROM TOOL\nRUN cp /compiler /made\n"),
        ("", "FROM TOOL\nWORKDIR /srv\n"),
        ("tests.structure = [\"t.yaml\"]\n", "FROM TOOL\nENV A=b\n"),
        ("tags.branch = [\"c-{content}\"]\n", "FROM TOOL\nENV A=b\n"),
    ];
    scene.workshop.write(
        "t.yaml",
        "schemaVersion: 2.0.0\nfileExistenceTests:\n- {name: c, path: /compiler, shouldExist: true}\n",
    );
    for (number, (more, dockerfile)) in rows.into_iter().enumerate() {
        scene.workshop.move_to_store(&format!("row {number}"));
        scene.stack(&[scene.here()], &[("app", more, dockerfile)]);
        let arguments: &[&str] = match more.starts_with("tags") {
            true => &["--event", "push", "--ref", "topic"],
            false => &["--tag", "1"],
        };
        let said = scene
            .workshop
            .cairn(&[&["publish"], arguments].concat())
            .success();
        said.err_lacks("stayed in their registries");
        assert_eq!(scene.fetched(), 2, "{dockerfile} {more}");
        scene
            .workshop
            .cairn(&["run", "app", "cat", "/compiler"])
            .success();
    }
}

#[test]
fn a_plan_fetches_nothing_of_what_a_copy_takes_from_outside() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let dockerfile = "FROM scratch\nCOPY --from=TOOL /compiler /compiler\nENV A=b\n";
    scene.stack(&[], &[("app", "", dockerfile)]);
    let plan = |more: &[&str]| {
        scene
            .workshop
            .cairn(&[&["plan"], more].concat())
            .success()
            .out
    };
    let said = plan(&[]);
    assert!(said.contains("maybe  app"), "{said}");
    assert!(
        said.contains("nobody has looked yet at the files that it takes of"),
        "{said}"
    );
    assert_eq!(scene.fetched(), 0, "a plan fetches no layer");
    let matrix: Value = serde_json::from_str(&plan(&["--github-matrix"])).expect("JSON");
    assert_eq!(matrix["include"].as_array().unwrap().len(), 1);
    let said = plan(&["--settle"]);
    assert!(said.contains("build  app"), "{said}");
    assert_eq!(scene.fetched(), 2);
    scene.workshop.cairn(&["build", "-q"]).success();
    let said = plan(&[]);
    assert!(said.contains("reuse  app"), "{said}");
    assert_eq!(scene.fetched(), 0);
}
