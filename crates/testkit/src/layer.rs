//! Layer tars from a few lines, also such as no decent tool would write.

use std::io::Write;

use tar::{Builder, EntryType, Header};

/// Builds a layer tar with another implementation than the one under test.
pub struct LayerTar {
    builder: Builder<Vec<u8>>,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
}

impl Default for LayerTar {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerTar {
    /// Starts a tar. Entries are 0644 (directories 0755), root's, from second 1 of 1970.
    pub fn new() -> Self {
        Self {
            builder: Builder::new(Vec::new()),
            mode: 0,
            owner: (0, 0),
            mtime: 1,
        }
    }

    /// The entries that follow have this mode; 0 for the usual one.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The entries that follow belong to this user and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// The entries that follow are from this second since 1970.
    #[must_use]
    pub fn mtime(mut self, mtime: u64) -> Self {
        self.mtime = mtime;
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, "", b"", 0o755)
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.entry(path, EntryType::Regular, "", bytes.as_ref(), 0o644)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, target, b"", 0o777)
    }

    /// Adds a further name of a file.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, target, b"", 0o644)
    }

    /// Adds a character device.
    #[must_use]
    pub fn char_device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = self.header(path, EntryType::Char, "", 0, 0o644);
        header.set_device_major(major).expect("a ustar header");
        header.set_device_minor(minor).expect("a ustar header");
        self.append(header, b"");
        self
    }

    /// Adds a named pipe.
    #[must_use]
    pub fn fifo(self, path: &str) -> Self {
        self.entry(path, EntryType::Fifo, "", b"", 0o644)
    }

    /// Adds a whiteout of a path.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if parent.is_empty() { "" } else { "/" };
        self.file(&format!("{parent}{slash}.wh.{name}"), "")
    }

    /// Adds the mark that a directory hides what lies below.
    #[must_use]
    pub fn opaque(self, path: &str) -> Self {
        self.file(&format!("{path}/.wh..wh..opq"), "")
    }

    /// Adds PAX records for the entry that follows.
    #[must_use]
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.builder
            .append_pax_extensions(records.iter().copied())
            .expect("writing to memory");
        self
    }

    /// Adds an entry of any kind.
    #[must_use]
    pub fn entry(
        mut self,
        path: &str,
        kind: EntryType,
        target: &str,
        bytes: &[u8],
        usual_mode: u32,
    ) -> Self {
        let header = self.header(path, kind, target, bytes.len() as u64, usual_mode);
        self.append(header, bytes);
        self
    }

    /// The tar.
    pub fn finish(self) -> Vec<u8> {
        self.builder.into_inner().expect("writing to memory")
    }

    /// Paths are written as they are: the builder's own way would refuse the hostile ones.
    fn header(
        &self,
        path: &str,
        kind: EntryType,
        target: &str,
        size: u64,
        usual_mode: u32,
    ) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if self.mode == 0 {
            usual_mode
        } else {
            self.mode
        });
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.mtime);
        header.set_size(size);
        let bytes = header.as_mut_bytes();
        assert!(
            path.len() <= 100 && target.len() <= 100,
            "use pax for long paths"
        );
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header
    }

    fn append(&mut self, mut header: Header, bytes: &[u8]) {
        header.set_cksum();
        self.builder
            .append(&header, bytes)
            .expect("writing to memory");
    }
}

/// Compresses as most tools do: one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
