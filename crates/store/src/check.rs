//! Is the store sound? What is found, and what repairing does about it.
//!
//! Reads everything once. Others may use the store meanwhile: nothing is reported that a running
//! process can cause, and a repair only takes away what nobody can have use of.

use std::fs;
use std::path::Path;

use cairn_oci::Digest;
use serde::Serialize;

use crate::collect::inventory::{bytes_below, files_below, list};
use crate::error::{At, StoreError};
use crate::history::{History, move_aside};
use crate::home::remove_if_there;
use crate::session::sweep;
use crate::store::Store;
use crate::{SnapshotId, cache, layer, parallel, refs};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a blob, a snapshot, a file.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// What repairing does about it.
    pub remedy: String,
    /// Whether that was done.
    pub is_repaired: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Takes room, harms nothing.
    Note,
    /// Counts as absent: costs work, harms nothing.
    Warning,
    /// Something was lost.
    Error,
}

impl Store {
    /// Looks for damage, and repairs it if asked to.
    ///
    /// An error means that looking failed; what is wrong with the store is in the findings.
    pub fn check(&self, repair: bool) -> Result<Vec<Finding>, StoreError> {
        let mut check = Check {
            store: self,
            repair,
            findings: Vec::new(),
        };
        check.leftovers()?;
        check.blobs()?;
        check.snapshots()?;
        check.records()?;
        check.refs()?;
        check.history()?;
        Ok(check.findings)
    }
}

struct Check<'a> {
    store: &'a Store,
    repair: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn leftovers(&mut self) -> Result<(), StoreError> {
        let tmp = self.store.layout().part("tmp");
        for directory in sweep(&tmp, true)? {
            let bytes = bytes_below(&directory);
            self.report(
                Severity::Note,
                format!("{}", directory.display()),
                format!("left over by a process that ended early, {bytes} bytes"),
                "remove it",
                |_| Ok(()),
            )?;
        }
        if self.repair {
            sweep(&tmp, false)?;
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<(), StoreError> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for path in list(&self.store.layout().part("blobs").join(algorithm))? {
                match format!("{algorithm}:{}", name(&path)).parse::<Digest>() {
                    Ok(digest) => digests.push(digest),
                    Err(_) => self.stranger(&path, "no digest")?,
                }
            }
        }
        let store = self.store;
        let found = parallel::map(&digests, |digest| match store.hash_blob(digest) {
            // Collected, or replaced, since it was listed.
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(digest.clone())
            }
            result => result,
        })?;
        for (digest, found) in digests.iter().zip(&found) {
            if digest != found {
                self.report(
                    Severity::Error,
                    format!("blob {digest}"),
                    format!("its bytes have the digest {found}"),
                    "remove it, so that it is fetched or made again",
                    |store| {
                        remove_if_there(&store.layout().blob(digest))?;
                        remove_if_there(&store.layout().blob_stamp(digest)).map(drop)
                    },
                )?;
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<(), StoreError> {
        for path in list(&self.store.layout().part("snapshots"))? {
            let Ok(snapshot) = name(&path).parse::<SnapshotId>() else {
                self.stranger(&path, "no snapshot's name")?;
                continue;
            };
            let problem = match self.store.layer_dir(&snapshot) {
                Err(StoreError::SnapshotMissing { .. }) => Some((
                    Severity::Warning,
                    "it may be incomplete: written in a session of the machine that ended \
                     before it was synced",
                )),
                Err(error) => return Err(error),
                Ok(_) if !path.join("fs").is_dir() => Some((Severity::Error, "its files are gone")),
                Ok(_) => self.content_changed(&snapshot)?.then_some((
                    Severity::Error,
                    "its files are not those that were committed",
                )),
            };
            if let Some((severity, problem)) = problem {
                self.report(
                    severity,
                    format!("snapshot {snapshot}"),
                    problem.into(),
                    "remove it: what is built is built again, what was loaded or pulled must be again",
                    |store| store.discard_snapshot(&snapshot),
                )?;
            }
        }
        Ok(())
    }

    /// Whether a snapshot's files differ from what was once computed of them.
    fn content_changed(&self, snapshot: &SnapshotId) -> Result<bool, StoreError> {
        let Some(known) = self.store.known_content_record(snapshot)? else {
            return Ok(false);
        };
        Ok(self.store.hash_snapshot(snapshot)?.content != known.content)
    }

    fn records(&mut self) -> Result<(), StoreError> {
        let layout = self.store.layout();
        for path in files_below(&layout.part("cache"))? {
            let record = cache::parse_record(&path)?;
            let leads_to = record.as_ref().map(|record| record.snapshot);
            self.record(&path, leads_to)?;
        }
        for path in files_below(&layout.part("equal"))? {
            let leads_to = cache::parse_equal(&path)?.map(Some);
            self.record(&path, leads_to)?;
        }
        for path in list(&layout.part("layers"))? {
            let bytes = fs::read(&path).at("read", &path)?;
            let leads_to =
                layer::named_by(&name(&path), &bytes).map(|(snapshot, _)| Some(snapshot));
            self.record(&path, leads_to)?;
        }
        Ok(())
    }

    /// `None` for a file that is no whole record.
    fn record(
        &mut self,
        path: &Path,
        leads_to: Option<Option<SnapshotId>>,
    ) -> Result<(), StoreError> {
        let problem = match leads_to {
            None => "it is not a whole record".to_owned(),
            Some(Some(snapshot)) if !self.store.snapshot_exists(&snapshot) => {
                format!("it leads to snapshot {snapshot}, which is not there")
            }
            Some(_) => return Ok(()),
        };
        let subject = format!("{}", path.display());
        self.report(Severity::Note, subject, problem, "remove it", |_| {
            remove_if_there(path).map(drop)
        })
    }

    fn refs(&mut self) -> Result<(), StoreError> {
        for path in list(&self.store.layout().part("refs"))? {
            let bytes = fs::read(&path).at("read", &path)?;
            if !refs::is_whole(&bytes) {
                let subject = format!("{}", path.display());
                let problem = "it is not a whole reference".to_owned();
                self.report(Severity::Error, subject, problem, "remove it", |_| {
                    remove_if_there(&path).map(drop)
                })?;
            }
        }
        for (reference, target) in self.store.list_refs()? {
            if !self.store.has_blob(&target.digest) {
                self.report(
                    Severity::Error,
                    format!("reference {reference}"),
                    format!("it points to {}, which is not there", target.digest),
                    "remove it; build or load the image again",
                    |store| store.remove_ref(&reference).map(drop),
                )?;
            }
        }
        Ok(())
    }

    fn history(&mut self) -> Result<(), StoreError> {
        let path = self.store.layout().part("history.db");
        if !path.exists() {
            return Ok(());
        }
        let problem = match History::look(&path)? {
            Some(problem) => problem,
            None => return Ok(()),
        };
        let subject = format!("{}", path.display());
        let remedy = "move it aside and begin a new one: reports of earlier runs are lost";
        self.report(Severity::Error, subject, problem, remedy, |_| {
            move_aside(&path).map(drop)
        })
    }

    fn stranger(&mut self, path: &Path, what: &str) -> Result<(), StoreError> {
        self.findings.push(Finding {
            severity: Severity::Note,
            subject: format!("{}", path.display()),
            problem: format!("its name is {what}; it does not belong here"),
            remedy: "none: what is not the store's is left alone".into(),
            is_repaired: false,
        });
        Ok(())
    }

    fn report(
        &mut self,
        severity: Severity,
        subject: String,
        problem: String,
        remedy: &str,
        repair: impl FnOnce(&Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.repair {
            repair(self.store)?;
        }
        self.findings.push(Finding {
            severity,
            subject,
            problem,
            remedy: remedy.into(),
            is_repaired: self.repair,
        });
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
