//! Disks that are full or may not be written: said as such, nothing half-written, and a way out.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_testkit::needs_root;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::workshop::Workshop;

/// A small file system of its own, for as long as the value lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(path: &Path) -> Self {
        fs::create_dir_all(path).expect("a directory");
        mount("none", path, "tmpfs", MountFlags::empty(), c"size=24m").expect("a small disk");
        Self(path.to_owned())
    }

    fn make_read_only(&self) {
        mount_remount(&self.0, MountFlags::RDONLY, c"").expect("another mode");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A workshop with the store on a small disk, and `base` in it.
fn with_small_disk() -> Option<(SmallDisk, Workshop)> {
    if !needs_root() {
        return None;
    }
    let mut workshop = Workshop::with_base()?;
    let disk = SmallDisk::on(&workshop.path().join("small"));
    workshop.move_to_store("small/store");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    Some((disk, workshop))
}

#[test]
fn a_step_that_fills_the_disk_is_told_to_have_done_so() {
    let Some((_disk, workshop)) = with_small_disk() else {
        return;
    };
    let fill = "RUN cat /dev/zero > /big\n";
    workshop.write("app/Dockerfile", &format!("FROM base\n{fill}"));
    workshop
        .cairn(&["build", "./app"])
        .code(3)
        .err_has("exit code: 1")
        .err_has("the disk of the store is full")
        .err_has("cairn gc --all");
    workshop.write("big/big", &"0123456789abcdef".repeat(2 << 20));
    workshop.write("big/Dockerfile", "FROM base\nCOPY big /big\n");
    workshop
        .cairn(&["build", "./big"])
        .code(3)
        .err_has("big/Dockerfile:2")
        .err_has("the disk of the store is full");
    workshop.cairn(&["doctor", "--store"]).success();
    workshop.cairn(&["run", "base", "true"]).success();
}

#[test]
fn on_a_full_disk_the_doctor_speaks_and_collecting_makes_room() {
    let Some((_disk, workshop)) = with_small_disk() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN cp /bin/busybox /copy; echo 1 > /1\n",
    );
    workshop.cairn(&["build", "./app"]).success();
    let filler = workshop.path().join("small/filler");
    assert!(fs::write(&filler, vec![b'x'; 32 << 20]).is_err());
    workshop.write("other/Dockerfile", "FROM base\nRUN echo 2 > /2\n");
    workshop
        .cairn(&["build", "./other"])
        .code(3)
        .err_has("other/Dockerfile:2")
        .err_has("the disk of the store is full");
    let said = workshop.cairn(&["doctor", "--store"]).code(3);
    assert!(said.out.contains("gc --all"), "{}", said.out);
    workshop
        .cairn(&["export", "base", "small/base.tar"])
        .code(3)
        .err_has("base.tar")
        .err_has("No space left");
    assert!(!workshop.path().join("small/base.tar").exists());
    let said = workshop.cairn(&["gc", "--all"]).success();
    assert!(said.out.contains("snapshot"), "{}", said.out);
    fs::remove_file(filler).expect("gone");
    workshop.cairn(&["doctor", "--store"]).success();
    workshop.cairn(&["build", "./other"]).success();
}

#[test]
fn a_store_that_cannot_be_written_is_read_and_writing_says_why_not() {
    let Some((disk, workshop)) = with_small_disk() else {
        return;
    };
    disk.make_read_only();
    let said = workshop.cairn(&["images"]).success();
    assert!(said.out.contains("base"), "{}", said.out);
    workshop.cairn(&["inspect", "base"]).success();
    for (command, code) in [
        (&["load", "-t", "x", "tar:base.tar"][..], 3),
        (&["run", "base", "true"], 125),
        (&["gc"], 3),
    ] {
        workshop
            .cairn(command)
            .code(code)
            .err_has("small/store")
            .err_has("can only be read")
            .err_has("--home");
    }
    let said = workshop.cairn(&["doctor", "--store"]).code(3);
    assert!(said.out.contains("can only be read"), "{}", said.out);
}

#[test]
fn a_name_whose_image_is_gone_is_told_and_taken_away() {
    let mut workshop = Workshop::empty();
    workshop.move_to_store("store");
    workshop.write("app/word", "one");
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY word /\n");
    workshop.cairn(&["build", "-t", "app", "./app"]).success();
    workshop.cairn(&["tag", "app", "lab/app:1"]).success();
    workshop.cairn(&["doctor", "--store"]).success();
    fs::remove_dir_all(workshop.path().join("store/snapshots")).expect("they go");
    fs::create_dir(workshop.path().join("store/snapshots")).expect("a directory");
    workshop
        .cairn(&["doctor", "--store"])
        .code(3)
        .out_has("image app:latest: some of its files are gone")
        .out_has("image lab/app:1: some of its files are gone")
        .out_has("`cairn doctor --repair` would remove the name");
    workshop
        .cairn(&["doctor", "--store", "--repair"])
        .success()
        .out_has("repaired: remove the name");
    workshop.cairn(&["doctor", "--store"]).success();
    assert_eq!(
        workshop.cairn(&["images", "--json"]).success().out.trim(),
        "[]"
    );
    workshop.cairn(&["build", "-t", "app", "./app"]).success();
    workshop.cairn(&["doctor", "--store"]).success();
}

#[test]
fn a_cache_that_cannot_be_written_costs_no_build_unless_it_is_needed() {
    let workshop = Workshop::empty();
    workshop.write("app/word", "one");
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY word /\n");
    workshop.write("taken", "a file");
    let build = |more: &str| {
        let cache = format!("--cache-to=type=local,dest=taken{more}");
        workshop.cairn(&["build", "-t", "app", "--json", &cache, "./app"])
    };
    let said = build("")
        .success()
        .err_has("warning: the cache taken was not written: ");
    assert!(said.out.contains("\"id\""), "{}", said.out);
    build(",ignore-error=false")
        .code(3)
        .err_has("error: the cache taken was not written: ");
    assert_eq!(workshop.read("taken"), "a file");
}
