//! How a program's first bytes tell what it is built for, and which of those a CPU runs by itself.

use std::fs::File;
use std::io::Read;

/// An ELF header up to where it names the machine.
pub(crate) const HEADER: usize = 20;

/// The architectures that are known by their header, in Go's spelling.
pub(crate) const ARCHITECTURES: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64",
    "ppc64le", "riscv64", "s390x",
];

/// The beginning of this program, which is proof of what runs here.
pub(crate) fn own_header() -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    let mut program = File::open("/proc/self/exe").ok()?;
    program.read_exact(&mut header).ok()?;
    Some(header)
}

/// Whether a machine that runs programs with one header runs those with another by itself.
pub(crate) fn runs_natively(wanted: &[u8; HEADER], own: &[u8; HEADER]) -> bool {
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
pub(crate) fn header(architecture: &str) -> Option<[u8; HEADER]> {
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

/// The loader that a program's first bytes ask for: the PT_INTERP entry of a 64-bit little-endian
/// ELF file.
pub(crate) fn elf_interpreter(head: &[u8]) -> Option<String> {
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(width)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | usize::from(*byte)),
        )
    };
    let (start, entry_bytes, entries) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..entries).find_map(|i| {
        let entry = start.checked_add(i * entry_bytes)?;
        const PT_INTERP: usize = 3;
        if number(entry, 4)? != PT_INTERP {
            return None;
        }
        let (at, length) = (
            number(entry.checked_add(8)?, 8)?,
            number(entry.checked_add(32)?, 8)?,
        );
        let text = head.get(at..at.checked_add(length)?)?;
        Some(String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_a_header_of_its_own() {
        let headers: std::collections::BTreeSet<_> = ARCHITECTURES.map(header).into();
        assert!(!headers.contains(&None));
        assert_eq!(headers.len(), ARCHITECTURES.len());
    }

    #[test]
    fn this_machine_runs_its_own_programs() {
        let own = own_header().unwrap();
        assert!(runs_natively(&own, &own));
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
    fn a_programs_interpreter_is_in_its_header() {
        // One entry of 56 bytes at 64, of kind 3, that says where the name is and how long.
        let mut dynamic = b"\x7fELF\x02\x01".to_vec();
        dynamic.resize(64, 0);
        (dynamic[32], dynamic[54], dynamic[56]) = (64, 56, 1);
        let mut entry = [0; 56];
        (entry[0], entry[8], entry[32]) = (3, 120, 12);
        dynamic.extend(entry);
        dynamic.extend(b"/lib/ld.so.1\0");
        assert_eq!(elf_interpreter(&dynamic).as_deref(), Some("/lib/ld.so.1"));
        // Entries that point beyond the file say nothing.
        let mut odd = b"\x7fELF\x02\x01".to_vec();
        odd.resize(64, 0xff);
        assert_eq!(elf_interpreter(&odd), None);
    }
}
