//! The certificates this host trusts beyond the public ones.
//!
//! A company or university network often re-signs HTTPS with an authority of its own. The host's
//! administrator has added that authority to the host's bundle; build steps need it too, for the
//! time of the step. Whether there is one shows in the *difference*: certificates in the host's
//! bundles that did not come with the distribution's own set. Where there is none, nothing is
//! passed on and steps see exactly their image.
//!
//! | | bundle | shipped set | local anchors |
//! | --- | --- | --- | --- |
//! | Debian, Alpine | `etc/ssl/certs/ca-certificates.crt` | `usr/share/ca-certificates/mozilla` | `usr/local/share/ca-certificates` |
//! | Red Hat | `etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem` | `usr/share/pki/ca-trust-source/*.p11-kit` | `etc/pki/ca-trust/source/anchors` |
//! | SUSE | `var/lib/ca-certificates/ca-bundle.pem` | `usr/share/pki/trust/*.p11-kit` | `etc/pki/trust/anchors` |
//!
//! A bundle that a variable names (`SSL_CERT_FILE` and its relatives) counts as one of the
//! host's. Where the shipped set cannot be told, only anchors and named bundles count.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cairn_sandbox::Pem;

use crate::environment::Environment;

/// Variables that name a bundle file, most general first.
const BUNDLE_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];
const BUNDLES: [&str; 6] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "var/lib/ca-certificates/ca-bundle.pem",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];
const SHIPPED: [&str; 3] = [
    "usr/share/ca-certificates/mozilla",
    "usr/share/pki/ca-trust-source",
    "usr/share/pki/trust",
];
const ANCHORS: [&str; 4] = [
    "usr/local/share/ca-certificates",
    "etc/pki/ca-trust/source/anchors",
    "etc/pki/trust/anchors",
    "usr/share/pki/trust/anchors",
];
/// A bundle is about 250 kB; more than this is not one.
const BUNDLE_BYTES_MAX: u64 = 8 << 20;

/// What the host trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTrust {
    /// The bundle that holds everything the host trusts, for our own connections.
    pub bundle: Option<PathBuf>,
    /// How many certificates there are beyond the public ones.
    pub local: usize,
    /// All that the host trusts; `None` where that is nothing beyond the public ones.
    pub pem: Option<Pem>,
}

impl HostTrust {
    /// Looks below `root`, which is `/` except in tests.
    pub fn discover(root: &Path, environment: &Environment) -> Self {
        let named: Vec<PathBuf> = BUNDLE_VARIABLES
            .iter()
            .filter_map(|name| environment.absolute_path(name))
            .map(|path| root.join(path.strip_prefix("/").unwrap_or(&path)))
            .filter(|path| path.is_file())
            .collect();
        let system = BUNDLES
            .iter()
            .map(|path| root.join(path))
            .find(|path| path.is_file());

        let files = |folders: &[&str], depth| -> Vec<PathBuf> {
            let below = |folder: &&str| files_of(&root.join(folder), depth);
            folders.iter().flat_map(below).collect()
        };
        let anchors = files(&ANCHORS, 1);
        let shipped_files = files(&SHIPPED, 0);
        let is_sum = system
            .as_deref()
            .is_some_and(|bundle| is_sum_of(bundle, &shipped_files, &anchors));
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let system_real = system.as_deref().map(real);
        if is_sum && named.iter().all(|path| Some(real(path)) == system_real) {
            // All that is trusted stands in that one file.
            let local = keys_of(&anchors).len();
            return Self {
                bundle: named.into_iter().next().or_else(|| system.clone()),
                local,
                pem: system.filter(|_| local > 0).map(Pem::File),
            };
        }
        let shipped = match &system {
            Some(bundle) if is_sum => keys_of([bundle])
                .difference(&keys_of(&anchors))
                .cloned()
                .collect(),
            _ => keys_of(&shipped_files),
        };
        let mut found = Certificates::beyond(shipped);
        for file in &anchors {
            found.take(file, true);
        }
        for bundle in named.iter().chain(&system) {
            let is_system = Some(real(bundle)) == system_real;
            found.take(bundle, !is_system || !found.shipped.is_empty());
        }
        Self {
            bundle: named.into_iter().next().or(system),
            local: found.local,
            pem: (found.local > 0).then(|| Pem::Text(found.local_pem + &found.public_pem)),
        }
    }
}

/// Certificates, each once, in the order met: those of the shipped set and those beyond it.
struct Certificates {
    shipped: HashSet<String>,
    seen: HashSet<String>,
    local: usize,
    local_pem: String,
    public_pem: String,
}

impl Certificates {
    fn beyond(shipped: HashSet<String>) -> Self {
        Self {
            shipped,
            seen: HashSet::new(),
            local: 0,
            local_pem: String::new(),
            public_pem: String::new(),
        }
    }

    /// Takes the certificates of a file; one that is not shipped is local if it `may_be_local`.
    fn take(&mut self, file: &Path, may_be_local: bool) {
        for certificate in certificates(&read(file)) {
            let key = key(certificate);
            let is_local = may_be_local && !self.shipped.contains(&key);
            if !self.seen.insert(key) {
                continue;
            }
            self.local += usize::from(is_local);
            let pem = if is_local {
                &mut self.local_pem
            } else {
                &mut self.public_pem
            };
            pem.push_str(certificate);
            pem.push('\n');
        }
    }
}

/// Whether a bundle is what Debian and Alpine make of the shipped set and the anchors: each file
/// behind the other. By sizes alone, for this is asked before each start of a container: reading
/// the hundreds of files of the shipped set would take longer than the container.
fn is_sum_of(bundle: &Path, shipped: &[PathBuf], anchors: &[PathBuf]) -> bool {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    // A missing end of line is added.
    let with_newline = |path: &PathBuf| match read(path) {
        text if text.ends_with('\n') => text.len() as u64,
        text => text.len() as u64 + 1,
    };
    let shipped: u64 = shipped.iter().map(|path| size(path)).sum();
    let anchors: u64 = anchors.iter().map(with_newline).sum();
    shipped > 0 && size(bundle) == shipped + anchors
}

/// The certificates of some files.
fn keys_of<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> HashSet<String> {
    let mut keys = HashSet::new();
    for file in files {
        keys.extend(certificates(&read(file.as_ref())).map(key));
    }
    keys
}

/// The files of a folder in a stable order, down to `depth` levels of folders below it.
fn files_of(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.path();
        // Reading a directory tells the kind of its entries; only links have to be looked at.
        let is_file = match entry.file_type() {
            Ok(kind) if kind.is_file() => true,
            Ok(kind) if kind.is_dir() => false,
            _ => path.is_file(),
        };
        if is_file {
            files.push(path);
        } else if depth > 0 {
            files.extend(files_of(&path, depth - 1));
        }
    }
    files
}

/// The text of a file, or nothing: a file that cannot be read adds no trust.
fn read(path: &Path) -> String {
    let read = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len().min(BUNDLE_BYTES_MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.take(BUNDLE_BYTES_MAX).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    // Remarks between certificates may be in any encoding.
    String::from_utf8(read().unwrap_or_default())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The PEM blocks of a text, marks included.
fn certificates(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(BEGIN)?;
        let length = rest[start..].find(END)? + END.len();
        let block = &rest[start..start + length];
        rest = &rest[start + length..];
        Some(block)
    })
}

/// What makes two blocks the same certificate: the encoded bytes, however they are broken up.
fn key(block: &str) -> String {
    let body = block.trim_start_matches(BEGIN).trim_end_matches(END);
    let mut key = String::with_capacity(body.len());
    for line in body.lines() {
        key.push_str(line.trim());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What is passed on: local certificates before a bar, or how many there are in which file.
    fn trusted(root: &Path, environment: &Environment) -> String {
        let trust = HostTrust::discover(root, environment);
        let text = match trust.pem {
            None => String::new(),
            Some(Pem::Text(text)) => text,
            Some(Pem::File(path)) => {
                let path = path.strip_prefix(root).unwrap();
                return format!("{} in {}", trust.local, path.display());
            }
        };
        let keys: Vec<String> = certificates(&text).map(key).collect();
        let (local, public) = keys.split_at(trust.local);
        [local.join(" "), public.join(" ")].join(" | ")
    }

    #[test]
    fn on_debian_what_was_added_to_the_bundle_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "usr/share/ca-certificates/mozilla/A.crt",
            &pem("PUBLICA"),
        );
        write(
            root,
            "usr/share/ca-certificates/mozilla/B.crt",
            &pem("PUB\nLICB"),
        );
        write(
            root,
            "usr/local/share/ca-certificates/team/corp.crt",
            &pem("CORP"),
        );
        write(
            root,
            "etc/ssl/certs/ca-certificates.crt",
            &[pem("PUBLICA"), pem("PUBLICB"), pem("CORP"), pem("APPENDED")].concat(),
        );
        assert_eq!(
            trusted(root, &Environment::default()),
            "CORP APPENDED | PUBLICA PUBLICB"
        );
        let trust = HostTrust::discover(root, &Environment::default());
        assert_eq!(
            trust.bundle,
            Some(root.join("etc/ssl/certs/ca-certificates.crt"))
        );
    }

    #[test]
    fn a_bundle_that_is_the_sum_of_its_files_is_told_by_size() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let shipped = |name: &str| format!("usr/share/ca-certificates/mozilla/{name}.crt");
        write(root, &shipped("A"), &pem("PUBLICA"));
        write(root, &shipped("B"), &pem("PUBLICB"));
        let bundle = "etc/ssl/certs/ca-certificates.crt";
        write(root, bundle, &[pem("PUBLICA"), pem("PUBLICB")].concat());
        let none = Environment::default();
        assert_eq!(trusted(root, &none), " | ");
        let named = Environment::from([("PIP_CERT", "/opt/corp.pem")]);
        write(root, "opt/corp.pem", &[pem("PUBLICB"), pem("PIP")].concat());
        assert_eq!(trusted(root, &named), "PIP | PUBLICB PUBLICA");

        // The anchor's last line has no end; the bundle's has.
        let anchor = "usr/local/share/ca-certificates/corp.crt";
        write(root, anchor, pem("CORP").trim_end());
        let all = [pem("PUBLICA"), pem("PUBLICB"), pem("CORP")].concat();
        write(root, bundle, &all);
        assert_eq!(trusted(root, &none), format!("1 in {bundle}"));
        let same = Environment::from([("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")]);
        assert_eq!(trusted(root, &same), format!("1 in {bundle}"));
        assert_eq!(trusted(root, &named), "CORP PIP | PUBLICB PUBLICA");
        // What somebody appended by hand changes the size, and is found.
        write(root, bundle, &(all + &pem("APPENDED")));
        assert_eq!(trusted(root, &none), "CORP APPENDED | PUBLICA PUBLICB");
    }

    #[test]
    fn without_local_authorities_nothing_is_injected() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "usr/share/ca-certificates/mozilla/A.crt",
            &pem("PUBLICA"),
        );
        write(root, "etc/ssl/certs/ca-certificates.crt", &pem("PUBLICA"));
        let environment =
            Environment::from([("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")]);
        assert_eq!(trusted(root, &environment), " | ");
    }

    #[test]
    fn an_unknown_shipped_set_counts_as_public() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "etc/ssl/cert.pem", &pem("PUBLICA"));
        write(root, "opt/corp.pem", &[pem("CORP"), pem("CORP")].concat());
        assert_eq!(trusted(root, &Environment::default()), " | ");
        let environment = Environment::from([
            ("REQUESTS_CA_BUNDLE", "/opt/corp.pem"),
            ("CURL_CA_BUNDLE", "/opt/missing.pem"),
        ]);
        assert_eq!(trusted(root, &environment), "CORP | PUBLICA");
    }

    #[test]
    fn on_red_hat_the_p11_kit_file_tells_the_shipped_set() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "usr/share/pki/ca-trust-source/ca-bundle.trust.p11-kit",
            &format!("[p11-kit-object-v1]\nlabel: \"A\"\n{}", pem("PUBLICA")),
        );
        write(
            root,
            "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            &[pem("PUBLICA"), pem("CORP")].concat(),
        );
        assert_eq!(trusted(root, &Environment::default()), "CORP | PUBLICA");
    }

    #[test]
    fn a_block_without_an_end_is_left_out() {
        let text = format!("{}{BEGIN}\nCUT", pem("WHOLE"));
        assert_eq!(certificates(&text).map(key).collect::<Vec<_>>(), ["WHOLE"]);
    }
}
