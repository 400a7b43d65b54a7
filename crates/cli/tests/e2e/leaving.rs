//! Images leave the store and come back the same.

use std::fs;

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
