//! Programs for another machine: an emulator is known inside, for the time of the run, whoever asks.
//!
//! The emulator is this program; what it "runs" is a file that begins as a program of S/390 does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use cairn_sandbox::{Emulator, ExecFailure, Exit, Sandbox, SandboxError};

use crate::fixture::{Fixture, describe, run, try_run};
use crate::mode::{ALL, WITH_IDS};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases![ALL;
        foreign_programs_run_and_ids_stay,
        the_kernel_knows_of_it_inside_only,
        an_emulator_that_is_gone_is_named,
    ];
    all.extend(cases![WITH_IDS; owners_are_set_as_without_it]);
    all
}

/// An ELF file's beginning: 64 bits, big endian, machine 22.
const FOREIGN: &[u8] = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16";
/// How the kernel calls an emulator that was registered by a descriptor.
const CALLED: &str = "/proc/self/fd/";

/// Whether this process was started as the emulator.
pub(crate) fn is_asked() -> bool {
    std::env::args()
        .next()
        .is_some_and(|name| name.starts_with(CALLED))
}

/// Tells what is to be run, by whom.
pub(crate) fn emulate() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "{} as {}",
        words.join(" "),
        rustix::process::geteuid().as_raw()
    );
    ExitCode::SUCCESS
}

/// A sandbox whose image has a foreign program, and an emulator for it. `None` before Linux 6.7.
fn emulating(fixture: &Fixture, script: &str) -> Option<Sandbox> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split('.').map(|it| it.parse::<u32>().unwrap_or(0));
    let version = (numbers.next()?, numbers.next()?);
    if !cairn_testkit::needs("Linux 6.7", version >= (6, 7)) {
        return None;
    }
    let layer = fixture.dir("foreign");
    let program = layer.join("foreign");
    fs::write(&program, [FOREIGN, &[0; 64]].concat()).unwrap();
    for path in [&layer, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.lowers.push(layer);
    sandbox.emulator = Some(Emulator {
        architecture: "s390x".to_owned(),
        program: fs::read_link("/proc/self/exe").unwrap(),
    });
    Some(sandbox)
}

fn foreign_programs_run_and_ids_stay(fixture: &Fixture) {
    let script = "/foreign a 'b c' && exec -a other /foreign";
    let Some(sandbox) = emulating(fixture, script) else {
        return;
    };
    let as_root = "/foreign /foreign a b c as 0\n/foreign other as 0";
    assert_eq!(run(&sandbox).succeeded(), as_root);
    let mut sandbox = emulating(fixture, "").unwrap();
    sandbox.argv = ["/foreign", "direct"].map(str::to_owned).to_vec();
    assert_eq!(run(&sandbox).succeeded(), "/foreign /foreign direct as 0");
    let mut sandbox = emulating(fixture, "/foreign x; id -u; id -g").unwrap();
    (sandbox.uid, sandbox.gid) = (33, 44);
    assert_eq!(
        run(&sandbox).succeeded(),
        "/foreign /foreign x as 33\n33\n44"
    );
}

fn the_kernel_knows_of_it_inside_only(fixture: &Fixture) {
    let Some(sandbox) = emulating(fixture, "/foreign during; ls /proc/sys/fs/binfmt_misc") else {
        return;
    };
    let during = "/foreign /foreign during as 0";
    assert_eq!(run(&sandbox).succeeded(), during);
    let mut sandbox = emulating(fixture, "").unwrap();
    sandbox.emulator = None;
    sandbox.argv = vec!["/foreign".to_owned()];
    match try_run(&sandbox) {
        Err(SandboxError::Exec(failure)) => assert_eq!(
            failure,
            ExecFailure::Foreign {
                program: "/foreign".to_owned(),
                machine: "s390x".to_owned(),
            }
        ),
        // Where the machine itself has an emulator, that one fails on what is no program.
        Ok(ran) => assert_ne!(ran.stdout.trim_end(), during),
        Err(error) => panic!("{error}"),
    }
}

fn an_emulator_that_is_gone_is_named(fixture: &Fixture) {
    let Some(mut sandbox) = emulating(fixture, "true") else {
        return;
    };
    sandbox.emulator.as_mut().unwrap().program = PathBuf::from("/nowhere/qemu-s390x");
    let error = describe(&try_run(&sandbox).unwrap_err());
    let expected =
        "telling the kernel of the emulator /nowhere/qemu-s390x: No such file or directory";
    assert!(error.starts_with(expected), "{error}");
}

fn owners_are_set_as_without_it(fixture: &Fixture) {
    let script = "touch /a && chown 5:6 /a && stat -c %u:%g /a && mkdir /m && mount -t tmpfs x /m";
    let Some(sandbox) = emulating(fixture, script) else {
        return;
    };
    let ran = run(&sandbox);
    assert_eq!(ran.stdout, "5:6\n");
    assert_ne!(ran.exit, Exit::Code(0), "a step may not mount");
}
