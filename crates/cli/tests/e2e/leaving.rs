//! Images leave the store and come back the same.

use std::fs;
use std::io::Read;

use serde_json::Value;

use crate::workshop::{Workshop, said};

#[test]
fn an_exported_layout_comes_back_with_its_digest() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN echo data > /data\nCMD [\"cat\", \"/data\"]\n",
    );
    workshop
        .cairn(&[
            "build",
            "-t",
            "app",
            "--output",
            "type=oci,dest=app.tar",
            "./app",
        ])
        .success();
    workshop
        .cairn(&[
            "build",
            "--output",
            "type=docker,dest=app-docker.tar",
            "./app",
        ])
        .success();
    workshop.move_to_store("another");
    for (name, source) in [
        ("one", "oci:app.tar"),
        ("two", "docker-archive:app-docker.tar"),
    ] {
        workshop.cairn(&["load", "-t", name, source]).success();
        assert_eq!(workshop.cairn(&["run", name]).success().out, "data\n");
    }
    workshop
        .cairn(&["export", "--format", "oci", "one", "again/"])
        .success();
    let index = workshop.read("again/index.json");
    let digest = index.split("sha256:").nth(1).expect("a digest")[..64].to_owned();
    let inspected = workshop.cairn(&["inspect", "one"]).success();
    assert!(inspected.out.contains(&digest), "{}", inspected.out);
}

#[test]
fn every_form_of_archive_is_taken_from_a_pipe() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    let forms = ["oci", "docker", "tar"];
    for form in forms {
        let to = format!("{form}.tar");
        workshop
            .cairn(&["export", "--format", form, "base", &to])
            .success();
    }
    workshop.move_to_store("another");
    for form in forms {
        for source in [&["-"][..], &[]] {
            let archive = fs::File::open(workshop.path().join(format!("{form}.tar")));
            let name = format!("{form}{}", source.len());
            let load = [&["load", "-t", &name], source].concat();
            let piped = workshop
                .command(&load)
                .stdin(archive.expect("an archive"))
                .output();
            said(piped.expect("the program runs")).success();
            let ran = workshop.cairn(&["run", &name, "echo", "hi"]).success();
            assert_eq!(ran.out, "hi\n");
        }
    }
    workshop.write("short.tar", "");
    let empty = fs::File::open(workshop.path().join("short.tar")).expect("a file");
    let piped = workshop.command(&["load", "-t", "x"]).stdin(empty).output();
    said(piped.expect("the program runs"))
        .code(2)
        .err_has("standard input");
    let left = fs::read_dir(workshop.path().join("another")).expect("a store");
    let names: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    let strangers = names
        .iter()
        .filter(|name| name.as_encoded_bytes().starts_with(b"."));
    assert_eq!(strangers.count(), 0, "{names:?}");
}

#[test]
fn an_archive_that_its_reader_cuts_off_is_a_failure() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let mut cut = workshop
        .command(&["export", "--format", "tar", "base", "-"])
        .spawn()
        .expect("the program runs");
    let mut start = [0; 512];
    let mut out = cut.stdout.take().expect("a pipe");
    out.read_exact(&mut start).expect("the beginning");
    drop(out);
    said(cut.wait_with_output().expect("an end"))
        .code(3)
        .err_has("whoever reads the archive stopped before its end");
}

#[test]
fn an_image_has_one_id_that_is_the_same_in_every_store() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nENV A=1\nLABEL b=2\nRUN echo data > /data\nCMD [\"cat\", \"/data\"]\n",
    );
    let build = |workshop: &Workshop, more: &[&str]| {
        let command = [&["build", "--iidfile", "iid"], more, &["./app"]].concat();
        let said = workshop.cairn(&command).success();
        let id = workshop.read("iid");
        assert_eq!(said.out, format!("{id}\n"));
        said.err_has(&id["sha256:".len()..][..12]);
        id
    };
    let id = build(&workshop, &[]);
    for name in [id.as_str(), &id["sha256:".len()..]] {
        assert_eq!(workshop.cairn(&["run", name]).success().out, "data\n");
    }
    assert_eq!(build(&workshop, &["-t", "app"]), id);
    let listed = workshop.cairn(&["images", "app"]).success().out;
    let short = &id["sha256:".len()..][..12];
    assert!(listed.contains(short), "{listed}");
    assert_eq!(workshop.cairn(&["run", short]).success().out, "data\n");
    workshop.cairn(&["export", "app", "app.tar"]).success();

    workshop.move_to_store("another");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    assert_eq!(build(&workshop, &["-t", "again"]), id);
    workshop.move_to_store("third");
    workshop.cairn(&["load", "app.tar"]).success();
    let inspected = workshop.cairn(&["inspect", "app"]).success().out;
    assert!(inspected.contains(&id), "{inspected}");
    assert_eq!(workshop.cairn(&["run", &id]).success().out, "data\n");
}

#[test]
fn files_are_put_among_those_that_are_there_and_that_is_told() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("out/own", "mine");
    workshop.write("out/etc/passwd", "old");
    workshop
        .cairn(&["export", "--format", "local", "base", "out"])
        .success()
        .err_has("out was not empty");
    assert_eq!(workshop.read("out/own"), "mine");
    assert!(workshop.read("out/etc/passwd").starts_with("root:"));
    workshop
        .cairn(&["export", "--output", "type=local,dest=new", "base"])
        .success()
        .err_lacks("not empty");
}

#[test]
fn names_come_and_go() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let tagged = workshop.cairn(&["tag", "base", "lab/base:1", "again"]);
    let names = "docker.io/lab/base:1\ndocker.io/library/again:latest\n";
    assert_eq!(tagged.success().out, names);
    assert_eq!(
        workshop
            .cairn(&["run", "again", "echo", "hi"])
            .success()
            .out,
        "hi\n"
    );

    let one = workshop.cairn(&["rm", "again"]).success();
    assert_eq!(one.out, "docker.io/library/again:latest\n");
    workshop.cairn(&["run", "lab/base:1", "true"]).success();

    // One that is not there keeps the others.
    workshop
        .cairn(&["rm", "lab/base:1", "bose"])
        .code(2)
        .err_has("the store has no image `bose`")
        .err_has("did you mean `");
    workshop
        .cairn(&["run", "nosuch"])
        .code(125)
        .err_has("the store has no image `nosuch`")
        .err_lacks("did you mean")
        .err_has("`cairn images` lists what there is");
    workshop.cairn(&["run", "lab/base:1", "true"]).success();

    let listed = workshop
        .cairn(&["images", "--json", "base:1"])
        .success()
        .out;
    let id = listed
        .split("\"id\": \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let all = workshop.cairn(&["rmi", id]).success();
    assert_eq!(
        all.out,
        "docker.io/lab/base:1\ndocker.io/library/base:latest\n"
    );
    assert_eq!(workshop.cairn(&["images", "-q"]).success().out, "");
}

#[test]
fn an_output_may_ask_for_other_times() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let file = "ARG SOURCE_DATE_EPOCH=1445412480\nFROM base\nCOPY Dockerfile /\n";
    workshop.write("app/Dockerfile", file);
    let build = |attributes: &str| {
        let output = format!("type=oci,tar=false,dest=out,{attributes}");
        workshop.cairn(&["build", "-o", &output, "./app"]).success();
        let document = |path: String| -> Value {
            serde_json::from_str(&workshop.read(&format!("out/{path}"))).unwrap()
        };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            document(format!("blobs/{}", digest.replace(':', "/")))
        };
        let manifest = blob(&document("index.json".to_owned())["manifests"][0]);
        let marks = manifest["layers"].as_array().unwrap().iter();
        let marks = marks.map(|layer| layer["annotations"]["buildkit/rewritten-timestamp"].clone());
        let created = blob(&manifest["config"])["created"].clone();
        (marks.collect::<Vec<_>>(), created)
    };
    let asked = "2015-10-21T07:28:00Z";
    let nothing = Value::Null;
    let marked = |epoch: &str| vec![nothing.clone(), epoch.into()];
    assert_eq!(
        build("rewrite-timestamp=true"),
        (marked("1445412480"), asked.into())
    );
    let both = "rewrite-timestamp=true,source-date-epoch=";
    let unmarked = (vec![nothing.clone(), nothing.clone()], asked.into());
    assert_eq!(build(both), unmarked);
    assert_eq!(build("compression=gzip"), unmarked);
    let other = build("rewrite-timestamp=true,source-date-epoch=1700000000");
    assert_eq!(other, (marked("1700000000"), "2023-11-14T22:13:20Z".into()));
}
