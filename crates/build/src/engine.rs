//! Everything a run needs beside the graph: store, contexts, settings, and where events go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_oci::Compression;
use cairn_registry::Fetcher;
use cairn_sandbox::{CaTrust, Cancel, Mount, Resolver, Ulimit};
use cairn_store::Store;

use crate::cache::CacheSource;
use crate::context::Context;
use crate::device::Devices;
use crate::event::EventSink;
use crate::graph::ContextId;

/// The means of a run.
pub struct Engine<'a> {
    /// Where results are kept.
    pub store: &'a Store,
    /// The contexts that [`ContextId`]s name.
    pub contexts: &'a [Context],
    /// How to build.
    pub settings: &'a Settings,
    /// How to get files from the network.
    pub fetcher: &'a Fetcher,
    /// Who is told what happens.
    pub events: &'a dyn EventSink,
    /// Asks the run to stop.
    pub cancel: &'a Cancel,
}

/// How to build. None of it enters a key: it changes how fast, how safe, how far, never what. A
/// device that a step is handed is the exception, for the step sees it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many steps may run at once.
    pub jobs: usize,
    /// Whether the first failure stops everything.
    pub fail_fast: bool,
    /// Whether records are ignored: every step runs.
    pub no_cache: bool,
    /// Where results of other machines are, asked in this order when the store has none.
    pub cache_from: Vec<CacheSource>,
    /// Whether this run only looks: what hangs on files that are not here stays open, and none are
    /// fetched.
    pub only_looks: bool,
    /// The images that only leave the store.
    pub leaving: Leaving,
    /// Whether images carry the results of their steps in their configs.
    pub inline_cache: bool,
    /// Values of secrets by name.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of ssh agents by name.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Proxy variables handed to steps.
    pub proxies: Vec<(String, String)>,
    /// Further lines of `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// What `/etc/resolv.conf` of steps says.
    pub resolver: Resolver,
    /// Groups that steps are in beside those of their user.
    pub groups: Vec<u32>,
    /// Whether setuid programs and file capabilities are powerless in steps.
    pub no_new_privileges: bool,
    /// Files and directories of the host that every step sees. What lies in them is in no key, as
    /// with cache mounts.
    pub volumes: Vec<Mount>,
    /// Certificates of the host that steps trust.
    pub ca: Option<CaTrust>,
    /// A directory that serves as mount point of sandboxes.
    pub scratch: PathBuf,
    /// How long one step may run.
    pub step_timeout: Option<Duration>,
    /// Limits of the processes of steps, beside those of the machine.
    pub ulimits: Vec<Ulimit>,
    /// Most bytes of memory that a step may use.
    pub memory_max: Option<u64>,
    /// The cgroup below which steps run.
    pub cgroup_parent: Option<String>,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Devices that steps can be handed.
    pub devices: Arc<Devices>,
    /// Size of `/dev/shm` in steps.
    pub shm_bytes: u64,
    /// Names this run in the store's logs.
    pub run: String,
}

/// Images that are made to be sent away and nothing else. Layers of their bases that no step needs
/// are not fetched: they can stay in their registries until something sends them on.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    /// What they are called in the run.
    pub images: BTreeSet<String>,
    /// How layers are compressed on their way: one that came otherwise has to be here.
    pub compression: Compression,
}

impl Engine<'_> {
    /// The context of that name.
    pub(crate) fn context(&self, id: ContextId) -> &Context {
        &self.contexts[id.0 as usize]
    }
}
