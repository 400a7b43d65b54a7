//! Why namespaces are refused here, as far as the host tells, and what to do about it.

use std::fs;

use rustix::io::Errno;

/// What can be read about the host's rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) namespaces_max: Option<u64>,
    /// Debian's own switch.
    pub(crate) unprivileged_allowed: Option<bool>,
    /// Ubuntu's, since 23.10.
    pub(crate) apparmor_restricts: Option<bool>,
    /// Whether a filter is installed on this process, as in a container.
    pub(crate) is_filtered: bool,
    pub(crate) is_root: bool,
}

impl Rules {
    pub(crate) fn of_host() -> Rules {
        let number =
            |path: &str| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
        let flag = |path: &str| number(path).map(|number| number != 0);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Rules {
            namespaces_max: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_allowed: flag("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: flag("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            is_filtered: status
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").map(str::trim) == Some("2")),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// What to do when a user namespace, or the first mount in one, is refused.
    pub(crate) fn remedy(self, errno: Errno) -> Option<String> {
        if self.namespaces_max == Some(0) {
            return hint(
                "user namespaces are switched off; as root: `sysctl -w user.max_user_namespaces=15000`",
            );
        }
        if self.unprivileged_allowed == Some(false) && !self.is_root {
            return hint(
                "user namespaces are root's only; as root: `sysctl -w kernel.unprivileged_userns_clone=1`",
            );
        }
        if self.apparmor_restricts == Some(true) && !self.is_root {
            return hint(
                "AppArmor restricts user namespaces (Ubuntu 23.10 and newer); as root give this \
                 program a profile with `userns,` in /etc/apparmor.d, or `sysctl -w \
                 kernel.apparmor_restrict_unprivileged_userns=0`",
            );
        }
        match errno {
            Errno::NOSPC | Errno::USERS => {
                hint("the limit of user namespaces or of their nesting is reached")
            }
            Errno::INVAL => {
                hint("the process has several threads, or the kernel is built without them")
            }
            Errno::PERM | Errno::ACCESS if self.is_filtered => hint(
                "a filter of the container around this process forbids it; start that container \
                 with `--privileged`, or with `--security-opt seccomp=unconfined --security-opt \
                 systempaths=unconfined` as an ordinary user",
            ),
            Errno::PERM if self.is_root => {
                hint("root has no CAP_SYS_ADMIN here; start the container with `--privileged`")
            }
            _ => None,
        }
    }
}

fn hint(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: Rules, errno: Errno, expected: &str) {
        let remedy = rules.remedy(errno).unwrap_or_default();
        assert!(remedy.contains(expected), "{rules:?}, {errno}: {remedy:?}");
    }

    #[test]
    fn the_switch_that_is_off_is_named() {
        let open = Rules {
            namespaces_max: Some(1000),
            ..Rules::default()
        };
        check(
            Rules {
                namespaces_max: Some(0),
                ..open
            },
            Errno::NOSPC,
            "user.max_user_namespaces",
        );
        let debian = Rules {
            unprivileged_allowed: Some(false),
            ..open
        };
        check(debian, Errno::PERM, "kernel.unprivileged_userns_clone=1");
        check(
            Rules {
                apparmor_restricts: Some(true),
                ..open
            },
            Errno::ACCESS,
            "/etc/apparmor.d",
        );
        check(
            Rules {
                is_filtered: true,
                ..open
            },
            Errno::PERM,
            "seccomp=unconfined",
        );
        check(
            Rules {
                is_root: true,
                ..open
            },
            Errno::PERM,
            "--privileged",
        );
        check(open, Errno::NOSPC, "limit");
        assert_eq!(open.remedy(Errno::PERM), None);
    }
}
