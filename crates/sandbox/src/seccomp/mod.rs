//! The system calls that the program may not make, and those that are answered in its stead.
//!
//! The profile is Docker's default, written the other way round: Docker lists the three hundred
//! calls that are allowed, this lists what remains, so that each refusal stands with its reason.
//! What neither list knows, because it is newer, answers ENOSYS and programs fall back.

mod bpf;
mod tables;

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::interrupt::last_errno;

/// What the filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Refuse what Docker refuses.
    pub(crate) confined: bool,
    pub(crate) ownership: Ownership,
}

/// How calls that change owners and users are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The kernel carries them out.
    Real,
    /// The ids do not exist. Those about files go to the supervisor, which records the wish; those
    /// about the process succeed and do nothing.
    Recorded,
    /// The ids do not exist and there is no supervisor: all succeed and do nothing.
    Pretended,
}

/// Installs the filter for this process and all that come from it. Gives the descriptor on which
/// the supervisor gets its questions, for [`Ownership::Recorded`].
///
/// Needs CAP_SYS_ADMIN in the user namespace or no-new-privileges.
pub(crate) fn install(profile: Profile) -> Result<Option<OwnedFd>, Errno> {
    let tables = tables::tables(profile);
    if tables.is_empty() {
        return Ok(None);
    }
    let mut program = bpf::compile(&tables);
    match profile.ownership {
        Ownership::Recorded => {
            let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
            // Otherwise a signal makes the asking process ask a second time (Linux 5.19).
            const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
            let fd = set_filter(&mut program, listener | WAIT_KILLABLE)
                .or_else(|_| set_filter(&mut program, listener))?;
            // SAFETY: with this flag the call answers with a new descriptor.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ownership::Real | Ownership::Pretended => {
            set_filter(&mut program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW)?;
            Ok(None)
        }
    }
}

fn set_filter(program: &mut [libc::sock_filter], flags: libc::c_ulong) -> Result<i32, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` describes a live array of instructions, which the kernel copies.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            &raw const filter,
        )
    };
    if answer < 0 {
        Err(last_errno())
    } else {
        Ok(answer as i32)
    }
}
