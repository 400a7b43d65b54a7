//! Ends that come from outside: time, the caller's wish, the caller's death.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use cairn_sandbox::{Cancel, Exit};

use crate::fixture::{Fixture, hold_command, run, run_until};
use crate::mode::ALL;
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases![ALL;
        time_kills_everything,
        grace_lets_a_program_clean_up,
        grace_has_an_end,
        a_request_stops_a_run,
        a_request_made_before_stops_too,
        background_processes_end_with_the_program,
        nothing_outlives_the_caller,
    ]
}

/// How many processes of this host have the word in their command line.
fn processes_with(word: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

/// A word that no other test has in its command lines: the modes are tested side by side.
fn mark_of_this_test(seconds: u32) -> String {
    format!("{seconds}.{:06}", std::process::id())
}

/// Waits for a condition; fails the test if it does not come.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(5), "not so: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn time_kills_everything(fixture: &Fixture) {
    let mark = &mark_of_this_test(314);
    let script = format!("trap '' TERM; (sleep {mark} &); echo started; sleep {mark}");
    let mut sandbox = fixture.shell(&fixture.place(), &script);
    sandbox.timeout = Some(Duration::from_millis(300));
    let start = Instant::now();
    let ran = run(&sandbox);
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Exit::TimedOut, "started\n")
    );
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(processes_with(mark), 0);
}

fn grace_lets_a_program_clean_up(fixture: &Fixture) {
    let script = "trap 'echo cleaned; exit 0' TERM; echo started; while true; do sleep 0.05; done";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.timeout = Some(Duration::from_millis(300));
    sandbox.grace = Duration::from_secs(20);
    let start = Instant::now();
    let ran = run(&sandbox);
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Exit::TimedOut, "started\ncleaned\n")
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

fn grace_has_an_end(fixture: &Fixture) {
    let script = "trap '' TERM; while true; do sleep 0.05; done";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.timeout = Some(Duration::from_millis(100));
    sandbox.grace = Duration::from_millis(300);
    let start = Instant::now();
    assert_eq!(run(&sandbox).exit, Exit::TimedOut);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

fn a_request_stops_a_run(fixture: &Fixture) {
    let sandbox = fixture.shell(&fixture.place(), "sleep 271.8281");
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let request = cancel.clone();
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(200));
            request.cancel();
        });
        assert_eq!(run_until(&sandbox, &cancel).unwrap().exit, Exit::Cancelled);
    });
    assert_eq!(processes_with("271.8281"), 0);
}

fn a_request_made_before_stops_too(fixture: &Fixture) {
    let cancel = Cancel::new();
    cancel.cancel();
    let start = Instant::now();
    let ran = run_until(&fixture.shell(&fixture.place(), "sleep 100"), &cancel);
    assert_eq!(ran.unwrap().exit, Exit::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn background_processes_end_with_the_program(fixture: &Fixture) {
    let start = Instant::now();
    let ran = run(&fixture.shell(&fixture.place(), "sleep 161.8033 & echo done"));
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Code(0), "done\n"));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_with("161.8033"), 0);
}

fn nothing_outlives_the_caller(fixture: &Fixture) {
    let mark = &mark_of_this_test(141);
    let script = format!("trap '' TERM HUP; (sleep {mark} &); echo up; sleep {mark}");
    let mut caller = hold_command(fixture, "inherit", &script).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(caller.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n");
    // The caller has the mark in its own arguments; the last `sleep` may still be a shell.
    until("all of them run", || processes_with(mark) >= 3);
    caller.kill().unwrap();
    caller.wait().unwrap();
    until("nothing runs any more", || processes_with(mark) == 0);
}
