//! Images that come from registries and go there, with Debian's `docker-registry`.

use std::io::{BufRead, BufReader};
use std::process::Command;

use cairn_testkit::{DockerRegistry, Guard, needs};

use crate::workshop::Workshop;

/// Another tool for registries. It looks for logins in a directory of root's if it is told no
/// other, which an ordinary user may not read.
pub(crate) fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.env("XDG_RUNTIME_DIR", "/var/tmp");
    command
}

/// A workshop, and a registry that has its image `made` as `lab/base:1`.
fn with_registry() -> Option<(Workshop, DockerRegistry, String)> {
    let workshop = Workshop::with_base()?;
    workshop.write("made/Dockerfile", "FROM base\nENV MADE=here\n");
    workshop.cairn(&["build", "-t", "made", "./made"]).success();
    let registry = DockerRegistry::start(Guard::Open)?;
    let name = format!("{}/lab/base:1", registry.host());
    put(&workshop, "made", &name).then_some((workshop, registry, name))
}

/// Puts an image of the workshop into a registry with another tool.
fn put(workshop: &Workshop, image: &str, name: &str) -> bool {
    workshop.cairn(&["export", image, "out.tar"]).success();
    let ran = skopeo()
        .args([
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            "oci-archive:out.tar",
        ])
        .arg(format!("docker://{name}"))
        .current_dir(workshop.path())
        .output();
    std::fs::remove_file(workshop.path().join("out.tar")).unwrap();
    let is_there = needs("skopeo", ran.is_ok());
    if let Ok(ran) = ran {
        assert!(ran.status.success(), "{ran:?}");
    }
    is_there
}

#[test]
fn a_pulled_image_runs_and_goes_out_as_it_came() {
    let Some((mut workshop, _registry, name)) = with_registry() else {
        return;
    };
    let digest = workshop
        .cairn(&["export", "made", "first.tar"])
        .success()
        .out;
    workshop.move_to_store("fresh");
    let pulled = workshop.cairn(&["pull", &name]).success();
    let repository = name.trim_end_matches(":1");
    assert_eq!(pulled.out, format!("{repository}@{digest}"));
    let ran = workshop.cairn(&["run", &name, "echo", "here"]).success();
    assert_eq!(ran.out, "here\n");
    let again = workshop.cairn(&["export", &name, "again.tar"]).success();
    assert_eq!(again.out, digest);
    workshop
        .cairn(&["pull", "--platform", "linux/arm64", &name])
        .code(2)
        .err_has("has no image for linux/arm64; it has linux/amd64");
    workshop
        .cairn(&["pull", &format!("{repository}:2")])
        .code(2)
        .err_has("/manifests/2: the server answered 404")
        .err_has("check the registry");
}

#[test]
fn a_stack_locks_what_it_pulls_and_stays_with_it() {
    let Some((mut workshop, mut registry, name)) = with_registry() else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.app]\ncontext = \"app\"\n",
    );
    workshop.write(
        "app/Dockerfile",
        &format!("FROM {name}\nCOPY --from={name} /bin/sh /again\n"),
    );
    let is = |workshop: &Workshop, arguments: &[&str]| {
        let ran = workshop.cairn(&[&["run", "app"], arguments].concat());
        ran.success().out
    };
    workshop.move_to_store("one");
    workshop
        .cairn(&["up"])
        .success()
        .err_has("pulled 127.0.0.1");
    let lock = workshop.read("cairn.lock");
    assert!(lock.contains(&format!("\"{name}\" = \"sha256:")), "{lock}");
    workshop.cairn(&["up"]).success().err_lacks("pull");

    // The tag moves: a store that has the image, and one that has the lock, stay where they were.
    workshop.write("other/Dockerfile", &format!("FROM {name}\nENV MOVED=yes\n"));
    workshop
        .cairn(&["build", "-t", "other", "./other"])
        .success();
    assert!(put(&workshop, "other", &name));
    workshop.cairn(&["up", "--locked"]).success();
    workshop.move_to_store("two");
    workshop.cairn(&["build", "--locked"]).success();
    assert_eq!(is(&workshop, &["sh", "-c", "echo $MOVED"]), "\n");
    assert_eq!(workshop.read("cairn.lock"), lock);

    // On demand it moves, and says so.
    let moved = workshop.cairn(&["lock", "--update"]).success();
    assert!(
        moved.out.contains("moved") && moved.out.contains(" -> sha256:"),
        "{}",
        moved.out
    );
    workshop.cairn(&["build"]).success();
    assert_eq!(is(&workshop, &["sh", "-c", "echo $MOVED"]), "yes\n");
    assert_ne!(workshop.read("cairn.lock"), lock);

    // Without the registry, what is there is enough, and what is not says why.
    registry.stop();
    workshop.cairn(&["build"]).success();
    workshop
        .cairn(&["build", "--pull"])
        .code(3)
        .err_has("the connection failed");
    workshop.move_to_store("three");
    workshop
        .cairn(&["plan"])
        .code(3)
        .err_has("app/Dockerfile:1")
        .err_has("the connection failed");
    workshop
        .cairn(&["plan", "--offline"])
        .code(2)
        .err_has("`--offline` forbids to pull it");
}

#[test]
fn a_lone_build_pulls_what_it_names_and_keeps_the_layers_as_they_are() {
    let Some((mut workshop, registry, name)) = with_registry() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        &format!("ARG B=nothing\nFROM $B\nRUN --mount=from={name},target=/m test -x /m/bin/sh\n"),
    );
    workshop.move_to_store("fresh");
    let b = format!("B={name}");
    workshop
        .cairn(&["build", "--build-arg", &b, "-t", "app", "./app"])
        .success();
    workshop.cairn(&["export", "app", "layout"]).success();
    workshop.cairn(&["pull", &name]).success();
    workshop.cairn(&["export", &name, "base"]).success();
    let base = std::fs::read_dir(workshop.path().join("base/blobs/sha256")).unwrap();
    let largest = base
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap();
    let same = workshop
        .path()
        .join("layout/blobs/sha256")
        .join(largest.file_name());
    assert!(same.is_file(), "the base's layer goes out as it came");
    let lines = registry.log();
    let blob = format!("/blobs/sha256:{}", largest.file_name().display());
    let fetched = lines.lines().filter(|line| {
        line.contains(&blob) && line.contains("GET") && line.contains("response completed")
    });
    assert_eq!(fetched.count(), 1, "{lines}");
}

#[test]
fn a_pushed_image_is_pulled_by_others_and_sent_once() {
    let Some((workshop, registry, name)) = with_registry() else {
        return;
    };
    let host = registry.host();
    workshop.write(
        "app/Dockerfile",
        &format!("FROM {name}\nRUN echo word > /word\n"),
    );
    workshop.cairn(&["build", "-t", "app", "./app"]).success();
    let there = format!("{host}/lab/app:2");
    let pushed = workshop.cairn(&["push", "app", &there]).success();
    assert!(
        pushed.err.contains("1 from other repositories"),
        "{}",
        pushed.err
    );
    let again = workshop
        .cairn(&["push", "app", &there])
        .success()
        .err_has("the registry has it already");
    assert_eq!(again.out, pushed.out);
    let copied = skopeo()
        .args(["copy", "--src-tls-verify=false"])
        .args([&format!("docker://{there}"), "dir:copied"])
        .current_dir(workshop.path())
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
    let manifest = std::fs::read(workshop.path().join("copied/manifest.json")).unwrap();
    let digest = cairn_oci::Digest::sha256(&manifest);
    assert_eq!(pushed.out, format!("{host}/lab/app@{digest}\n"));
    workshop
        .cairn(&["push", "app", &format!("{host}/lab/app@{digest}")])
        .code(2)
        .err_has("name a tag instead");
    workshop
        .cairn(&["push", "app", "127.0.0.1:1/app"])
        .code(3)
        .err_has("the connection failed");
    workshop
        .cairn(&["push", "nothing"])
        .code(2)
        .err_has("no image `nothing`");
}

#[test]
fn the_store_is_a_registry_for_others() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    if !needs("skopeo", skopeo().arg("--version").output().is_ok()) {
        return;
    }
    workshop.write("app/Dockerfile", "FROM base\nRUN echo word > /word\n");
    for name in ["app", "ghcr.io/lab/app:2"] {
        workshop.cairn(&["build", "-t", name, "./app"]).success();
    }
    let digest = workshop.cairn(&["export", "app", "app.tar"]).success().out;
    workshop
        .cairn(&["serve", "--registry", "--address", "0.0.0.0:0"])
        .code(2)
        .err_has("only addresses of this machine");
    let mut serving = workshop
        .command(&["serve", "--registry", "--address", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut out = BufReader::new(serving.stdout.take().unwrap());
    out.read_line(&mut address).unwrap();
    let host = address.trim();

    let asked = |arguments: &[&str], name: &str| {
        let ran = skopeo()
            .args(arguments)
            .arg(format!("docker://{host}/{name}"))
            .current_dir(workshop.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let inspect = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
    for name in ["app", "library/app:latest", "ghcr.io/lab/app:2"] {
        assert_eq!(asked(&inspect, name), digest, "{name}");
    }
    let tags = asked(&["list-tags", "--tls-verify=false"], "ghcr.io/lab/app");
    assert!(tags.contains("\"2\"") && !tags.contains("latest"), "{tags}");
    let copied = skopeo()
        .args(["copy", "--src-tls-verify=false"])
        .args([&format!("docker://{host}/app"), "dir:copied"])
        .current_dir(workshop.path())
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
    workshop.move_to_store("another");
    let pulled = workshop.cairn(&["pull", &format!("{host}/app")]).success();
    assert_eq!(pulled.out, format!("{host}/app@{digest}"));
    let ran = workshop
        .cairn(&["run", &format!("{host}/app"), "cat", "/word"])
        .success();
    assert_eq!(ran.out, "word\n");
    workshop
        .cairn(&["push", &format!("{host}/app")])
        .success()
        .err_has("the registry has it already");
    workshop
        .cairn(&["push", &format!("{host}/app"), &format!("{host}/other")])
        .code(3)
        .err_has("405: this registry is read-only");
    serving.kill().unwrap();
    serving.wait().unwrap();
}

/// The digests that a tag of images means, by another tool; `None` where there is none.
fn digests(host: &str, images: &[&str], tag: &str) -> Vec<Option<String>> {
    let digest = |image: &&str| {
        let ran = skopeo()
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
            .arg(format!("docker://{host}/lab/{image}:{tag}"))
            .output()
            .unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        ran.status.success().then(|| text.trim().to_owned())
    };
    images.iter().map(digest).collect()
}

/// A stack of three images, one of them internal, for two registries.
fn stack_of_two(workshop: &Workshop, registries: &[&str]) {
    let names: Vec<String> = registries
        .iter()
        .map(|host| format!("\"{host}/lab\""))
        .collect();
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"s\"\nregistries = [{}]\n[image.under]\ncontext = \"under\"\n\
             internal = true\n[image.app]\ncontext = \"app\"\n\
             tests = {{ structure = \"test.yaml\" }}\n[image.tool]\ncontext = \"tool\"\n",
            names.join(", ")
        ),
    );
    workshop.write("under/Dockerfile", "FROM base\nRUN echo under > /under\n");
    workshop.write("app/Dockerfile", "FROM under\nCOPY word /word\n");
    workshop.write("app/word", "one");
    workshop.write("tool/Dockerfile", "FROM under\nENV TOOL=yes\n");
    workshop.write(
        "test.yaml",
        "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: word\n  path: /word\n  shouldExist: true\n",
    );
}

#[test]
fn a_stack_is_published_everywhere_or_nowhere() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let (Some(one), Some(mut two)) = (
        DockerRegistry::start(Guard::Open),
        DockerRegistry::start(Guard::Open),
    ) else {
        return;
    };
    let two_host = two.host().to_owned();
    let hosts = [one.host(), two_host.as_str()];
    stack_of_two(&workshop, &hosts);
    let images = ["app", "tool"];
    let means = |tag: &str| hosts.map(|host| digests(host, &images, tag));

    let published = workshop.cairn(&["publish", "--tag", "main"]).success();
    assert_eq!(published.out.lines().count(), 4, "{}", published.out);
    let [first, same] = means("main");
    assert!(
        first == same && first.iter().all(Option::is_some),
        "{first:?}"
    );
    assert_eq!(digests(hosts[0], &["under"], "main"), [None]);

    let again = workshop
        .cairn(&["publish", "--tag", "main", "--json"])
        .success();
    assert!(again.err.contains("note: 0 sent"), "{}", again.err);
    assert!(
        again.err.contains("all tags mean it already"),
        "{}",
        again.err
    );
    let json: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(json["images"][0]["image"], "app");
    assert_eq!(json["images"][0]["digest"], first[0].as_deref().unwrap());
    assert_eq!(
        json["images"][0]["reference"],
        format!("{}/lab/app:main", hosts[0])
    );

    // A failing test, a pull request, a dry run, a registry that is away: nothing moves.
    workshop.write("app/word", "two");
    workshop
        .cairn(&["publish", "--tag", "main", "--dry-run"])
        .success()
        .err_has("2 tags would");
    let request = workshop
        .command(&["publish", "--tag", "main"])
        .env("GITHUB_EVENT_NAME", "pull_request")
        .output();
    let request = request.unwrap();
    assert!(request.status.success() && request.stdout.is_empty());
    two.stop();
    workshop
        .cairn(&["publish", "--tag", "main"])
        .code(3)
        .err_has("nothing was switched")
        .err_has(two.host())
        .err_has("--best-effort");
    two.resume();
    workshop.write("test.yaml", "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: w\n  path: /none\n  shouldExist: true\n");
    workshop.cairn(&["publish", "--tag", "main"]).code(1);
    assert_eq!(means("main"), [first.clone(), first.clone()]);

    // With one registry left out on demand, the other has the new one.
    stack_of_two(&workshop, &hosts);
    workshop.write("app/word", "two");
    two.stop();
    workshop
        .cairn(&["publish", "--tag", "main", "--best-effort"])
        .success()
        .err_has("published on 1 of 2 registries");
    two.resume();
    let [new, old] = means("main");
    assert!(new[0] != first[0] && old == first, "{new:?} {old:?}");
    workshop
        .cairn(&["rollback", "main"])
        .code(2)
        .err_has("never meant");
    workshop.cairn(&["publish", "--tag", "main"]).success();
    assert_eq!(means("main"), [new.clone(), new.clone()]);

    // Promotion and rollback, seen by others.
    workshop.cairn(&["promote", "main", "stable"]).success();
    assert_eq!(means("stable"), [new.clone(), new]);
    let log = workshop.cairn(&["log", "stable"]).success();
    assert!(log.out.contains("promoted from main"), "{}", log.out);
    workshop
        .cairn(&["log", "other"])
        .success()
        .err_has("nothing was published as `other`");
    workshop
        .cairn(&["promote", "none", "stable"])
        .code(2)
        .err_has("no generation was published as `none`");
    workshop
        .cairn(&["publish", "--tag", "a/b"])
        .code(2)
        .err_has("`a/b` cannot be a tag");
    workshop
        .cairn(&["publish", "--tag", "x", "--registry", "lab"])
        .code(2)
        .err_has("names no registry");
}

#[test]
fn a_killed_publish_is_ended_by_the_next() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    stack_of_two(&workshop, &[registry.host()]);
    workshop.cairn(&["publish", "--tag", "main"]).success();
    for round in 0..5_u64 {
        workshop.write("app/word", &format!("round {round}"));
        workshop.write(
            "tool/Dockerfile",
            &format!("FROM under\nENV TOOL={round}\n"),
        );
        let mut publish = workshop
            .command(&["publish", "--tag", "main"])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(80 * round + 40));
        publish.kill().unwrap();
        publish.wait().unwrap();
        let ended = workshop.cairn(&["publish", "--tag", "main"]).success();
        let expected: Vec<Option<String>> = ended
            .out
            .lines()
            .map(|line| line.split_once(' ').map(|(_, digest)| digest.to_owned()))
            .collect();
        assert_eq!(digests(registry.host(), &["app", "tool"], "main"), expected);
        let again = workshop.cairn(&["publish", "--tag", "main"]).success();
        assert!(again.err.contains("0 sent"), "{}", again.err);
    }
    let log = workshop.cairn(&["log", "main"]).success().out;
    assert_eq!(log.lines().count(), 1 + 6, "{log}");
}
