//! Whether programs of an architecture can run on this machine.

use std::path::Path;

use crate::error::DebianError;

/// Where the kernel lists the programs it runs others with.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";

/// Refuses an architecture whose maintainer scripts cannot run here.
pub(crate) fn check(arch: &str) -> Result<(), DebianError> {
    let host = host_arch();
    if runs_natively(arch, host) || has_handler(arch) {
        return Ok(());
    }
    Err(DebianError::ForeignArch {
        arch: arch.to_owned(),
        host: host.to_owned(),
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

fn runs_natively(arch: &str, host: &str) -> bool {
    arch == host || matches!((arch, host), ("i386", "amd64") | ("armel", "armhf"))
}

fn has_handler(arch: &str) -> bool {
    let cpu = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armhf" | "armel" => "arm",
        "ppc64el" => "ppc64le",
        "mips64el" => "mips64el",
        "loong64" => "loongarch64",
        other => other,
    };
    Path::new(HANDLERS).join(format!("qemu-{cpu}")).exists()
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
