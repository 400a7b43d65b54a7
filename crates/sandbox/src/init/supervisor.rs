//! Answers the calls that give files to users who do not exist here.
//!
//! With a single mapped id a chown to anybody else fails in the kernel. Package managers cannot
//! live with that, so the filter stops such calls and asks here. The answer is found by carrying
//! out the call with the one id there is, which checks everything the kernel checks and clears
//! setuid bits as it should, and the owner asked for is recorded (see `owner`).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, open, openat, openat2,
    stat,
};
use rustix::io::Errno;

use crate::interrupt::last_errno;
use crate::owner::{self, KEEP, Owner};

/// The supervisor's end of the filter.
pub(crate) struct Supervisor {
    listener: OwnedFd,
    /// This process's root, to come back to.
    root: OwnedFd,
    /// Whether `/proc` counts processes as this namespace does. The outer one, which is shown where
    /// no other may be mounted, does not.
    proc_is_ours: bool,
}

impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Supervisor {
    pub(crate) fn new(listener: OwnedFd) -> Result<Supervisor, Errno> {
        let root = open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let own = std::process::id().to_string();
        let shown = rustix::fs::readlink("/proc/self", Vec::new())?;
        let proc_is_ours = shown.as_bytes() == own.as_bytes();
        Ok(Supervisor {
            listener,
            root,
            proc_is_ours,
        })
    }

    /// Takes one question and answers it. A process that died meanwhile needs no answer.
    pub(crate) fn answer_one(&mut self) {
        // SAFETY: all-zero is what the kernel wants to be given.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        if self
            .control(libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut question).cast())
            .is_err()
        {
            return;
        }
        let error = match self.carry_out(&question) {
            Ok(()) => 0,
            Err(errno) => -errno.raw_os_error(),
        };
        let mut answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error,
            flags: 0,
        };
        let _ = self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast());
    }

    fn carry_out(&self, question: &libc::seccomp_notif) -> Result<(), Errno> {
        let shown = if self.proc_is_ours {
            question.pid
        } else {
            number_shown(question.pid)?
        };
        let caller = Caller {
            pid: question.pid,
            shown,
        };
        let call = Call::read(&caller, &question.data)?;
        let file = match &call.file {
            File::Descriptor(fd) => caller.open(&format!("fd/{fd}"))?,
            File::Path { base, path, follow } => {
                match self.resolve(&caller, base, path, *follow)? {
                    Some(file) => file,
                    // A link of /proc to something without a name: nothing that a layer could hold.
                    None => return Ok(()),
                }
            }
        };
        // What was opened is the caller's only if the caller is still the one who asked.
        let mut id = question.id;
        self.control(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw mut id).cast())?;
        give(file.as_fd(), call.owner)
    }

    /// Opens a path as the caller sees it; `None` when it leads through one of `/proc`'s links.
    fn resolve(
        &self,
        caller: &Caller,
        base: &Base,
        path: &CString,
        follow: bool,
    ) -> Result<Option<OwnedFd>, Errno> {
        let start = if path.as_bytes().starts_with(b"/") {
            caller.open("root")?
        } else {
            caller.open(&base.name())?
        };
        if self.shares_root_with(caller)? {
            return open_from(start.as_fd(), path, follow);
        }
        // The caller is in a chroot: links and `..` mean something else there.
        self.in_root_of(caller, || open_from(start.as_fd(), path, follow))
    }

    fn shares_root_with(&self, caller: &Caller) -> Result<bool, Errno> {
        let (ours, theirs) = (fstat(&self.root)?, stat(caller.path("root"))?);
        Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    fn in_root_of<T>(
        &self,
        caller: &Caller,
        act: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let before = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::chroot(caller.path("root"))?;
        let done = act();
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&before)?;
        done
    }

    fn control(&self, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<(), Errno> {
        // SAFETY: each request is used with the argument its number names: a `seccomp_notif`, a
        // `seccomp_notif_resp` or a u64, alive and writable.
        let answer = unsafe { libc::ioctl(self.listener.as_raw_fd(), request, argument) };
        if answer < 0 {
            Err(last_errno())
        } else {
            Ok(())
        }
    }
}

/// The process (or thread) that asks.
struct Caller {
    pid: u32,
    /// Its number in `/proc`.
    shown: u32,
}

/// The number that `/proc` has for a process of this namespace.
fn number_shown(pid: u32) -> Result<u32, Errno> {
    const PIDFD_THREAD: libc::c_int = libc::O_EXCL;
    // The flag, without which threads cannot be named, is new in Linux 6.9.
    let pidfd = open_pidfd(pid, PIDFD_THREAD).or_else(|_| open_pidfd(pid, 0))?;
    let record = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))
        .map_err(super::scratch::errno_of)?;
    let number = record
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|number| number.trim().parse().ok());
    number.ok_or(Errno::SRCH)
}

fn open_pidfd(pid: u32, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers; the answer is a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    match libc::c_int::try_from(fd) {
        // SAFETY: the call gave this descriptor to us and to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_errno()),
    }
}

impl Caller {
    fn path(&self, below: &str) -> String {
        format!("/proc/{}/{below}", self.shown)
    }

    fn open(&self, below: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        open(self.path(below), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Errno::BADF,
            other => other,
        })
    }

    /// A string of the caller's memory.
    fn string(&self, address: u64) -> Result<CString, Errno> {
        const PATH_BYTES_MAX: usize = 4096;
        const PAGE: u64 = 4096;
        let mut bytes = Vec::new();
        let mut at = address;
        while bytes.len() < PATH_BYTES_MAX {
            // Never across a page: the next one may not be mapped.
            let mut chunk = vec![0u8; (PAGE - at % PAGE) as usize];
            let length = self.read(at, &mut chunk)?;
            let chunk = &chunk[..length];
            if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&chunk[..end]);
                return CString::new(bytes).map_err(|_| Errno::FAULT);
            }
            bytes.extend_from_slice(chunk);
            at += length as u64;
        }
        Err(Errno::NAMETOOLONG)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let local = libc::iovec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        let remote = libc::iovec {
            iov_base: address as *mut _,
            iov_len: into.len(),
        };
        let pid = libc::pid_t::try_from(self.pid).map_err(|_| Errno::SRCH)?;
        // SAFETY: `local` is a live buffer of that length; `remote` is an address of another
        // process, which the kernel checks.
        let read =
            unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        match read {
            length if length > 0 => Ok(length as usize),
            0 => Err(Errno::FAULT),
            _ => Err(last_errno()),
        }
    }
}

/// One of the four calls, understood.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    file: File,
    owner: Owner,
}

#[derive(Debug, PartialEq, Eq)]
enum File {
    Descriptor(RawFd),
    Path {
        base: Base,
        path: CString,
        follow: bool,
    },
}

/// Where a relative path begins.
#[derive(Debug, PartialEq, Eq)]
enum Base {
    WorkingDirectory,
    Descriptor(RawFd),
}

impl Base {
    fn of(fd: RawFd) -> Base {
        if fd == libc::AT_FDCWD {
            Base::WorkingDirectory
        } else {
            Base::Descriptor(fd)
        }
    }

    fn name(&self) -> String {
        match self {
            Base::WorkingDirectory => "cwd".to_owned(),
            Base::Descriptor(fd) => format!("fd/{fd}"),
        }
    }
}

impl Call {
    fn read(caller: &Caller, data: &libc::seccomp_data) -> Result<Call, Errno> {
        // Descriptors, ids and flags are 32 bits wide; the upper halves are anything.
        let number = |i: usize| data.args[i] as u32;
        let owner = |i: usize| Owner {
            uid: number(i),
            gid: number(i + 1),
        };
        let path = |i: usize| caller.string(data.args[i]);
        let here = Base::WorkingDirectory;
        let (file, owner) = match libc::c_long::from(data.nr) {
            libc::SYS_fchown => (File::Descriptor(number(0) as RawFd), owner(1)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => (
                File::Path {
                    base: here,
                    path: path(0)?,
                    follow: true,
                },
                owner(1),
            ),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => (
                File::Path {
                    base: here,
                    path: path(0)?,
                    follow: false,
                },
                owner(1),
            ),
            libc::SYS_fchownat => {
                let (base, path, flags) = (number(0) as RawFd, path(1)?, number(4) as i32);
                (file_at(base, path, flags)?, owner(2))
            }
            _ => return Err(Errno::NOSYS),
        };
        Ok(Call { file, owner })
    }
}

fn file_at(base: RawFd, path: CString, flags: i32) -> Result<File, Errno> {
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    if !path.is_empty() {
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        return Ok(File::Path {
            base: Base::of(base),
            path,
            follow,
        });
    }
    match (flags & libc::AT_EMPTY_PATH != 0, Base::of(base)) {
        (false, _) => Err(Errno::NOENT),
        (true, Base::Descriptor(fd)) => Ok(File::Descriptor(fd)),
        (true, base) => Ok(File::Path {
            base,
            path: c".".to_owned(),
            follow: true,
        }),
    }
}

fn open_from(
    start: BorrowedFd<'_>,
    path: &CString,
    follow: bool,
) -> Result<Option<OwnedFd>, Errno> {
    let relative = match path.as_bytes().iter().position(|byte| *byte != b'/') {
        Some(0) => path.clone(),
        Some(slashes) => CString::new(&path.as_bytes()[slashes..]).unwrap_or_default(),
        None if path.is_empty() => return Err(Errno::NOENT),
        None => c".".to_owned(),
    };
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    match openat2(
        start,
        &relative,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    ) {
        Ok(file) => Ok(Some(file)),
        // Either a real loop, or a link of /proc, which would lead to our files, not the caller's.
        Err(Errno::LOOP) => openat(start, &relative, flags, Mode::empty()).map(|_| None),
        Err(errno) => Err(errno),
    }
}

/// Carries out the call with the one id there is, and records the one asked for.
fn give(file: BorrowedFd<'_>, owner: Owner) -> Result<(), Errno> {
    let uid = (owner.uid != KEEP).then_some(Uid::ROOT);
    let gid = (owner.gid != KEEP).then_some(Gid::ROOT);
    chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    let kind = FileType::from_raw_mode(fstat(file)?.st_mode);
    if matches!(kind, FileType::RegularFile | FileType::Directory) {
        // A file system without such attributes keeps no record; the call has succeeded.
        let _ = owner::record(&format!("/proc/self/fd/{}", file.as_raw_fd()), owner);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_path_means_the_descriptor_only_when_asked() {
        let empty = CString::default;
        assert_eq!(file_at(5, empty(), 0), Err(Errno::NOENT));
        assert_eq!(
            file_at(5, empty(), libc::AT_EMPTY_PATH),
            Ok(File::Descriptor(5))
        );
        assert_eq!(
            file_at(libc::AT_FDCWD, c"x".to_owned(), libc::AT_SYMLINK_NOFOLLOW),
            Ok(File::Path {
                base: Base::WorkingDirectory,
                path: c"x".to_owned(),
                follow: false
            })
        );
        assert_eq!(
            file_at(5, c"x".to_owned(), libc::AT_REMOVEDIR),
            Err(Errno::INVAL)
        );
    }

    #[test]
    fn proc_tells_its_number_of_a_process() {
        let pid = std::process::id();
        assert_eq!(number_shown(pid), Ok(pid));
    }

    #[test]
    fn strings_are_read_up_to_their_end() {
        let pid = std::process::id();
        let us = Caller { pid, shown: pid };
        let text = c"/some/path";
        assert_eq!(us.string(text.as_ptr() as u64).unwrap().as_c_str(), text);
        assert_eq!(us.string(8).unwrap_err(), Errno::FAULT);
    }
}
