//! Devices of this machine for steps and containers, asked for on the command line: device files
//! by their paths, and what vendors describe (CDI) by its names.

use std::path::{Path, PathBuf};

use cairn_build::device::{Allowed, DeviceError, Devices, FOLDERS, Handed};
use cairn_sandbox::Mount;
use clap::Args;

use crate::commands::options::Entitlement;
use crate::error::CommandError;

/// Flags about devices.
#[derive(Debug, Clone, Default, Args)]
pub struct DeviceArgs {
    /// Hand out a device: `vendor.com/class=NAME`, or a device file, `/dev/HOST[:/dev/INSIDE[:r|rw]]`
    /// (can be repeated)
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub device: Vec<DeviceFlag>,
    /// Look for the files by which vendors describe devices in this folder alone (can be repeated)
    /// [default: /etc/cdi, /var/run/cdi, /etc/buildkit/cdi]
    #[arg(long, value_name = "DIR")]
    pub cdi_config_dir: Vec<PathBuf>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceFlag {
    /// By the name that its vendor gave it.
    Named(String),
    /// A device file.
    File {
        /// On this machine.
        source: PathBuf,
        /// Inside.
        target: PathBuf,
        /// Whether it can only be read.
        read_only: bool,
    },
}

impl DeviceArgs {
    /// A flag that was given, if one was.
    pub fn first_flag(&self) -> Option<&'static str> {
        let given = [
            (!self.device.is_empty(), "--device"),
            (!self.cdi_config_dir.is_empty(), "--cdi-config-dir"),
        ];
        given.into_iter().find_map(|(is, flag)| is.then_some(flag))
    }

    /// What there is on this machine, as far as it may be had.
    pub fn known(&self, allowed: Allowed) -> Devices {
        match self.cdi_config_dir.is_empty() {
            true => known(allowed),
            false => Devices::of(self.cdi_config_dir.clone(), allowed),
        }
    }

    /// The names among the devices.
    pub fn names(&self) -> Vec<String> {
        let names = self.device.iter().filter_map(|device| match device {
            DeviceFlag::Named(name) => Some(name.clone()),
            DeviceFlag::File { .. } => None,
        });
        names.collect()
    }

    /// The device files as mounts; each must be there.
    pub fn files(&self) -> Result<Vec<Mount>, CommandError> {
        let files = self.device.iter().filter_map(|device| match device {
            DeviceFlag::Named(_) => None,
            DeviceFlag::File {
                source,
                target,
                read_only,
            } => Some(file(source, target, *read_only)),
        });
        files.collect()
    }

    /// What the named devices bring; each must be there.
    pub fn handed(&self, known: &Devices) -> Result<Handed, CommandError> {
        known.hand(&[], &self.names()).map_err(refusal)
    }
}

/// Why a device cannot be had, as an error about the flag.
pub fn refusal(error: DeviceError) -> CommandError {
    CommandError::usage(format!("`--device`: {error}")).hint(error.hint())
}

/// The devices that vendors describe on this machine.
pub fn known(allowed: Allowed) -> Devices {
    Devices::of(FOLDERS.iter().map(PathBuf::from).collect(), allowed)
}

/// The devices that entitlements allow.
pub fn allowed(entitlements: &[Entitlement]) -> Allowed {
    let mut allowed = Allowed::None;
    for entitlement in entitlements {
        allowed = match (entitlement, allowed) {
            (Entitlement::Device(None), _) | (_, Allowed::All) => Allowed::All,
            (Entitlement::Device(Some(name)), Allowed::Some(mut names)) => {
                names.insert(name.clone());
                Allowed::Some(names)
            }
            (Entitlement::Device(Some(name)), Allowed::None) => {
                Allowed::Some([name.clone()].into())
            }
            (_, allowed) => allowed,
        };
    }
    allowed
}

fn file(source: &Path, target: &Path, read_only: bool) -> Result<Mount, CommandError> {
    if !source.exists() {
        return Err(CommandError::usage(format!(
            "`--device`: there is no {} on this machine",
            source.display()
        )));
    }
    Ok(Mount::Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    })
}

/// Reads a device as buildah and `docker run` have it.
fn device(text: &str) -> Result<DeviceFlag, String> {
    if !text.starts_with('/') {
        return match text.contains(['/', '=']) {
            true => Ok(DeviceFlag::Named(text.to_owned())),
            false => Err(format!(
                "`{text}` is neither a device file nor vendor.com/class=NAME"
            )),
        };
    }
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or_default();
    let (second, third) = (parts.next(), parts.next());
    // A second part may be the permissions already.
    let (target, access) = match second {
        Some(path) if path.starts_with('/') => (path, third),
        Some(access) if third.is_none() => (source, Some(access)),
        None => (source, None),
        Some(_) => return Err(format!("`{text}` is not HOST[:INSIDE[:r|rw]]")),
    };
    let access = access.unwrap_or("rwm");
    let is_access = !access.is_empty() && access.chars().all(|c| "rwm".contains(c));
    if parts.next().is_some() || !is_access {
        return Err(format!("`{text}` is not HOST[:INSIDE[:r|rw]]"));
    }
    Ok(DeviceFlag::File {
        source: source.into(),
        target: target.into(),
        read_only: !access.contains('w'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let file = |source: &str, target: &str, read_only| {
            Ok(DeviceFlag::File {
                source: source.into(),
                target: target.into(),
                read_only,
            })
        };
        assert_eq!(device("/dev/fuse"), file("/dev/fuse", "/dev/fuse", false));
        assert_eq!(device("/dev/a:/dev/b"), file("/dev/a", "/dev/b", false));
        assert_eq!(device("/dev/a:/dev/b:r"), file("/dev/a", "/dev/b", true));
        assert_eq!(device("/dev/a:rwm"), file("/dev/a", "/dev/a", false));
        let gpu = "nvidia.com/gpu=all";
        assert_eq!(device(gpu), Ok(DeviceFlag::Named(gpu.into())));
        for wrong in ["gpu", "/dev/a:b:c", "/dev/a:/dev/b:x", "/dev/a:/b:r:w"] {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn entitlements_add_up() {
        let named = |name: &str| Entitlement::Device(Some(name.into()));
        assert_eq!(allowed(&[Entitlement::NetworkHost]), Allowed::None);
        let two = Allowed::Some(["a/b=c".into(), "d".into()].into());
        assert_eq!(allowed(&[named("d"), named("a/b=c")]), two);
        let all = [Entitlement::Device(None), named("d")];
        assert_eq!(allowed(&all), Allowed::All);
    }
}
