//! Runs a command over some layers: the crate from a shell, for trying and for measuring.
//!
//! `sandbox [--single-id] [--repeat N] [--tty] [--network none] [--user UID:GID] --scratch DIR
//! --lower DIR... [--upper DIR --work DIR] COMMAND...`

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program, not a library"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use cairn_sandbox::{Cancel, Enter, Network, Sandbox, Stdin, Stream, Writable};

fn main() -> ExitCode {
    cairn_sandbox::dispatch();
    let mut arguments = std::env::args().skip(1).peekable();
    let mut enter = Enter::default();
    let mut repeat = 1;
    let (mut upper, mut work) = (None, None);
    let scratch = PathBuf::from("/mnt");
    let mut sandbox = Sandbox::new(scratch, Vec::new(), Writable::Tmpfs, Vec::new());
    while let Some(argument) = arguments.next_if(|argument| argument.starts_with("--")) {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--probe" => return report(&value()),
            "--single-id" => enter.single_id = true,
            "--repeat" => repeat = value().parse().unwrap_or(1),
            "--scratch" => sandbox.scratch = PathBuf::from(value()),
            "--lower" => sandbox.lowers.push(PathBuf::from(value())),
            "--upper" => upper = Some(PathBuf::from(value())),
            "--work" => work = Some(PathBuf::from(value())),
            "--tty" => sandbox.stdin = Stdin::Tty,
            "--network" if value() == "none" => sandbox.network = Network::None,
            "--user" => {
                let user = value();
                let (uid, gid) = user.split_once(':').unwrap_or((&user, &user));
                (sandbox.uid, sandbox.gid) = (uid.parse().unwrap_or(0), gid.parse().unwrap_or(0));
            }
            "--env" => {
                let variable = value();
                let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
                sandbox.env.push((name.to_owned(), value.to_owned()));
            }
            other => eprintln!("unknown option {other}"),
        }
    }
    sandbox.argv = arguments.collect();
    if let (Some(upper), Some(work)) = (upper, work) {
        sandbox.writable = Writable::Upper { upper, work };
    }
    match cairn_sandbox::enter(&enter) {
        Ok(privilege) => eprintln!("privilege: {privilege:?}"),
        Err(error) => return fail(&error),
    }
    let cancel = Cancel::new();
    if let Err(error) = cairn_sandbox::interrupt::cancel_on_signals(&cancel) {
        return fail(&error);
    }
    let mut milliseconds = Vec::new();
    let mut code = 0;
    for _ in 0..repeat {
        let start = Instant::now();
        let exit = sandbox.run(&cancel, &mut |stream, bytes| {
            let _ = match stream {
                Stream::Stdout => std::io::stdout().write_all(bytes),
                Stream::Stderr => std::io::stderr().write_all(bytes),
            };
            let _ = std::io::stdout().flush();
        });
        milliseconds.push(start.elapsed().as_secs_f64() * 1000.0);
        match exit {
            Ok(exit) => code = exit.shell_code(),
            Err(error) => return fail(&error),
        }
    }
    milliseconds.sort_by(f64::total_cmp);
    if repeat > 1 {
        let median = milliseconds[milliseconds.len() / 2];
        eprintln!(
            "median {median:.2} ms, best {:.2} ms of {repeat}",
            milliseconds[0]
        );
    }
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

fn report(dir: &str) -> ExitCode {
    match cairn_sandbox::probe(&PathBuf::from("/proc/self/exe"), &PathBuf::from(dir)) {
        Ok(report) => {
            for ability in &report.abilities {
                println!("{:?} {}: {}", ability.verdict, ability.name, ability.detail);
                if let Some(remedy) = &ability.remedy {
                    println!("    {remedy}");
                }
            }
            ExitCode::from(u8::from(!report.can_run()))
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &cairn_sandbox::SandboxError) -> ExitCode {
    eprint!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprint!(": {source}");
        cause = source.source();
    }
    eprintln!();
    ExitCode::from(u8::try_from(error.shell_code()).unwrap_or(125))
}
