//! Verdicts on system calls, as a program for the kernel's filter machine.
//!
//! A list of comparisons, which libraries make, costs the kernel half a millisecond at each
//! installation (it runs the program once for every call number to learn which are always
//! allowed). A search tree over ranges of numbers costs nothing that can be measured.

/// What happens to a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    /// Is not carried out and answers with this error number; 0 is success.
    Answer(u16),
    /// Waits for the supervisor's answer.
    Ask,
    /// Allowed when none of these bits is set in the argument, else EPERM.
    WithoutBits {
        argument: u32,
        bits: u32,
    },
    /// Allowed when the argument is one of these, else EPERM.
    OneOf {
        argument: u32,
        values: &'static [u32],
    },
    /// Allowed unless the argument is this, else EPERM.
    NotThis {
        argument: u32,
        value: u32,
    },
}

/// One architecture's calls: what applies from a number on until the next.
pub(crate) struct Table {
    /// As the kernel names the architecture of a call.
    pub(crate) architecture: u32,
    /// Verdicts for single numbers.
    pub(crate) calls: Vec<(u32, Verdict)>,
    /// For all others below `known`.
    pub(crate) otherwise: Verdict,
    /// The first number that was not assigned when the tables were written.
    pub(crate) known: u32,
}

/// The kernel takes no longer program.
const PROGRAM_MAX: usize = 4096;

// Offsets in the kernel's `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

type Program = Vec<libc::sock_filter>;

/// Calls of an architecture that has no table get ENOSYS.
pub(crate) fn compile(tables: &[Table]) -> Program {
    let mut program = vec![op(LOAD, ARCHITECTURE)];
    for table in tables {
        let section = section(table);
        program.push(test(IF_EQUAL, table.architecture, 1, 0));
        program.push(op(JUMP, section.len() as u32));
        program.extend(section);
    }
    program.push(answer(libc::ENOSYS as u16));
    assert!(
        program.len() <= PROGRAM_MAX,
        "the filter has {} instructions",
        program.len()
    );
    program
}

fn section(table: &Table) -> Program {
    let mut program = vec![op(LOAD, NUMBER)];
    program.extend(search(&ranges(table)));
    program
}

/// Neighbours with the same verdict, merged; each range reaches to the next one's start.
fn ranges(table: &Table) -> Vec<(u32, Verdict)> {
    let mut calls = table.calls.clone();
    calls.sort_by_key(|(number, _)| *number);
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    let mut push = |start: u32, verdict: Verdict| {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((start, verdict));
        }
    };
    let mut next = 0;
    for (number, verdict) in calls {
        assert!(number >= next, "call {number} has two verdicts");
        if number > next {
            push(next, table.otherwise.clone());
        }
        push(number, verdict);
        next = number + 1;
    }
    push(next, table.otherwise.clone());
    // A program that gets ENOSYS falls back to what it knew before the call existed.
    push(table.known.max(next), Verdict::Answer(libc::ENOSYS as u16));
    ranges
}

fn search(ranges: &[(u32, Verdict)]) -> Program {
    if let [(_, verdict)] = ranges {
        return leaf(verdict);
    }
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let (below, from_start) = (search(below), from[0].0);
    // A conditional jump reaches 255 instructions, an unconditional one all of them.
    let mut program = vec![
        test(IF_AT_LEAST, from_start, 0, 1),
        op(JUMP, below.len() as u32),
    ];
    program.extend(below);
    program.extend(search(from));
    program
}

fn leaf(verdict: &Verdict) -> Program {
    let allow = op(RETURN, libc::SECCOMP_RET_ALLOW);
    let refuse = answer(libc::EPERM as u16);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Answer(errno) => vec![answer(*errno)],
        Verdict::Ask => vec![op(RETURN, libc::SECCOMP_RET_USER_NOTIF)],
        Verdict::WithoutBits { argument, bits } => {
            vec![
                load_low(*argument),
                test(IF_ANY_BIT, *bits, 1, 0),
                allow,
                refuse,
            ]
        }
        Verdict::NotThis { argument, value } => {
            vec![
                load_low(*argument),
                test(IF_EQUAL, *value, 1, 0),
                allow,
                refuse,
            ]
        }
        Verdict::OneOf { argument, values } => {
            let mut program = vec![load_low(*argument)];
            for value in *values {
                program.extend([test(IF_EQUAL, *value, 0, 1), allow]);
            }
            program.push(refuse);
            program
        }
    }
}

/// The lower half of an argument: flags, families and personalities are 32 bits wide for the
/// kernel too. Both architectures that have tables keep it first.
fn load_low(argument: u32) -> libc::sock_filter {
    op(LOAD, ARGUMENTS + 8 * argument)
}

fn answer(errno: u16) -> libc::sock_filter {
    op(RETURN, libc::SECCOMP_RET_ERRNO | u32::from(errno))
}

fn op(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn test(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCH: u32 = 77;

    /// The kernel's filter machine, as far as these programs use it.
    fn run(program: &Program, architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut register) = (0, 0);
        loop {
            let op = program[at];
            at += 1;
            let holds = match op.code {
                LOAD => {
                    register = match op.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => argument,
                    };
                    continue;
                }
                JUMP => {
                    at += op.k as usize;
                    continue;
                }
                RETURN => return op.k,
                IF_EQUAL => register == op.k,
                IF_AT_LEAST => register >= op.k,
                IF_ANY_BIT => register & op.k != 0,
                other => panic!("code {other}"),
            };
            at += usize::from(if holds { op.jt } else { op.jf });
        }
    }

    fn table(calls: Vec<(u32, Verdict)>) -> Program {
        compile(&[Table {
            architecture: ARCH,
            calls,
            otherwise: Verdict::Allow,
            known: 500,
        }])
    }

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    fn answered(errno: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | errno as u32
    }

    #[test]
    fn every_number_gets_its_verdict() {
        // Enough single verdicts for jumps longer than 255 instructions.
        let refused: Vec<u32> = (0..500).filter(|n| n % 3 == 1).collect();
        let program = table(refused.iter().map(|n| (*n, Verdict::Answer(1))).collect());
        assert!(program.len() > 800);
        for number in 0..500 {
            let expected = if number % 3 == 1 {
                answered(1)
            } else {
                ALLOWED
            };
            assert_eq!(run(&program, ARCH, number, 0), expected, "call {number}");
        }
        for number in [500, 501, 0x4000_0000, u32::MAX] {
            assert_eq!(
                run(&program, ARCH, number, 0),
                answered(libc::ENOSYS),
                "call {number}"
            );
        }
    }

    #[test]
    fn arguments_decide() {
        let program = table(vec![
            (
                5,
                Verdict::WithoutBits {
                    argument: 0,
                    bits: 0x60,
                },
            ),
            (
                6,
                Verdict::OneOf {
                    argument: 0,
                    values: &[0, 8],
                },
            ),
            (
                7,
                Verdict::NotThis {
                    argument: 0,
                    value: 40,
                },
            ),
            (8, Verdict::Ask),
        ]);
        let verdict = |number, argument| run(&program, ARCH, number, argument);
        assert_eq!([verdict(5, 0x1f), verdict(5, 0x20)], [ALLOWED, answered(1)]);
        assert_eq!([verdict(6, 8), verdict(6, 9)], [ALLOWED, answered(1)]);
        assert_eq!([verdict(7, 2), verdict(7, 40)], [ALLOWED, answered(1)]);
        assert_eq!(verdict(8, 0), libc::SECCOMP_RET_USER_NOTIF);
    }

    #[test]
    fn each_architecture_has_its_own_numbers() {
        let of = |architecture, refused| Table {
            architecture,
            calls: vec![(refused, Verdict::Answer(1))],
            otherwise: Verdict::Allow,
            known: 10,
        };
        let program = compile(&[of(1, 3), of(2, 4)]);
        assert_eq!(run(&program, 1, 3, 0), answered(1));
        assert_eq!(run(&program, 1, 4, 0), ALLOWED);
        assert_eq!(run(&program, 2, 4, 0), answered(1));
        assert_eq!(run(&program, 3, 0, 0), answered(libc::ENOSYS));
    }
}
