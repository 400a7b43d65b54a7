//! Images leave the store and come back the same.

use crate::workshop::Workshop;

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
