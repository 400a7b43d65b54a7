//! Caches that say something wrong of a base: noticed, told, ignored, and put right by who writes them.

use std::fs;

use serde_json::Value;

use crate::serving::{MANIFEST, Serving};
use crate::workshop::{Said, Workshop};

const WRONG: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn up(workshop: &Workshop, more: &[&str]) -> Said {
    let plain = ["up", "--progress", "plain"];
    workshop.cairn(&[&plain, more].concat()).success()
}

/// Makes the entries of layers of bases say something else; says how many there are.
fn spoil(entry: &mut Value) -> usize {
    let is_layer = entry["description"].as_str().unwrap().starts_with("layer ");
    if is_layer {
        entry["content"] = WRONG.into();
    }
    usize::from(is_layer)
}

/// Gives the tag of a cache to one whose document is changed.
fn spoil_registry(serving: &Serving) -> usize {
    let place = "/v2/lab/cache/manifests/1";
    let mut manifest = serving.get(place).is(200).json();
    let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let path = format!("/v2/lab/cache/blobs/{digest}");
    let mut document = serving.get(&path).is(200).json();
    let entries = document["entries"].as_object_mut().unwrap();
    let spoiled = entries.values_mut().map(spoil).sum();
    let bytes = document.to_string().into_bytes();
    let digest = serving.put_blob("lab/cache", &bytes);
    manifest["config"]["digest"] = digest.to_string().into();
    manifest["config"]["size"] = bytes.len().into();
    let bytes = manifest.to_string().into_bytes();
    serving.put_manifest(place, MANIFEST, &bytes).is(201);
    spoiled
}

fn spoil_directory(workshop: &Workshop) -> usize {
    let entries = fs::read_dir(workshop.path().join("kept/entries")).unwrap();
    let spoiled = entries.map(|entry| {
        let path = entry.unwrap().path();
        let mut entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let spoiled = spoil(&mut entry);
        fs::write(&path, entry.to_string()).unwrap();
        spoiled
    });
    spoiled.sum()
}

#[test]
fn what_a_cache_says_wrongly_of_a_base_is_ignored_and_put_right() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let base = format!("{}/lab/base:1", serving.host());
    workshop.cairn(&["push", "base", &base]).success();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.app]\ncontext = \"app\"\n",
    );
    workshop.write(
        "app/Dockerfile",
        &format!("FROM {base}\nRUN echo compiling; echo made > /made\n"),
    );
    let name = format!("{}/lab/cache:1", serving.host());
    let registry = format!("type=registry,ref={name}");
    let exported =
        |workshop: &Workshop| workshop.cairn(&["export", "app", "app.tar"]).success().out;

    workshop.move_to_store("first");
    let both = [
        "--cache-to",
        &registry,
        "--cache-to",
        "type=local,dest=kept",
    ];
    up(&workshop, &both).err_has("compiling");
    let made = exported(&workshop);
    let forms = [
        ([registry.as_str(), registry.as_str()], name.as_str()),
        (["type=local,src=kept", "type=local,dest=kept"], "kept"),
    ];
    for (form, ([from, to], shown)) in forms.into_iter().enumerate() {
        let spoiled = match form {
            0 => spoil_registry(&serving),
            _ => spoil_directory(&workshop),
        };
        assert_eq!(spoiled, 1, "the one layer of the base");
        let wrong = format!("the cache {shown} says something else of the layer sha256:");
        // It is told once, and what the cache has of steps serves all the same.
        workshop.move_to_store(&format!("wrong {form}"));
        let said = up(&workshop, &["--cache-from", from, "--cache-to", to]);
        let said = said.err_lacks("compiling");
        assert_eq!(said.err.matches(&wrong).count(), 1, "{}", said.err);
        assert_eq!(exported(&workshop), made, "the same bytes");
        // Who wrote it put it right.
        workshop.move_to_store(&format!("next {form}"));
        up(&workshop, &["--cache-from", from])
            .err_lacks("says something else")
            .err_lacks("compiling");
        assert_eq!(exported(&workshop), made, "the same bytes");
    }
}
