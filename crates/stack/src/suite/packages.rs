//! pytest for images that have none: a locked set of packages, fetched once, kept in the store.
//!
//! They are pure Python and go together with every Python from 3.8 on. Each is known by its
//! digest, so it does not matter who hands it out: the index is asked where a file lies, and any
//! index that has it will do (`PIP_INDEX_URL`). Unpacked they are a snapshot of the store, found
//! by the digest of this list and collected like any other.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_oci::Digest;
use cairn_registry::{Download, FetchError, Fetcher};
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, SnapshotId, Store, StoreError};

use super::wheel;

/// One package: its name in the index, its file, its SHA-256, its size.
type Package = (&'static str, &'static str, &'static str, u64);

const PACKAGES: [Package; 6] = [
    (
        "pytest",
        "pytest-8.3.5-py3-none-any.whl",
        "c69214aa47deac29fad6c2a4f590b9c4a9fdb16a403176fe154b79c0b4d4d820",
        343_634,
    ),
    (
        "pluggy",
        "pluggy-1.5.0-py3-none-any.whl",
        "44e1ad92c8ca002de6377e165f3e0f1be63266ab4d554740532335b9d75ea669",
        20_556,
    ),
    (
        "iniconfig",
        "iniconfig-2.0.0-py3-none-any.whl",
        "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374",
        5_892,
    ),
    (
        "packaging",
        "packaging-24.2-py3-none-any.whl",
        "09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759",
        65_451,
    ),
    (
        "exceptiongroup",
        "exceptiongroup-1.2.2-py3-none-any.whl",
        "3111b9d131c238bec2f8f516e123e14ba243563fb135d3fe885990585aa7795b",
        16_453,
    ),
    (
        "tomli",
        "tomli-2.0.1-py3-none-any.whl",
        "939de3e7a6161af0c887ef91b7d41a53e7c5a1ca976325f429cb46ea9bc30ecc",
        12_757,
    ),
];
/// The page of an index about one package.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// Why pytest could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The index or a file did not come.
    #[error("cannot fetch pytest for images that have none")]
    Fetch(#[from] FetchError),
    /// The index does not have a file.
    #[error("the package index {index} has no {file}")]
    Missing {
        /// The index, without a login.
        index: String,
        /// The file.
        file: &'static str,
    },
    /// A file cannot be unpacked.
    #[error("cannot unpack {file}")]
    Unpack {
        /// The file.
        file: &'static str,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The digest of the list: what was brought along is part of what evidence is about.
pub(super) fn list_digest() -> ContentDigest {
    let mut hasher = KeyHasher::new("cairn pytest");
    hasher.list("digests", PACKAGES.iter().map(|package| package.2));
    hasher.finish_content()
}

/// The packages as a snapshot, if they were fetched before.
pub(super) fn at_hand(store: &Store) -> Option<SnapshotId> {
    store.get_record(&key(list_digest()))?.snapshot
}

/// Fetches the packages into a snapshot. Several suites that need them at once fetch them once.
pub(super) fn fetch(
    store: &Store,
    fetcher: &Fetcher,
    index: &str,
) -> Result<SnapshotId, PackagesError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(snapshot) = at_hand(store) {
        return Ok(snapshot);
    }
    let snapshot = fetch_list(&PACKAGES, store, fetcher, index)?;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let content = list_digest();
    store.put_record(&CacheRecord {
        key: key(content),
        snapshot: Some(snapshot),
        content,
        created: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        cost_ms: 0,
        description: "pytest for images that have none".to_owned(),
        inputs: Vec::new(),
    })?;
    Ok(snapshot)
}

fn fetch_list(
    list: &[Package],
    store: &Store,
    fetcher: &Fetcher,
    index: &str,
) -> Result<SnapshotId, PackagesError> {
    let change = store.begin_snapshot()?;
    for package in list {
        let bytes = download(package, fetcher, index)?;
        let unpacked = wheel::unpack(&bytes, change.upper());
        unpacked.map_err(|source| PackagesError::Unpack {
            file: package.1,
            source,
        })?;
    }
    Ok(change.commit()?)
}

fn key(content: ContentDigest) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn pytest packages");
    hasher.field("list", content.as_bytes());
    hasher.finish_key()
}

fn download(package: &Package, fetcher: &Fetcher, index: &str) -> Result<Vec<u8>, PackagesError> {
    let &(name, file, digest, size) = package;
    let page = format!("{}/{name}/", index.trim_end_matches('/'));
    let (text, fetched) = fetcher.get_bytes(&page, PAGE_BYTES_MAX)?;
    let link = link_to(&String::from_utf8_lossy(&text), file);
    let Some(link) = link else {
        return Err(PackagesError::Missing {
            index: cairn_oci::redact(index),
            file,
        });
    };
    let url = joined(&fetched.url, &link);
    let digest: Digest = format!("sha256:{digest}")
        .parse()
        .expect("the list has digests");
    let mut bytes = Vec::new();
    let download = Download {
        url: &url,
        digest: Some(&digest),
        size: Some(size),
        limit: size,
    };
    fetcher.download(&download, &mut bytes, &mut |_| ControlFlow::Continue(()))?;
    Ok(bytes)
}

/// The address in the first link of a page whose last part is this file.
fn link_to(page: &str, file: &str) -> Option<String> {
    let links = page.split("href=\"").skip(1);
    let addresses = links.filter_map(|rest| rest.split('"').next());
    addresses
        .map(|address| {
            address
                .split('#')
                .next()
                .unwrap_or_default()
                .replace("&amp;", "&")
        })
        .find(|address| {
            address
                .split('?')
                .next()
                .and_then(|it| it.rsplit('/').next())
                == Some(file)
        })
}

/// A link of a page as an address.
fn joined(page: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let (scheme, rest) = page.split_once("://").unwrap_or(("https", page));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(other) = link.strip_prefix("//") {
        return format!("{scheme}://{other}");
    }
    if link.starts_with('/') {
        return format!("{scheme}://{host}{link}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{scheme}://{host}/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_the_pages_of_indexes() {
        let page = "<a href=\"https://f/p/a-1.0.tar.gz#sha256=0\">a</a>\n\
                    <a class=x href=\"../../packages/a-1.0-py3-none-any.whl#sha256=1\" data-x>b</a>";
        let found = link_to(page, "a-1.0-py3-none-any.whl");
        assert_eq!(
            found.as_deref(),
            Some("../../packages/a-1.0-py3-none-any.whl")
        );
        assert_eq!(link_to(page, "a-2.0-py3-none-any.whl"), None);
    }

    /// Answers each request with what the path has; ends with the process.
    fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> String {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                while lines.next().is_some_and(|line| !line.is_empty()) {}
                let path = request.split(' ').nth(1).unwrap_or_default();
                let found = answers.iter().find(|(known, _)| *known == path);
                let (status, body) = found.map_or(("404 No", &[][..]), |it| ("200 OK", &it.1));
                let length = body.len();
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = (&stream).write_all(body);
            }
        });
        format!("http://{address}/simple")
    }

    #[test]
    fn packages_come_from_an_index_and_are_what_was_locked() {
        let wheel = wheel::tests::archive("pkg/__init__.py", b"x = 1\n", true);
        let digest = Digest::sha256(&wheel).to_string();
        let digest: &'static str = digest.trim_start_matches("sha256:").to_owned().leak();
        let page = b"<a href=\"../../files/pkg-1-py3-none-any.whl#sha256=0\">pkg</a>".to_vec();
        let index = serve(vec![
            ("/simple/pkg/", page.clone()),
            ("/files/pkg-1-py3-none-any.whl", wheel.clone()),
            ("/simple/other/", page),
        ]);
        let fixture = cairn_testkit::TempStore::new();
        let fetcher = Fetcher::new(cairn_registry::FetchOptions::default());
        let size = wheel.len() as u64;
        let fetch = |name, file, digest| {
            fetch_list(&[(name, file, digest, size)], &fixture, &fetcher, &index)
        };
        let snapshot = fetch("pkg", "pkg-1-py3-none-any.whl", digest).unwrap();
        let file = fixture.snapshot_dir(&snapshot).join("pkg/__init__.py");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "x = 1\n");
        let missing = fetch("other", "other-1-py3-none-any.whl", digest).unwrap_err();
        assert!(
            missing
                .to_string()
                .ends_with("has no other-1-py3-none-any.whl"),
            "{missing}"
        );
        let zeros = "0000000000000000000000000000000000000000000000000000000000000000";
        let changed = fetch("pkg", "pkg-1-py3-none-any.whl", zeros).unwrap_err();
        assert!(matches!(changed, PackagesError::Fetch(_)), "{changed}");
    }

    #[test]
    fn links_start_from_their_page() {
        let page = "https://host:8080/simple/a/";
        let cases = [
            ("https://other/x.whl", "https://other/x.whl"),
            ("/x.whl", "https://host:8080/x.whl"),
            ("//cdn/x.whl", "https://cdn/x.whl"),
            ("x.whl", "https://host:8080/simple/a/x.whl"),
            ("../../p/./x.whl", "https://host:8080/p/x.whl"),
        ];
        for (link, wanted) in cases {
            assert_eq!(joined(page, link), wanted);
        }
    }
}
