//! Results of steps through a registry: `--cache-to type=registry` and `type=inline`.

use cairn_testkit::{DockerRegistry, Guard};

use crate::serving::{MANIFEST, Serving};
use crate::workshop::{Said, Workshop};

/// A workshop with a stack of two images: a leaf on another one, with a stage beside it.
fn with_stack() -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.tools]\ncontext = \"tools\"\n[image.app]\ncontext = \"app\"\n",
    );
    workshop.write(
        "tools/Dockerfile",
        "FROM base\nRUN echo tooling; rm /etc/group; echo t > /tool\n",
    );
    workshop.write("app/source", "one");
    workshop.write("app/leaf", "one");
    workshop.write(
        "app/Dockerfile",
        "FROM base AS made\nCOPY source /source\nRUN echo compiling; mkdir /out; cp /source /out/made\n\
         FROM tools\nCOPY --from=made /out /out\nRUN echo linking; cp /out/made /linked\n\
         COPY leaf /leaf\nRUN echo finishing; cp /leaf /done\n",
    );
    Some(workshop)
}

fn fresh(workshop: &mut Workshop, name: &str) {
    workshop.move_to_store(name);
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
}

fn up(workshop: &Workshop, flag: &str, cache: &str) -> Said {
    let plain = ["up", "--progress", "plain", flag, cache];
    workshop.cairn(&plain).success()
}

const SAYS: [&str; 4] = [" tooling\n", " compiling\n", " linking\n", " finishing\n"];

#[track_caller]
fn ran(said: &Said, expected: &[&str]) {
    let ran: Vec<&str> = SAYS
        .into_iter()
        .filter(|say| said.err.contains(say))
        .collect();
    assert_eq!(ran, expected, "{}", said.err);
}

#[test]
fn another_machine_builds_a_stack_of_what_a_registry_has() {
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let Some(mut workshop) = with_stack() else {
        return;
    };
    let name = format!("{}/lab/cache:main", registry.host());
    let cache = format!("type=registry,ref={name}");
    let first = up(&workshop, "--cache-from", &cache).err_has("there is no cache at");
    ran(&first, &SAYS);
    up(&workshop, "--cache-to", &cache).err_has("the cache 127.0.0.1");
    let again = up(&workshop, "--cache-to", &cache);
    assert!(!again.err.contains(" new, "), "{}", again.err);
    let digest = |workshop: &Workshop| workshop.cairn(&["export", "app", "app.tar"]).success().out;
    let made = digest(&workshop);

    // Nothing runs elsewhere, and what no image consists of is not even downloaded.
    fresh(&mut workshop, "second");
    let plan = ["plan", "--cache-from", &name];
    let plan = workshop.cairn(&plan).success().out;
    assert!(plan.contains("of them to come from registries"), "{plan}");
    assert!(!plan.contains("run  "), "{plan}");
    assert!(
        workshop.find_in_store("made").is_none(),
        "a plan downloads nothing"
    );
    let second = up(&workshop, "--cache-from", &cache).err_has("came from the cache");
    ran(&second, &[]);
    assert!(workshop.find_in_store("source").is_none(), "a stage beside");
    assert_eq!(digest(&workshop), made, "the same bytes");

    // A changed leaf runs the leaf, on a third machine too; the spec may name the cache.
    fresh(&mut workshop, "third");
    workshop.write("app/leaf", "two");
    let spec = workshop.read("cairn.toml");
    let named = format!("{spec}[build]\ncache-from = [\"{name}\"]\n");
    workshop.write("cairn.toml", &named);
    ran(
        &workshop.cairn(&["up", "--progress", "plain"]).success(),
        &[" finishing\n"],
    );
    workshop.write("cairn.toml", &spec);
    workshop.cairn(&["run", "app", "cat", "/done"]).success();

    // A changed source runs what takes it; what it needs is brought then.
    fresh(&mut workshop, "fourth");
    workshop.write("app/source", "two");
    let fourth = up(&workshop, "--cache-from", &cache);
    ran(&fourth, &[" compiling\n", " linking\n", " finishing\n"]);

    // Only what images consist of; of the stage beside it is known what it gave.
    fresh(&mut workshop, "fifth");
    let small = format!(
        "type=registry,ref={}/lab/small,mode=min,limit=1GB",
        registry.host()
    );
    up(&workshop, "--cache-from", &cache);
    up(&workshop, "--cache-to", &small).err_has(" of 1.0 GB");
    // DH-41: against a limit, and what goes for it.
    let tiny = format!("type=registry,ref={}/lab/tiny,limit=1", registry.host());
    up(&workshop, "--cache-to", &tiny).err_has("dropped for the limit");
    fresh(&mut workshop, "sixth");
    let small = format!("{}/lab/small", registry.host());
    ran(&up(&workshop, "--cache-from", &small), &[]);
}

#[test]
fn a_cache_that_lost_its_layers_costs_only_time() {
    let Some(mut workshop) = with_stack() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let name = format!("{}/lab/cache:1", serving.host());
    let cache = format!("type=registry,ref={name}");
    up(&workshop, "--cache-to", &cache);
    let manifest = serving.get("/v2/lab/cache/manifests/1").is(200).json();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let path = format!("/v2/lab/cache/blobs/{digest}");
        serving.ask("DELETE", &path, &[], b"").is(202);
    }
    fresh(&mut workshop, "second");
    let plain = ["up", "--progress", "plain"];
    let both = ["--cache-from", &cache, "--cache-to", &cache];
    // Who misses them mends it.
    ran(
        &workshop.cairn(&[&plain[..], &both[..]].concat()).success(),
        &SAYS,
    );
    fresh(&mut workshop, "third");
    let third = up(&workshop, "--cache-from", &cache);
    ran(&third, &[]);

    // What is no cache, and what cannot be asked, stops nobody.
    up(
        &workshop,
        "--cache-from",
        &format!("{}/lab/none", serving.host()),
    )
    .err_has("there is no cache at");
    workshop
        .cairn(&["push", "base", &format!("{}/lab/base:1", serving.host())])
        .success();
    up(
        &workshop,
        "--cache-from",
        &format!("{}/lab/base:1", serving.host()),
    )
    .err_has("an image that carries no results of steps");
    up(&workshop, "--cache-from", "127.0.0.1:1/lab/x").err_has("is not used");
}

/// `cairn registry gc` takes from caches what nobody used for long.
#[test]
fn caches_lose_what_nobody_uses() {
    let Some(workshop) = with_stack() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let place = format!("{}/lab", serving.host());
    let name = format!("{place}/cache:main");
    let spec = workshop.read("cairn.toml").replace(
        "name = \"s\"\n",
        &format!(
            "name = \"s\"\nregistries = [\"{place}\"]\n[build]\ncache-from = [\"{name}\"]\n\
             [retention]\nbranches = false\ncache-days = 14\n"
        ),
    );
    workshop.write("cairn.toml", &spec);
    up(
        &workshop,
        "--cache-to",
        &format!("type=registry,ref={name}"),
    );
    workshop
        .cairn(&["push", "base", &format!("{place}/cache:image")])
        .success();
    let manifests = "/v2/lab/cache/manifests/main";
    let document = || {
        let manifest = serving.get(manifests).is(200).json();
        let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
        let path = format!("/v2/lab/cache/blobs/{config}");
        (manifest, serving.get(&path).is(200).json())
    };
    let age = |is_old: &dyn Fn(&str) -> bool| {
        let (mut manifest, mut document) = document();
        for entry in document["entries"].as_object_mut().unwrap().values_mut() {
            if is_old(entry["description"].as_str().unwrap()) {
                entry["used"] = 1.into();
                entry["created"] = 1.into();
            }
        }
        let bytes = document.to_string().into_bytes();
        let digest = serving.put_blob("lab/cache", &bytes);
        manifest["config"]["digest"] = digest.to_string().into();
        manifest["config"]["size"] = bytes.len().into();
        let bytes = manifest.to_string().into_bytes();
        serving.put_manifest(manifests, MANIFEST, &bytes).is(201);
    };
    let results = || document().1["entries"].as_object().unwrap().len();
    let gc = |more: &[&str]| {
        workshop
            .cairn(&[&["registry", "gc"], more].concat())
            .success()
    };

    let all = results();
    assert_eq!(gc(&[]).err_has("keeps its").out, "");
    age(&|description| description.contains("linking"));
    let line = format!("trim {name}\n");
    assert_eq!(gc(&["--dry-run"]).out, format!("would {line}"));
    assert_eq!(results(), all, "it was only said");
    assert_eq!(gc(&[]).out, format!("trimmed {name}\n"));
    assert_eq!(results(), all - 1);
    age(&|_| true);
    let said = gc(&["--json"]).out;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said[1]["cache"], name.as_str());
    assert_eq!(
        (&said[1]["results"], &said[1]["dropped"]),
        (&0.into(), &(all - 1).into())
    );
    serving.get(manifests).is(404);
    serving.get("/v2/lab/cache/manifests/image").is(200);
}

#[test]
fn an_image_carries_the_results_of_its_steps() {
    let Some(mut workshop) = with_stack() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    up(&workshop, "--cache-to", "type=inline");
    let name = format!("{}/lab/app:1", serving.host());
    workshop.cairn(&["push", "app", &name]).success();
    fresh(&mut workshop, "second");
    // The stage beside is no part of the image: what it gave is known, and enough.
    let second = up(&workshop, "--cache-from", &name).err_has("came from the cache");
    ran(&second, &[]);
    // Who takes something else of it has it made; a plan says so, and downloads nothing.
    fresh(&mut workshop, "third");
    let dockerfile = workshop.read("app/Dockerfile");
    let other = dockerfile.replace(
        "COPY --from=made /out /out",
        "COPY --from=made /out/made /out/",
    );
    workshop.write("app/Dockerfile", &other);
    let plan = ["plan", "--cache-from", &name];
    let plan = workshop.cairn(&plan).success().out;
    assert!(plan.contains("compiling"), "{plan}");
    let third = up(&workshop, "--cache-from", &name);
    ran(&third, &[" compiling\n"]);
}

#[test]
fn a_stage_whose_packages_are_listed_is_made_where_only_its_result_is_known() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let name = format!("{}/lab/listed:1", serving.host());
    workshop.write(
        "app/Dockerfile",
        "FROM base AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n\
         RUN mkdir -p /lib/apk/db; printf 'P:in-tools\\nV:1\\n\\n' > /lib/apk/db/installed; echo a > /a\n\
         FROM scratch\nCOPY --from=tools /a /a\n",
    );
    let build = [
        "build",
        "-t",
        &name,
        "--cache-to=type=inline",
        "--push",
        "./app",
    ];
    workshop.cairn(&build).success();
    fresh(&mut workshop, "second");
    let output = "type=oci,tar=false,dest=out";
    let from = format!("--cache-from={name}");
    let again = ["build", "-o", output, &from, "./app"];
    workshop
        .cairn(&again)
        .success()
        .err_has("came from the cache");
    let listed = ["build", "-o", output, &from, "--sbom=true", "./app"];
    workshop.cairn(&listed).success();
    let blobs = std::fs::read_dir(workshop.path().join("out/blobs/sha256")).unwrap();
    let blobs = blobs.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let mut texts = blobs.filter_map(|bytes| String::from_utf8(bytes).ok());
    assert!(texts.any(|text| text.contains("\"in-tools\"")));
}
