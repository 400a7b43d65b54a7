//! What is to be run and over what: the request as plain data, and how it can end.
//!
//! The same values travel to the process inside (see `octets` for how paths survive that).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ca::CaTrust;
use crate::emulator::Emulator;
use crate::octets;

/// One process to be run in namespaces of its own.
///
/// Every field is the caller's to set; [`Sandbox::new`] fills in what `docker build` would use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The program that calls [`crate::dispatch`] first thing: `/proc/self/exe` except in tests.
    #[serde(with = "octets::path")]
    pub exe: PathBuf,
    /// An existing directory that holds none of the other paths. It serves as a mount point
    /// inside the sandbox's own mount namespace; nothing is written to it, and any number of
    /// sandboxes may share it.
    #[serde(with = "octets::path")]
    pub scratch: PathBuf,
    /// The image: changesets in overlay form, bottom to top. May be empty (`FROM scratch`).
    #[serde(with = "octets::paths")]
    pub lowers: Vec<PathBuf>,
    /// Where writes go.
    pub writable: Writable,
    /// What else is visible, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// The program and its arguments. A program without a slash is looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The working directory; made when missing.
    #[serde(with = "octets::path")]
    pub cwd: PathBuf,
    /// The user the program runs as.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// What the program can reach.
    pub network: Network,
    /// The host name inside; also gets `/etc/hostname` and a line in `/etc/hosts`.
    pub hostname: Option<String>,
    /// Further lines of `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// What `/etc/resolv.conf` says.
    pub resolver: Resolver,
    /// Limits to impose.
    pub limits: Limits,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// How far the program is confined.
    pub security: Security,
    /// Makes setuid programs and file capabilities powerless.
    pub no_new_privileges: bool,
    /// After this long everything inside is stopped.
    pub timeout: Option<Duration>,
    /// When stopping: how long after `stop_signal` the kill follows. Zero kills at once.
    pub grace: Duration,
    /// What the program gets first when it is to be stopped with grace; 15 is SIGTERM.
    pub stop_signal: i32,
    /// The size of `/dev/shm`.
    pub shm_bytes: u64,
    /// The host's certificates to be trusted inside, without staying in the upper.
    pub ca: Option<CaTrust>,
    /// What runs the image's programs, where they are for another machine.
    pub emulator: Option<Emulator>,
}

impl Sandbox {
    /// A sandbox as `docker build` would make it for a RUN: root, host network, default security.
    pub fn new(
        scratch: PathBuf,
        lowers: Vec<PathBuf>,
        writable: Writable,
        argv: Vec<String>,
    ) -> Sandbox {
        Sandbox {
            exe: PathBuf::from("/proc/self/exe"),
            scratch,
            lowers,
            writable,
            mounts: Vec::new(),
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            network: Network::Host,
            hostname: Some("buildkitsandbox".to_owned()),
            hosts: Vec::new(),
            resolver: Resolver::Host,
            limits: Limits::default(),
            stdin: Stdin::Null,
            security: Security::Default,
            no_new_privileges: false,
            timeout: None,
            grace: Duration::ZERO,
            stop_signal: 15,
            shm_bytes: 64 << 20,
            ca: None,
            emulator: None,
        }
    }
}

/// Where the writes of the program go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writable {
    /// Into `upper`, which becomes the changeset of the run. `work` must be an empty directory on
    /// the same file system and does not serve a second time.
    Upper {
        /// Receives what changes.
        #[serde(with = "octets::path")]
        upper: PathBuf,
        /// Belongs to overlayfs while the sandbox runs.
        #[serde(with = "octets::path")]
        work: PathBuf,
    },
    /// Into memory, gone afterwards.
    Tmpfs,
    /// Nowhere: the root is read-only.
    ReadOnly,
}

/// Something mounted over the image. Targets are resolved inside the new root, whatever the
/// image's symbolic links say; missing ones appear for the run and never in the upper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host, with what is mounted below it.
    Bind {
        /// On the host.
        #[serde(with = "octets::path")]
        source: PathBuf,
        /// Inside.
        #[serde(with = "octets::path")]
        target: PathBuf,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// A file or directory of the host, writable, whose writes are thrown away.
    BindDiscard {
        /// On the host.
        #[serde(with = "octets::path")]
        source: PathBuf,
        /// Inside.
        #[serde(with = "octets::path")]
        target: PathBuf,
    },
    /// An overlay of changesets, or a part of one.
    Layers {
        /// Bottom to top.
        #[serde(with = "octets::paths")]
        lowers: Vec<PathBuf>,
        /// The part to be mounted; `/` for all.
        #[serde(with = "octets::path")]
        subpath: PathBuf,
        /// Inside.
        #[serde(with = "octets::path")]
        target: PathBuf,
        /// Whether writes are refused; else they are thrown away.
        read_only: bool,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Inside.
        #[serde(with = "octets::path")]
        target: PathBuf,
        /// At most this many bytes; the kernel's default (half the memory) without.
        size_bytes: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
    /// A file that exists in memory only: a secret.
    File {
        /// Inside.
        #[serde(with = "octets::path")]
        target: PathBuf,
        /// Its bytes.
        #[serde(with = "octets::bytes")]
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// What the program can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// All that the host reaches, by the host's interfaces.
    Host,
    /// Its own loopback interface.
    None,
}

/// What `/etc/resolv.conf` says inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolver {
    /// What the host's says.
    Host,
    /// This text.
    Text(String),
}

/// How far the program is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// Docker's default: fourteen capabilities, a seccomp profile, masked and read-only paths.
    Default,
    /// All capabilities of the caller, no profile, nothing masked (`RUN --security=insecure`).
    Insecure,
}

/// Where the program's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nowhere: it is at its end.
    Null,
    /// The caller's own standard input.
    Inherit,
    /// A terminal of its own, relayed to the caller's; output arrives as [`Stream::Stdout`].
    Tty,
}

/// Limits for everything inside, together. None is ever raised above the caller's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Memory; needs a cgroup that this user may write.
    pub memory_bytes_max: Option<u64>,
    /// CPUs' worth of time (1.5 is one and a half); needs a cgroup.
    pub cpus_max: Option<f64>,
    /// Processes and threads; needs a cgroup.
    pub processes_max: Option<u64>,
    /// Open files of one process (RLIMIT_NOFILE).
    pub open_files_max: Option<u64>,
    /// The cgroup below which the run gets one of its own, from the root of the hierarchy on;
    /// limits of its own it gets by the others of these fields.
    pub cgroup_parent: Option<String>,
    /// Limits of each process, set as they are. Raising one above the caller's own fails unless
    /// the caller is root.
    pub ulimits: Vec<Ulimit>,
}

/// One limit of each process, as `ulimit` and docker's `--ulimit` know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What is limited.
    pub what: UlimitName,
    /// Where it begins to count; `None` for no limit.
    pub soft: Option<u64>,
    /// How far the process itself may raise it; `None` for no limit.
    pub hard: Option<u64>,
}

/// What a [`Ulimit`] limits, by docker's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum UlimitName {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl UlimitName {
    /// All of them.
    pub const ALL: [UlimitName; 15] = [
        UlimitName::Core,
        UlimitName::Cpu,
        UlimitName::Data,
        UlimitName::Fsize,
        UlimitName::Locks,
        UlimitName::Memlock,
        UlimitName::Msgqueue,
        UlimitName::Nice,
        UlimitName::Nofile,
        UlimitName::Nproc,
        UlimitName::Rss,
        UlimitName::Rtprio,
        UlimitName::Rttime,
        UlimitName::Sigpending,
        UlimitName::Stack,
    ];

    /// The name on command lines.
    pub fn name(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }
}

/// Which of the program's outputs some bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a program that could be started has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, which came neither from the caller nor from a lack of memory.
    Signal(i32),
    /// Stopped because `timeout` had passed.
    TimedOut,
    /// Killed by the kernel for want of memory; it or a child whose 137 it handed on.
    OutOfMemory,
    /// Stopped by the caller's [`crate::Cancel`].
    Cancelled,
}

impl Exit {
    /// Whether the program ended with code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The code a shell would show: 128 + signal where there is one.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::TimedOut => 124,
            Exit::OutOfMemory => 137,
            Exit::Cancelled => 130,
        }
    }
}
