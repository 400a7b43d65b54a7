//! Packages made for the purpose, unpacked into a store of their own.
//!
//! Owners are recorded instead of set, so that the tests need no privilege.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use cairn_store::{ActiveSnapshot, OpenOptions, Ownership, Store};

use super::*;
use crate::ar::tests::archive;
use crate::deb::tests::tarball;

/// What a package brings at a path.
enum Item {
    Dir(u32),
    File(u32, &'static str),
    Link(&'static str),
    Hard(&'static str),
}

fn data(items: &[(&str, Item)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, item) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(42);
        let (kind, mode, content, target) = match item {
            Item::Dir(mode) => (tar::EntryType::Directory, *mode, "", None),
            Item::File(mode, content) => (tar::EntryType::Regular, *mode, *content, None),
            Item::Link(target) => (tar::EntryType::Symlink, 0o777, "", Some(target)),
            Item::Hard(target) => (tar::EntryType::Link, 0o644, "", Some(target)),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if let Some(target) = target {
            header.set_link_name(target).unwrap();
        }
        // Written directly, because the builder refuses the paths that are to be refused here.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn package(
    name: &str,
    fields: &str,
    members: &[(&str, &str)],
    items: &[(&str, Item)],
) -> Unpacking {
    let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{fields}");
    let mut files: Vec<(&str, &[u8])> = vec![("control", control.as_bytes())];
    files.extend(
        members
            .iter()
            .map(|(member, text)| (*member, text.as_bytes())),
    );
    let bytes = archive(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &tarball(&files)),
        ("data.tar", &data(items)),
    ]);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    Unpacking {
        name: name.to_owned(),
        deb: Deb::open(file).unwrap(),
    }
}

struct Root {
    _home: tempfile::TempDir,
    active: ActiveSnapshot,
}

impl Root {
    fn new() -> Root {
        let home = tempfile::tempdir().unwrap();
        let open = OpenOptions {
            ownership: Ownership::Recorded,
        };
        let active = Store::open(home.path(), open)
            .unwrap()
            .begin_snapshot()
            .unwrap();
        Root {
            _home: home,
            active,
        }
    }

    fn unpack(
        &self,
        packages: Vec<Unpacking>,
        layout: &Layout<'_>,
    ) -> Result<Vec<Unpacked>, DebianError> {
        let mut tree = Tree::open(&self.active, 1_800_000_000).unwrap();
        let mut owners = Owners::default();
        unpack(
            &mut tree,
            packages,
            layout,
            &mut owners,
            3,
            &|| false,
            &|_| {},
        )
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.active.upper().join(path)).unwrap()
    }

    fn link(&self, path: &str) -> String {
        std::fs::read_link(self.active.upper().join(path))
            .unwrap()
            .display()
            .to_string()
    }
}

fn merged(diversions: &Diversions) -> Layout<'_> {
    Layout {
        diversions,
        merged: true,
    }
}

#[test]
fn files_keep_mode_owner_time_and_names() {
    let root = Root::new();
    let items = [
        ("./", Item::Dir(0o755)),
        ("./usr/", Item::Dir(0o755)),
        ("./usr/su", Item::File(0o4755, "run")),
        ("./usr/name", Item::Hard("./usr/su")),
        ("./usr/link", Item::Link("su")),
        ("./var/mail/", Item::Dir(0o2775)),
    ];
    let none = Diversions::default();
    let unpacked = root
        .unpack(vec![package("a", "", &[], &items)], &merged(&none))
        .unwrap();
    assert_eq!(
        unpacked[0].files,
        ["usr", "usr/su", "usr/name", "usr/link", "var/mail"]
    );
    let upper = root.active.upper();
    let su = std::fs::metadata(upper.join("usr/su")).unwrap();
    assert_eq!(
        (su.permissions().mode() & 0o7777, su.mtime(), su.nlink()),
        (0o4755, 1_700_000_000, 2)
    );
    let mail = std::fs::metadata(upper.join("var/mail")).unwrap();
    assert_eq!(
        (mail.permissions().mode() & 0o7777, mail.mtime()),
        (0o2775, 1_700_000_000)
    );
    let mut owner = [0; 16];
    let path = upper.join("usr/su");
    let size = rustix::fs::lgetxattr(&path, "user.cairn.owner", &mut owner).unwrap();
    assert_eq!(&owner[..size], b"0:42");
    assert_eq!(root.link("usr/link"), "su");
}

#[test]
fn a_merged_system_gets_its_links_before_the_first_file() {
    let root = Root::new();
    let items = [
        ("./bin/", Item::Dir(0o755)),
        ("./bin/sh", Item::File(0o755, "shell")),
        ("./lib64/ld.so", Item::File(0o755, "loader")),
        ("./etc/lib/x", Item::File(0o644, "x")),
    ];
    let none = Diversions::default();
    root.unpack(vec![package("a", "", &[], &items)], &merged(&none))
        .unwrap();
    assert_eq!(
        (root.link("bin"), root.read("usr/bin/sh")),
        ("usr/bin".to_owned(), "shell".to_owned())
    );
    assert_eq!(
        (root.link("lib64"), root.read("usr/lib64/ld.so")),
        ("usr/lib64".to_owned(), "loader".to_owned())
    );
    assert_eq!(root.read("etc/lib/x"), "x");

    let unmerged = Root::new();
    let layout = Layout {
        diversions: &none,
        merged: false,
    };
    unmerged
        .unpack(vec![package("a", "", &[], &items)], &layout)
        .unwrap();
    assert!(
        unmerged
            .active
            .upper()
            .join("bin")
            .symlink_metadata()
            .unwrap()
            .is_dir()
    );
}

#[test]
fn sums_are_those_that_dpkg_keeps() {
    let root = Root::new();
    let items = [
        ("./etc/a.conf", Item::File(0o644, "hello\n")),
        ("./usr/a", Item::File(0o644, "a\n")),
    ];
    let none = Diversions::default();
    let layout = merged(&none);
    let with = package(
        "a",
        "",
        &[("conffiles", "/etc/a.conf\n"), ("md5sums", "")],
        &items,
    );
    let found = root.unpack(vec![with], &layout).unwrap();
    let hello = (
        "etc/a.conf".to_owned(),
        "b1946ac92492d2347c6235b4d2611184".to_owned(),
    );
    assert_eq!(
        (&found[0].conffiles, &found[0].sums),
        (&vec![hello.clone()], &Vec::new())
    );
    let without = package("a", "", &[("conffiles", "/etc/a.conf\n")], &items);
    let found = Root::new().unpack(vec![without], &layout).unwrap();
    let a = (
        "usr/a".to_owned(),
        "60b725f10c9c85c70d97880dfe8191b3".to_owned(),
    );
    assert_eq!(
        (&found[0].conffiles, &found[0].sums),
        (&vec![hello], &vec![a])
    );
}

#[test]
fn the_package_that_replaces_another_keeps_the_file() {
    let bring = |name: &str, fields: &str, text: &'static str| {
        package(name, fields, &[], &[("./usr/x", Item::File(0o644, text))])
    };
    let none = Diversions::default();
    for order in [["a", "b"], ["b", "a"]] {
        let root = Root::new();
        let packages = order.map(|name| match name {
            "a" => bring("a", "Replaces: b (<< 2)\n", "of a"),
            _ => bring("b", "", "of b"),
        });
        let mut tree = Tree::open(&root.active, 1_800_000_000).unwrap();
        let mut owners = Owners::default();
        let layout = merged(&none);
        let go_on = || false;
        let unpacked = unpack(
            &mut tree,
            packages.into(),
            &layout,
            &mut owners,
            2,
            &go_on,
            &|_| {},
        )
        .unwrap();
        crate::database::create(&mut tree, "amd64").unwrap();
        crate::database::add(&mut tree, &unpacked, &owners.take_lost()).unwrap();
        assert_eq!(root.read("usr/x"), "of a");
        assert_eq!(root.read("var/lib/dpkg/info/a.list"), "/.\n/usr/x\n");
        assert_eq!(root.read("var/lib/dpkg/info/b.list"), "/.\n");
    }
    let packages = vec![bring("a", "", "of a"), bring("b", "", "of b")];
    let conflict = Root::new().unpack(packages, &merged(&none)).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "the packages a and b both bring usr/x"
    );
}

#[test]
fn diverted_files_go_where_the_diversion_says() {
    let root = Root::new();
    let diversions = Diversions::parse("/usr/x\n/usr/x.distrib\na\n");
    let bring = |name| {
        package(
            name,
            "",
            &[],
            &[("./usr/x", Item::File(0o644, "of a package"))],
        )
    };
    root.unpack(vec![bring("a"), bring("b")], &merged(&diversions))
        .unwrap();
    assert_eq!(root.read("usr/x"), root.read("usr/x.distrib"));
}

#[test]
fn directories_and_links_that_are_there_stay() {
    let root = Root::new();
    let first = [
        ("./usr/real/", Item::Dir(0o755)),
        ("./usr/alias", Item::Link("real")),
    ];
    let second = [
        ("./usr/real", Item::Link("elsewhere")),
        ("./usr/alias/", Item::Dir(0o700)),
        ("./usr/alias/file", Item::File(0o644, "through the link")),
    ];
    let none = Diversions::default();
    let packages = vec![
        package("a", "", &[], &first),
        package("b", "", &[], &second),
    ];
    root.unpack(packages, &merged(&none)).unwrap();
    assert_eq!(root.link("usr/alias"), "real");
    assert_eq!(root.read("usr/real/file"), "through the link");
}

#[test]
fn nothing_leaves_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    let target: &'static str = outside.path().display().to_string().leak();
    let escapes: [&[(&str, Item)]; 3] = [
        &[("./../x", Item::File(0o644, "x"))],
        &[("./usr/../../x", Item::File(0o644, "x"))],
        &[
            ("./usr/loop", Item::Link("loop")),
            ("./usr/loop/x", Item::File(0o644, "x")),
        ],
    ];
    let none = Diversions::default();
    for items in escapes {
        assert!(
            Root::new()
                .unpack(vec![package("a", "", &[], items)], &merged(&none))
                .is_err()
        );
    }
    // An absolute link is followed inside the tree only.
    let root = Root::new();
    let items = [
        ("./out", Item::Link(target)),
        ("./up", Item::Link("../../../../../../../..")),
        ("./out/x", Item::File(0o644, "x")),
        ("./up/y", Item::File(0o644, "y")),
    ];
    root.unpack(vec![package("a", "", &[], &items)], &merged(&none))
        .unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(root.read("y"), "y");
    let inside = target.trim_start_matches('/');
    assert_eq!(root.read(&format!("{inside}/x")), "x");
}

#[test]
fn a_damaged_package_is_told_by_its_name() {
    let mut bytes = data(&[("./usr/a", Item::File(0o644, "text"))]);
    bytes.truncate(700);
    let packed = zstd::encode_all(vec![7; 100_000].as_slice(), 1).unwrap();
    let control = tarball(&[("control", b"Package: a\nVersion: 1\nArchitecture: all\n")]);
    for (name, data) in [
        ("data.tar", bytes.as_slice()),
        ("data.tar.zst", &packed[..packed.len() / 2]),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        let members: [(&str, &[u8]); 3] = [
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            (name, data),
        ];
        file.write_all(&archive(&members)).unwrap();
        let damaged = Unpacking {
            name: "a".to_owned(),
            deb: Deb::open(file).unwrap(),
        };
        let none = Diversions::default();
        let error = Root::new()
            .unpack(vec![damaged], &merged(&none))
            .unwrap_err();
        assert_eq!(error.to_string(), "the package a cannot be read");
    }
}
