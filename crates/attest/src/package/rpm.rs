//! What rpm has installed: the headers that its databases hold, and one of the databases.
//!
//! A header is an index of entries (tag, type, offset, count) and the bytes that they point into,
//! all numbers from the big end. Databases differ by distribution: Fedora's is SQLite, whose reader
//! hands the headers over; SUSE's is rpm's own ([`ndb`]); the old one, Berkeley DB, is not read.

use super::{Kind, Package, told};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const URL: u32 = 1020;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;

const INTEGER: u32 = 4;
const STRINGS: [u32; 3] = [6, 8, 9];
/// The name of what stands for the keys that rpm trusts.
const KEYS: &str = "gpg-pubkey";

/// Reads a header; `None` if it is none, or no package's.
pub fn header(bytes: &[u8], found_in: &str) -> Option<Package> {
    let header = Header::new(bytes)?;
    let name = header.text(NAME).filter(|name| name != KEYS)?;
    let version = format!("{}-{}", header.text(VERSION)?, header.text(RELEASE)?);
    let mut package = Package::new(Kind::Rpm, name, version, found_in);
    package.architecture = header.text(ARCHITECTURE);
    package.license = header.text(LICENSE);
    package.homepage = header.text(URL);
    let epoch = header.number(EPOCH).map(|epoch| epoch.to_string());
    let qualifiers = [("epoch", epoch), ("upstream", header.text(SOURCE))];
    let qualifiers = qualifiers.into_iter();
    package.qualifiers = qualifiers
        .filter_map(|(key, it)| Some((key, it?)))
        .collect();
    Some(package)
}

/// Reads rpm's own database, `Packages.db`: a head, slots that say where headers lie in blocks of
/// 16 bytes, and the headers; numbers from the little end.
pub fn ndb(bytes: &[u8], found_in: &str) -> Vec<Package> {
    const HEAD: usize = 32;
    const SLOT: usize = 16;
    const PAGE: usize = 4096;
    let number = |at: usize| {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
    };
    let is = |at: usize, magic: &[u8; 4]| bytes.get(at..).is_some_and(|it| it.starts_with(magic));
    let Some(pages) = number(12).filter(|_| is(0, b"RpmP")) else {
        return Vec::new();
    };
    let end = pages.saturating_mul(PAGE).min(bytes.len());
    let slots = (HEAD..end).step_by(SLOT);
    let found = slots.filter(|at| is(*at, b"Slot")).filter_map(|at| {
        let package = number(at + 4).filter(|package| *package != 0)?;
        let blob = number(at + 8)?.checked_mul(16)?;
        let is_its = is(blob, b"BlbS") && number(blob + 4) == Some(package);
        let length = number(blob + 12).filter(|_| is_its)?;
        let start = blob + 16;
        header(bytes.get(start..start.checked_add(length)?)?, found_in)
    });
    found.collect()
}

struct Header<'a> {
    entries: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(number(bytes, 0)?).ok()?.checked_mul(16)?;
        let data = usize::try_from(number(bytes, 4)?).ok()?;
        let (entries, rest) = bytes.get(8..)?.split_at_checked(entries)?;
        Some(Self {
            entries,
            data: rest.get(..data)?,
        })
    }

    /// The type of an entry, and the bytes from its first on.
    fn entry(&self, tag: u32) -> Option<(u32, &'a [u8])> {
        let entries = self.entries.as_chunks::<16>().0;
        let found = entries.iter().find(|it| number(*it, 0) == Some(tag))?;
        let at = usize::try_from(number(found, 8)?).ok()?;
        Some((number(found, 4)?, self.data.get(at..)?))
    }

    fn text(&self, tag: u32) -> Option<String> {
        let (kind, bytes) = self.entry(tag)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(&bytes[..end]);
        told(&text).filter(|_| STRINGS.contains(&kind))
    }

    fn number(&self, tag: u32) -> Option<u32> {
        let (kind, bytes) = self.entry(tag)?;
        number(bytes, 0).filter(|_| kind == INTEGER)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}
