//! Where files go and what they become: behaviours 19 to 30 and 33 of the conformance list.

use super::*;

#[test]
fn a_source_directory_copies_its_contents() {
    let bench = Bench::new();
    bench.write(&["0700 src/", "src/a=1", "0700 src/sub/", "src/sub/b=2"]);
    // The made destination has mode 0755 whatever the source has; what lies inside keeps its own.
    for dest in ["/app", "/app/"] {
        bench.check(
            &[],
            &Copy::new(&["src"], dest),
            &["app/", "app/a=1", "0700 app/sub/", "app/sub/b=2"],
        );
    }
    bench.check(
        &[],
        &Copy::new(&["src/."], "/"),
        &["a=1", "0700 sub/", "sub/b=2"],
    );
}

#[test]
fn a_file_goes_into_a_directory_or_takes_the_name() {
    let bench = Bench::new();
    bench.write(&["f=1", "g=2"]);
    bench.check(&[], &Copy::new(&["f"], "/x"), &["x=1"]);
    bench.check(&[], &Copy::new(&["f"], "/x/"), &["x/", "x/f=1"]);
    bench.check(&["x/"], &Copy::new(&["f"], "/x"), &["x/", "x/f=1"]);
    bench.check(
        &[],
        &Copy::new(&["f"], "/a/b/c"),
        &["a/", "a/b/", "a/b/c=1"],
    );
    bench.check(
        &[],
        &Copy::new(&["f", "g"], "/x/"),
        &["x/", "x/f=1", "x/g=2"],
    );
}

#[test]
fn later_sources_replace_earlier_ones() {
    let bench = Bench::new();
    bench.write(&["a/x=1", "a/y=1", "b/x=2", "c/z=3"]);
    bench.check(
        &[],
        &Copy::new(&["a", "b", "c"], "/d/"),
        &["d/", "d/x=2", "d/y=1", "d/z=3"],
    );
    // Two matches of a wildcard, one destination that is no directory: the last one stays.
    bench.check(&[], &Copy::new(&["*/x"], "/one"), &["one=2"]);
    bench.check(&[], &Copy::new(&["a/x", "b/x"], "/d/"), &["d/", "d/x=2"]);
}

#[test]
fn wildcards_put_each_match_at_the_destination() {
    let bench = Bench::new();
    bench.write(&["foo.go=1", "bar.go=2", "sub/dir1/dir2/foo=3", "other=4"]);
    bench.check(
        &[],
        &Copy::new(&["*.go"], "/go/"),
        &["go/", "go/bar.go=2", "go/foo.go=1"],
    );
    bench.check(&[], &Copy::new(&["f*.go"], "/foo2.go"), &["foo2.go=1"]);
    bench.check(
        &[],
        &Copy::new(&["sub/*"], "/d/"),
        &["d/", "d/dir2/", "d/dir2/foo=3"],
    );
    bench.check(
        &[],
        &Copy::new(&["sub/*/dir2/foo"], "/d/bar"),
        &["d/", "d/bar=3"],
    );
    bench.check(&[], &Copy::new(&["other", "nomatch*"], "/"), &["other=4"]);
    bench.check(&["x=1"], &Copy::new(&["nomatch*"], "/made/"), &["x=1"]);
}

#[test]
fn top_level_links_are_followed_and_nested_ones_kept() {
    let bench = Bench::new();
    bench.write(&[
        "bar=b",
        "foo>bar",
        "sub/l0>file",
        "sub/file=f",
        "sub/l1>l0",
        "dir>sub",
    ]);
    bench.check(&[], &Copy::new(&["foo"], "/"), &["foo=b"]);
    bench.check(
        &[],
        &Copy::new(&["sub/l*"], "/all/"),
        &["all/", "all/l0=f", "all/l1=f"],
    );
    bench.check(
        &[],
        &Copy::new(&["dir"], "/d"),
        &["d/", "d/file=f", "d/l0>file", "d/l1>l0"],
    );
    bench.check(&[], &Copy::new(&["dir/file"], "/"), &["file=f"]);
}

#[test]
fn destination_links_resolve_inside_the_root() {
    let bench = Bench::new();
    bench.write(&["f=new", "src/sub/x=1"]);
    bench.check(
        &["real/", "link>/real"],
        &Copy::new(&["f"], "/link/"),
        &["link>/real", "real/", "real/f=new"],
    );
    bench.check(
        &["out>../../../../tmp/somewhere"],
        &Copy::new(&["f"], "/out/"),
        &[
            "out>../../../../tmp/somewhere",
            "tmp/",
            "tmp/somewhere/",
            "tmp/somewhere/f=new",
        ],
    );
    // The last part too: the file that the link means is replaced, the link stays.
    bench.check(
        &["file=old", "link>file"],
        &Copy::new(&["f"], "/link"),
        &["file=new", "link>file"],
    );
    // Inside a destination directory a link is replaced itself.
    bench.check(
        &["d/f>../file", "file=old"],
        &Copy::new(&["f"], "/d/"),
        &["d/", "d/f=new", "file=old"],
    );
    bench.check_fails(
        &["a>b", "b>a"],
        &Copy::new(&["f"], "/a/x"),
        "/a: too many levels of symbolic links",
    );
}

#[test]
fn a_directory_never_replaces_a_file_or_link_nor_the_reverse() {
    let bench = Bench::new();
    bench.write(&["src/sub/x=1", "files/sub=f", "f=1"]);
    bench.check_fails(
        &["d/sub=file"],
        &Copy::new(&["src"], "/d"),
        "cannot copy to non-directory: /d/sub",
    );
    bench.check_fails(
        &["d/sub>/etc", "etc/"],
        &Copy::new(&["src"], "/d"),
        "cannot copy to non-directory: /d/sub",
    );
    bench.check_fails(
        &["d=file"],
        &Copy::new(&["src"], "/d"),
        "cannot copy to non-directory: /d",
    );
    bench.check_fails(
        &["d/sub/"],
        &Copy::new(&["files"], "/d"),
        "cannot replace directory /d/sub with file",
    );
    bench.check_fails(
        &["d=file"],
        &Copy::new(&["f"], "/d/"),
        "/d: not a directory",
    );
    bench.check_fails(
        &["d=file"],
        &Copy::new(&["f"], "/d/x/y"),
        "/d: not a directory",
    );
    // The same between two sources of one instruction.
    bench.check_fails(
        &[],
        &Copy::new(&["src", "files"], "/d/"),
        "cannot replace directory /d/sub with file",
    );
    bench.check_fails(
        &[],
        &Copy::new(&["files", "src"], "/d/"),
        "cannot copy to non-directory: /d/sub",
    );
}

#[test]
fn context_files_belong_to_root_and_keep_special_bits() {
    let bench = Bench::new();
    bench.write(&[
        "4755 tool=x",
        "1777 tmp/",
        "2755 tmp/group=y",
        "0400 read=z",
    ]);
    bench.check(
        &[],
        &Copy::new(&["."], "/d/"),
        &[
            "d/",
            "0400 d/read=z",
            "1777 d/tmp/",
            "2755 d/tmp/group=y",
            "4755 d/tool=x",
        ],
    );
}

#[test]
fn layers_keep_their_owners_and_the_made_destination_is_roots() {
    let bench = Bench::new();
    let source = bench.layer(&[
        "100:200 dir/",
        "101:201 dir/subdir/",
        "102:202 dir/subdir/file=f",
        "100:200 file=g",
        "7:8 dir/link>subdir",
    ]);
    let tree = bench.tree(&[source]);
    bench.check_from(
        &tree,
        &[],
        &Copy::new(&["/dir"], "/dir"),
        &[
            "dir/",
            "7:8 dir/link>subdir",
            "101:201 dir/subdir/",
            "102:202 dir/subdir/file=f",
        ],
    );
    bench.check_from(&tree, &[], &Copy::new(&["/file"], "/"), &["100:200 file=g"]);
}

#[test]
fn chown_covers_what_is_copied_and_made_and_nothing_that_was_there() {
    let bench = Bench::new();
    let source = bench.layer(&["100:200 dir/", "dir/subdir/", "102:202 dir/subdir/file=f"]);
    let tree = bench.tree(&[source]);
    let base = [
        "500:600 there/",
        "501:601 there/sub/",
        "501:601 there/file=old",
    ];
    let chown = Copy {
        owner: Some((300, 400)),
        ..Copy::new(&["/dir/."], "/there")
    };
    bench.check_from(
        &tree,
        &base,
        &chown,
        &[
            "500:600 there/",
            "501:601 there/file=old",
            "501:601 there/sub/",
            "300:400 there/subdir/",
            "300:400 there/subdir/file=f",
        ],
    );
    let chown = Copy {
        owner: Some((300, 400)),
        ..Copy::new(&["/dir/subdir/file"], "/a/b/")
    };
    bench.check_from(
        &tree,
        &[],
        &chown,
        &["300:400 a/", "300:400 a/b/", "300:400 a/b/file=f"],
    );
}

#[test]
fn owners_are_recorded_where_they_cannot_be_given() {
    let bench = Bench::with_ownership(Ownership::Recorded);
    bench.write(&["4755 f=1", "d/l>x"]);
    let copy = Copy {
        owner: Some((12, 34)),
        ..Copy::new(&["."], "/o/")
    };
    bench.check(
        &["5:6 there/"],
        &copy,
        &[
            "12:34 o/",
            "12:34 o/d/",
            "12:34 o/d/l>x",
            "4755 12:34 o/f=1",
            "5:6 there/",
        ],
    );
}

#[test]
fn nested_directories_that_exist_take_the_sources_metadata() {
    let bench = Bench::new();
    bench.write(&["0700 src/", "0750 src/sub/", "src/sub/new=1"]);
    bench.check(
        &["0711 3:4 d/", "0777 5:6 d/sub/", "d/sub/old=0"],
        &Copy::new(&["src"], "/d"),
        &["0711 3:4 d/", "0750 d/sub/", "d/sub/new=1", "d/sub/old=0"],
    );
}

#[test]
fn chmod_sets_files_directories_and_made_parents() {
    let bench = Bench::new();
    bench.write(&["0600 foo=1", "0700 dir/", "0600 dir/f=2", "0711 dir/sub/"]);
    let copy = |chmod, paths, dest| Copy {
        chmod: Some(chmod),
        ..Copy::new(paths, dest)
    };
    bench.check(
        &[],
        &copy("777", &["foo"], "/parent/sub/foo"),
        &["0777 parent/", "0777 parent/sub/", "0777 parent/sub/foo=1"],
    );
    bench.check(
        &[],
        &copy("500", &["dir"], "/d"),
        &["0500 d/", "0500 d/f=2", "0500 d/sub/"],
    );
    bench.check(
        &[],
        &copy("go+rX", &["dir"], "/d"),
        &["d/", "d/f=2", "d/sub/"],
    );
    bench.check(
        &[],
        &copy("4711", &["foo"], "/d/"),
        &["0711 d/", "4711 d/foo=1"],
    );
}

#[test]
fn hard_links_inside_the_copied_tree_stay_links() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    bench.write(&["src/a=same", "src/sub/", "src/alone=1"]);
    fs::hard_link(bench.context.join("src/a"), bench.context.join("src/sub/b")).expect("a link");
    fs::hard_link(
        bench.context.join("src/alone"),
        bench.context.join("elsewhere"),
    )
    .expect("link");
    let copy = Copy {
        owner: Some((1, 2)),
        ..Copy::new(&["src"], "/d")
    };
    let active = bench.run(&bench.context(), &[], &copy).expect("a copy");
    let stat = |path: &str| fs::symlink_metadata(active.upper().join(path)).expect("a file");
    assert_eq!(stat("d/a").ino(), stat("d/sub/b").ino());
    assert_eq!(stat("d/alone").nlink(), 1);
    assert_eq!(
        bench.change(active),
        [
            "1:2 d/",
            "1:2 d/a=same",
            "1:2 d/alone=1",
            "1:2 d/sub/",
            "1:2 d/sub/b=same"
        ]
    );
}

#[test]
fn replacing_one_name_of_a_hard_link_leaves_the_other() {
    let bench = Bench::new();
    bench.write(&["a/x=old", "b/x=new"]);
    fs::hard_link(bench.context.join("a/x"), bench.context.join("a/y")).expect("a link");
    bench.check(
        &[],
        &Copy::new(&["a", "b"], "/d/"),
        &["d/", "d/x=new", "d/y=old"],
    );
    bench.check(
        &[],
        &Copy::new(&["a", "b/x"], "/d/"),
        &["d/", "d/x=new", "d/y=old"],
    );
}

#[test]
fn hard_links_of_a_layer_stay_links() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let active = bench.store.begin_snapshot().expect("a snapshot");
    fs::write(active.upper().join("a"), "same").expect("a file");
    fs::hard_link(active.upper().join("a"), active.upper().join("b")).expect("a link");
    let source = active.commit().expect("a commit");
    let copied = bench
        .run(&bench.tree(&[source]), &[], &Copy::new(&["/"], "/d/"))
        .expect("a copy");
    let stat = |path: &str| fs::symlink_metadata(copied.upper().join(path)).expect("a file");
    assert_eq!(stat("d/a").ino(), stat("d/b").ino());
}

#[test]
fn sockets_of_a_context_become_empty_files() {
    let bench = Bench::new();
    let _listener = std::os::unix::net::UnixListener::bind(bench.context.join("socket.sock"))
        .expect("a socket");
    let mode = Permissions::from_mode(0o600);
    fs::set_permissions(bench.context.join("socket.sock"), mode).expect("a mode");
    bench.check(&[], &Copy::new(&["."], "/"), &["0600 socket.sock="]);
}

#[test]
fn fifos_are_copied_and_not_read() {
    let bench = Bench::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let path = bench.context.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a fifo");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
    bench.check(
        &[],
        &Copy::new(&["."], "/d/"),
        &["d/", "0640 d/pipe Fifo (0, 0)"],
    );
}

#[test]
fn user_attributes_of_a_context_are_dropped() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    let flags = rustix::fs::XattrFlags::empty();
    for name in ["user.note", "user.overlay.opaque", "user.cairn.owner"] {
        rustix::fs::setxattr(bench.context.join("f"), name, b"7:7", flags).expect("an attribute");
    }
    let active = bench
        .run(&bench.context(), &[], &Copy::new(&["f"], "/"))
        .expect("a copy");
    let mut names = [0_u8; 256];
    let length = rustix::fs::listxattr(active.upper().join("f"), &mut names).expect("names");
    assert_eq!(String::from_utf8_lossy(&names[..length]), "");
}

#[test]
fn file_capabilities_of_a_context_are_kept_and_count() {
    let bench = Bench::new();
    bench.write(&["f=1", "g=1"]);
    // Version 2, `cap_net_raw` permitted and effective.
    let mut capability = [0_u8; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    let name = "security.capability";
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(bench.context.join("f"), name, &capability, flags);
    if !cairn_testkit::needs_of_root("to give a file capabilities", set.is_ok()) {
        return;
    }
    let active = bench
        .run(&bench.context(), &[], &Copy::new(&["f"], "/"))
        .expect("a copy");
    let mut value = [0_u8; 64];
    let length = rustix::fs::getxattr(active.upper().join("f"), name, &mut value).expect("a value");
    assert_eq!(value[..length], capability);
    let digest = || {
        let selection = bench.select(&bench.context(), &Copy::new(&["f"], "/"));
        *selection.expect("a selection").digest()
    };
    let with = digest();
    rustix::fs::removexattr(bench.context.join("f"), name).expect("a removal");
    assert_ne!(digest(), with);
}

#[test]
fn devices_of_a_layer_stay_devices() {
    let bench = Bench::new();
    let active = bench.store.begin_snapshot().expect("a snapshot");
    let kind = cairn_store::DeviceKind::Char;
    active
        .make_device(Path::new("null"), kind, 1, 3, 0o666)
        .expect("a device");
    let source = active.commit().expect("a commit");
    let copied = bench
        .run(&bench.tree(&[source]), &[], &Copy::new(&["null"], "/dev/"))
        .expect("a copy");
    assert_eq!(
        bench.change(copied),
        ["dev/", "0666 dev/null CharDevice (1, 3)"]
    );
}

#[test]
fn attributes_of_a_layer_are_kept() {
    let bench = Bench::new();
    let active = bench.store.begin_snapshot().expect("a snapshot");
    fs::write(active.upper().join("f"), "1").expect("a file");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(active.upper().join("f"), "user.note", b"kept", flags).expect("attribute");
    let source = active.commit().expect("a commit");
    let copied = bench
        .run(&bench.tree(&[source]), &[], &Copy::new(&["f"], "/"))
        .expect("a copy");
    let mut value = [0_u8; 16];
    let length =
        rustix::fs::getxattr(copied.upper().join("f"), "user.note", &mut value).expect("a value");
    assert_eq!(&value[..length], b"kept");
}

#[test]
fn the_change_holds_only_what_was_copied_and_its_directories() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    let base = bench.layer(&["0750 3:4 a/", "0711 5:6 a/b/", "a/b/old=0", "a/other/x=0"]);
    let active = bench
        .run(&bench.context(), &[base], &Copy::new(&["f"], "/a/b/"))
        .expect("a copy");
    assert_eq!(
        bench.change(active),
        ["0750 3:4 a/", "0711 5:6 a/b/", "a/b/f=1"]
    );
}

#[test]
fn directories_that_were_there_keep_their_time_and_made_ones_get_the_given() {
    let bench = Bench::new();
    bench.write(&["src/f=1"]);
    let old = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(12345));
    let source = fs::File::open(bench.context.join("src")).expect("a directory");
    source.set_times(old).expect("a time");
    let base = bench.store.begin_snapshot().expect("a snapshot");
    fs::create_dir(base.upper().join("there")).expect("a directory");
    let there = fs::File::open(base.upper().join("there")).expect("a directory");
    there.set_times(old).expect("a time");
    let base = base.commit().expect("a commit");
    let time = |active: &ActiveSnapshot, path: &str| {
        let modified = fs::metadata(active.upper().join(path)).and_then(|m| m.modified());
        let since = modified
            .expect("a time")
            .duration_since(std::time::UNIX_EPOCH);
        since.expect("a time after 1970").as_secs()
    };
    let copy = Copy::new(&["src/f"], "/there/made/");
    let active = bench.run(&bench.context(), &[base], &copy).expect("a copy");
    assert_eq!(time(&active, "there"), 12345);
    assert_eq!(time(&active, "there/made"), 1_000_000_000);
    // A made destination of a directory's contents takes the directory's time, as in BuildKit.
    let active = bench
        .run(&bench.context(), &[], &Copy::new(&["src"], "/d"))
        .expect("a copy");
    assert_eq!(time(&active, "d"), 12345);
}

#[test]
fn link_does_not_look_at_the_layers_below() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    // With `--link` the layers are not given: a link at the destination is not followed.
    let active = bench
        .run(&bench.context(), &[], &Copy::new(&["f"], "/l/x/"))
        .expect("a copy");
    let base = bench.layer(&["real/", "l>real"]);
    let top = active.commit().expect("a commit");
    assert_eq!(
        bench.listing(&[base, top]),
        ["l/", "l/x/", "l/x/f=1", "real/"]
    );
}

#[test]
fn a_file_that_changed_since_it_was_selected_is_an_error() {
    let bench = Bench::new();
    bench.write(&["f=one", "g=same"]);
    let context = bench.context();
    let copy = Copy::new(&["."], "/");
    let selection = bench.select(&context, &copy).expect("a selection");
    fs::write(bench.context.join("f"), "two").expect("a write");
    let active = bench.store.begin_snapshot().expect("a snapshot");
    let error = bench
        .apply(&context, &selection, &[], &copy, &active)
        .expect_err("a change");
    assert_eq!(
        error.to_string(),
        "`f` of the context changed while the build was running"
    );
    fs::remove_file(bench.context.join("f")).expect("a removal");
    let active = bench.store.begin_snapshot().expect("a snapshot");
    let error = bench
        .apply(&context, &selection, &[], &copy, &active)
        .expect_err("a change");
    assert!(matches!(error, CopyError::Changed { .. }), "{error}");
}

#[test]
fn names_that_mean_deletion_in_layers_are_refused() {
    let bench = Bench::new();
    bench.write(&["src/.wh.passwd=x"]);
    let expected = "\"src/.wh.passwd\": names that begin with `.wh.` mean deletion in image \
                    layers and cannot be added";
    bench.check_fails(&[], &Copy::new(&["src"], "/etc"), expected);
}

#[test]
fn a_cancelled_copy_stops() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    let context = bench.context();
    let copy = Copy::new(&["."], "/");
    let selection = bench.select(&context, &copy).expect("a selection");
    bench.cancel.cancel();
    let active = bench.store.begin_snapshot().expect("a snapshot");
    let error = bench
        .apply(&context, &selection, &[], &copy, &active)
        .expect_err("a stop");
    assert!(matches!(error, CopyError::Cancelled));
}
