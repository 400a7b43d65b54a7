//! `ADD` of archives and files given by value: behaviours 31 and 32, and hostile archives.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::super::given::GivenContent;
use super::*;

/// Builds archives, good and bad.
pub(super) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(super) fn new() -> Self {
        Tar(tar::Builder::new(Vec::new()))
    }

    fn entry(
        mut self,
        kind: tar::EntryType,
        path: &str,
        link: &str,
        content: &str,
        mode: u32,
        owner: (u64, u64),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(77);
        header.set_size(content.len() as u64);
        // Written by hand: the builder refuses the paths that these tests are about.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        let target = &mut header.as_old_mut().linkname;
        target[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0
            .append(&header, content.as_bytes())
            .expect("an entry");
        self
    }

    pub(super) fn file(self, path: &str, content: &str, mode: u32, owner: (u64, u64)) -> Self {
        self.entry(tar::EntryType::Regular, path, "", content, mode, owner)
    }

    pub(super) fn dir(self, path: &str, mode: u32, owner: (u64, u64)) -> Self {
        self.entry(tar::EntryType::Directory, path, "", "", mode, owner)
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, target, "", 0o777, (0, 0))
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, target, "", 0o644, (0, 0))
    }

    /// A file whose header leaves the numbers to others.
    fn blank(mut self, path: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(0);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.mode.copy_from_slice(b"    644\0");
        for field in [&mut old.uid, &mut old.gid] {
            field.fill(0);
        }
        old.mtime.fill(b' ');
        header.set_cksum();
        self.0.append(&header, io::empty()).expect("an entry");
        self
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive")
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a write");
    encoder.finish().expect("an end")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).expect("a write");
    encoder.finish().expect("an end")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("an encoder");
    encoder.write_all(bytes).expect("a write");
    encoder.finish().expect("an end")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("an archive")
}

fn add<'a>(paths: &'a [&'a str], dest: &'a str) -> Copy<'a> {
    Copy {
        unpack: true,
        ..Copy::new(paths, dest)
    }
}

fn write(bench: &Bench, name: &str, bytes: &[u8]) {
    fs::write(bench.context.join(name), bytes).expect("a file");
}

#[test]
fn archives_are_known_by_content_not_by_name() {
    let archive = || Tar::new().file("foo", "1", 0o640, (3, 4)).bytes();
    for (name, bytes) in [
        ("plain", archive()),
        ("data.bin", gzip(&archive())),
        ("a.txt", bzip2(&archive())),
        ("b", xz(&archive())),
        ("c", zstd(&archive())),
    ] {
        let bench = Bench::new();
        write(&bench, name, &bytes);
        bench.check(&[], &add(&[name], "/d/"), &["d/", "0640 3:4 d/foo=1"]);
    }
    let bench = Bench::new();
    bench.write(&["fake.tar=no archive", "empty.tar="]);
    write(&bench, "text.gz", &gzip(b"only text"));
    let selection = bench
        .run(&bench.context(), &[], &add(&["*"], "/d/"))
        .expect("a copy");
    for (name, length) in [("fake.tar", 10), ("empty.tar", 0)] {
        let copied = fs::metadata(selection.upper().join("d").join(name)).expect("a file");
        assert_eq!(copied.len(), length);
    }
    assert!(selection.upper().join("d/text.gz").exists());
}

#[test]
fn blank_numbers_are_zero() {
    let bench = Bench::new();
    write(&bench, "a.tar", &Tar::new().blank("foo").bytes());
    bench.check(&[], &add(&["a.tar"], "/d/"), &["d/", "d/foo="]);
}

#[test]
fn copy_never_unpacks() {
    let bench = Bench::new();
    write(
        &bench,
        "a.tar",
        &Tar::new().file("foo", "1", 0o644, (0, 0)).bytes(),
    );
    let active = bench
        .run(&bench.context(), &[], &Copy::new(&["a.tar"], "/"))
        .expect("a copy");
    assert!(active.upper().join("a.tar").exists());
}

#[test]
fn several_archives_and_files_of_a_wildcard() {
    let bench = Bench::new();
    write(
        &bench,
        "a.tar",
        &Tar::new().file("foo", "1", 0o644, (0, 0)).bytes(),
    );
    write(
        &bench,
        "b.tar",
        &Tar::new().file("bar", "2", 0o644, (0, 0)).bytes(),
    );
    bench.check(
        &[],
        &add(&["*.tar"], "/dest"),
        &["dest/", "dest/bar=2", "dest/foo=1"],
    );
    bench.write(&["c.tar=text"]);
    bench.check(
        &[],
        &add(&["*.tar"], "/dest/"),
        &["dest/", "dest/bar=2", "dest/c.tar=text", "dest/foo=1"],
    );
}

#[test]
fn chown_covers_an_archive_and_the_made_destination() {
    let bench = Bench::new();
    let archive = Tar::new()
        .dir("d/", 0o700, (5, 5))
        .file("d/f", "1", 0o644, (5, 5))
        .link("l", "d");
    write(&bench, "t.tar", &archive.bytes());
    let chowned = Copy {
        owner: Some((100, 200)),
        ..add(&["t.tar"], "/out/")
    };
    bench.check(
        &[],
        &chowned,
        &[
            "100:200 out/",
            "0700 100:200 out/d/",
            "100:200 out/d/f=1",
            "100:200 out/l>d",
        ],
    );
    bench.check(
        &["7:7 out/"],
        &add(&["t.tar"], "/out/"),
        &["7:7 out/", "0700 5:5 out/d/", "5:5 out/d/f=1", "out/l>d"],
    );
}

#[test]
fn an_entry_replaces_what_stands_in_its_place() {
    let bench = Bench::new();
    let archive = Tar::new()
        .file("a", "file now", 0o644, (0, 0))
        .dir("b", 0o755, (0, 0))
        .dir("c", 0o700, (0, 0))
        .file("l", "no link", 0o644, (0, 0));
    write(&bench, "t.tar", &archive.bytes());
    bench.check(
        &["a/x=1", "b=file", "c/kept=2", "l>c"],
        &add(&["t.tar"], "/"),
        &["a=file now", "b/", "0700 c/", "c/kept=2", "l=no link"],
    );
}

#[test]
fn a_directory_that_was_replaced_does_not_come_back() {
    let bench = Bench::new();
    let archive = Tar::new()
        .file("a", "f", 0o644, (0, 0))
        .dir("a", 0o755, (0, 0))
        .file("a/n", "1", 0o644, (0, 0));
    write(&bench, "t.tar", &archive.bytes());
    bench.check(
        &["a/old=1", "a/sub/old=2"],
        &add(&["t.tar"], "/"),
        &["a/", "a/n=1"],
    );
}

#[test]
fn names_given_twice_keep_the_last() {
    let bench = Bench::new();
    let archive = Tar::new()
        .file("f", "1", 0o644, (0, 0))
        .link("g", "f")
        .file("g", "2", 0o644, (0, 0))
        .file("f", "3", 0o644, (0, 0));
    write(&bench, "t.tar", &archive.bytes());
    bench.check(&[], &add(&["t.tar"], "/"), &["f=3", "g=2"]);
}

#[test]
fn missing_directories_of_an_archive_are_roots() {
    let bench = Bench::new();
    write(
        &bench,
        "t.tar",
        &Tar::new().file("a/b/f", "1", 0o644, (9, 9)).bytes(),
    );
    let copy = Copy {
        owner: Some((3, 3)),
        ..add(&["t.tar"], "/d/")
    };
    bench.check(&[], &copy, &["3:3 d/", "d/a/", "d/a/b/", "3:3 d/a/b/f=1"]);
}

#[test]
fn hard_links_of_an_archive_reach_earlier_entries_and_the_image() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let archive = Tar::new()
        .file("a", "1", 0o644, (0, 0))
        .hard_link("sub/b", "a")
        .hard_link("c", "./there/old");
    write(&bench, "t.tar", &archive.bytes());
    let base = bench.layer(&["d/there/", "0600 7:8 d/there/old=0"]);
    let active = bench
        .run(&bench.context(), &[base], &add(&["t.tar"], "/d/"))
        .expect("a copy");
    let ino = |path: &str| {
        fs::metadata(active.upper().join(path))
            .expect("a file")
            .ino()
    };
    assert_eq!(ino("d/a"), ino("d/sub/b"));
    assert_eq!(ino("d/c"), ino("d/there/old"));
    assert_eq!(
        bench.change(active),
        [
            "d/",
            "d/a=1",
            "0600 7:8 d/c=0",
            "d/sub/",
            "d/sub/b=1",
            "d/there/",
            "0600 7:8 d/there/old=0"
        ]
    );
}

#[track_caller]
fn check_refused(archive: Tar, expected: &str) {
    let bench = Bench::new();
    write(&bench, "t.tar", &archive.bytes());
    bench.check_fails(&["etc/passwd=root"], &add(&["t.tar"], "/d/"), expected);
}

#[test]
fn archives_do_not_lead_out_of_the_destination() {
    check_refused(
        Tar::new().file("../../etc/passwd", "evil", 0o644, (0, 0)),
        "archive entry \"../../etc/passwd\" leads out of the destination",
    );
    check_refused(
        Tar::new().file("a/../../x", "evil", 0o644, (0, 0)),
        "archive entry \"a/../../x\" leads out of the destination",
    );
    check_refused(
        Tar::new().hard_link("x", "../etc/passwd"),
        "archive entry \"../etc/passwd\" leads out of the destination",
    );
    check_refused(
        Tar::new().hard_link("x", "/etc/passwd"),
        "archive entry \"x\" links to \"/etc/passwd\", which is not there",
    );
    check_refused(
        Tar::new().hard_link("x", "dir/"),
        "archive entry \"x\" links to \"dir/\", which is not there",
    );
}

#[test]
fn absolute_names_and_links_on_the_way_stay_inside() {
    let bench = Bench::new();
    let archive = Tar::new()
        .file("/etc/passwd", "contained", 0o644, (0, 0))
        .link("up", "../../../../etc")
        .file("up/shadow", "contained", 0o644, (0, 0))
        .link("abs", "/etc")
        .file("abs/group", "contained", 0o644, (0, 0))
        .link("host", "/")
        .hard_link("linked", "host/etc/group");
    write(&bench, "t.tar", &archive.bytes());
    bench.check(
        &["etc/passwd=root"],
        &add(&["t.tar"], "/d/"),
        &[
            "d/",
            "d/abs>/etc",
            "d/etc/",
            "d/etc/group=contained",
            "d/etc/passwd=contained",
            "d/etc/shadow=contained",
            "d/host>/",
            "d/linked=contained",
            "d/up>../../../../etc",
            "etc/",
            "etc/passwd=root",
        ],
    );
}

#[test]
fn whiteout_names_in_archives_are_refused() {
    let expected = |name| {
        format!(
            "\"{name}\": names that begin with `.wh.` mean deletion in image layers and cannot \
             be added"
        )
    };
    check_refused(
        Tar::new().file("etc/.wh.passwd", "", 0o644, (0, 0)),
        &expected("etc/.wh.passwd"),
    );
    check_refused(
        Tar::new().file(".wh.d/x", "", 0o644, (0, 0)),
        &expected(".wh.d/x"),
    );
    check_refused(
        Tar::new().dir(".wh..wh..opq/", 0o755, (0, 0)),
        &expected(".wh..wh..opq/"),
    );
}

#[test]
fn a_whiteout_device_in_an_archive_does_not_delete() {
    let bench = Bench::new();
    let mut archive = Tar::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_path("passwd").expect("a path");
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header.set_device_major(0).expect("a number");
    header.set_device_minor(0).expect("a number");
    header.set_cksum();
    archive.0.append(&header, &b""[..]).expect("an entry");
    write(&bench, "t.tar", &archive.bytes());
    bench.check(
        &["etc/passwd=root"],
        &add(&["t.tar"], "/etc/"),
        &["etc/", "0600 etc/passwd CharDevice (0, 0)"],
    );
}

#[test]
fn an_archive_that_breaks_off_is_an_error() {
    let bench = Bench::new();
    let whole = Tar::new()
        .file("a", "1", 0o644, (0, 0))
        .file("b", &"x".repeat(5000), 0o644, (0, 0))
        .bytes();
    write(&bench, "t.tar", &whole[..2500]);
    let base = [bench.layer(&[])];
    let error = bench
        .run(&bench.context(), &base, &add(&["t.tar"], "/"))
        .expect_err("an error");
    assert_eq!(error.to_string(), "cannot unpack \"t.tar\"");
    let compressed = gzip(&whole);
    write(&bench, "t.tar", &compressed[..compressed.len() / 2]);
    bench
        .run(&bench.context(), &base, &add(&["t.tar"], "/"))
        .expect_err("an error");
}

#[test]
fn times_and_attributes_come_from_the_archives_records() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(Vec::new());
    let records: [(&str, &[u8]); 3] = [
        ("mtime", b"1234.5"),
        (
            "SCHILY.xattr.user.note",
            b"not kept, as in BuildKit's images",
        ),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
    ];
    builder.append_pax_extensions(records).expect("records");
    let mut header = tar::Header::new_ustar();
    header.set_path("d").expect("a path");
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).expect("an entry");
    write(&bench, "t.tar", &builder.into_inner().expect("an archive"));
    let base = bench.layer(&["d/old=1"]);
    let active = bench
        .run(&bench.context(), &[base], &add(&["t.tar"], "/"))
        .expect("a copy");
    let path = active.upper().join("d");
    let stat = rustix::fs::stat(&path).expect("a directory");
    assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (1234, 500_000_000));
    let mut value = [0_u8; 8];
    for name in ["user.note", "user.overlay.opaque"] {
        rustix::fs::getxattr(&path, name, &mut value).expect_err("no such attribute");
    }
}

fn given(name: &str, text: &str) -> GivenFile {
    GivenFile {
        name: name.to_owned(),
        content: GivenContent::Bytes(text.as_bytes().to_vec()),
        mode: 0o644,
        mtime: None,
        unpack: false,
    }
}

#[test]
fn heredocs_become_files() {
    let bench = Bench::new();
    let files = [given("one", "1\n"), given("two", "2\n")];
    let copy = Copy {
        given: &files,
        owner: Some((5, 6)),
        ..Copy::new(&[], "/d/")
    };
    bench.check(&[], &copy, &["5:6 d/", "5:6 d/one=1\n", "5:6 d/two=2\n"]);
    let copy = Copy {
        given: &files[..1],
        chmod: Some("755"),
        ..Copy::new(&[], "/script")
    };
    bench.check(&["script=old"], &copy, &["0755 script=1\n"]);
    bench.write(&["f=0"]);
    let copy = Copy {
        given: &files,
        ..Copy::new(&["f"], "/d/")
    };
    bench.check(&[], &copy, &["d/", "d/f=0", "d/one=1\n", "d/two=2\n"]);
}

#[test]
fn downloads_keep_their_time_and_are_unpacked_only_when_asked() {
    let bench = Bench::new();
    let path = bench.context.join("download");
    fs::write(&path, Tar::new().file("foo", "1", 0o644, (0, 0)).bytes()).expect("a file");
    let mut download = GivenFile {
        name: "a.tar".to_owned(),
        content: GivenContent::File(path),
        mode: 0o600,
        mtime: Some(4242),
        unpack: false,
    };
    let files = [download.clone()];
    let copy = Copy {
        given: &files,
        ..add(&[], "/d/")
    };
    let active = bench.run(&bench.context(), &[], &copy).expect("a copy");
    let stat = rustix::fs::stat(active.upper().join("d/a.tar")).expect("a file");
    assert_eq!((stat.st_mode & 0o7777, stat.st_mtime), (0o600, 4242));
    download.unpack = true;
    let files = [download];
    let copy = Copy {
        given: &files,
        ..add(&[], "/d/")
    };
    bench.check(&[], &copy, &["d/", "d/foo=1"]);
}

/// An archive of one sparse file: a hole of `hole` bytes, then `text`.
fn sparse(hole: u64, text: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_path("big").expect("a path");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(77);
    header.set_size(text.len() as u64);
    let gnu = header.as_gnu_mut().expect("the GNU form");
    let octal = |number: u64| -> [u8; 12] {
        let text = format!("{number:011o}\0");
        text.as_bytes().try_into().expect("eleven digits")
    };
    gnu.sparse[0].offset = octal(hole);
    gnu.sparse[0].numbytes = octal(text.len() as u64);
    gnu.realsize = octal(hole + text.len() as u64);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, text.as_bytes()).expect("an entry");
    archive.into_inner().expect("an archive")
}

#[test]
fn a_sparse_file_of_an_archive_stays_sparse() {
    use std::os::unix::fs::MetadataExt;
    const HOLE: u64 = 256 << 20;
    let bench = Bench::new();
    write(&bench, "t.tar", &sparse(HOLE, "end"));
    let active = bench
        .run(&bench.context(), &[], &add(&["t.tar"], "/d/"))
        .expect("it is unpacked");
    let big = active.upper().join("d/big");
    let metadata = fs::metadata(&big).expect("the file");
    assert_eq!(metadata.len(), HOLE + 3);
    assert!(metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
    let mut end = fs::File::open(&big).expect("the file");
    end.seek(SeekFrom::Start(HOLE - 1)).expect("its end");
    let mut text = String::new();
    end.read_to_string(&mut text).expect("text");
    assert_eq!(text, "\0end");
}

#[test]
fn sparse_files_of_the_other_form_are_refused_rather_than_garbled() {
    let bench = Bench::new();
    let mut archive = tar::Builder::new(Vec::new());
    let records = [
        ("GNU.sparse.major", b"1".as_slice()),
        ("GNU.sparse.minor", b"0"),
    ];
    archive.append_pax_extensions(records).expect("records");
    let archive = Tar(archive).file("GNUSparseFile.0/big", "1\n0\n3\nend", 0o644, (0, 0));
    write(&bench, "t.tar", &archive.bytes());
    let error = bench.run(&bench.context(), &[], &add(&["t.tar"], "/d/"));
    let Err(error) = error else {
        panic!("it should be refused");
    };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let told = format!("{error} {}", source.unwrap_or_default());
    assert!(told.contains("--format=gnu"), "{told}");
}
