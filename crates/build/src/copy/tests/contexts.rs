//! What a context shows: behaviours 23, 34 and 35, kept digests, archives as contexts.

use std::fs::File;
use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_oci::Compression;

use super::adding::{Tar, gzip};
use super::*;
use crate::context::{ContextError, IgnoreFileError};

#[test]
fn later_lines_of_the_ignore_file_win() {
    let bench = Bench::new();
    bench.write(&[
        ".dockerignore=*\n!src\nsrc/*.log\n!src/keep.log\n",
        "a=1",
        "src/b=2",
        "src/c.log=3",
        "src/keep.log=4",
    ]);
    bench.check(
        &[],
        &Copy::new(&["."], "/"),
        &["src/", "src/b=2", "src/keep.log=4"],
    );
}

#[test]
fn a_file_comes_back_from_under_an_ignored_directory() {
    let bench = Bench::new();
    bench.write(&[
        ".dockerignore=dir\n!dir/sub/keep\n.dockerignore\n",
        "0700 dir/",
        "dir/a=1",
        "0711 dir/sub/",
        "dir/sub/keep=2",
        "dir/sub/drop=3",
        "dir/other/x=4",
    ]);
    bench.check(
        &[],
        &Copy::new(&["."], "/"),
        &["0700 dir/", "0711 dir/sub/", "dir/sub/keep=2"],
    );
    bench.check(&[], &Copy::new(&["dir/sub/keep"], "/"), &["keep=2"]);
    bench.check_fails(
        &[],
        &Copy::new(&["dir/other"], "/"),
        "\"/dir/other\": not found (excluded by \"dir\" in .dockerignore:1)",
    );
}

#[test]
fn ignored_directories_are_not_read() {
    let bench = Bench::new();
    bench.write(&[".dockerignore=.dockerignore\nlocked\n", "locked/x=1", "f=1"]);
    // Nobody can list it, not even root, if it is gone by the time it would be read.
    let context = bench.context();
    let selected = bench
        .select(&context, &Copy::new(&["."], "/"))
        .expect("a selection");
    assert_eq!(selected.len(), 2, "the root and one file");
    assert_eq!(selected.bytes(), 1);
}

#[test]
fn the_dockerfiles_own_ignore_file_wins() {
    let bench = Bench::new();
    bench.write(&[
        ".dockerignore=a\n",
        "Dockerfile.dockerignore=b\n*ocker*\n",
        "a=1",
        "b=2",
    ]);
    bench.check(&[], &Copy::new(&["."], "/"), &["a=1"]);
}

#[test]
fn a_line_that_means_nothing_is_an_error_with_its_place() {
    let bench = Bench::new();
    bench.write(&[".dockerignore=ok\n!\n"]);
    let error =
        Context::directory(&bench.context, Path::new("/none/Dockerfile")).expect_err("an error");
    let ContextError::Ignore(error @ IgnoreFileError::Pattern { .. }) = error else {
        panic!("{error:?}")
    };
    assert!(error.to_string().ends_with(".dockerignore:2"), "{error}");
    let source = std::error::Error::source(&error).expect("a cause");
    assert_eq!(source.to_string(), "illegal exclusion pattern: \"!\"");
}

#[test]
fn a_context_that_is_no_directory_is_an_error() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    let error = Context::named_directory(&bench.context.join("f")).expect_err("an error");
    assert!(matches!(error, ContextError::Open { .. }));
}

#[test]
fn digests_are_kept_and_a_changed_file_is_read_again() {
    let bench = Bench::new();
    bench.write(&["a=1", "b=2"]);
    let old = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(12345));
    for name in ["a", "b"] {
        let file = fs::File::options()
            .write(true)
            .open(bench.context.join(name))
            .expect("a file");
        file.set_times(old).expect("a time");
    }
    let digest = || {
        let context = bench.context().keeping_digests(&bench.store);
        let selection = bench
            .select(&context, &Copy::new(&["."], "/"))
            .expect("a selection");
        context.save_digests().expect("a save");
        *selection.digest()
    };
    let first = digest();
    assert_eq!(digest(), first);
    // The same size and modification time: the change time tells.
    fs::write(bench.context.join("a"), "x").expect("a write");
    let file = fs::File::options()
        .write(true)
        .open(bench.context.join("a"))
        .expect("a file");
    file.set_times(old).expect("a time");
    assert_ne!(digest(), first);
}

#[test]
fn an_empty_context_holds_nothing() {
    let bench = Bench::new();
    let context = Context::empty();
    bench.check_from(&context, &[], &Copy::new(&["."], "/d/"), &["d/"]);
    let error = bench
        .select(&context, &Copy::new(&["f"], "/"))
        .expect_err("an error");
    assert_eq!(error.to_string(), "\"/f\": not found");
}

#[test]
fn an_archive_serves_as_context() {
    let bench = Bench::new();
    let archive = Tar::new()
        .dir("./", 0o755, (0, 0))
        .file("./src/a", "1", 0o4755, (1000, 1000))
        .link("./src/l", "a")
        .bytes();
    let context = Context::archive(
        Cursor::new(gzip(&archive)),
        "ctx.tgz",
        &bench.store,
        &bench.cancel,
    )
    .expect("a context");
    bench.check_from(
        &context,
        &[],
        &Copy::new(&["src"], "/d"),
        &["d/", "4755 d/a=1", "d/l>a"],
    );
}

#[test]
fn a_hostile_archive_is_no_context() {
    let bench = Bench::new();
    let archive = Tar::new().file("../../evil", "x", 0o644, (0, 0)).bytes();
    let error = Context::archive(Cursor::new(archive), "c.tar", &bench.store, &bench.cancel)
        .expect_err("an error");
    let cause = std::error::Error::source(&error)
        .expect("a cause")
        .to_string();
    assert_eq!(
        cause,
        "archive entry \"../../evil\" leads out of the destination"
    );
}

#[test]
fn a_directory_exchanged_for_a_link_is_not_followed() {
    let bench = Bench::new();
    bench.write(&["dir/f=mine"]);
    let outside = bench.context.parent().expect("a parent").join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("f"), "secret").expect("a file");
    let context = bench.context();
    let copy = Copy::new(&["dir"], "/d");
    let selection = bench.select(&context, &copy).expect("a selection");
    fs::rename(bench.context.join("dir"), bench.context.join("was")).expect("a rename");
    symlink(&outside, bench.context.join("dir")).expect("a link");
    let active = bench.store.begin_snapshot().expect("a snapshot");
    bench
        .apply(&context, &selection, &[], &copy, &active)
        .expect_err("not followed");
}

/// The times that an exported layer tells of its files, with an epoch after every clock.
fn told_times(bench: &Bench, active: ActiveSnapshot) -> Vec<(String, u64)> {
    let snapshot = active.commit().expect("a commit");
    let layer = bench
        .store
        .export_layer(&snapshot, LATE as i64, Compression::None)
        .expect("a layer");
    let bytes = bench.store.read_blob(&layer.descriptor.digest);
    let mut archive = tar::Archive::new(Cursor::new(bytes.expect("a blob")));
    let told = |entry: tar::Entry<'_, _>| {
        let path = entry.path().expect("a path").display().to_string();
        (path, entry.header().mtime().expect("a time"))
    };
    let entries = archive.entries().expect("entries");
    entries
        .map(|entry| told(entry.expect("an entry")))
        .collect()
}

const LATE: u64 = 4_000_000_000;
const OLD: SystemTime = UNIX_EPOCH;

fn set_time(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_modified(time).expect("a time");
}

#[test]
fn when_a_context_was_checked_out_does_not_show() {
    let bench = Bench::new();
    bench.write(&["a=1", "b=2"]);
    set_time(&bench.context.join("a"), OLD);
    let copy = Copy::new(&["a", "b"], "/");
    let copied = bench.run(&bench.context(), &[], &copy).expect("a copy");
    // A step that runs on it sees the file's own time, as with other builders.
    let seen = fs::metadata(copied.upper().join("a")).expect("a file");
    assert_eq!(seen.modified().expect("a time"), OLD);
    let told = [("a".to_owned(), LATE), ("b".to_owned(), LATE)];
    assert_eq!(told_times(&bench, copied), told);
}

#[test]
fn times_in_an_archive_are_part_of_its_content() {
    let bench = Bench::new();
    let tar = Tar::new().file("old", "1", 0o644, (0, 0)).bytes();
    fs::write(bench.context.join("a.tar"), tar).expect("a file");
    let copy = Copy {
        unpack: true,
        ..Copy::new(&["a.tar"], "/")
    };
    let copied = bench.run(&bench.context(), &[], &copy).expect("a copy");
    assert_eq!(told_times(&bench, copied), [("old".to_owned(), 77)]);
}

#[test]
fn a_copy_from_a_stage_keeps_the_times_that_a_step_chose() {
    let bench = Bench {
        time: LATE as i64,
        ..Bench::new()
    };
    let stage = bench.store.begin_snapshot().expect("a snapshot");
    for name in ["chosen", "made"] {
        fs::write(stage.upper().join(name), name).expect("a file");
    }
    set_time(&stage.upper().join("chosen"), OLD);
    let stage = stage.commit().expect("a commit");
    let copy = Copy::new(&["chosen", "made"], "/");
    let copied = bench
        .run(&bench.tree(&[stage]), &[], &copy)
        .expect("a copy");
    let told = [("chosen".to_owned(), 0), ("made".to_owned(), LATE)];
    assert_eq!(told_times(&bench, copied), told);
}
