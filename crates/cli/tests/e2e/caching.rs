//! Cache mounts: kept between builds, listed, carried to another store, removed.

use crate::workshop::{Workshop, has_many_ids};

const DOCKERFILE: &str = "FROM base\n\
    RUN --mount=type=cache,id=packages,target=/c cat /c/kept; echo from-before > /c/kept\n\
    RUN --mount=type=cache,id=other,target=/c,mode=0700,uid=1000 touch /c/x; stat -c 'is %a %u' /c\n";

#[test]
fn a_cache_is_carried_to_another_store_and_removed() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", DOCKERFILE);
    let build = ["build", "--progress", "plain", "./app"];
    workshop.cairn(&build).success().err_lacks("from-before\n");
    let listed = workshop.cairn(&["cache", "ls"]).success().out;
    assert!(
        listed.contains("packages") && listed.contains("other"),
        "{listed}"
    );
    let saved = workshop.cairn(&["cache", "save", "caches"]).success().out;
    assert_eq!(saved, "other\npackages\n");
    std::fs::create_dir(workshop.path().join("folder")).unwrap();
    let one = ["cache", "save", "folder", "--id", "packages"];
    assert_eq!(workshop.cairn(&one).success().out, "packages\n");
    workshop
        .cairn(&["cache", "save", "x", "--id", "nothing"])
        .code(2)
        .err_has("packages");

    workshop.move_to_store("elsewhere");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    workshop.cairn(&["cache", "restore", "caches"]).success();
    workshop
        .cairn(&build)
        .success()
        .err_has("from-before\n")
        .err_has(if has_many_ids() {
            "is 700 1000"
        } else {
            "is 700 "
        });
    workshop.cairn(&["gc", "--cache-mounts", "0"]).success();
    assert!(
        !workshop
            .cairn(&["cache", "ls"])
            .success()
            .out
            .contains("packages")
    );
    workshop.cairn(&["cache", "restore", "folder"]).success();
    let listed = workshop.cairn(&["cache", "ls", "--json"]).success().out;
    assert!(
        listed.contains("packages") && !listed.contains("other"),
        "{listed}"
    );
    workshop
        .cairn(&["cache", "restore", "caches", "--id", "nothing"])
        .code(2)
        .err_has("holds no cache `nothing`");
    workshop
        .cairn(&["cache", "restore", "base.tar"])
        .code(2)
        .err_has("holds no caches");
}

#[test]
fn results_are_taken_from_another_machines_directory() {
    let Some(mut workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/note", "x");
    workshop.write(
        "app/Dockerfile",
        "FROM base AS made\nCOPY note /note\nRUN echo compiling; rm /etc/group; echo made > /made\n\
         FROM base\nRUN true; echo nothing-changes\nCOPY --from=made /made /made\nRUN echo linking; cp /made /linked\n",
    );
    let build = |workshop: &Workshop, more: &[&str]| {
        let common = [
            "build",
            "--progress",
            "plain",
            "-o",
            "type=oci,dest=image.tar",
            "./app",
        ];
        workshop.cairn(&[&common, more].concat()).success()
    };
    build(&workshop, &["--cache-from", "type=local,src=kept"]).err_has("no cache at kept yet");
    workshop.write("file", "");
    build(&workshop, &["--cache-from", "type=local,src=file"])
        .err_has("no cache at file: that is no directory");
    let first = std::fs::read(workshop.path().join("image.tar")).unwrap();
    build(&workshop, &["--cache-to", "type=local,dest=kept,mode=max"]).err_lacks(" compiling\n");

    workshop.move_to_store("elsewhere");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    build(&workshop, &["--cache-from", "type=local,src=kept"])
        .err_lacks(" compiling\n")
        .err_lacks(" nothing-changes\n")
        .err_lacks(" linking\n");
    let second = std::fs::read(workshop.path().join("image.tar")).unwrap();
    assert!(first == second, "the same bytes on both machines");

    // A cache that was tampered with is no cache.
    workshop.move_to_store("third");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    let blobs = workshop.path().join("kept/blobs/sha256");
    let blobs: Vec<_> = std::fs::read_dir(blobs)
        .unwrap()
        .map(|blob| blob.unwrap().path())
        .collect();
    let (one, other) = (
        std::fs::read(&blobs[0]).unwrap(),
        std::fs::read(&blobs[1]).unwrap(),
    );
    std::fs::write(&blobs[0], other).unwrap();
    std::fs::write(&blobs[1], one).unwrap();
    build(&workshop, &["--cache-from", "type=local,src=kept"]);
    let third = std::fs::read(workshop.path().join("image.tar")).unwrap();
    assert!(first == third, "and after tampering");
}
