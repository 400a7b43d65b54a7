//! Owners of files: set where ids exist, recorded where only one does.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::fixture::{Fixture, run, tree};
use crate::mode::{ALL, Mode, SINGLE, WITH_IDS};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases![ALL; all_ways_of_naming_a_file, errors_are_the_kernels];
    all.extend(cases![WITH_IDS; groups_are_set, ids_beyond_the_range_are_explained]);
    all.extend(cases![SINGLE;
        ids_of_the_process_are_pretended,
        setuid_bits_are_cleared,
        a_part_can_be_kept,
        other_users_own_what_they_make,
        apt_is_told_to_stay_root,
    ]);
    all
}

/// The owner that a reader of the upper sees.
fn owner(fixture: &Fixture, path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    if fixture.mode != Mode::SingleId {
        return (metadata.uid(), metadata.gid());
    }
    let mut value = [0; 32];
    match rustix::fs::lgetxattr(path, "user.cairn.owner", &mut value) {
        Ok(length) => {
            let text = std::str::from_utf8(&value[..length]).unwrap();
            let (uid, gid) = text.split_once(':').unwrap();
            (uid.parse().unwrap(), gid.parse().unwrap())
        }
        Err(_) => (metadata.uid(), metadata.gid()),
    }
}

fn all_ways_of_naming_a_file(fixture: &Fixture) {
    let place = fixture.place();
    let script = "set -e; mkdir -p /t/sub /jail/bin /jail/etc; cd /t; touch abs rel cwd link-target fd; \
                  ln -s /t/link-target link; ln -s ../rel sub/uplink; \
                  chown 11:12 /t/abs; chown 13:14 rel; cd sub; chown 15:16 ../cwd; chown 17:18 uplink; cd ..; \
                  chown 19:20 link; chown -h 21:22 link; chown -R 23:24 /t/sub; \
                  cp /bin/busybox /jail/bin/chown; touch /jail/etc/inside; ln -s /etc/inside /jail/l; \
                  chroot /jail chown 31:32 /l; chown 33:34 /../../../t/fd; chgrp 40 /etc/passwd; true";
    run(&fixture.shell(&place, script)).succeeded();
    let owner = |path: &str| owner(fixture, &place.upper.join(path));
    assert_eq!(owner("t/abs"), (11, 12));
    assert_eq!(owner("t/rel"), (17, 18), "first 13:14, then through a link");
    assert_eq!(owner("t/cwd"), (15, 16));
    assert_eq!(owner("t/link-target"), (19, 20));
    assert_eq!(owner("t/sub"), (23, 24));
    assert_eq!(owner("jail/etc/inside"), (31, 32));
    assert_eq!(owner("t/fd"), (33, 34));
    assert_eq!(owner("etc/passwd"), (0, 40), "copied up");
    assert_eq!(owner("jail/bin"), (0, 0));
    assert!(
        !tree(&place.upper).contains(&"f etc/inside".to_owned()),
        "the jail's link stays there"
    );
}

fn errors_are_the_kernels(fixture: &Fixture) {
    for (script, expected) in [
        ("chown 5 /missing", "No such file"),
        ("chown 5 /etc/passwd/x", "Not a directory"),
        ("ln -s loop /tmp/loop; chown 5 /tmp/loop", "ymbolic link"),
        ("chown 5 /sys/kernel", "Read-only file system"),
    ] {
        let ran = run(&fixture.shell(&fixture.place(), script));
        assert!(
            !ran.exit.is_success() && ran.stderr.contains(expected),
            "{script}: {ran:?}"
        );
    }
}

fn groups_are_set(fixture: &Fixture) {
    let mut sandbox = fixture.shell(&fixture.place(), "id -u; id -g; id -G");
    (sandbox.uid, sandbox.gid, sandbox.groups) = (7, 8, vec![9, 10]);
    assert_eq!(run(&sandbox).succeeded(), "7\n8\n8 9 10");
    sandbox = fixture.shell(&fixture.place(), "id -G");
    assert_eq!(run(&sandbox).succeeded(), "0");
}

fn ids_beyond_the_range_are_explained(fixture: &Fixture) {
    if fixture.mode == Mode::Root {
        return;
    }
    let mut sandbox = fixture.command(&fixture.place(), &["true"]);
    sandbox.uid = 4_000_000;
    let error = crate::fixture::try_run(&sandbox).unwrap_err().to_string();
    assert!(
        error.contains("becoming user 4000000:0") && error.contains("/etc/subuid"),
        "{error}"
    );
}

fn ids_of_the_process_are_pretended(fixture: &Fixture) {
    let place = fixture.place();
    let mut sandbox = fixture.shell(&place, "/tool --tool become 5 6 && id -u");
    sandbox.mounts.push(fixture.tool());
    assert_eq!(run(&sandbox).succeeded(), "0");
}

fn setuid_bits_are_cleared(fixture: &Fixture) {
    let place = fixture.place();
    let script = "touch /f; chmod 6755 /f; chown 5 /f; stat -c %a /f; chmod 4755 /f; stat -c %a /f";
    assert_eq!(run(&fixture.shell(&place, script)).succeeded(), "755\n4755");
    let mode = fs::metadata(place.upper.join("f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o4755);
}

fn a_part_can_be_kept(fixture: &Fixture) {
    let place = fixture.place();
    // busybox asks for the owner it sees, so a program of ours has to say "keep".
    let script = "touch /a /b; chown 5:6 /a; /tool --tool chown /a - 7; chown 5 /b; chown 0:0 /b";
    let mut sandbox = fixture.shell(&place, script);
    sandbox.mounts.push(fixture.tool());
    run(&sandbox).succeeded();
    assert_eq!(owner(fixture, &place.upper.join("a")), (5, 7));
    let mut value = [0; 8];
    let record = rustix::fs::lgetxattr(place.upper.join("b"), "user.cairn.owner", &mut value);
    assert!(record.is_err(), "root's files carry no record");
}

fn other_users_own_what_they_make(fixture: &Fixture) {
    let place = fixture.place();
    let mut sandbox = fixture.shell(
        &place,
        "mkdir /tmp/mine; touch /tmp/mine/x; echo more >> /etc/passwd",
    );
    (sandbox.uid, sandbox.gid) = (1000, 1001);
    run(&sandbox).succeeded();
    let owner = |path: &str| owner(fixture, &place.upper.join(path));
    assert_eq!(owner("tmp/mine"), (1000, 1001));
    assert_eq!(owner("tmp/mine/x"), (1000, 1001));
    assert_eq!(owner("tmp"), (0, 0), "copied up");
    assert_eq!(owner("etc/passwd"), (0, 0), "copied up");
}

fn apt_is_told_to_stay_root(fixture: &Fixture) {
    let place = fixture.place();
    let mut sandbox = fixture.shell(&place, "cat $APT_CONFIG; env | grep -c APT");
    let debian = fixture.dir("debian");
    fs::create_dir_all(debian.join("etc/apt")).unwrap();
    sandbox.lowers.push(debian);
    assert_eq!(run(&sandbox).succeeded(), "APT::Sandbox::User \"root\";\n1");
    assert_eq!(tree(&place.upper), [""; 0]);
}
