//! The process that assembles one base and looks at it from inside and outside.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_debian::{
    AssembleOptions, DEBIAN_MIRROR, Lock, Request, ResolveOptions, Variant, assemble, resolve,
};
use cairn_registry::{FetchOptions, Fetcher, RetryPolicy};
use cairn_sandbox::{Cancel, Enter, Exit, Privilege, Sandbox, Writable, enter};
use cairn_store::{Compression, EntryKind, LayeredView, OpenOptions, Ownership, SnapshotId, Store};

pub(crate) const ROLE: &str = "assemble-a-base";
/// The exit code of a child that this host lets not enter.
pub(crate) const CANNOT_ENTER: i32 = 77;
pub(crate) const SUITE: &str = "bookworm";

/// What must not be in a base.
const ABSENT: [&str; 10] = [
    "etc/hostname",
    "etc/resolv.conf",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/tmp.ci",
    "usr/sbin/policy-rc.d",
    "run/cairn-debian",
    "var/lib/apt/lists/lock",
];

/// What a child tells its parent.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report {
    /// The DiffId of the base as a layer.
    pub(crate) layer: String,
    pub(crate) packages: usize,
    /// What is wrong with it.
    pub(crate) faults: Vec<String>,
}

impl Report {
    pub(crate) fn read(home: &Path) -> Report {
        serde_json::from_slice(&std::fs::read(home.join("report")).unwrap()).unwrap()
    }
}

pub(crate) fn mirror_answers() -> bool {
    let retry = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let connect_timeout = Duration::from_secs(5);
    let fetcher = Fetcher::new(FetchOptions {
        retry,
        connect_timeout,
        ..FetchOptions::default()
    });
    let url = format!("{DEBIAN_MIRROR}/dists/{SUITE}/InRelease");
    fetcher.get_bytes(&url, 4 << 20).is_ok()
}

pub(crate) fn main(home: &Path, single_id: bool) -> ExitCode {
    let Ok(privilege) = enter(&Enter {
        single_id,
        ..Enter::default()
    }) else {
        return ExitCode::from(CANNOT_ENTER as u8);
    };
    let ownership = match privilege {
        Privilege::SingleId => Ownership::Recorded,
        Privilege::Root | Privilege::SubuidRange => Ownership::Native,
    };
    let store = Store::open(&home.join("store"), OpenOptions { ownership }).unwrap();
    let lock = lock(&store, home);
    let options = AssembleOptions {
        fetcher: Fetcher::new(FetchOptions::default()),
        mirrors: Vec::new(),
        snapshot: None,
        scratch: home.join("scratch"),
        exe: "/proc/self/exe".into(),
        threads: 2,
    };
    let snapshot = match assemble(&store, &lock, &options, &Cancel::new(), &|_| {}) {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("{error}\n{}\n{error:?}", error.hint().unwrap_or_default()),
    };
    let layer = store
        .export_layer(&snapshot, lock.epoch(), Compression::None)
        .unwrap();
    let mut faults = faults_outside(&store, &snapshot);
    faults.extend(faults_inside(&store, home, &snapshot));
    let layer = layer.diff_id.to_string();
    let report = Report {
        layer,
        packages: lock.packages.len(),
        faults,
    };
    std::fs::write(home.join("report"), serde_json::to_vec(&report).unwrap()).unwrap();
    ExitCode::SUCCESS
}

/// The lock that the parent has put here, or a new one.
fn lock(store: &Store, home: &Path) -> Lock {
    let path = home.join("cairn.lock");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Lock::from_toml(&text).unwrap();
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let request = Request {
        suite: SUITE.to_owned(),
        arch: "amd64".to_owned(),
        variant: Variant::Essential,
        packages: vec!["ca-certificates".to_owned(), "adduser".to_owned()],
        components: vec!["main".to_owned()],
        mirrors: Vec::new(),
    };
    // A mirror that lags behind is no fault of what is tested here.
    let options = ResolveOptions {
        keyring: None,
        now,
        check_valid_until: false,
    };
    let fetcher = Fetcher::new(FetchOptions::default());
    let lock = resolve(store, &fetcher, &request, &options, &Cancel::new(), &|_| {}).unwrap();
    std::fs::write(path, lock.to_toml("debian.base")).unwrap();
    lock
}

/// What can be seen wrong in the files.
fn faults_outside(store: &Store, snapshot: &SnapshotId) -> Vec<String> {
    let view = LayeredView::new(store, &[*snapshot]).unwrap();
    let mut faults = Vec::new();
    for path in ABSENT {
        if view.lookup(Path::new(path)).unwrap().is_some() {
            faults.push(format!("{path} is there"));
        }
    }
    let passwd = view
        .find(Path::new("usr/bin/passwd"), true)
        .unwrap()
        .unwrap();
    if (passwd.mode & 0o7777, passwd.uid) != (0o4755, 0) {
        faults.push(format!("passwd is {:o} of {}", passwd.mode, passwd.uid));
    }
    let shadow = view.find(Path::new("etc/shadow"), true).unwrap().unwrap();
    if (shadow.mode & 0o777, shadow.gid) != (0o640, 42) {
        faults.push(format!(
            "shadow is {:o} of group {}",
            shadow.mode, shadow.gid
        ));
    }
    let bin = view.lookup(Path::new("bin")).unwrap().unwrap();
    if !matches!(bin.kind, EntryKind::Symlink) {
        faults.push("bin is no link into usr".to_owned());
    }
    faults
}

/// What the base's own tools find wrong.
fn faults_inside(store: &Store, home: &Path, snapshot: &SnapshotId) -> Vec<String> {
    let script = "dpkg --audit && dpkg --verify && \
        test -z \"$(dpkg-query -W -f '${Status}\\n' | grep -v '^install ok installed$')\" && \
        ldconfig -p | grep -q libc.so.6 && test -s /etc/ssl/certs/ca-certificates.crt";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let mount_point = home.join("mount-point");
    std::fs::create_dir_all(&mount_point).unwrap();
    let lowers = vec![store.snapshot_dir(snapshot)];
    let mut sandbox = Sandbox::new(mount_point, lowers, Writable::Tmpfs, argv);
    sandbox.env = vec![("PATH".to_owned(), "/usr/sbin:/usr/bin".to_owned())];
    let mut output = Vec::new();
    let exit = sandbox.run(&Cancel::new(), &mut |_, bytes| {
        output.extend_from_slice(bytes)
    });
    let exit = exit.unwrap();
    if exit == Exit::Code(0) && output.is_empty() {
        return Vec::new();
    }
    vec![format!("{exit:?}: {}", String::from_utf8_lossy(&output))]
}
