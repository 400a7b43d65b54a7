//! GPUs of this machine, and what a container needs to use them.
//!
//! NVIDIA's: the device files, and the driver's libraries, which must be those of the host's
//! kernel module. They go to one folder that is added to the library path. AMD's need their
//! device files only.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_sandbox::Mount;

/// Where the driver's libraries appear.
const LIBRARIES: &str = "/usr/local/nvidia/lib64";
const LIBRARY_DIRS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];
const DRIVER_NAMES: [&str; 3] = [
    "libcuda.so",
    "libnvidia-ml.so",
    "libnvidia-ptxjitcompiler.so",
];

/// Whether there is a GPU for computing.
pub(super) fn is_there() -> bool {
    !devices(Path::new("/dev")).is_empty()
}

/// What makes the GPUs visible inside, and the variable that makes their libraries found.
pub(super) fn mounts() -> (Vec<Mount>, (String, String)) {
    let bind = |source: PathBuf, target: PathBuf, read_only| Mount::Bind {
        source,
        target,
        read_only,
    };
    let mut mounts: Vec<Mount> = devices(Path::new("/dev"))
        .into_iter()
        .map(|device| bind(device.clone(), device, false))
        .collect();
    for library in LIBRARY_DIRS
        .iter()
        .flat_map(|dir| libraries(Path::new(dir)))
    {
        let name = library.file_name().unwrap_or_default().to_owned();
        mounts.push(bind(library, Path::new(LIBRARIES).join(name), true));
    }
    (mounts, ("LD_LIBRARY_PATH".to_owned(), LIBRARIES.to_owned()))
}

fn devices(dev: &Path) -> Vec<PathBuf> {
    let is_card = |name: &str| {
        let number = name.strip_prefix("nvidia").unwrap_or("x");
        !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    };
    let names = names(dev);
    let has_card = names.iter().any(|name| is_card(name) || name == "kfd");
    if !has_card {
        return Vec::new();
    }
    let is_of_gpu = |name: &&String| name.starts_with("nvidia") || *name == "kfd" || *name == "dri";
    names
        .iter()
        .filter(is_of_gpu)
        .map(|name| dev.join(name))
        .collect()
}

fn libraries(folder: &Path) -> Vec<PathBuf> {
    let is_driver = |name: &&String| DRIVER_NAMES.iter().any(|driver| name.starts_with(driver));
    let names = names(folder);
    names
        .iter()
        .filter(is_driver)
        .map(|name| folder.join(name))
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_what_counts() {
        let dev = tempfile::tempdir().unwrap();
        let touch = |name: &str| fs::write(dev.path().join(name), "").unwrap();
        touch("nvidiactl");
        touch("null");
        assert!(devices(dev.path()).is_empty(), "a driver without a card");
        touch("nvidia0");
        let names: Vec<PathBuf> = devices(dev.path());
        let wanted = ["nvidia0", "nvidiactl"].map(|name| dev.path().join(name));
        assert_eq!(names, wanted);
    }
}
