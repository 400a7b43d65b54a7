//! Containers of an image for suites, services and commands about its contents: the image's
//! settings with what the test says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_build::account::Identity;
use cairn_build::image::ImageRecord;
use cairn_sandbox::{Emulator, Sandbox, Writable};
use cairn_spec::suite::RANDOM_USER;
use cairn_store::{ActiveSnapshot, EntryKind, SnapshotId, Store};

use super::Stop;
use crate::structure::{Conditions, DEFAULT_PATH, Inspection, Subject, accounts, lookup, set};

const HOSTNAME: &str = "cairn";
/// Numbers of users that images do not have, and that a range of subordinate ids does.
const RANDOM_UIDS: std::ops::Range<u32> = 20_000..60_000;

/// A container that is ready but for its command and what is mounted.
pub(crate) struct Container {
    pub(crate) sandbox: Sandbox,
    pub(crate) snapshots: Vec<SnapshotId>,
    /// What is written goes here, and goes with it.
    _change: Option<ActiveSnapshot>,
}

/// What a suite or a service says of its container.
pub(crate) struct Wanted<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) read_only: bool,
}

impl Container {
    pub(crate) fn new(
        record: &ImageRecord,
        wanted: &Wanted<'_>,
        store: &Store,
        conditions: &Conditions,
    ) -> Result<Self, Stop> {
        let snapshots = record.snapshots();
        let subject = Subject {
            store,
            snapshots: &snapshots,
            config: &record.config,
        };
        let inspection = Inspection::new(&subject, &[])?;
        let identity = identity(&inspection, record, wanted.user)?;
        let mut env = inspection.env.clone();
        for (name, value) in wanted.env {
            set(&mut env, name, value.clone());
        }
        let defaults = [
            ("PATH", DEFAULT_PATH),
            ("HOME", identity.home.as_str()),
            ("HOSTNAME", HOSTNAME),
        ];
        let proxies = conditions
            .proxies
            .iter()
            .map(|(name, value)| (&**name, &**value));
        for (name, value) in defaults.into_iter().chain(proxies) {
            if lookup(&env, name).is_none() {
                set(&mut env, name, value.to_owned());
            }
        }
        let change = match wanted.read_only {
            true => None,
            false => Some(inspection.begin_change()?),
        };
        let writable = match &change {
            None => Writable::ReadOnly,
            Some(change) => Writable::Upper {
                upper: change.upper().to_owned(),
                work: change.work().to_owned(),
            },
        };
        let lowers = snapshots.iter().map(|it| store.snapshot_dir(it)).collect();
        let mut sandbox = Sandbox::new(conditions.scratch.clone(), lowers, writable, Vec::new());
        sandbox.exe.clone_from(&conditions.exe);
        sandbox.env = env;
        sandbox.emulator = Emulator::needed_for(&record.platform.architecture);
        sandbox.cwd = PathBuf::from("/").join(&record.config.working_dir);
        sandbox.uid = identity.uid;
        sandbox.gid = identity.gid;
        sandbox.groups = identity.groups;
        sandbox.network = conditions.network;
        sandbox.hostname = Some(HOSTNAME.to_owned());
        sandbox.ca.clone_from(&conditions.ca);
        Ok(Self {
            sandbox,
            snapshots,
            _change: change,
        })
    }

    /// Finds the image's Python.
    pub(crate) fn python(&self, record: &ImageRecord, store: &Store) -> Result<String, Stop> {
        let subject = Subject {
            store,
            snapshots: &self.snapshots,
            config: &record.config,
        };
        let inspection = Inspection::new(&subject, &[])?;
        let path = lookup(&self.sandbox.env, "PATH").unwrap_or_default();
        for name in ["python3", "python"] {
            for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
                let program = format!("{}/{name}", folder.trim_end_matches('/'));
                let found = inspection.view.find(program.as_ref(), true)?;
                if found.is_some_and(|it| it.kind == EntryKind::File && it.mode & 0o111 != 0) {
                    return Ok(program);
                }
            }
        }
        Err(Stop::Failed(format!(
            "the image has no Python: neither `python3` nor `python` is in its PATH ({path}). Write \
             the suite as a `command`, or run it on the host: `on = \"host\"`"
        )))
    }
}

fn identity(
    inspection: &Inspection<'_>,
    record: &ImageRecord,
    wanted: Option<&str>,
) -> Result<Identity, Stop> {
    if wanted == Some(RANDOM_USER) {
        // The same image gets the same number: a verdict can be had again.
        let content = record.content();
        let bytes = content.as_bytes();
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let uid = RANDOM_UIDS.start + number % (RANDOM_UIDS.end - RANDOM_UIDS.start);
        return Ok(Identity {
            uid,
            gid: uid,
            groups: Vec::new(),
            home: "/".to_owned(),
        });
    }
    let user = wanted.unwrap_or(&record.config.user);
    accounts(inspection)?
        .identity(user)
        .map_err(|error| Stop::Failed(format!("the image does not know the user: {error}")))
}
