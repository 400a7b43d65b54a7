//! Starting programs: what they get, what becomes of them, why they cannot be started.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use cairn_sandbox::{ExecFailure, Exit, SandboxError, Stdin, Writable};

use crate::fixture::{Fixture, hold_command, run, try_run, write};
use crate::mode::{ALL, ROOT};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases![ALL;
        output_and_code_arrive,
        a_fatal_signal_is_told,
        much_output_arrives_whole,
        only_the_given_environment_exists,
        the_working_directory_is_made,
        input_is_empty_unless_inherited,
        a_terminal_is_a_terminal,
        programs_that_cannot_be_started_say_why,
        an_image_without_anything_says_so,
        identity_files_are_provided,
        another_user_has_no_capabilities,
        many_run_at_once,
        a_reaper_takes_orphans,
        the_umask_of_the_caller_does_not_matter,
        the_host_is_probed,
    ];
    all.extend(cases![ROOT;
        memory_limits_kill_and_are_told,
        a_cgroup_may_be_made_below_another,
    ]);
    all
}

fn output_and_code_arrive(fixture: &Fixture) {
    let ran = run(&fixture.shell(&fixture.place(), "echo out; echo err >&2; exit 3"));
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(ran.exit, Exit::Code(3));
    assert_eq!(
        run(&fixture.command(&fixture.place(), &["true"])).exit,
        Exit::Code(0)
    );
}

fn a_fatal_signal_is_told(fixture: &Fixture) {
    for signal in [6, 9, 15] {
        let ran = run(&fixture.shell(&fixture.place(), &format!("kill -{signal} $$")));
        assert_eq!(ran.exit, Exit::Signal(signal));
    }
    // A shell hands the death of its child on as a code.
    let ran = run(&fixture.shell(&fixture.place(), "sh -c 'kill -9 $$'; exit $?"));
    assert_eq!(ran.exit, Exit::Code(137));
}

fn much_output_arrives_whole(fixture: &Fixture) {
    let ran = run(&fixture.shell(&fixture.place(), "yes 0123456789abcde | head -c 5000000"));
    assert_eq!(ran.stdout.len(), 5_000_000);
    assert!(
        ran.stdout
            .as_bytes()
            .chunks(16)
            .all(|line| line == &b"0123456789abcde\n"[..line.len()])
    );
}

fn only_the_given_environment_exists(fixture: &Fixture) {
    let mut sandbox = fixture.command(&fixture.place(), &["env"]);
    sandbox
        .env
        .push(("NAME".to_owned(), "two words=x\ny".to_owned()));
    assert_eq!(run(&sandbox).succeeded(), "PATH=/bin\nNAME=two words=x\ny");
}

fn the_working_directory_is_made(fixture: &Fixture) {
    let mut sandbox = fixture.command(&fixture.place(), &["pwd"]);
    sandbox.cwd = "/new/dir".into();
    assert_eq!(run(&sandbox).succeeded(), "/new/dir");
    sandbox.cwd = "relative".into();
    assert!(matches!(try_run(&sandbox), Err(SandboxError::Invalid(_))));
}

fn input_is_empty_unless_inherited(fixture: &Fixture) {
    assert_eq!(fixture.prints("cat; echo end"), "end");
    let mut child = hold_command(fixture, "inherit", "read line; echo got $line")
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"a line\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got a line\n");
}

fn a_terminal_is_a_terminal(fixture: &Fixture) {
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo yes; \
                  echo for the console > /dev/console; read line; echo got $line; cat; exit 5";
    let mut child = hold_command(fixture, "tty", script).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    for expected in ["/dev/pts/0", "yes", "for the console", "got typed"] {
        assert!(lines.contains(&expected), "{expected:?} in {lines:?}");
    }
    assert_eq!(output.status.code(), Some(5));
}

fn programs_that_cannot_be_started_say_why(fixture: &Fixture) {
    let extra = fixture.dir("programs");
    let script = |name: &str, content: &str, mode: u32| {
        let path = extra.join("bin").join(name);
        write(&path, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    script("no-interpreter", "#!/opt/missing -x\n", 0o755);
    script("no-mode", "#!/bin/sh\n", 0o644);
    script("text", "not a program", 0o755);
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(16, 0);
    foreign.extend([2, 0, 22, 0]);
    foreign.resize(64, 0);
    fs::write(extra.join("bin/foreign"), foreign).unwrap();
    fs::set_permissions(extra.join("bin/foreign"), fs::Permissions::from_mode(0o755)).unwrap();

    let failure = |argv: &[&str]| {
        let mut sandbox = fixture.command(&fixture.place(), argv);
        sandbox.lowers.push(extra.clone());
        match try_run(&sandbox) {
            Err(SandboxError::Exec(failure)) => failure,
            other => panic!("{argv:?}: {other:?}"),
        }
    };
    let path = "/bin".to_owned();
    let missing = failure(&["nothing"]);
    assert_eq!(
        missing,
        ExecFailure::NotInPath {
            program: "nothing".to_owned(),
            path
        }
    );
    assert_eq!(missing.shell_code(), 127);
    let missing = failure(&["/bin/nothing"]);
    assert_eq!(
        missing,
        ExecFailure::NoSuchFile {
            program: "/bin/nothing".to_owned()
        }
    );
    assert_eq!(
        failure(&["no-interpreter"]),
        ExecFailure::NoInterpreter {
            program: "/bin/no-interpreter".to_owned(),
            interpreter: "/opt/missing".to_owned(),
        }
    );
    for (program, expected) in [
        ("no-mode", "its mode is 0644"),
        ("text", "neither a program nor a script"),
        ("foreign", "built for s390x"),
        ("/tmp", "a directory"),
    ] {
        let failure = failure(&[program]);
        assert!(failure.to_string().contains(expected), "{failure}");
        assert_eq!(failure.shell_code(), 126);
    }
    assert_eq!(failure(&[]), ExecFailure::Empty);
}

fn an_image_without_anything_says_so(fixture: &Fixture) {
    let mut sandbox = fixture.command(&fixture.place(), &["/hello"]);
    sandbox.lowers.clear();
    let error = try_run(&sandbox).unwrap_err();
    assert_eq!(error.to_string(), "exec: no such file `/hello`");
}

fn identity_files_are_provided(fixture: &Fixture) {
    let place = fixture.place();
    let mut sandbox = fixture.shell(&place, "hostname; cat /etc/hostname /etc/hosts");
    sandbox.hostname = Some("somewhere".to_owned());
    sandbox
        .hosts
        .push(("db".to_owned(), "10.1.2.3".parse().unwrap()));
    assert_eq!(
        run(&sandbox).succeeded(),
        "somewhere\nsomewhere\n127.0.0.1\tlocalhost somewhere\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb"
    );
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(fixture.prints("cat /etc/resolv.conf"), host.trim_end());
}

fn another_user_has_no_capabilities(fixture: &Fixture) {
    let script =
        "id -u; id -g; grep CapEff /proc/self/status; touch /tmp/mine && stat -c %u /tmp/mine";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    (sandbox.uid, sandbox.gid) = (1000, 1001);
    let seen = run(&sandbox).succeeded();
    assert_eq!(seen, "1000\n1001\nCapEff:\t0000000000000000\n1000");
}

fn many_run_at_once(fixture: &Fixture) {
    thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || {
                for round in 0..5 {
                    let place = fixture.place();
                    let script = format!("echo {thread}-{round} | tee /result; hostname");
                    let printed = run(&fixture.shell(&place, &script)).succeeded();
                    assert_eq!(printed, format!("{thread}-{round}\nbuildkitsandbox"));
                    let kept = fs::read_to_string(place.upper.join("result")).unwrap();
                    assert_eq!(kept, format!("{thread}-{round}\n"));
                }
            });
        }
    });
}

fn a_reaper_takes_orphans(fixture: &Fixture) {
    let script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.05' &) ; done; sleep 0.4; \
                  grep -l '^State:.Z' /proc/[0-9]*/status | wc -l; \
                  ls -d /proc/[0-9]* | wc -l";
    let seen = fixture.prints(script);
    let counts: Vec<u32> = seen
        .lines()
        .map(|line| line.trim().parse().unwrap())
        .collect();
    assert_eq!(counts[0], 0, "zombies");
    assert!(
        counts[1] <= 4,
        "the first process, the shell and what it runs: {seen}"
    );
}

fn the_umask_of_the_caller_does_not_matter(fixture: &Fixture) {
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let seen = fixture.prints("umask; stat -c %a /etc/hosts /dev/null /dev/shm /dev /new 2>/dev/null; touch /new; stat -c %a /new");
    rustix::process::umask(before);
    assert_eq!(seen, "0022\n644\n666\n1777\n755\n644");
}

fn the_host_is_probed(fixture: &Fixture) {
    let report = cairn_sandbox::probe("/proc/self/exe".as_ref(), &fixture.dir("probed")).unwrap();
    assert!(report.can_run(), "{report:#?}");
    assert!(report.abilities.len() > 10, "{report:#?}");
}

fn a_cgroup_may_be_made_below_another(fixture: &Fixture) {
    let mut sandbox = fixture.shell(&fixture.place(), "cat /proc/self/cgroup; ls /sys/fs/cgroup");
    sandbox.stdin = Stdin::Null;
    let parent = format!("cairn-test-{}", std::process::id());
    sandbox.limits.cgroup_parent = Some(format!("/{parent}/inner"));
    match try_run(&sandbox) {
        Ok(ran) => {
            assert_eq!(ran.exit, Exit::Code(0));
            assert!(!ran.stdout.contains(&parent), "{}", ran.stdout);
            let left = std::path::Path::new("/sys/fs/cgroup/memory").join(&parent);
            assert!(!left.exists(), "what was made is removed");
        }
        Err(error) => println!("no cgroup here: {error}"),
    }
    sandbox.limits.cgroup_parent = Some("../up".to_owned());
    sandbox.writable = Writable::Tmpfs;
    assert!(matches!(try_run(&sandbox), Err(SandboxError::Invalid(_))));
}

fn memory_limits_kill_and_are_told(fixture: &Fixture) {
    let script = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.limits.memory_bytes_max = Some(64 << 20);
    sandbox.stdin = Stdin::Null;
    match try_run(&sandbox) {
        Ok(ran) => assert_eq!(ran.exit, Exit::OutOfMemory),
        Err(error) => println!("no cgroup here: {error}"),
    }
    sandbox.argv = vec!["true".to_owned()];
    sandbox.writable = Writable::Tmpfs;
    if let Ok(ran) = try_run(&sandbox) {
        assert_eq!(ran.exit, Exit::Code(0));
    }
}
