//! Layers, mounts, and that nothing but what the program changed is ever in the upper.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use cairn_sandbox::overlay;
use cairn_sandbox::{Mount, SandboxError, Writable};

use crate::fixture::{Fixture, describe, run, tree, try_run, write};
use crate::mode::ALL;
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases![ALL;
        an_upper_holds_changes_only,
        deletions_are_whiteouts_and_opaque_directories,
        three_hundred_layers,
        odd_paths_of_layers,
        mount_points_leave_no_trace,
        hidden_mount_points_leave_no_trace,
        links_of_the_image_lead_nowhere_outside,
        binds_are_writable_or_not,
        discarded_writes_are_gone,
        layers_are_mounted_in_part,
        secrets_are_files_in_memory,
        mounts_within_mounts,
        what_cannot_be_mounted_says_why,
        roots_that_keep_nothing,
        an_upper_that_was_used_before,
        an_overlay_for_the_caller,
        a_scratch_directory_over_layers_is_refused,
    ]
}

fn target(path: &str) -> PathBuf {
    PathBuf::from(path)
}

fn an_upper_holds_changes_only(fixture: &Fixture) {
    let place = fixture.place();
    run(&fixture.shell(&place, "ls -R / >/dev/null; cat /etc/passwd >/dev/null")).succeeded();
    assert_eq!(tree(&place.upper), [""; 0]);
    let place = fixture.place();
    run(&fixture.shell(
        &place,
        "mkdir /new; echo x > /new/file; echo y >> /etc/passwd; ln -s a /l",
    ))
    .succeeded();
    let expected = ["d etc", "d new", "f etc/passwd", "f new/file", "l l"];
    assert_eq!(tree(&place.upper), expected);
    assert_eq!(
        fs::read_to_string(fixture.image.join("etc/passwd"))
            .unwrap()
            .lines()
            .count(),
        1
    );
}

fn deletions_are_whiteouts_and_opaque_directories(fixture: &Fixture) {
    let place = fixture.place();
    let extra = fixture.dir("extra");
    write(&extra.join("dir/old"), "");
    let mut sandbox = fixture.shell(
        &place,
        "rm /etc/passwd; rm -r /dir; mkdir /dir; touch /dir/new; ls /dir",
    );
    sandbox.lowers.push(extra);
    assert_eq!(run(&sandbox).succeeded(), "new");
    assert_eq!(
        tree(&place.upper),
        ["c etc/passwd", "d dir", "d etc", "f dir/new"]
    );
    let whiteout = fs::symlink_metadata(place.upper.join("etc/passwd")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let mut opaque = [0; 4];
    let dir = place.upper.join("dir");
    let length = rustix::fs::getxattr(&dir, "user.overlay.opaque", &mut opaque).unwrap();
    assert_eq!(&opaque[..length], b"y");
    // The upper serves as a layer.
    let next = fixture.place();
    let mut sandbox = fixture.shell(&next, "ls /dir; ls /etc");
    sandbox.lowers.push(place.upper);
    assert!(run(&sandbox).succeeded().starts_with("new\n"));
}

fn three_hundred_layers(fixture: &Fixture) {
    let base = fixture.dir("layers");
    let layers: Vec<PathBuf> = (0..300).map(|i| base.join(i.to_string())).collect();
    for (i, layer) in layers.iter().enumerate() {
        write(&layer.join(format!("d/{i}")), "");
        write(&layer.join("d/top"), &i.to_string());
    }
    let mut sandbox = fixture.shell(&fixture.place(), "ls /d | wc -l; cat /d/top");
    sandbox.lowers.extend(layers);
    assert_eq!(run(&sandbox).succeeded(), "301\n299");
    sandbox
        .lowers
        .extend(std::iter::repeat_n(fixture.image.clone(), 201));
    let error = describe(&try_run(&sandbox).unwrap_err());
    assert!(error.contains("layers") && error.contains("500"), "{error}");
}

fn odd_paths_of_layers(fixture: &Fixture) {
    let base = fixture.dir("odd");
    let names = [
        "with:colon,comma",
        "back\\slash",
        "with space",
        &"long".repeat(60),
    ];
    let layers: Vec<PathBuf> = names.iter().map(|name| base.join(name)).collect();
    for (i, layer) in layers.iter().enumerate() {
        write(&layer.join(format!("odd/{i}")), "");
    }
    let mut sandbox = fixture.shell(&fixture.place(), "ls /odd | wc -l");
    sandbox.lowers.extend(layers);
    assert_eq!(run(&sandbox).succeeded(), "4");
}

fn mount_points_leave_no_trace(fixture: &Fixture) {
    let source = fixture.dir("source");
    write(&source.join("file"), "content");
    let place = fixture.place();
    let script = "cat /a/b/c/file /run/one; ls -d /cache/deep; test -e /etc/hosts";
    let mut sandbox = fixture.shell(&place, script);
    sandbox.mounts = vec![
        Mount::Bind {
            source: source.clone(),
            target: target("/a/b/c"),
            read_only: true,
        },
        Mount::Bind {
            source: source.join("file"),
            target: target("/run/one"),
            read_only: true,
        },
        Mount::Tmpfs {
            target: target("/cache/deep"),
            size_bytes: None,
            mode: 0o755,
        },
    ];
    assert_eq!(run(&sandbox).succeeded(), "contentcontent/cache/deep");
    assert_eq!(tree(&place.upper), [""; 0]);
}

fn hidden_mount_points_leave_no_trace(fixture: &Fixture) {
    // A layer that says: /proc was deleted, /data is new and empty, /etc/resolv.conf leads
    // somewhere that does not exist. The deletions are made by a run, as in a build.
    let below = fixture.dir("below");
    write(&below.join("data/old/file"), "");
    write(&below.join("gone/file"), "");
    let first = fixture.place();
    let script = "rm -r /data /gone; mkdir -m 750 /data; \
                  ln -s ../run/systemd/resolve/stub.conf /tmp/resolv; ls /tmp";
    let mut sandbox = fixture.shell(&first, script);
    sandbox.lowers.push(below.clone());
    run(&sandbox).succeeded();
    fs::create_dir_all(first.upper.join("etc")).unwrap();
    symlink(
        "../run/systemd/resolve/stub.conf",
        first.upper.join("etc/resolv.conf"),
    )
    .unwrap();

    let place = fixture.place();
    let script = "stat -c %a /data; ls -d /data/old/in /gone; cat /data/secret; \
                  test -s /etc/resolv.conf && echo resolver; readlink /etc/resolv.conf";
    let mut sandbox = fixture.shell(&place, script);
    sandbox.lowers.extend([below, first.upper]);
    sandbox.resolver = cairn_sandbox::Resolver::Text("nameserver 10.0.0.1\n".to_owned());
    sandbox.mounts = vec![
        Mount::Tmpfs {
            target: target("/data/old/in"),
            size_bytes: None,
            mode: 0o700,
        },
        Mount::Tmpfs {
            target: target("/gone"),
            size_bytes: None,
            mode: 0o700,
        },
        secret("/data/secret", "s3cret\n"),
    ];
    assert_eq!(
        run(&sandbox).succeeded(),
        "750\n/data/old/in\n/gone\ns3cret\nresolver\n../run/systemd/resolve/stub.conf"
    );
    assert_eq!(tree(&place.upper), [""; 0]);
}

fn secret(path: &str, content: &str) -> Mount {
    let content = content.as_bytes().to_vec();
    Mount::File {
        target: target(path),
        content,
        mode: 0o400,
        uid: 0,
        gid: 0,
    }
}

fn links_of_the_image_lead_nowhere_outside(fixture: &Fixture) {
    let outside = fixture.dir("outside");
    let extra = fixture.dir("evil");
    symlink(&outside, extra.join("absolute")).unwrap();
    symlink(
        format!("../../../../../..{}", outside.display()),
        extra.join("relative"),
    )
    .unwrap();
    symlink("/proc/1/root/tmp", extra.join("magic")).unwrap();
    let place = fixture.place();
    let mut sandbox = fixture.shell(&place, "cat /absolute/in /relative/in2; test -d /dev/pts");
    sandbox.lowers.push(extra);
    sandbox.mounts = vec![secret("/absolute/in", "1"), secret("/relative/in2", "2")];
    assert_eq!(run(&sandbox).succeeded(), "12");
    assert_eq!(tree(&outside), [""; 0]);
    assert_eq!(tree(&place.upper), [""; 0]);
}

fn binds_are_writable_or_not(fixture: &Fixture) {
    let source = fixture.dir("source");
    let bind = |read_only| Mount::Bind {
        source: source.clone(),
        target: target("/b"),
        read_only,
    };
    let mut sandbox = fixture.shell(&fixture.place(), "touch /b/written");
    sandbox.mounts = vec![bind(true)];
    assert!(run(&sandbox).stderr.contains("Read-only file system"));
    sandbox = fixture.shell(&fixture.place(), "touch /b/written");
    sandbox.mounts = vec![bind(false)];
    run(&sandbox).succeeded();
    assert_eq!(tree(&source), ["f written"]);
}

fn discarded_writes_are_gone(fixture: &Fixture) {
    let source = fixture.dir("source");
    write(&source.join("dir/file"), "old");
    let script = "echo new > /b/dir/file; rm -r /b/dir; mkdir /b/dir; touch /b/x; ls -R /b; \
                  echo more >> /f; cat /f";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.mounts = vec![
        Mount::BindDiscard {
            source: source.clone(),
            target: target("/b"),
        },
        Mount::BindDiscard {
            source: source.join("dir/file"),
            target: target("/f"),
        },
    ];
    assert_eq!(run(&sandbox).succeeded(), "/b:\ndir\nx\n\n/b/dir:\noldmore");
    assert_eq!(tree(&source), ["d dir", "f dir/file"]);
    assert_eq!(fs::read_to_string(source.join("dir/file")).unwrap(), "old");
}

fn layers_are_mounted_in_part(fixture: &Fixture) {
    let (low, high) = (fixture.dir("low"), fixture.dir("high"));
    write(&low.join("src/a"), "low a");
    write(&low.join("src/b"), "low b");
    write(&high.join("src/b"), "high b");
    symlink("src", high.join("link")).unwrap();
    let layers = |subpath: &str, at: &str, read_only| Mount::Layers {
        lowers: vec![low.clone(), high.clone()],
        subpath: target(subpath),
        target: target(at),
        read_only,
    };
    let script = "cat /s/a /s/b /f; ls /all; touch /s/no 2>&1; touch /w/yes && ls /w";
    let place = fixture.place();
    let mut sandbox = fixture.shell(&place, script);
    sandbox.mounts = vec![
        layers("/link", "/s", true),
        layers("src/b", "/f", true),
        layers("/", "/all", true),
        layers("/src", "/w", false),
    ];
    let seen = run(&sandbox).succeeded();
    assert!(seen.starts_with("low ahigh bhigh blink\nsrc\n"), "{seen}");
    assert!(
        seen.contains("Read-only") && seen.ends_with("a\nb\nyes"),
        "{seen}"
    );
    assert_eq!(tree(&high), ["d src", "f src/b", "l link"]);
    assert_eq!(tree(&place.upper), [""; 0]);
    // One layer is enough.
    let mut sandbox = fixture.shell(&fixture.place(), "ls /s");
    let mut mount = layers("/src", "/s", true);
    if let Mount::Layers { lowers, .. } = &mut mount {
        lowers.truncate(1);
    }
    sandbox.mounts = vec![mount];
    assert_eq!(run(&sandbox).succeeded(), "a\nb");
}

fn secrets_are_files_in_memory(fixture: &Fixture) {
    let place = fixture.place();
    let script = "stat -c '%a %u' /run/secrets/key; cat /run/secrets/key; stat -f -c %T /run/secrets/key; \
                  cat /proc/*/cmdline /proc/*/environ | grep -c hunter2";
    let mut sandbox = fixture.shell(&place, script);
    sandbox.mounts = vec![secret("/run/secrets/key", "hunter2\n")];
    let ran = run(&sandbox);
    assert_eq!(
        ran.stdout, "400 0\nhunter2\ntmpfs\n1\n",
        "the script itself has the word"
    );
    assert_eq!(tree(&place.upper), [""; 0]);
}

fn mounts_within_mounts(fixture: &Fixture) {
    let source = fixture.dir("source");
    let mut sandbox = fixture.shell(&fixture.place(), "cat /a/b/secret; touch /a/x; ls /a");
    sandbox.mounts = vec![
        Mount::Bind {
            source: source.clone(),
            target: target("/a"),
            read_only: false,
        },
        Mount::Tmpfs {
            target: target("/a/b"),
            size_bytes: Some(1 << 20),
            mode: 0o755,
        },
        secret("/a/b/secret", "s\n"),
    ];
    assert_eq!(run(&sandbox).succeeded(), "s\nb\nx");
    // As docker does, the mount point is made where it was missing: in the source.
    assert_eq!(tree(&source), ["d b", "f x"]);
}

fn what_cannot_be_mounted_says_why(fixture: &Fixture) {
    let failure = |mount: Mount| {
        let mut sandbox = fixture.command(&fixture.place(), &["true"]);
        sandbox.mounts = vec![mount];
        describe(&try_run(&sandbox).unwrap_err())
    };
    let missing = fixture.base.join("missing");
    let bind = |source: &Path, at: &str| Mount::Bind {
        source: source.to_owned(),
        target: target(at),
        read_only: true,
    };
    let error = failure(bind(&missing, "/x"));
    assert!(
        error.contains("missing") && error.contains("to be mounted at /x"),
        "{error}"
    );
    assert!(error.contains("No such file"), "{error}");
    let error = failure(bind(&fixture.image, "/etc/passwd"));
    assert!(
        error.contains("a directory is to be mounted there"),
        "{error}"
    );
    let error = failure(bind(&fixture.image, "/etc/passwd/below"));
    assert!(
        error.contains("/etc/passwd/below") && error.contains("Not a directory"),
        "{error}"
    );
    let error = failure(bind(&fixture.image, "/"));
    assert!(error.contains("over the root"), "{error}");
    let mut sandbox = fixture.command(&fixture.place(), &["true"]);
    sandbox.lowers.push(missing);
    let error = describe(&try_run(&sandbox).unwrap_err());
    assert!(
        error.contains("opening layer") && error.contains("missing"),
        "{error}"
    );
}

fn roots_that_keep_nothing(fixture: &Fixture) {
    let mut sandbox = fixture.shell(&fixture.place(), "touch /x && rm -r /etc/passwd && ls /");
    sandbox.writable = Writable::Tmpfs;
    assert!(run(&sandbox).succeeded().contains("\nx"));
    sandbox = fixture.shell(
        &fixture.place(),
        "touch /x; touch /dev/shm/ok && echo memory",
    );
    sandbox.writable = Writable::ReadOnly;
    let ran = run(&sandbox);
    assert_eq!(ran.stdout, "memory\n");
    assert!(
        ran.stderr.contains("Read-only file system"),
        "{}",
        ran.stderr
    );
    sandbox.lowers.clear();
    assert!(
        matches!(try_run(&sandbox), Err(SandboxError::Exec(_))),
        "an empty root is a root"
    );
}

fn an_upper_that_was_used_before(fixture: &Fixture) {
    let place = fixture.place();
    run(&fixture.shell(&place, "echo one > /kept; rm -r /root")).succeeded();
    let mut sandbox = fixture.shell(&place, "cat /kept; ls -d /root/in");
    let work = fixture.dir("work");
    sandbox.writable = Writable::Upper {
        upper: place.upper.clone(),
        work,
    };
    sandbox.mounts = vec![Mount::Tmpfs {
        target: target("/root/in"),
        size_bytes: None,
        mode: 0o700,
    }];
    assert_eq!(run(&sandbox).succeeded(), "one\n/root/in");
}

fn an_overlay_for_the_caller(fixture: &Fixture) {
    let high = fixture.dir("high");
    write(&high.join("etc/new"), "n");
    let scratch = fixture.dir("scratch");
    let lowers = [fixture.image.clone(), high];
    let tree = overlay::mount(&lowers, None, &scratch).unwrap();
    let flags = rustix::fs::OFlags::RDONLY;
    for file in ["etc/new", "etc/passwd"] {
        rustix::fs::openat(&tree, file, flags, rustix::fs::Mode::empty()).unwrap();
    }
    overlay::mount(&lowers[..1], None, &scratch).unwrap();
}

fn a_scratch_directory_over_layers_is_refused(fixture: &Fixture) {
    let mut sandbox = fixture.command(&fixture.place(), &["true"]);
    sandbox.scratch = fixture.base.clone();
    let error = try_run(&sandbox).unwrap_err();
    assert!(error.to_string().contains("would hide"), "{error}");
}
