//! Killed builds, builds side by side, full disks: nothing lost, nothing half-written.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::workshop::{Workshop, said};

/// How many kills; `CAIRN_KILLS=200` for a long run.
fn kills() -> u32 {
    std::env::var("CAIRN_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12)
}

fn busy_stack(workshop: &Workshop) {
    let mut text = String::from("FROM base\nARG SEED\n");
    for step in 0..6 {
        text += &format!("RUN echo $SEED-{step} > /f{step}; sleep 0.01\n");
    }
    workshop.write("app/Dockerfile", &text);
}

#[test]
fn a_killed_build_leaves_a_sound_store_and_its_finished_steps() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    busy_stack(&workshop);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..kills() {
        let seed = format!("SEED={round}");
        let build = ["build", "--build-arg", &seed, "-t", "app", "./app"];
        let mut child = workshop
            .command(&build)
            .spawn()
            .expect("the program starts");
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_millis((random >> 33) % 250));
        let _ = child.kill();
        child.wait().expect("the program ends");
        workshop.cairn(&["doctor", "--store"]).success();
        workshop.cairn(&build).success();
        let last = workshop.cairn(&["run", "app", "cat", "/f5"]).success();
        assert_eq!(last.out, format!("{round}-5\n"));
    }
}

#[test]
fn killed_collections_leave_a_sound_store() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    busy_stack(&workshop);
    for round in 0..kills().div_ceil(3) {
        let seed = format!("SEED=gc{round}");
        let build = ["build", "--build-arg", &seed, "-t", "app", "./app"];
        workshop.cairn(&build).success();
        let mut child = workshop
            .command(&["gc", "--all"])
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(u64::from(round) % 20));
        let _ = child.kill();
        child.wait().expect("it ends");
        workshop.cairn(&["doctor", "--store"]).success();
        workshop.cairn(&build).success();
    }
}

#[test]
fn two_builds_at_once_are_both_right() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    busy_stack(&workshop);
    let start = |name: &str| -> Child {
        let build = ["build", "--build-arg", "SEED=both", "-t", name, "./app"];
        workshop
            .command(&build)
            .spawn()
            .expect("the program starts")
    };
    let (one, two) = (start("one"), start("two"));
    for (name, child) in [("one", one), ("two", two)] {
        said(child.wait_with_output().expect("the program ends")).success();
        let ran = workshop.cairn(&["run", name, "cat", "/f3"]).success();
        assert_eq!(ran.out, "both-3\n");
    }
}

#[test]
fn a_step_that_another_build_runs_is_waited_for_and_not_run_again() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c echo ran >> /c/runs; touch /shared-step; \
         while ! test -e /c/go; do sleep 0.05; done; cp /c/runs /runs\n",
    );
    let start = |name: &str| {
        let build = ["build", "-t", name, "./app"];
        workshop.command(&build).spawn().expect("it starts")
    };
    let first = start("one");
    until("the step began", || workshop.store_has("shared-step"));
    let (mut second, mut third) = (start("two"), start("three"));
    for other in [&mut second, &mut third] {
        hear(other, "waiting for another build");
    }
    send(&third, Signal::INT);
    said(third.wait_with_output().expect("it ends")).code(130);
    let runs = workshop.find_in_store("runs").expect("the cache");
    std::fs::write(runs.with_file_name("go"), "").expect("the gate opens");
    said(first.wait_with_output().expect("it ends")).success();
    said(second.wait_with_output().expect("it ends"))
        .success()
        .err_has("1 cached");
    for name in ["one", "two"] {
        let ran = workshop.cairn(&["run", name, "cat", "/runs"]).success();
        assert_eq!(ran.out, "ran\n");
    }
    workshop.cairn(&["doctor", "--store"]).success();
}

#[test]
fn a_failed_step_is_told_as_failed_with_fail_fast_too() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM base\nRUN false\n");
    workshop
        .cairn(&["build", "--fail-fast", "./app"])
        .code(1)
        .err_has("app/Dockerfile:2")
        .err_lacks("interrupted");
}

#[test]
fn an_interrupted_build_ends_soon_and_says_so() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mark = format!("began-{code}");
        let text = format!("FROM base\nRUN touch /{mark}; sleep 60\n");
        workshop.write("app/Dockerfile", &text);
        let child = workshop
            .command(&["build", "./app"])
            .spawn()
            .expect("the program starts");
        until("the step began", || workshop.store_has(&mark));
        let interrupted = Instant::now();
        send(&child, signal);
        let said = said(child.wait_with_output().expect("the program ends"));
        assert!(interrupted.elapsed() < Duration::from_secs(10));
        said.code(code).err_has("interrupted");
        workshop.cairn(&["doctor", "--store"]).success();
    }
}

#[test]
fn a_container_gets_the_signals_and_its_code_is_passed_on() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    for (signal, script, code) in [
        (Signal::TERM, "touch /up-a; exec sleep 60", 143),
        (Signal::INT, "touch /up-b; exec sleep 60", 130),
        (
            Signal::TERM,
            "trap 'exit 7' TERM; touch /up-c; while true; do sleep 0.05; done",
            7,
        ),
        (
            Signal::USR1,
            "trap 'exit 8' USR1; touch /up-d; while true; do sleep 0.05; done",
            8,
        ),
    ] {
        let child = workshop
            .command(&["run", "base", "sh", "-c", script])
            .spawn()
            .expect("the program starts");
        let mark = script.split("touch /").nth(1).expect("a mark");
        let mark = &mark[..mark.find(';').expect("its end")];
        until("the command began", || workshop.store_has(mark));
        send(&child, signal);
        let said = said(child.wait_with_output().expect("the program ends"));
        assert_eq!((said.code, said.err.as_str()), (code, ""), "{script}");
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "not so: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads what a child says to people until it has said this.
#[track_caller]
fn hear(child: &mut Child, text: &str) {
    let mut told = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        let length = told.read_line(&mut line).expect("words");
        assert!(length > 0, "`{text}` was never said");
    }
    // The rest goes where this came from.
    child.stderr = Some(told.into_inner());
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a number")).expect("a process");
    kill_process(pid, signal).expect("it lives");
}
