//! Maintainer scripts, run in the sandbox in dpkg's order.
//!
//! One sandbox run does what lies between two unpackings: the `preinst` scripts of a stage that is
//! about to be unpacked can run beside the configuration of the one before. The image's own dpkg
//! configures, so that triggers, conffiles and states are dpkg's business.
//!
//! Nothing starts a service (`policy-rc.d` says no, `start-stop-daemon` does nothing), nothing
//! asks, nothing reaches a network, and all that has a date gets the base's.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_sandbox::{Cancel, Emulator, Exit, Mount, Network, Resolver, Sandbox, Stream, Writable};
use cairn_store::ActiveSnapshot;

use crate::architecture::machine;
use crate::database::entry_name;
use crate::deb::Control;
use crate::error::DebianError;

/// Where the sandbox finds what is to be run.
const INSIDE: &str = "/run/cairn-debian";
/// How much of a failed script's output is kept for the message.
const OUTPUT_KEPT: usize = 8 * 1024;

const POLICY: &str = "#!/bin/sh\nexit 101\n";
const NO_DAEMON: &str = "#!/bin/sh\nexit 0\n";

/// One run of scripts.
pub(crate) struct ScriptRun<'a> {
    /// Packages that are unpacked already and whose `preinst` did not run before.
    pub(crate) late: &'a [&'a Control],
    /// Packages to configure, in this order.
    pub(crate) configure: &'a [&'a Control],
    /// Packages that are to be unpacked next.
    pub(crate) next: &'a [&'a Control],
}

impl ScriptRun<'_> {
    fn is_empty(&self) -> bool {
        let nothing = |controls: &[&Control]| controls.iter().all(|c| preinst(c).is_none());
        self.configure.is_empty() && nothing(self.late) && nothing(self.next)
    }
}

/// What scripts are run with.
pub(crate) struct Stage<'a> {
    pub(crate) active: &'a ActiveSnapshot,
    /// An empty directory for the scripts of this run.
    pub(crate) scratch: &'a Path,
    /// A directory that the sandbox may use as a mount point.
    pub(crate) mount_point: &'a Path,
    /// A fresh directory for the overlay.
    pub(crate) work: &'a Path,
    pub(crate) exe: &'a Path,
    /// What the packages are built for, as Debian calls it.
    pub(crate) arch: &'a str,
    pub(crate) epoch: i64,
    pub(crate) dpkg_version: &'a str,
}

/// Runs the scripts of one stage.
pub(crate) fn run(
    stage: &Stage<'_>,
    scripts: &ScriptRun<'_>,
    cancel: &Cancel,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<(), DebianError> {
    if scripts.is_empty() {
        return Ok(());
    }
    let driver = write_scripts(stage, scripts)?;
    let mut sandbox = sandbox(stage, &driver);
    sandbox.env = environment(stage.epoch);
    let mut last = Tail::default();
    let mut listen = |stream: Stream, bytes: &[u8]| {
        last.push(bytes);
        output(stream, bytes);
    };
    match sandbox
        .run(cancel, &mut listen)
        .map_err(DebianError::Sandbox)?
    {
        Exit::Code(0) => Ok(()),
        Exit::Cancelled => Err(DebianError::Cancelled),
        exit => Err(DebianError::Script {
            what: "configuring the packages".to_owned(),
            exit,
            output: last.text(),
        }),
    }
}

fn sandbox(stage: &Stage<'_>, driver: &Path) -> Sandbox {
    let writable = Writable::Upper {
        upper: stage.active.upper().to_owned(),
        work: stage.work.to_owned(),
    };
    let argv = vec!["/bin/sh".to_owned(), format!("{INSIDE}/driver")];
    let mut sandbox = Sandbox::new(stage.mount_point.to_owned(), Vec::new(), writable, argv);
    sandbox.exe = stage.exe.to_owned();
    sandbox.emulator = Emulator::needed_for(machine(stage.arch));
    sandbox.network = Network::None;
    sandbox.resolver = Resolver::Text(String::new());
    sandbox.hostname = Some("localhost".to_owned());
    sandbox.mounts = vec![
        Mount::Bind {
            source: driver.parent().unwrap_or(stage.scratch).to_owned(),
            target: PathBuf::from(INSIDE),
            read_only: true,
        },
        program("/usr/sbin/policy-rc.d", POLICY),
        program("/usr/sbin/start-stop-daemon", NO_DAEMON),
    ];
    sandbox
}

fn program(target: &str, content: &str) -> Mount {
    Mount::File {
        target: PathBuf::from(target),
        content: content.as_bytes().to_vec(),
        mode: 0o755,
        uid: 0,
        gid: 0,
    }
}

fn environment(epoch: i64) -> Vec<(String, String)> {
    let pairs = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DEBCONF_NOWARNINGS", "yes"),
        ("PYTHONHASHSEED", "0"),
        ("PERL_HASH_SEED", "0"),
        ("SYSTEMD_OFFLINE", "1"),
    ];
    let mut environment: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    environment.push(("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string()));
    environment
}

/// Writes the driver and the scripts of packages that are not in the tree yet.
fn write_scripts(stage: &Stage<'_>, scripts: &ScriptRun<'_>) -> Result<PathBuf, DebianError> {
    let mut driver = Driver::new(stage);
    for control in scripts.late.iter().filter(|c| preinst(c).is_some()) {
        driver.preinst(control)?;
    }
    driver.configure(scripts.configure);
    if scripts.next.is_empty() {
        // What was triggered in packages of earlier stages is due at the end.
        driver
            .text
            .push_str("dpkg --force-unsafe-io --configure --pending\n");
    }
    for control in scripts.next.iter().filter(|c| preinst(c).is_some()) {
        driver.preinst(control)?;
    }
    let path = stage.scratch.join("driver");
    write(&path, driver.text.as_bytes(), 0o755)?;
    Ok(path)
}

fn preinst(control: &Control) -> Option<&[u8]> {
    control.members.get("preinst").map(Vec::as_slice)
}

struct Driver<'a> {
    stage: &'a Stage<'a>,
    text: String,
    count: usize,
}

impl<'a> Driver<'a> {
    fn new(stage: &'a Stage<'a>) -> Driver<'a> {
        let mut text = String::from("set -e\ncd /\n");
        let constants = [
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_ROOT", ""),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            ("DPKG_MAINTSCRIPT_DEBUG", "0"),
            ("DPKG_MAINTSCRIPT_NAME", "preinst"),
            ("DPKG_RUNNING_VERSION", stage.dpkg_version),
        ];
        // They are for the preinst scripts only; dpkg sets its own.
        text.push_str("preinst() {\n  rm -rf /var/lib/dpkg/tmp.ci\n");
        text.push_str("  cp -R \"$1\" /var/lib/dpkg/tmp.ci\n  env");
        for (name, value) in constants {
            let _ = write!(text, " {name}={}", quoted(value));
        }
        text.push_str(" DPKG_MAINTSCRIPT_PACKAGE=\"$2\" DPKG_MAINTSCRIPT_ARCH=\"$3\"");
        text.push_str(" /var/lib/dpkg/tmp.ci/preinst install\n  rm -rf /var/lib/dpkg/tmp.ci\n}\n");
        Driver {
            stage,
            text,
            count: 0,
        }
    }

    /// Runs a package's `preinst install` from where dpkg would: debconf looks there.
    fn preinst(&mut self, control: &Control) -> Result<(), DebianError> {
        let name = format!("preinst-{}", self.count);
        self.count += 1;
        let folder = self.stage.scratch.join(&name);
        make_dir(&folder)?;
        write(&folder.join("control"), control.text.as_bytes(), 0o644)?;
        for (member, bytes) in &control.members {
            let script = matches!(
                member.as_str(),
                "preinst" | "postinst" | "prerm" | "postrm" | "config"
            );
            write(
                &folder.join(member),
                bytes,
                if script { 0o755 } else { 0o644 },
            )?;
        }
        let package = control.field("Package").unwrap_or_default();
        let arch = control.field("Architecture").unwrap_or_default();
        let (package, arch) = (quoted(package), quoted(arch));
        let _ = writeln!(self.text, "preinst {INSIDE}/{name} {package} {arch}");
        Ok(())
    }

    /// Has dpkg configure packages in the given order.
    fn configure(&mut self, controls: &[&Control]) {
        if controls.is_empty() {
            return;
        }
        // The overlay is volatile: a sync would cost time and save nothing.
        let _ = write!(self.text, "dpkg --force-unsafe-io --configure");
        for control in controls {
            let _ = write!(self.text, " {}", quoted(&entry_name(control)));
        }
        self.text.push('\n');
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn make_dir(path: &Path) -> Result<(), DebianError> {
    fs::create_dir_all(path).map_err(|source| DebianError::File {
        path: path.to_owned(),
        action: "making",
        source,
    })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DebianError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| DebianError::File {
        path: path.to_owned(),
        action: "writing",
        source,
    };
    fs::write(path, bytes).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// The last bytes of an output.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(2 * OUTPUT_KEPT);
        if surplus > 0 {
            self.bytes.drain(..surplus + OUTPUT_KEPT);
        }
    }

    /// The text, from the beginning of a line.
    fn text(&self) -> String {
        let start = self.bytes.len().saturating_sub(OUTPUT_KEPT);
        let text = String::from_utf8_lossy(&self.bytes[start..]);
        let text = if start > 0 {
            text.split_once('\n').map_or(&*text, |(_, rest)| rest)
        } else {
            &*text
        };
        text.trim_end().to_owned()
    }
}
