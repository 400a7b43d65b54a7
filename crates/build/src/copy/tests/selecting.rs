//! Which files sources mean, and what their digest depends on: behaviours 20, 21, 28, 29.

use super::*;

#[test]
fn parents_keeps_the_path_from_the_pivot_on() {
    let bench = Bench::new();
    bench.write(&[
        "0700 foo1/",
        "0711 foo1/foo2/",
        "foo1/foo2/bar=1",
        "foo1/foo2/baz=2",
        "foo1/x=3",
    ]);
    let parents = |paths, dest| Copy {
        parents: true,
        ..Copy::new(paths, dest)
    };
    bench.check(
        &[],
        &parents(&["foo1/foo2/bar"], "/"),
        &["0700 foo1/", "0711 foo1/foo2/", "foo1/foo2/bar=1"],
    );
    bench.check(
        &["test/"],
        &parents(&["foo1/foo2/ba*"], "/test/"),
        &[
            "test/",
            "0700 test/foo1/",
            "0711 test/foo1/foo2/",
            "test/foo1/foo2/bar=1",
            "test/foo1/foo2/baz=2",
        ],
    );
    bench.check(
        &[],
        &parents(&["foo1/./foo2/bar"], "/"),
        &["0711 foo2/", "foo2/bar=1"],
    );
    bench.check(
        &[],
        &parents(&["./foo1/x"], "/"),
        &["0700 foo1/", "foo1/x=3"],
    );
    bench.check(
        &[],
        &parents(&["foo1/./"], "/d/"),
        &[
            "d/",
            "0711 d/foo2/",
            "d/foo2/bar=1",
            "d/foo2/baz=2",
            "d/x=3",
        ],
    );
}

#[test]
fn parents_with_wildcards() {
    let bench = Bench::new();
    let source = bench.layer(&[
        "test/a/b/c/d/foo=1",
        "test/a/b/c/d/e/bay=2",
        "test/a/b2/c/d/e/bar=3",
        "test/a/b/c2/d/e/baz=4",
        "test/a/b/c2/d/e2/baz=5",
    ]);
    let tree = bench.tree(&[source]);
    let parents = |paths| Copy {
        parents: true,
        ..Copy::new(paths, "/out/")
    };
    bench.check_from(
        &tree,
        &[],
        &parents(&["/test/a/./b/./c"]),
        &[
            "out/",
            "out/b/",
            "out/b/c/",
            "out/b/c/d/",
            "out/b/c/d/e/",
            "out/b/c/d/e/bay=2",
            "out/b/c/d/foo=1",
        ],
    );
    bench.check_from(
        &tree,
        &[],
        &parents(&["/test/a/./b2*/c"]),
        &[
            "out/",
            "out/b2/",
            "out/b2/c/",
            "out/b2/c/d/",
            "out/b2/c/d/e/",
            "out/b2/c/d/e/bar=3",
        ],
    );
    bench.check_from(
        &tree,
        &[],
        &parents(&["/test/a/b*/./c/**/e"]),
        &[
            "out/",
            "out/c/",
            "out/c/d/",
            "out/c/d/e/",
            "out/c/d/e/bar=3",
            "out/c/d/e/bay=2",
        ],
    );
    bench.check_from(
        &tree,
        &[],
        &parents(&["/test/a/b/c*/./d/**/baz", "/test/a/b*/./c/**/bar"]),
        &[
            "out/",
            "out/c/",
            "out/c/d/",
            "out/c/d/e/",
            "out/c/d/e/bar=3",
            "out/d/",
            "out/d/e/",
            "out/d/e/baz=4",
            "out/d/e2/",
            "out/d/e2/baz=5",
        ],
    );
}

#[test]
fn parents_makes_nothing_for_what_does_not_match() {
    let bench = Bench::new();
    bench.write(&["test/a/b/c/f=1"]);
    let parents = |paths| Copy {
        parents: true,
        ..Copy::new(paths, "/out/")
    };
    bench.check(&[], &parents(&["/test/a/b2*/c"]), &["out/"]);
    bench.check(&[], &parents(&["/test/a/b/./c2*"]), &["out/"]);
    bench.check(&[], &parents(&["/test/x*/./c"]), &[]);
    bench.check_fails(
        &[],
        &parents(&["/test/nonexistent-file"]),
        "\"/test/nonexistent-file\": not found",
    );
}

#[test]
fn a_passage_that_exists_takes_only_the_mode() {
    let bench = Bench::new();
    bench.write(&["0700 etc/", "etc/f=1"]);
    let copy = Copy {
        parents: true,
        owner: Some((9, 9)),
        ..Copy::new(&["etc/f"], "/")
    };
    bench.check(
        &["3:4 etc/", "etc/old=0"],
        &copy,
        &["0700 3:4 etc/", "9:9 etc/f=1", "etc/old=0"],
    );
}

#[test]
fn exclude_is_relative_to_each_source() {
    let bench = Bench::new();
    bench.write(&[
        "dir1/a.png=1",
        "dir1/b.txt=2",
        "dir2/c.png=3",
        "dir2/sub/d.png=4",
        "e.png=5",
    ]);
    let copy = |exclude, paths, dest| Copy {
        exclude,
        ..Copy::new(paths, dest)
    };
    bench.check(
        &[],
        &copy(&["*/*.png"], &["."], "/1"),
        &[
            "1/",
            "1/dir1/",
            "1/dir1/b.txt=2",
            "1/dir2/",
            "1/dir2/sub/",
            "1/dir2/sub/d.png=4",
            "1/e.png=5",
        ],
    );
    bench.check(
        &[],
        &copy(&["*.png"], &["dir*"], "/2/"),
        &["2/", "2/b.txt=2", "2/sub/", "2/sub/d.png=4"],
    );
    bench.check(
        &[],
        &copy(&["**/*.png"], &["dir2"], "/3/"),
        &["3/", "3/sub/"],
    );
    bench.check(&[], &copy(&["*"], &["dir*"], "/4"), &["4/"]);
    bench.check(
        &[],
        &copy(&["sub", "!sub/d.png"], &["dir2"], "/5"),
        &["5/", "5/c.png=3", "5/sub/", "5/sub/d.png=4"],
    );
    // A file that only a wildcard names can be excluded; one that is named outright cannot.
    bench.check(
        &[],
        &copy(&["*.png"], &["dir1/*"], "/6/"),
        &["6/", "6/b.txt=2"],
    );
    bench.check(
        &[],
        &copy(&["*.png"], &["e.png"], "/7/"),
        &["7/", "7/e.png=5"],
    );
    bench.check_fails(
        &[],
        &copy(&["!"], &["."], "/"),
        "invalid pattern \"!\": illegal exclusion pattern: \"!\"",
    );
}

#[test]
fn missing_sources_are_errors_that_name_what_is_near() {
    let bench = Bench::new();
    bench.write(&[
        "src/main.py=1",
        "requirements.txt=2",
        ".dockerignore=secret*\n",
        "secret=3",
    ]);
    bench.check_fails(&[], &Copy::new(&["foo"], "/"), "\"/foo\": not found");
    bench.check_fails(&[], &Copy::new(&["a/../foo/"], "/"), "\"/foo\": not found");
    bench.check_fails(&[], &Copy::new(&["foo/*.py"], "/"), "\"/foo\": not found");
    bench.check_fails(
        &[],
        &Copy::new(&["secret"], "/"),
        "\"/secret\": not found (excluded by \"secret*\" in .dockerignore:1)",
    );
    let near = |path| match bench.select(&bench.context(), &Copy::new(&[path], "/")) {
        Err(SelectError::NotFound { near, .. }) => near,
        other => panic!("{other:?}"),
    };
    assert_eq!(near("requirement.txt"), ["requirements.txt"]);
    assert_eq!(near("src/mian.py"), ["src/main.py"]);
    assert_eq!(near("zzz"), [""; 0]);
    assert_eq!(near("/home/ann/main.py"), ["src/main.py"], "elsewhere");
}

#[test]
fn a_link_out_of_the_source_is_named_with_its_target() {
    let bench = Bench::new();
    bench.write(&["out>/etc/passwd", "up>../../x", "dir/in>../out"]);
    let link = |path| match bench.select(&bench.context(), &Copy::new(&[path], "/")) {
        Err(SelectError::NotFound { dangling, .. }) => {
            dangling.map(|link| (link.path, link.target))
        }
        other => panic!("{other:?}"),
    };
    let named = |path: &str, target: &str| Some((path.to_owned(), target.to_owned()));
    assert_eq!(link("out"), named("out", "/etc/passwd"));
    assert_eq!(link("up"), named("up", "../../x"));
    assert_eq!(link("dir/in"), named("dir/in", "../out"));
    assert_eq!(link("out/below"), named("out", "/etc/passwd"));
    assert_eq!(link("missing"), None);
}

#[test]
fn a_bad_wildcard_is_an_error() {
    let bench = Bench::new();
    bench.write(&["f=1"]);
    let error = bench
        .select(&bench.context(), &Copy::new(&["[a"], "/"))
        .expect_err("an error");
    assert!(matches!(error, SelectError::Pattern { .. }), "{error}");
}

#[test]
fn wildcards_match_one_component_and_enter_no_link() {
    let bench = Bench::new();
    bench.write(&["a/x=1", "a/b/x=2", "l>a", "a[b=3"]);
    bench.check(&[], &Copy::new(&["*/x"], "/d/"), &["d/", "d/x=1"]);
    bench.check(&[], &Copy::new(&["**/x"], "/d/"), &["d/", "d/x=1"]);
    bench.check(&[], &Copy::new(&["l/x*"], "/d/"), &["d/", "d/x=1"]);
    bench.check(&[], &Copy::new(&["a[[]b"], "/d/"), &["d/", "d/a[b=3"]);
}

#[test]
fn links_never_lead_out_of_the_source() {
    let bench = Bench::new();
    fs::write(
        bench.context.parent().expect("a parent").join("outside"),
        "secret",
    )
    .expect("write");
    bench.write(&[
        "up>../outside",
        "abs>/etc/passwd",
        "dir>..",
        "loop>loop",
        "in=1",
    ]);
    bench.check_fails(&[], &Copy::new(&["up"], "/"), "\"/up\": not found");
    bench.check_fails(&[], &Copy::new(&["abs"], "/"), "\"/abs\": not found");
    bench.check_fails(
        &[],
        &Copy::new(&["../outside"], "/"),
        "\"/outside\": not found",
    );
    bench.check_fails(
        &[],
        &Copy::new(&["loop"], "/"),
        "\"/loop\": too many levels of symbolic links",
    );
    // `..` at the root stays at the root.
    bench.check(&[], &Copy::new(&["dir/in"], "/"), &["in=1"]);
}

/// The digests of two selections, made around a change.
fn around(bench: &Bench, copy: &Copy<'_>, change: impl FnOnce()) -> bool {
    let digest = || {
        *bench
            .select(&bench.context(), copy)
            .expect("a selection")
            .digest()
    };
    let before = digest();
    change();
    before == digest()
}

#[test]
fn nothing_outside_the_selection_enters_the_digest() {
    let bench = Bench::new();
    bench.write(&[
        "src/a=1",
        "src/sub/b=2",
        "other=3",
        "src/skip.log=x",
        ".dockerignore=*.tmp\n",
    ]);
    let copy = Copy {
        exclude: &["*.log"],
        ..Copy::new(&["src"], "/")
    };
    assert!(around(&bench, &copy, || bench.write(&[
        "other=4",
        "new=5",
        "src/x.log=y"
    ])));
    assert!(around(&bench, &copy, || {
        fs::set_permissions(bench.context.join("src"), Permissions::from_mode(0o700))
            .expect("mode");
    }));
    assert!(around(&bench, &copy, || {
        fs::rename(bench.context.join("src"), bench.context.join("s")).expect("a rename");
        fs::rename(bench.context.join("s"), bench.context.join("src")).expect("a rename");
    }));
    // A time alone is nothing.
    assert!(around(&bench, &copy, || bench.write(&["src/a=1"])));
    assert!(!around(&bench, &copy, || bench.write(&["src/a=2"])));
    assert!(!around(&bench, &copy, || bench.write(&["src/new=1"])));
    assert!(!around(&bench, &copy, || bench.write(&["0600 src/a=2"])));
    assert!(!around(&bench, &copy, || bench.write(&["src/l>a"])));
    assert!(!around(&bench, &copy, || {
        fs::rename(
            bench.context.join("src/sub/b"),
            bench.context.join("src/sub/c"),
        )
        .expect("move");
    }));
    assert!(!around(&bench, &copy, || {
        fs::remove_file(bench.context.join("src/new")).expect("a removal");
        fs::hard_link(bench.context.join("src/a"), bench.context.join("src/new")).expect("a link");
    }));
}

#[test]
fn the_name_of_a_file_counts_and_that_of_a_directory_does_not() {
    let bench = Bench::new();
    bench.write(&["f1=1", "d1/x=1"]);
    assert!(!around(&bench, &Copy::new(&["f*"], "/"), || {
        fs::rename(bench.context.join("f1"), bench.context.join("f2")).expect("a rename");
    }));
    assert!(around(&bench, &Copy::new(&["d*"], "/"), || {
        fs::rename(bench.context.join("d1"), bench.context.join("d2")).expect("a rename");
    }));
}

#[test]
fn owners_count_in_layers_only() {
    let bench = Bench::new();
    let one = bench.layer(&["d/f=1"]);
    let other = bench.layer(&["7:7 d/", "d/f=1"]);
    let third = bench.layer(&["d/", "7:7 d/f=1"]);
    let digest = |layer| {
        let selection = bench.select(&bench.tree(&[layer]), &Copy::new(&["d"], "/"));
        *selection.expect("a selection").digest()
    };
    assert_eq!(
        digest(one),
        digest(other),
        "the source directory itself is not copied"
    );
    assert_ne!(digest(one), digest(third));
    // The same files, split among layers in another way.
    let parts = [bench.layer(&["d/g=old", "d/f=0"]), bench.layer(&["d/f=1"])];
    let whole = [bench.layer(&["d/f=1", "d/g=old"])];
    let digest = |layers: &[SnapshotId]| {
        let selection = bench.select(&bench.tree(layers), &Copy::new(&["d"], "/"));
        *selection.expect("a selection").digest()
    };
    assert_eq!(digest(&parts), digest(&whole));
}
