//! Whether programs of an architecture run on this machine: by its CPU, by an emulator that the
//! kernel was told of (`binfmt_misc`), or by one that is installed and that a sandbox tells it of.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::machine::{ARCHITECTURES, HEADER, elf_interpreter, header, own_header, runs_natively};
use crate::octets;
use crate::overlay::kernel_version;

/// Where the kernel lists the programs that it runs others with.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
/// Since this version a user namespace can have handlers of its own.
const OWN_HANDLERS_SINCE: (u32, u32) = (6, 7);
/// Where emulators are installed.
const PLACES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];

static MORE_PLACES: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Names further directories in which emulators are looked for, after the system's. To be called
/// once, before anything else asks; a second call changes nothing.
pub fn look_for_emulators_in(places: Vec<PathBuf>) {
    let _ = MORE_PLACES.set(places);
}

/// Whether programs of this architecture, in Go's spelling (`arm64`), can run here: without help,
/// or in a sandbox that has its [`Emulator`].
#[must_use]
pub fn runs_here(architecture: &str) -> bool {
    runs_unaided(architecture) || Emulator::needed_for(architecture).is_some()
}

/// Whether they run without anything that we do.
fn runs_unaided(architecture: &str) -> bool {
    let Some(wanted) = header(architecture) else {
        return false;
    };
    let own = own_header().unwrap_or_default();
    runs_natively(&wanted, &own) || has_handler(&wanted)
}

/// An architecture whose programs run here although the CPU is of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// In Go's spelling.
    pub architecture: &'static str,
    /// What each sandbox tells the kernel of; `None` where the kernel knows of one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<PathBuf>,
}

/// The other machines whose programs run here.
#[must_use]
pub fn foreign() -> Vec<Foreign> {
    let own = own_header().unwrap_or_default();
    let is_foreign = |it: &&str| header(it).is_some_and(|header| !runs_natively(&header, &own));
    let found = ARCHITECTURES.into_iter().filter(is_foreign);
    found
        .filter_map(|architecture| {
            let emulator = Emulator::needed_for(architecture).map(|it| it.program);
            let runs = emulator.is_some() || runs_unaided(architecture);
            runs.then_some(Foreign {
                architecture,
                emulator,
            })
        })
        .collect()
}

/// A program of this machine that runs those of another: QEMU in user mode, which need not be
/// registered. Each sandbox tells the kernel of it for itself alone, so it takes no root and changes nothing
/// for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// What it runs, in Go's spelling.
    pub architecture: String,
    /// Where it is.
    #[serde(with = "octets::path")]
    pub program: PathBuf,
}

impl Emulator {
    /// The one that programs of an architecture need here. `None` when they run without, and when
    /// there is none.
    #[must_use]
    pub fn needed_for(architecture: &str) -> Option<Emulator> {
        if kernel_version() < OWN_HANDLERS_SINCE || runs_unaided(architecture) {
            return None;
        }
        Emulator::installed(architecture)
    }

    /// What to do so that there is one, as an order to the user.
    #[must_use]
    pub fn how_to_get_one() -> &'static str {
        if kernel_version() < OWN_HANDLERS_SINCE {
            "install an emulator that is registered with the kernel (Debian: `qemu-user-static`)"
        } else {
            "install an emulator (Debian: `qemu-user-static`); it need not be registered"
        }
    }

    /// The one that is installed, whether it is needed or not.
    fn installed(architecture: &str) -> Option<Emulator> {
        header(architecture)?;
        let more = MORE_PLACES.get().into_iter().flatten().cloned();
        let places: Vec<PathBuf> = PLACES.iter().map(PathBuf::from).chain(more).collect();
        // The first is static by its name; the second is on some systems, and on others not.
        let names = ["-static", ""].map(|end| format!("qemu-{}{end}", qemus_name(architecture)));
        let candidates = names
            .iter()
            .flat_map(|name| places.iter().map(move |place| place.join(name)));
        let program = candidates.into_iter().find(|path| stands_alone(path))?;
        Some(Emulator {
            architecture: architecture.to_owned(),
            program,
        })
    }

    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::open(
            &self.program,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// What the kernel is to be told, by the process that has the emulator open as `program`.
    ///
    /// Format: the kernel's `Documentation/admin-guide/binfmt-misc.rst`. The flags: the program is
    /// opened once, now (`F`), finds the original first argument (`P`) and the opened file (`O`), and
    /// setuid programs keep their powers (`C`).
    pub(crate) fn registration(&self, program: BorrowedFd<'_>) -> String {
        let magic = header(&self.architecture).unwrap_or_default();
        let mut mask = [0xff_u8; HEADER];
        // The ABI, its version and padding say nothing about the machine.
        mask[7..16].fill(0);
        // Programs at a fixed address are of kind 2, others of kind 3.
        let is_little = magic[5] == 1;
        mask[if is_little { 16 } else { 17 }] = 0xfe;
        let escaped = |bytes: &[u8]| -> String {
            let bytes = bytes.iter();
            bytes.map(|byte| format!("\\x{byte:02x}")).collect()
        };
        format!(
            ":qemu-{}:M:0:{}:{}:/proc/self/fd/{}:OCPF",
            self.architecture,
            escaped(&magic),
            escaped(&mask),
            program.as_raw_fd()
        )
    }
}

/// QEMU's name of an architecture.
fn qemus_name(architecture: &str) -> &str {
    match architecture {
        "386" => "i386",
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "loong64" => "loongarch64",
        "mipsle" => "mipsel",
        "mips64le" => "mips64el",
        other => other,
    }
}

/// Whether a file is a program that needs no libraries, which an image would not have.
fn stands_alone(path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok(file) = File::open(path) else {
        return false;
    };
    let may_run = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if !may_run {
        return false;
    }
    let is_read = file.take(4096).read_to_end(&mut head).is_ok();
    is_read && head.starts_with(b"\x7fELF") && elf_interpreter(&head).is_none()
}

fn has_handler(program: &[u8]) -> bool {
    if fs::read_to_string(Path::new(HANDLERS).join("status")).is_ok_and(|it| it.trim() != "enabled")
    {
        return false;
    }
    let entries = fs::read_dir(HANDLERS).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|text| takes(&text, program))
}

/// Whether a handler, as the kernel describes it, takes a program that begins so.
fn takes(handler: &str, program: &[u8]) -> bool {
    let mut lines = handler.lines();
    if lines.next() != Some("enabled") {
        return false;
    }
    let value = |name: &str| {
        let mut lines = handler.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let Some(magic) = value("magic").and_then(bytes) else {
        return false;
    };
    let mask = value("mask")
        .and_then(bytes)
        .unwrap_or_else(|| vec![0xff; magic.len()]);
    let offset: usize = value("offset").and_then(|it| it.parse().ok()).unwrap_or(0);
    // What lies behind the machine's number is not known here.
    let program = program.get(offset..).unwrap_or_default();
    let mut known = magic.iter().zip(&mask).zip(program);
    known.len() > 0 && known.all(|((magic, mask), byte)| magic & mask == byte & mask)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = hex
        .trim()
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OCF\noffset 0\n\
                        magic 7f454c460201010000000000000000000200b700\n\
                        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn a_handler_takes_programs_of_its_machine() {
        let takes = |text: &str, architecture| super::takes(text, &header(architecture).unwrap());
        assert!(takes(QEMU, "arm64"));
        assert!(!takes(QEMU, "riscv64") && !takes(QEMU, "arm"));
        assert!(!takes(&QEMU.replace("enabled", "disabled"), "arm64"));
        let by_name = "enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n";
        assert!(!takes(by_name, "arm64"));
        let broken = QEMU.replace("magic 7", "magic x");
        assert!(!takes(&broken, "arm64"));
    }

    #[test]
    fn nobody_runs_programs_of_an_unknown_machine() {
        assert!(!runs_here("pdp11"));
        assert_eq!(Emulator::needed_for("pdp11"), None);
    }

    #[test]
    fn what_runs_by_itself_needs_no_emulator() {
        let own = own_header().unwrap();
        let known = ["amd64", "arm64"].into_iter();
        let here: Vec<_> = known
            .filter(|it| runs_natively(&header(it).unwrap(), &own))
            .collect();
        assert_eq!(here.len(), 1);
        assert_eq!(Emulator::needed_for(here[0]), None);
        assert!(foreign().iter().all(|it| it.architecture != here[0]));
    }

    #[test]
    fn a_registration_takes_programs_of_its_machine_at_any_address() {
        for architecture in ["arm64", "s390x", "arm"] {
            let emulator = Emulator {
                architecture: architecture.to_owned(),
                program: PathBuf::from("/usr/bin/qemu"),
            };
            let text = emulator.registration(rustix::stdio::stdin());
            let fields: Vec<&str> = text.split(':').collect();
            let hex = |field: &str| field.replace("\\x", "");
            // As the kernel shows it again.
            let shown = format!(
                "enabled\ninterpreter {}\nflags: POCF\noffset {}\nmagic {}\nmask {}\n",
                fields[6],
                fields[3],
                hex(fields[4]),
                hex(fields[5])
            );
            let mut program = header(architecture).unwrap();
            assert!(takes(&shown, &program), "{shown}");
            let kind = if program[5] == 1 { 16 } else { 17 };
            program[kind] = 3;
            assert!(takes(&shown, &program), "{shown}");
            program[18..].copy_from_slice(&[0, 62]);
            assert!(!takes(&shown, &program), "{shown}");
        }
    }
}
