//! Bases from registries: their files come when something needs them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use cairn_oci::Digest;

use crate::serving::Serving;
use crate::workshop::{Said, Workshop};

/// Stands before a registry and notes which blobs are asked for.
pub(crate) struct Counting {
    pub(crate) host: String,
    blobs: Arc<Mutex<Vec<String>>>,
}

impl Counting {
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let blobs = Arc::new(Mutex::new(Vec::new()));
        let (server, noted) = (server.to_owned(), Arc::clone(&blobs));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, noted) = (server.clone(), Arc::clone(&noted));
                thread::spawn(move || forward(client, &server, &noted));
            }
        });
        Self { host, blobs }
    }

    /// The layers of a repository that were asked for since the last time; configs do not count.
    pub(crate) fn layers(&self, repository: &str, manifest: &serde_json::Value) -> usize {
        let asked = std::mem::take(&mut *self.blobs.lock().unwrap());
        let layers = manifest["layers"].as_array().unwrap();
        let is_layer = |path: &&String| {
            let mut layers = layers.iter();
            layers.any(|it| {
                let digest = it["digest"].as_str().unwrap();
                **path == format!("/v2/{repository}/blobs/{digest}")
            })
        };
        asked.iter().filter(is_layer).count()
    }
}

/// One request for each connection: the server is told to close it.
fn forward(mut client: TcpStream, server: &str, noted: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            // Whoever asks for TLS first hears at once that there is none.
            Ok(1) if head.is_empty() && !byte[0].is_ascii_uppercase() => return,
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if head.starts_with("GET ") && path.contains("/blobs/") {
        noted.lock().unwrap().push(path.to_owned());
    }
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut upstream = TcpStream::connect(server).unwrap();
    upstream.write_all(head.as_bytes()).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut upstream, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

fn plan(workshop: &Workshop, more: &[&str]) -> String {
    workshop.cairn(&[&["plan"], more].concat()).success().out
}

fn up(workshop: &Workshop, more: &[&str]) -> Said {
    workshop.cairn(&[&["up", "--progress", "plain"], more].concat())
}

#[test]
fn the_files_of_a_base_are_fetched_when_a_step_needs_them() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let registry = Counting::before(serving.host());
    let tool = format!("{}/lab/tool:1", registry.host);
    workshop.write("tool/Dockerfile", "FROM base\nRUN echo t > /compiler\n");
    workshop
        .cairn(&["build", "-q", "-t", "tool", "tool"])
        .success();
    let pushed = format!("{}/lab/tool:1", serving.host());
    workshop.cairn(&["push", "tool", &pushed]).success();
    let manifest = serving.get("/v2/lab/tool/manifests/1").is(200);
    let (digest, manifest) = (Digest::sha256(&manifest.body), manifest.json());
    let fetched = || registry.layers("lab/tool", &manifest);

    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.app]\ncontext = \"app\"\n",
    );
    workshop.write("app/source", "one");
    let dockerfile = format!(
        "FROM {tool} AS made\nCOPY source /source\nRUN echo compiling; cp /source /made\n\
         FROM scratch\nCOPY --from=made /made /made\n"
    );
    workshop.write("app/Dockerfile", &dockerfile);

    // A plan looks at documents only, and so does a build that runs nothing.
    workshop.move_to_store("first");
    assert!(plan(&workshop, &[]).contains("build"));
    assert_eq!(fetched(), 0, "a plan fetches no layer");
    let cache = format!("type=registry,ref={}/lab/cache:1", registry.host);
    up(&workshop, &["--cache-to", &cache])
        .success()
        .err_has("compiling");
    assert_eq!(fetched(), 2, "each layer once");
    let made = workshop.cairn(&["export", "app", "app.tar"]).success().out;

    workshop.move_to_store("second");
    let said = plan(&workshop, &["--cache-from", &cache]);
    assert!(!said.contains("run  "), "{said}");
    up(&workshop, &["--cache-from", &cache])
        .success()
        .err_lacks("compiling")
        .err_has("1 cached");
    assert_eq!(fetched(), 0, "nothing ran");
    let again = workshop.cairn(&["export", "app", "app.tar"]).success().out;
    assert_eq!(again, made, "the same bytes");

    // What runs needs its base: it is fetched then, and is an image of the store from then on.
    workshop.write("app/source", "two");
    up(&workshop, &["--cache-from", &cache])
        .success()
        .err_has("compiling")
        .err_has("2 layers (");
    assert_eq!(fetched(), 2);
    let locked = format!("{}/lab/tool@{digest}", registry.host);
    workshop
        .cairn(&["run", &locked, "cat", "/compiler"])
        .success();
    workshop.write("app/source", "three");
    up(&workshop, &[]).success().err_has("compiling");
    assert_eq!(fetched(), 0, "they are here");

    // A layer that is gone stops what needs it, and nothing else.
    workshop.move_to_store("third");
    workshop.write("app/source", "one");
    let layer = manifest["layers"][1]["digest"].as_str().unwrap();
    let path = format!("/v2/lab/tool/blobs/{layer}");
    serving.ask("DELETE", &path, &[], b"").is(202);
    up(&workshop, &["--cache-from", &cache]).success();
    workshop.write("app/source", "four");
    up(&workshop, &["--cache-from", &cache])
        .code(3)
        .err_has(&format!(
            "the files of `{tool}@{digest}` cannot be fetched: GET http"
        ));
}

#[test]
fn a_layer_that_bases_share_comes_from_where_it_is() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let place = |name: &str| format!("{}/lab/{name}:1", serving.host());
    for name in ["one", "other"] {
        workshop.write("Dockerfile", &format!("FROM base\nENV NAME={name}\n"));
        workshop.cairn(&["build", "-q", "-t", name, "."]).success();
        workshop.cairn(&["push", name, &place(name)]).success();
    }
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.app]\ncontext = \"app\"\n",
    );
    let write = |workshop: &Workshop, text: &str| {
        let (one, other) = (place("one"), place("other"));
        let dockerfile = format!(
            "FROM {one} AS one\nRUN echo one {text} > /one\n\
             FROM {other} AS other\nRUN echo other {text} > /other\n\
             FROM scratch\nCOPY --from=one /one /\nCOPY --from=other /other /\n"
        );
        workshop.write("app/Dockerfile", &dockerfile);
    };
    write(&workshop, "first");
    let cache = format!("type=registry,ref={}", place("cache"));
    workshop.move_to_store("first");
    up(&workshop, &["--cache-to", &cache]).success();

    // The repository that is asked first has lost it.
    let manifest = serving.get("/v2/lab/one/manifests/1").is(200).json();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let remove = |name: &str| {
        let path = format!("/v2/lab/{name}/blobs/{layer}");
        serving.ask("DELETE", &path, &[], b"").is(202);
    };
    remove("one");
    write(&workshop, "second");
    workshop.move_to_store("second");
    up(&workshop, &["--cache-from", &cache])
        .success()
        .err_has("1 layer (");
    remove("other");
    workshop.move_to_store("third");
    up(&workshop, &["--cache-from", &cache])
        .code(3)
        .err_has("/v2/lab/one/blobs/")
        .err_has("; GET http")
        .err_has("/v2/lab/other/blobs/");
}

#[test]
fn what_a_power_cut_took_of_a_pulled_image_is_pulled_again() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let name = format!("{}/lab/base:1", serving.host());
    workshop.cairn(&["push", "base", &name]).success();
    workshop.move_to_store("second");
    workshop.cairn(&["pull", &name]).success();
    let snapshots = workshop.path().join("second/snapshots");
    for snapshot in std::fs::read_dir(snapshots).unwrap() {
        // Nobody knows any more that its files were written to their end.
        std::fs::write(snapshot.unwrap().path().join("snapshot"), "").unwrap();
    }
    workshop
        .cairn(&["run", &name, "true"])
        .code(125)
        .err_has("build, load or pull it again");
    workshop.write("Dockerfile", &format!("FROM {name}\nRUN echo t > /t\n"));
    workshop.cairn(&["build", "-q", "."]).success();
    workshop.cairn(&["pull", &name]).success();
    workshop.cairn(&["run", &name, "true"]).success();
}
