//! The lists behind the profile, by architecture.

use super::bpf::{Table, Verdict};
use super::{Ownership, Profile};

/// The first call number that did not exist when this was written; the same on all architectures
/// since Linux 5.1.
const KNOWN: u32 = 463;

/// CLONE_NEW* for all namespaces: making one gives capabilities that the bounding set took away.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;

/// AF_VSOCK reaches the hypervisor from any network namespace.
const AF_VSOCK: u32 = 40;

/// Linux, its 32-bit form, either with uname26 too, and the question what is set.
const PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// The tables of the architectures whose programs this kernel runs; none when nothing is filtered.
pub(super) fn tables(profile: Profile) -> Vec<Table> {
    if !profile.confined && profile.ownership == Ownership::Real {
        return Vec::new();
    }
    let native = Table {
        architecture: NATIVE,
        calls: calls(
            profile,
            native_refused(),
            native_ownership(profile.ownership),
        ),
        otherwise: Verdict::Allow,
        known: KNOWN,
    };
    #[cfg(target_arch = "x86_64")]
    let compat = Some(i386::table(profile));
    #[cfg(not(target_arch = "x86_64"))]
    let compat = None;
    std::iter::once(native).chain(compat).collect()
}

fn calls(
    profile: Profile,
    refused: Vec<(u32, Verdict)>,
    ownership: Vec<(u32, Verdict)>,
) -> Vec<(u32, Verdict)> {
    let mut calls = ownership;
    if profile.confined {
        calls.extend(refused);
    }
    calls
}

// linux/audit.h: the ELF machine, little-endian, 64 bits.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp profile has tables for x86_64 and aarch64 only");

fn refuse_all(numbers: &[libc::c_long]) -> impl Iterator<Item = (u32, Verdict)> {
    numbers
        .iter()
        .map(|number| (*number as u32, Verdict::Answer(libc::EPERM as u16)))
}

fn native_refused() -> Vec<(u32, Verdict)> {
    let mut calls: Vec<(u32, Verdict)> = refuse_all(REFUSED).collect();
    #[cfg(target_arch = "x86_64")]
    calls.extend(refuse_all(REFUSED_X86_64));
    calls.extend([
        number(
            libc::SYS_clone,
            Verdict::WithoutBits {
                argument: 0,
                bits: NAMESPACE_FLAGS,
            },
        ),
        // Its flags lie in memory, where a filter cannot look; the C library falls back to clone.
        number(libc::SYS_clone3, Verdict::Answer(libc::ENOSYS as u16)),
        number(
            libc::SYS_socket,
            Verdict::NotThis {
                argument: 0,
                value: AF_VSOCK,
            },
        ),
        number(
            libc::SYS_personality,
            Verdict::OneOf {
                argument: 0,
                values: PERSONALITIES,
            },
        ),
        // statmount and listmount: about mounts of the host, and unknown to Docker's profile.
        (457, Verdict::Answer(libc::ENOSYS as u16)),
        (458, Verdict::Answer(libc::ENOSYS as u16)),
    ]);
    calls
}

fn number(call: libc::c_long, verdict: Verdict) -> (u32, Verdict) {
    (call as u32, verdict)
}

const REFUSED: &[libc::c_long] = &[
    // Mounts and namespaces: the way out.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Opens files by number, past every mount (CVE-2014-5206's relatives).
    libc::SYS_open_by_handle_at,
    // The kernel itself: its modules, images, clock, names, log, accounts.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_vhangup,
    // Keyrings are not namespaced.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Programs in the kernel, and interfaces with a history of holes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // Other processes' memory and descriptors beyond what ptrace allows.
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    // Where memory lies: a container must not starve one node of the machine.
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_X86_64: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    // Obsolete.
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];

fn native_ownership(ownership: Ownership) -> Vec<(u32, Verdict)> {
    let of_files = match ownership {
        Ownership::Real => return Vec::new(),
        Ownership::Recorded => Verdict::Ask,
        Ownership::Pretended => Verdict::Answer(0),
    };
    let files = FILE_OWNERS
        .iter()
        .map(|call| number(*call, of_files.clone()));
    let process = PROCESS_OWNERS
        .iter()
        .map(|call| number(*call, Verdict::Answer(0)));
    files.chain(process).collect()
}

#[cfg(target_arch = "x86_64")]
const FILE_OWNERS: &[libc::c_long] = &[
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_chown,
    libc::SYS_lchown,
];
#[cfg(not(target_arch = "x86_64"))]
const FILE_OWNERS: &[libc::c_long] = &[libc::SYS_fchown, libc::SYS_fchownat];

const PROCESS_OWNERS: &[libc::c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// 32-bit programs on a 64-bit kernel: the same calls under older numbers, which no constant of
/// the C library tells here. Ownership is pretended only; their 16-bit forms are not worth more.
#[cfg(target_arch = "x86_64")]
mod i386 {
    use super::{
        AF_VSOCK, KNOWN, NAMESPACE_FLAGS, Ownership, PERSONALITIES, Profile, Table, Verdict, calls,
    };

    const ARCHITECTURE: u32 = 0x4000_0003;

    pub(super) fn table(profile: Profile) -> Table {
        let pretended = match profile.ownership {
            Ownership::Real => Vec::new(),
            _ => OWNERS
                .iter()
                .map(|number| (*number, Verdict::Answer(0)))
                .collect(),
        };
        Table {
            architecture: ARCHITECTURE,
            calls: calls(profile, refused(), pretended),
            otherwise: Verdict::Allow,
            known: KNOWN,
        }
    }

    fn refused() -> Vec<(u32, Verdict)> {
        let refuse = Verdict::Answer(libc::EPERM as u16);
        let fall_back = Verdict::Answer(libc::ENOSYS as u16);
        let mut calls: Vec<(u32, Verdict)> = REFUSED
            .iter()
            .map(|number| (*number, refuse.clone()))
            .collect();
        calls.extend([
            (
                120,
                Verdict::WithoutBits {
                    argument: 0,
                    bits: NAMESPACE_FLAGS,
                },
            ),
            (435, fall_back.clone()),
            (
                359,
                Verdict::NotThis {
                    argument: 0,
                    value: AF_VSOCK,
                },
            ),
            (
                136,
                Verdict::OneOf {
                    argument: 0,
                    values: PERSONALITIES,
                },
            ),
            (457, fall_back.clone()),
            (458, fall_back),
        ]);
        calls
    }

    /// In the order of the list above for the native architecture.
    const REFUSED: &[u32] = &[
        21, 22, 52, 217, 428, 429, 430, 431, 432, 433, 442, 346, 310, // mounts, namespaces
        342, // open_by_handle_at
        128, 350, 129, 283, 88, 87, 115, 25, 79, 264, 404, 74, 121, 103, 51, 131, 443,
        111, // kernel
        286, 287, 288, // keyrings
        357, 336, 374, 425, 426, 427, 338, 253, // programs in the kernel
        349, 438, 440, // other processes
        274, 275, 276, 450, 294, 317, // memory policy
        110, 101, 86, 62, 135, // ports, obsolete
    ];

    /// The chown family (both widths), then the setuid family, setgroups and capset.
    const OWNERS: &[u32] = &[
        16, 95, 182, 198, 207, 212, 298, // of files
        23, 46, 70, 71, 81, 138, 139, 164, 170, 185, 203, 204, 206, 208, 210, 213, 214, 215, 216,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_compiles_without_a_call_listed_twice() {
        for confined in [false, true] {
            for ownership in [Ownership::Real, Ownership::Recorded, Ownership::Pretended] {
                let tables = tables(Profile {
                    confined,
                    ownership,
                });
                assert_eq!(tables.is_empty(), !confined && ownership == Ownership::Real);
                super::super::bpf::compile(&tables);
            }
        }
    }
}
