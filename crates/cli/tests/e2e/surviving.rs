//! Killed builds, builds side by side, full disks: nothing lost, nothing half-written.

use std::process::Child;
use std::time::{Duration, Instant};

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
fn an_interrupted_build_ends_soon_and_says_so() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN touch /interrupt-me; sleep 60\n",
    );
    let child = workshop
        .command(&["build", "./app"])
        .spawn()
        .expect("the program starts");
    let started = Instant::now();
    while !workshop.store_has("interrupt-me") {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the step never began"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it lives");
    let said = said(child.wait_with_output().expect("the program ends"));
    assert!(interrupted.elapsed() < Duration::from_secs(10));
    said.code(130);
    workshop.cairn(&["doctor", "--store"]).success();
}
