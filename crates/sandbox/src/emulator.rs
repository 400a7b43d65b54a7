//! Whether programs of an architecture run on this machine: by its CPU, or by an emulator that the
//! kernel was told of (`binfmt_misc`).

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Where the kernel lists the programs that it runs others with.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
/// An ELF header up to where it names the machine.
const HEADER: usize = 20;

/// Whether programs of this architecture, in Go's spelling (`arm64`), can run here.
#[must_use]
pub fn runs_here(architecture: &str) -> bool {
    let Some(wanted) = header(architecture) else {
        return false;
    };
    let own = own_header().unwrap_or_default();
    runs_natively(&wanted, &own) || has_handler(&wanted)
}

/// The beginning of this program, which is proof of what runs here.
fn own_header() -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    let mut program = File::open("/proc/self/exe").ok()?;
    program.read_exact(&mut header).ok()?;
    Some(header)
}

/// Whether a machine that runs programs with one header runs those with another by itself.
fn runs_natively(wanted: &[u8; HEADER], own: &[u8; HEADER]) -> bool {
    let is_of = |program: &[u8; HEADER], architecture| {
        header(architecture).is_some_and(|header| machine_of(program) == machine_of(&header))
    };
    machine_of(wanted) == machine_of(own) || (is_of(wanted, "386") && is_of(own, "amd64"))
}

/// Class, byte order and machine: what a processor asks of a program.
fn machine_of(program: &[u8; HEADER]) -> (&[u8], &[u8]) {
    (&program[..6], &program[18..])
}

/// The beginning of a program of an architecture.
fn header(architecture: &str) -> Option<[u8; HEADER]> {
    const WIDE: u8 = 2;
    const NARROW: u8 = 1;
    const LITTLE: u8 = 1;
    const BIG: u8 = 2;
    let (class, order, machine): (u8, u8, u16) = match architecture {
        "386" => (NARROW, LITTLE, 3),
        "amd64" => (WIDE, LITTLE, 62),
        "arm" => (NARROW, LITTLE, 40),
        "arm64" => (WIDE, LITTLE, 183),
        "loong64" => (WIDE, LITTLE, 258),
        "mips" => (NARROW, BIG, 8),
        "mipsle" => (NARROW, LITTLE, 8),
        "mips64" => (WIDE, BIG, 8),
        "mips64le" => (WIDE, LITTLE, 8),
        "ppc64" => (WIDE, BIG, 21),
        "ppc64le" => (WIDE, LITTLE, 21),
        "riscv64" => (WIDE, LITTLE, 243),
        "s390x" => (WIDE, BIG, 22),
        _ => return None,
    };
    let number = |number: u16| match order {
        LITTLE => number.to_le_bytes(),
        _ => number.to_be_bytes(),
    };
    let mut bytes = [0; HEADER];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    // A program at a fixed address.
    bytes[16..18].copy_from_slice(&number(2));
    bytes[18..].copy_from_slice(&number(machine));
    Some(bytes)
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
    fn this_machine_runs_its_own_programs_and_nobody_those_of_an_unknown_one() {
        let own = own_header().unwrap();
        assert!(runs_natively(&own, &own));
        assert!(!runs_here("pdp11"));
    }

    #[test]
    fn a_machine_of_64_bits_runs_the_programs_of_its_narrow_forerunner() {
        let header = |architecture| header(architecture).unwrap();
        assert!(runs_natively(&header("386"), &header("amd64")));
        assert!(!runs_natively(&header("amd64"), &header("386")));
        assert!(!runs_natively(&header("arm64"), &header("amd64")));
        assert!(!runs_natively(&header("mips"), &header("mipsle")));
    }

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
}
