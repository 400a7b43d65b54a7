//! Devices of this machine that steps can be handed: `RUN --device`, as BuildKit finds them by the
//! Container Device Interface.
//!
//! A vendor's files say what a device is made of ([`cdi`]); what a step asks for is looked up here,
//! by name, by kind or by class, and must have been allowed.

mod cdi;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use cairn_dockerfile::device::Device as Asked;
use cairn_sandbox::Mount;

pub use cdi::HostFile;
use cdi::{Described, Edits, Specification};

/// Where vendors put their files. A later folder wins over an earlier one.
pub const FOLDERS: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];
/// A vendor's file is read up to this size.
const FILE_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// The devices of this machine, looked up when the first step asks for one.
#[derive(Debug, Default)]
pub struct Devices {
    folders: Vec<PathBuf>,
    allowed: Allowed,
    known: OnceLock<Known>,
}

/// Which devices steps may have beside those that their vendor lets everybody have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed {
    /// No others.
    #[default]
    None,
    /// All.
    All,
    /// Those of these names, kinds (`vendor.com/class`) or classes.
    Some(BTreeSet<String>),
}

/// What a step is handed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Handed {
    /// The devices, each with what it brings: what a step can observe of them.
    pub devices: Vec<(String, String)>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Files.
    pub files: Vec<HostFile>,
    /// Groups of its processes.
    pub groups: Vec<u32>,
    /// What it goes without, in words.
    pub without: Vec<String>,
}

/// Why a step is not handed what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// This machine does not have it.
    #[error("required device \"{name}\" is not registered")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, and what could not be read.
        there: String,
    },
    /// Nobody allowed it.
    #[error("device {device} is requested by the build but not allowed")]
    NotAllowed {
        /// The device.
        device: String,
        /// What was asked for.
        asked: String,
    },
    /// What a vendor describes is not on this machine.
    #[error("the device needs {}, which is not there", .0.display())]
    NoFile(PathBuf),
}

impl DeviceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { there, .. } => format!(
                "{there}; vendors describe devices in files of {}",
                FOLDERS.join(", ")
            ),
            Self::NotAllowed { device, .. } => {
                format!("allow it with `--allow device={device}` if you trust the Dockerfile")
            }
            Self::NoFile(_) => "ask the vendor's program to describe the devices anew".to_owned(),
        }
    }

    /// Whether it is what became of asking for `name`.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Unknown { name: asked, .. } | Self::NotAllowed { asked, .. } => asked == name,
            Self::NoFile(_) => false,
        }
    }
}

impl Handed {
    /// The files as mounts of a sandbox. Each must be there.
    pub fn mounts(&self) -> Result<Vec<Mount>, DeviceError> {
        let mount = |file: &HostFile| match file.source.exists() {
            true => Ok(Mount::Bind {
                source: file.source.clone(),
                target: file.target.clone(),
                read_only: file.read_only,
            }),
            false => Err(DeviceError::NoFile(file.source.clone())),
        };
        self.files.iter().map(mount).collect()
    }
}

/// What the folders hold.
#[derive(Debug, Default)]
struct Known {
    /// By their whole names, `vendor.com/class=name`: where their file stands among `kinds`.
    devices: BTreeMap<String, (usize, Described)>,
    kinds: Vec<Edits>,
    /// Files that could not be read, and why.
    broken: Vec<String>,
}

impl Devices {
    /// The devices that the files of some folders describe; the last folder wins.
    #[must_use]
    pub fn of(folders: Vec<PathBuf>, allowed: Allowed) -> Self {
        Self {
            folders,
            allowed,
            known: OnceLock::new(),
        }
    }

    /// What a step is handed that asks for these; `given` are those that the command line gives
    /// every step, which need no further leave.
    pub fn hand(&self, asked: &[Asked], given: &[String]) -> Result<Handed, DeviceError> {
        let mut handed = Handed::default();
        if asked.is_empty() && given.is_empty() {
            return Ok(handed);
        }
        let known = self.known.get_or_init(|| Known::read(&self.folders));
        let mut names: Vec<String> = Vec::new();
        let mut add = |found: Vec<String>| {
            for name in found {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        for name in given {
            add(known.find(name).ok_or_else(|| known.lacks(name))?);
        }
        for device in asked {
            match known.find(&device.name) {
                Some(found) => {
                    if let Some(name) = found.iter().find(|name| !self.may_have(known, name)) {
                        return Err(DeviceError::NotAllowed {
                            device: name.clone(),
                            asked: device.name.clone(),
                        });
                    }
                    add(found);
                }
                None if device.required => return Err(known.lacks(&device.name)),
                None => handed.without.push(format!(
                    "the device {}, which is not registered",
                    device.name
                )),
            }
        }
        known.gather(&names, &mut handed);
        Ok(handed)
    }

    fn may_have(&self, known: &Known, name: &str) -> bool {
        let device = known.devices.get(name).map(|(_, device)| device);
        let class = device.and_then(|device| device.class.as_deref());
        let (kind, _) = name.split_once('=').unwrap_or((name, ""));
        let is_granted = match &self.allowed {
            Allowed::None => false,
            Allowed::All => true,
            Allowed::Some(names) => {
                let all_of_kind = format!("{kind}=*");
                let known_as = [Some(name), Some(kind), Some(&*all_of_kind), class];
                known_as
                    .into_iter()
                    .flatten()
                    .any(|name| names.contains(name))
            }
        };
        is_granted || device.is_some_and(|device| device.auto_allow)
    }
}

impl Known {
    fn read(folders: &[PathBuf]) -> Self {
        let mut known = Self::default();
        for folder in folders {
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries.flatten(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    known.broken.push(format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                let is_one = |ending: &std::ffi::OsStr| {
                    ["json", "yaml", "yml"].iter().any(|known| ending == *known)
                };
                if !path.extension().is_some_and(is_one) {
                    continue;
                }
                match specification(&path) {
                    Ok(read) => known.add(read),
                    Err(why) => known.broken.push(format!("{}: {why}", path.display())),
                }
            }
        }
        known
    }

    fn add(&mut self, read: Specification) {
        let place = self.kinds.len();
        self.kinds.push(read.edits);
        for device in read.devices {
            let name = format!("{}={}", read.kind, device.name);
            self.devices.insert(name, (place, device));
        }
    }

    /// The devices that a name means: one by its whole name, the first of a kind, all of a kind
    /// by `KIND=*`, or all of a class.
    fn find(&self, name: &str) -> Option<Vec<String>> {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        let mut found: Vec<String> = Vec::new();
        if cdi::is_kind(kind) {
            let start = format!("{kind}=");
            let of_kind = self.devices.keys().filter(|name| name.starts_with(&start));
            match device {
                "" => found.extend(of_kind.take(1).cloned()),
                "*" => found.extend(of_kind.cloned()),
                _ => found.extend(of_kind.filter(|known| *known == name).cloned()),
            }
        }
        if found.is_empty() {
            let of_class = self
                .devices
                .iter()
                .filter(|(_, (_, device))| device.class.as_deref() == Some(name));
            found.extend(of_class.map(|(name, _)| name.clone()));
        }
        (!found.is_empty()).then_some(found)
    }

    fn lacks(&self, name: &str) -> DeviceError {
        let mut there = match self.devices.len() {
            0 => "this machine registers no device".to_owned(),
            _ => {
                let names: Vec<&str> = self.devices.keys().map(String::as_str).collect();
                format!("this machine has {}", names.join(", "))
            }
        };
        for broken in &self.broken {
            there.push_str("; cannot read ");
            there.push_str(broken);
        }
        DeviceError::Unknown {
            name: name.to_owned(),
            there,
        }
    }

    /// Puts together what devices bring: for each kind what all of it needs, once, then what the
    /// device needs.
    fn gather(&self, names: &[String], handed: &mut Handed) {
        let mut begun: BTreeSet<usize> = BTreeSet::new();
        for name in names {
            let Some((place, device)) = self.devices.get(name) else {
                continue;
            };
            let mut words = Vec::new();
            let of_kind = begun.insert(*place).then(|| &self.kinds[*place]);
            for edits in of_kind.into_iter().chain([&device.edits]) {
                words.extend(in_words(edits));
                for (variable, value) in &edits.env {
                    handed.env.retain(|(known, _)| known != variable);
                    handed.env.push((variable.clone(), value.clone()));
                }
                handed.files.extend(edits.files.iter().cloned());
                handed.groups.extend(&edits.groups);
                let left_out = edits.left_out.iter();
                let left_out = left_out.map(|what| format!("{what} of the device {name}"));
                handed.without.extend(left_out);
            }
            handed.devices.push((name.clone(), words.join(", ")));
        }
    }
}

/// What a step can observe of a device: not where on the host it comes from.
fn in_words(edits: &Edits) -> Vec<String> {
    let variables = edits
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let files = edits.files.iter().map(|file| {
        let access = if file.read_only { "ro" } else { "rw" };
        format!("{} ({access})", file.target.display())
    });
    let groups = edits.groups.iter().map(|group| format!("group {group}"));
    variables.chain(files).chain(groups).collect()
}

fn specification(path: &std::path::Path) -> Result<Specification, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > FILE_SIZE_MAX {
        return Err(format!("larger than {FILE_SIZE_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Specification::parse(&text).map_err(|error| error.to_string())
}
