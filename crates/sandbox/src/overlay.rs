//! Overlay file systems over changesets.
//!
//! Lowers are added one by one (`lowerdir+`, kernel 6.5), so that neither the number of layers
//! nor the length of their paths meets the page that mount(2) takes its options in. Older kernels
//! get one list of short descriptor paths instead and refuse at about 230 layers.
//!
//! The options make the upper a plain changeset, which can serve as a lower anywhere:
//!
//! - `userxattr`: opaque marks are `user.` attributes, which an ordinary user may write. Root uses
//!   them too, so that a store has one form.
//! - `volatile`: nothing is synced at unmount. The store makes durable what it commits.
//! - `index=off`, `metacopy=off`, `xino=off`, `redirect_dir=nofollow`: no file of the upper refers
//!   to a lower by handle or path. (`redirect_dir=off` is refused together with `userxattr`.)

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, UnmountFlags};

use crate::error::{At, Failure, SandboxError, Step};
use crate::filesystem;
use crate::mount::{NewFs, clone_path, open_path};

/// Where an overlay's writes go: a directory that receives them, and an empty one beside it.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// Receives what changes.
    pub upper: &'a Path,
    /// Belongs to overlayfs; does not serve a second time.
    pub work: &'a Path,
}

/// Mounts `lowers` (bottom to top) as one tree, attached nowhere: the caller moves it, or reads
/// through the descriptor. Without an upper it is read-only.
///
/// `scratch` is an existing empty directory outside of all layers: the second lower that overlayfs
/// wants where there is no upper, and on kernels before 6.5 a mount point for an instant.
pub fn mount(
    lowers: &[PathBuf],
    upper: Option<Upper<'_>>,
    scratch: &Path,
) -> Result<OwnedFd, SandboxError> {
    if upper.is_none() && lowers.len() < 2 {
        let padded: Vec<PathBuf> = std::iter::once(scratch.to_owned())
            .chain(lowers.iter().cloned())
            .collect();
        return Ok(assemble(&padded, upper, scratch)?);
    }
    Ok(assemble(lowers, upper, scratch)?)
}

const PLAIN_CHANGESET: [(&str, &str); 4] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("xino", "off"),
    ("redirect_dir", "nofollow"),
];

/// The most lowers overlayfs takes.
const LOWERS_MAX: usize = 500;

pub(crate) fn assemble(
    lowers: &[PathBuf],
    upper: Option<Upper<'_>>,
    scratch: &Path,
) -> Result<OwnedFd, Failure> {
    if lowers.len() > LOWERS_MAX {
        let hint = format!(
            "{} layers, and the kernel's overlayfs takes {LOWERS_MAX}",
            lowers.len()
        );
        return Err(Failure::new(Step::Overlay, "", Errno::INVAL).with_hint(hint));
    }
    if takes_lowers_one_by_one() {
        one_by_one(lowers, upper)
    } else {
        by_page(lowers, upper, scratch)
    }
}

fn takes_lowers_one_by_one() -> bool {
    kernel_version() >= (6, 5)
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    parse_version(&uname.release().to_string_lossy())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn one_by_one(lowers: &[PathBuf], upper: Option<Upper<'_>>) -> Result<OwnedFd, Failure> {
    let fs = NewFs::open("overlay").map_err(unavailable)?;
    let mut held = Vec::new();
    let mut add = |key: &str, path: &Path| -> Result<(), Failure> {
        if needs_descriptor(path) {
            let fd = open_path(path).at_path(Step::Layers, path)?;
            fs.set(key, descriptor_path(&fd))
                .at_path(Step::Layers, path)?;
            held.push(fd);
            return Ok(());
        }
        fs.set(key, path).at_path(Step::Layers, path)
    };
    for lower in lowers.iter().rev() {
        add("lowerdir+", lower)?;
    }
    if let Some(Upper { upper, work }) = upper {
        add("upperdir", upper)?;
        add("workdir", work)?;
    }
    configure(&fs, upper.is_some())
        .and_then(|()| fs.mount(MountAttrFlags::empty()))
        .map_err(|errno| refused(errno, fs.messages(), upper))
}

fn configure(fs: &NewFs, writable: bool) -> Result<(), Errno> {
    fs.flag("userxattr")?;
    // Or it marks each upper with a random number (Linux 6.6; before, nothing is marked).
    let _ = fs.set("uuid", "null");
    for (key, value) in PLAIN_CHANGESET {
        fs.set(key, value)?;
    }
    if writable {
        fs.flag("volatile")
    } else {
        Ok(())
    }
}

/// fsconfig takes 255 bytes, and overlayfs takes a backslash as an escape.
fn needs_descriptor(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.len() > 255 || bytes.contains(&b'\\')
}

fn descriptor_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Only one thread at a time may use `scratch` as a mount point.
static SCRATCH_IN_USE: Mutex<()> = Mutex::new(());

fn by_page(
    lowers: &[PathBuf],
    upper: Option<Upper<'_>>,
    scratch: &Path,
) -> Result<OwnedFd, Failure> {
    let open = |path: &Path| open_path(path).at_path(Step::Layers, path);
    let lowers = lowers
        .iter()
        .rev()
        .map(|path| open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let over = upper
        .map(|paths| Ok((open(paths.upper)?, open(paths.work)?)))
        .transpose()?;
    let options = page_options(&lowers, over.as_ref());
    if options.len() >= 4096 {
        let hint = format!(
            "{} layers are too many for a kernel before 6.5",
            lowers.len()
        );
        return Err(Failure::new(Step::Overlay, "", Errno::NAMETOOLONG).with_hint(hint));
    }
    let _alone = SCRATCH_IN_USE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let data = std::ffi::CString::new(options).unwrap_or_default();
    rustix::mount::mount(
        "overlay",
        scratch,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .map_err(|errno| refused(errno, None, upper))?;
    let tree = clone_path(scratch).at(Step::Overlay);
    rustix::mount::unmount(scratch, UnmountFlags::DETACH).at(Step::Overlay)?;
    tree
}

fn page_options(lowers: &[OwnedFd], over: Option<&(OwnedFd, OwnedFd)>) -> String {
    let paths: Vec<String> = lowers.iter().map(descriptor_path).collect();
    let mut options = format!("userxattr,lowerdir={}", paths.join(":"));
    for (key, value) in PLAIN_CHANGESET {
        options.push_str(&format!(",{key}={value}"));
    }
    if let Some((upper, work)) = over {
        let (upper, work) = (descriptor_path(upper), descriptor_path(work));
        options.push_str(&format!(",volatile,upperdir={upper},workdir={work}"));
    }
    options
}

fn unavailable(errno: Errno) -> Failure {
    let failure = Failure::new(Step::Overlay, "", errno);
    match errno {
        Errno::NODEV => failure.with_hint("this kernel has no overlayfs; try `modprobe overlay`"),
        Errno::NOSYS => failure.with_hint("Linux 5.11 or newer is needed"),
        Errno::PERM => failure.with_hint("this process may not mount; was the namespace entered?"),
        _ => failure,
    }
}

/// Says what about the upper's file system explains the refusal, as far as that can be seen.
fn refused(errno: Errno, messages: Option<String>, upper: Option<Upper<'_>>) -> Failure {
    let failure = Failure::new(Step::Overlay, "", errno);
    if let Some(messages) = messages {
        return failure.with_hint(messages);
    }
    if kernel_version() < (5, 11) {
        return failure.with_hint("Linux 5.11 or newer is needed");
    }
    let Some(upper) = upper.map(|paths| paths.upper) else {
        return failure;
    };
    match filesystem::kind_of(upper) {
        Some(kind) if !kind.takes_overlay_upper() => failure.with_hint(format!(
            "{} is on {kind}, which overlayfs cannot write to; keep the store on a local disk",
            upper.display()
        )),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_release_names() {
        assert_eq!(parse_version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_version("5.10"), (5, 10));
        assert_eq!(parse_version("4.18.0-553.el8.x86_64"), (4, 18));
        assert_eq!(parse_version("odd"), (0, 0));
    }

    #[test]
    fn paths_that_options_would_change_go_by_descriptor() {
        assert!(!needs_descriptor(Path::new("/plain,with:both")));
        assert!(needs_descriptor(Path::new("/back\\slash")));
        assert!(needs_descriptor(&PathBuf::from("/x".repeat(128))));
        assert!(!needs_descriptor(&PathBuf::from(format!(
            "/{}",
            "x".repeat(254)
        ))));
    }

    /// Kernels before 6.5 are rare here, so their way is tried by itself.
    #[test]
    fn privileged_a_list_of_descriptors_mounts_the_same() {
        let may_mount = crate::capabilities::may_mount();
        if !cairn_testkit::needs_of_root("to mount", may_mount) {
            return;
        }
        // SAFETY: the flag does not touch descriptors; only this thread changes its namespace.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        let slave = rustix::mount::MountPropagationFlags::DOWNSTREAM;
        rustix::mount::mount_change("/", slave | rustix::mount::MountPropagationFlags::REC)
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b", "upper", "work", "scratch"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("a/x"), "").unwrap();
        std::fs::write(path("b/y"), "").unwrap();
        let (upper, work) = (path("upper"), path("work"));
        let over = Upper {
            upper: &upper,
            work: &work,
        };
        let tree = by_page(&[path("a"), path("b")], Some(over), &path("scratch")).unwrap();
        let names = ["x", "y"];
        for name in names {
            rustix::fs::statat(&tree, name, rustix::fs::AtFlags::empty()).unwrap();
        }
        assert_eq!(
            std::fs::read_dir(path("scratch")).unwrap().count(),
            0,
            "taken off again"
        );
        let many = vec![path("a"); 300];
        let error = SandboxError::from(by_page(&many, None, &path("scratch")).unwrap_err());
        assert!(error.to_string().contains("too many"), "{error}");
    }
}
