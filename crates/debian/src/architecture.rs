//! Whether programs of an architecture can run on this machine.

use cairn_sandbox::runs_here;

use crate::error::DebianError;

/// Refuses an architecture whose maintainer scripts cannot run here.
pub(crate) fn check(arch: &str) -> Result<(), DebianError> {
    if runs_here(machine(arch)) {
        return Ok(());
    }
    Err(DebianError::ForeignArch {
        arch: arch.to_owned(),
        host: host_arch().to_owned(),
    })
}

/// Debian's name of the architecture this program was built for.
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// What images call the machine of a Debian architecture.
#[must_use]
pub fn machine(arch: &str) -> &str {
    match arch {
        "i386" => "386",
        "armhf" | "armel" => "arm",
        "ppc64el" => "ppc64le",
        "mips64el" => "mips64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_runs_is_accepted_and_the_rest_named() {
        check(host_arch()).unwrap();
        let refused = check("m68k").unwrap_err().to_string();
        assert!(
            refused.starts_with("maintainer scripts of m68k cannot run on "),
            "{refused}"
        );
    }
}
