//! Executes the program, or finds out why it cannot be executed.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use rustix::io::Errno;

use super::command::c_string;
use crate::error::ExecFailure;
use crate::interrupt::last_errno;
use crate::machine::elf_interpreter;

/// Where Docker looks when the image sets no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program; returns only when that failed.
pub(super) fn execute(argv: &[String], environment: &[(String, String)]) -> ExecFailure {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return ExecFailure::Empty;
    };
    let arguments: Vec<CString> = argv.iter().map(|text| c_string(text)).collect();
    let variables: Vec<CString> = environment
        .iter()
        .map(|(name, value)| c_string(&format!("{name}={value}")))
        .collect();
    if program.contains('/') {
        let errno = try_execute(program, &arguments, &variables);
        return explain(program, errno);
    }
    let path = environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(DEFAULT_PATH, |(_, value)| value.as_str());
    let mut found = None;
    for directory in path.split(':') {
        // An empty entry means the working directory.
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{}/{program}", directory.trim_end_matches('/'));
        match try_execute(&candidate, &arguments, &variables) {
            Errno::NOENT | Errno::NOTDIR if !exists(&candidate) => {}
            errno => {
                found.get_or_insert_with(|| explain(&candidate, errno));
            }
        }
    }
    found.unwrap_or(ExecFailure::NotInPath {
        program: program.clone(),
        path: path.to_owned(),
    })
}

fn try_execute(path: &str, arguments: &[CString], variables: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (path, argv, envp) = (c_string(path), pointers(arguments), pointers(variables));
    // SAFETY: both arrays end with a null pointer and point to strings that end with a zero byte;
    // all of them live until the call returns, if it does.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    last_errno()
}

fn exists(path: &str) -> bool {
    std::fs::metadata(path).is_ok()
}

fn explain(program: &str, errno: Errno) -> ExecFailure {
    let program = program.to_owned();
    match errno {
        Errno::NOENT if !exists(&program) => ExecFailure::NoSuchFile { program },
        Errno::NOENT => match interpreter_of(&head_of(&program)) {
            Some(interpreter) => ExecFailure::NoInterpreter {
                program,
                interpreter,
            },
            None => ExecFailure::NoSuchFile { program },
        },
        _ => match machine_of(&head_of(&program)) {
            Some(machine) if errno == Errno::NOEXEC => ExecFailure::Foreign {
                program,
                machine: machine.to_owned(),
            },
            _ => {
                let reason = reason(&program, errno);
                ExecFailure::NotExecutable { program, reason }
            }
        },
    }
}

fn reason(program: &str, errno: Errno) -> String {
    let kernel = || std::io::Error::from(errno).to_string();
    match errno {
        Errno::NOEXEC => "it is neither a program nor a script with a #! line".to_owned(),
        Errno::ACCESS => match std::fs::metadata(program) {
            Ok(metadata) if metadata.is_dir() => "it is a directory".to_owned(),
            Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
                format!("its mode is {:04o}", metadata.permissions().mode() & 0o7777)
            }
            _ => kernel(),
        },
        _ => kernel(),
    }
}

/// The first page of the file, which holds all that is looked at here.
fn head_of(path: &str) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(4096).read_to_end(&mut head);
    }
    head
}

/// What a script's first line or a program's header says is to run it.
fn interpreter_of(head: &[u8]) -> Option<String> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let text = String::from_utf8_lossy(line);
        return text.split_whitespace().next().map(str::to_owned);
    }
    elf_interpreter(head)
}

/// The architecture of an ELF file that is not this machine's.
fn machine_of(head: &[u8]) -> Option<&'static str> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    Some(match (head.get(18)?, head.get(19)?) {
        (3, 0) => "386",
        (20 | 21, 0) | (0, 20 | 21) => "powerpc",
        (22, 0) | (0, 22) => "s390x",
        (40, 0) => "arm",
        (62, 0) => "amd64",
        (183, 0) => "arm64",
        (243, 0) => "riscv64",
        _ => "another architecture",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_interpreter_is_its_first_word() {
        assert_eq!(
            interpreter_of(b"#!/bin/bash -e\nx").as_deref(),
            Some("/bin/bash")
        );
        assert_eq!(
            interpreter_of(b"#! /usr/bin/env python3").as_deref(),
            Some("/usr/bin/env")
        );
        assert_eq!(interpreter_of(b"#!\n"), None);
        assert_eq!(interpreter_of(b"echo"), None);
    }

    #[test]
    fn foreign_machines_have_names() {
        let mut head = b"\x7fELF\x02\x01".to_vec();
        head.resize(18, 0);
        head.extend([183, 0]);
        assert_eq!(machine_of(&head), Some("arm64"));
        assert_eq!(machine_of(b"#!/bin/sh"), None);
    }
}
