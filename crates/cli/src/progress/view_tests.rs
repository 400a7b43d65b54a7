//! What people see of a run, event by event, on a clock the test moves.

use std::time::Duration;

use cairn_build::event::{Event, Outcome, Stream, Verdict, VertexId, VertexInfo};

use super::live::{Size, frame};
use super::model::Model;
use super::narration::Narration;
use super::plain::Plain;
use super::quiet::Quiet;
use super::view::View;
use crate::style::Line;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn vertex(id: u32, image: &str, step: (u32, u32), title: &str) -> VertexInfo {
    VertexInfo {
        id: VertexId(id),
        image: image.into(),
        stage: String::new(),
        step,
        title: title.into(),
        place: Some(("Dockerfile".into(), step.0 as usize)),
        inputs: Vec::new(),
    }
}

fn planned() -> Event {
    Event::Planned {
        vertices: vec![
            vertex(0, "base", (1, 2), "FROM debian"),
            vertex(1, "base", (2, 2), "RUN apt-get install x"),
            vertex(2, "runtime", (1, 1), "RUN pip install numpy"),
            vertex(3, "model:cloud", (1, 1), "COPY . /app"),
        ],
    }
}

fn started(id: u32) -> Event {
    Event::Started {
        vertex: VertexId(id),
    }
}

fn output(id: u32, line: &str) -> Event {
    Event::Output {
        vertex: VertexId(id),
        stream: Stream::Stdout,
        line: line.into(),
    }
}

fn finished(id: u32, outcome: Outcome, elapsed: u64) -> Event {
    Event::Finished {
        vertex: VertexId(id),
        outcome,
        elapsed: ms(elapsed),
    }
}

fn done(id: u32, elapsed: u64) -> Event {
    finished(id, Outcome::Done { unchanged: false }, elapsed)
}

fn ready(image: &str, cached: bool) -> Event {
    Event::ImageReady {
        image: image.into(),
        id: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        cached,
    }
}

/// What scrolls up in the live view, and what stands at its bottom at the end.
fn live(events: &[(u64, Event)], now: u64, size: (usize, usize)) -> (Vec<String>, Vec<String>) {
    let mut model = Model::default();
    let mut narration = Narration::default();
    let mut scrolled = Vec::new();
    for (at, event) in events {
        model.apply(event, ms(*at));
        scrolled.extend(narration.lines(event, &model));
    }
    let (columns, rows) = size;
    let bottom = frame(&model, ms(now), Size { columns, rows }, "…");
    let text = |lines: Vec<Line>| lines.iter().map(Line::plain).collect();
    (text(scrolled), text(bottom))
}

/// What the plain view has printed, with a tick after each event.
fn plain(events: &[(u64, Event)], ticks: &[u64]) -> String {
    let mut out = Vec::new();
    let mut view = Box::new(Plain::new(&mut out, false, "/tmp".into()));
    let mut ticks = ticks.iter().copied().peekable();
    for (at, event) in events {
        while let Some(tick) = ticks.next_if(|tick| tick <= at) {
            view.tick(ms(tick));
        }
        view.event(event, ms(*at));
        view.tick(ms(*at));
    }
    let last = events.last().map_or(0, |(at, _)| *at);
    for tick in ticks {
        view.tick(ms(tick));
    }
    view.end(ms(last));
    String::from_utf8(out).unwrap()
}

#[test]
fn cache_hits_fold_into_one_line_per_image() {
    let events = [
        (0, planned()),
        (1, finished(0, Outcome::Cached, 0)),
        (1, finished(1, Outcome::Cached, 0)),
        (2, ready("base", true)),
        (2, started(2)),
        (900, output(2, "Collecting numpy")),
        (2_002, done(2, 2_000)),
        (2_010, ready("runtime", false)),
    ];
    let (scrolled, _) = live(&events, 2_010, (80, 24));
    assert_eq!(
        scrolled,
        [
            "   Cached        base  2 steps  sha256:0123456789ab",
            "     Done   2.0s runtime 1/1  RUN pip install numpy",
            "    Built        runtime  sha256:0123456789ab",
        ]
    );
}

#[test]
fn hits_before_a_step_that_runs_are_told_first() {
    let events = [
        (0, planned()),
        (1, finished(0, Outcome::Cached, 0)),
        (1, started(1)),
        (9, finished(1, Outcome::Done { unchanged: true }, 8)),
    ];
    let (scrolled, _) = live(&events, 10, (80, 24));
    assert_eq!(
        scrolled,
        [
            "   Cached        base  1 step",
            "     Done        base 2/2  RUN apt-get install x (same content as before)",
        ]
    );
}

#[test]
fn the_bottom_shows_running_steps_in_graph_order_with_their_last_line() {
    let events = [
        (0, planned()),
        (10, started(2)),
        (20, started(1)),
        (30, output(2, "10%\r99%")),
        (40, output(1, "\u{1b}[32mSetting up 東京\u{1b}[0m")),
        (50, output(1, "   ")),
    ];
    let (_, bottom) = live(&events, 1_520, (80, 24));
    assert_eq!(
        bottom,
        [
            "  Running   1.5s base 2/2  RUN apt-get install x",
            "                 | Setting up 東京",
            "  Running   1.5s runtime 1/1  RUN pip install numpy",
            "                 | 99%",
            "  Waiting        model:cloud",
            " Building   1.5s 0 of 4 steps, 2 running",
        ]
    );
    let (_, narrow) = live(&events, 1_520, (30, 24));
    assert_eq!(narrow[1], "                 | Setting u…");
    assert!(
        narrow
            .iter()
            .all(|line| Line::new(crate::style::Tone::Plain, line).width() < 30)
    );
}

#[test]
fn what_does_not_fit_is_counted() {
    let vertices = (0..40).map(|id| vertex(id, &format!("i{id}"), (1, 1), "RUN x"));
    let mut events = vec![(
        0,
        Event::Planned {
            vertices: vertices.collect(),
        },
    )];
    events.extend((0..30).flat_map(|id| [(1, started(id)), (2, output(id, "line"))]));
    let (_, bottom) = live(&events, 1_000, (80, 8));
    assert_eq!(bottom.len(), 6, "{bottom:#?}");
    assert_eq!(bottom[4], "                 +26 more running");
    let (_, bottom) = live(&events, 1_000, (80, 200));
    assert_eq!(bottom.len(), 16, "calm on a high terminal: {bottom:#?}");
    for rows in 0..4 {
        let (_, bottom) = live(&events, 1_000, (80, rows));
        assert_eq!(bottom.len(), rows.saturating_sub(2).max(1));
    }
    let (_, tiny) = live(&events, 1_000, (0, 0));
    assert_eq!(tiny.len(), 1);
}

#[test]
fn progress_takes_the_place_of_the_last_line() {
    let events = [
        (0, planned()),
        (0, started(0)),
        (
            1,
            Event::Progress {
                vertex: VertexId(0),
                unit: "bytes",
                done: 1_500_000,
                total: Some(40_000_000),
            },
        ),
    ];
    let (_, bottom) = live(&events, 1, (80, 24));
    assert_eq!(bottom[1], "                 | 1.5 MB of 40.0 MB");
}

#[test]
fn events_of_unknown_steps_do_no_harm() {
    let events = [(0, started(7)), (1, output(7, "x")), (2, done(7, 1))];
    let (scrolled, bottom) = live(&events, 3, (80, 24));
    assert!(scrolled.is_empty());
    assert_eq!(bottom, [" Planning   0.0s reading the stack"]);
    assert_eq!(plain(&events, &[]), "");
}

#[test]
fn tests_and_the_sum_are_told() {
    let test = |test: &str, verdict, detail: &str| Event::Test {
        image: "base".into(),
        test: test.into(),
        verdict,
        detail: detail.into(),
        elapsed: ms(120),
    };
    let mut model = Model::default();
    let mut narration = Narration::default();
    let mut lines = Vec::new();
    for event in [
        planned(),
        finished(0, Outcome::Cached, 0),
        ready("base", true),
        test("python runs", Verdict::Passed, ""),
        test(
            "no \u{1b}[2Jcompiler",
            Verdict::Failed,
            "found\n/usr/bin/cc",
        ),
        test("a", Verdict::Reused, ""),
        test("b", Verdict::Reused, ""),
    ] {
        model.apply(&event, ms(0));
        lines.extend(narration.lines(&event, &model));
    }
    lines.extend(narration.end(&model, ms(3_000)));
    let lines: Vec<String> = lines.iter().map(Line::plain).collect();
    assert_eq!(
        lines,
        [
            "   Cached        base  1 step  sha256:0123456789ab",
            "   Passed   0.1s base  python runs",
            "   Failed   0.1s base  no compiler",
            "                 found",
            "                 /usr/bin/cc",
            "   Passed        base  2 tests before, on the same bytes",
            "   Failed   3.0s images: 1 cached; steps: 1 cached; tests: 3 passed, 1 failed",
        ]
    );
}

#[test]
fn lines_of_parallel_steps_do_not_interleave() {
    let events = [
        (0, planned()),
        (0, started(1)),
        (0, started(2)),
        (100, output(1, "a1")),
        (200, output(2, "b1")),
        (300, output(1, "a2")),
        (400, output(2, "b2")),
        (500, done(1, 500)),
        (600, output(2, "b3")),
        (700, done(2, 700)),
    ];
    assert_eq!(
        plain(&events, &[]),
        "#1 base 2/2  RUN apt-get install x\n\
         #1 0.100 a1\n\
         #1 0.300 a2\n\
         #1 DONE 0.5s\n\
         #2 runtime 1/1  RUN pip install numpy\n\
         #2 0.200 b1\n\
         #2 0.400 b2\n\
         #2 0.600 b3\n\
         #2 DONE 0.7s\n\
         \x20Finished   0.7s steps: 2 ran\n"
    );
}

#[test]
fn news_do_not_wait_for_a_long_step_to_end() {
    let events = [
        (0, planned()),
        (0, started(1)),
        (0, started(2)),
        (100, output(1, "a1")),
        (200, output(2, "b1")),
        (300, done(2, 300)),
        (400, output(1, "a2")),
        (6_000, output(1, "a3")),
        (6_100, output(1, "a4")),
        (6_200, done(1, 6_200)),
    ];
    assert_eq!(
        plain(&events, &[5_000, 5_300]),
        "#1 base 2/2  RUN apt-get install x\n\
         #1 0.100 a1\n\
         #1 0.400 a2\n\
         #2 runtime 1/1  RUN pip install numpy\n\
         #2 0.200 b1\n\
         #2 DONE 0.3s\n\
         #1 base 2/2  (continued)\n\
         #1 6.000 a3\n\
         #1 6.100 a4\n\
         #1 DONE 6.2s\n\
         \x20Finished   6.2s steps: 2 ran\n"
    );
}

#[test]
fn a_silent_step_gives_way_and_silence_is_explained() {
    let events = [
        (0, planned()),
        (0, started(1)),
        (0, started(2)),
        (5_000, output(2, "b1")),
        (50_000, done(1, 50_000)),
        (50_000, done(2, 50_000)),
    ];
    assert_eq!(
        plain(&events, &[9_000, 10_000, 40_000]),
        "#1 base 2/2  RUN apt-get install x\n\
         #2 runtime 1/1  RUN pip install numpy\n\
         #2 5.000 b1\n\
         ... 40.0s: running #1 base 2/2 (40.0s), #2 runtime 1/1 (40.0s)\n\
         #2 runtime 1/1  (continued)\n\
         #2 DONE 50.0s\n\
         #1 base 2/2  (continued)\n\
         #1 DONE 50.0s\n\
         \x20Finished  50.0s steps: 2 ran\n"
    );
}

#[test]
fn cache_hits_fold_on_a_pipe_too() {
    let events = [
        (0, planned()),
        (0, finished(0, Outcome::Cached, 0)),
        (1, started(3)),
        (2, done(3, 1)),
        (3, ready("base", true)),
    ];
    assert_eq!(
        plain(&events, &[]),
        "#3 model:cloud 1/1  COPY . /app\n\
         #3 DONE 0.0s\n\
         \x20  Cached        base  1 step  sha256:0123456789ab\n\
         \x20Finished   0.0s images: 1 cached; steps: 1 ran, 1 cached\n"
    );
}

#[test]
fn a_failed_step_is_told_and_its_reason_left_to_the_end() {
    let failure = finished(
        1,
        Outcome::Failed {
            reason: "exit code: 1".into(),
        },
        3_200,
    );
    let given_up = Event::ImageFailed {
        image: "runtime".into(),
        reason: "it needs base".into(),
    };
    let events = [
        (0, planned()),
        (0, started(1)),
        (3_200, failure),
        (3_201, given_up),
    ];
    let (scrolled, _) = live(&events, 3_300, (80, 24));
    assert_eq!(
        scrolled,
        [
            "   Failed   3.2s base 2/2  RUN apt-get install x",
            "  Skipped        runtime  it needs base",
        ]
    );
}

#[test]
fn quiet_says_only_warnings() {
    let mut out = Vec::new();
    let mut view = Box::new(Quiet::new(&mut out, false));
    let notice = |warning| Event::Notice {
        warning,
        text: "the lock is old".into(),
    };
    for event in [planned(), started(1), notice(false), notice(true)] {
        view.event(&event, ms(0));
    }
    view.end(ms(0));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "warning: the lock is old\n"
    );
}

#[test]
fn a_stopped_run_still_prints_what_its_steps_said() {
    let events = [
        (0, planned()),
        (0, started(1)),
        (0, started(2)),
        (10, output(2, "half")),
    ];
    assert_eq!(
        plain(&events, &[]),
        "#1 base 2/2  RUN apt-get install x\n\
         #2 runtime 1/1  RUN pip install numpy\n\
         #2 0.010 half\n"
    );
}

/// A long suite says what it does: below the steps, and on a pipe when nothing else is said.
#[test]
fn a_suite_that_runs_is_seen() {
    let suite = |doing: &str, is_over: bool| Event::Suite {
        image: "model".into(),
        suite: "basic tests test".into(),
        doing: doing.into(),
        is_over,
    };
    let events = [
        (0, suite("", false)),
        (1_000, suite("test_model.py::test_r0", false)),
    ];
    let (scrolled, changing) = live(&events, 12_300, (60, 24));
    assert_eq!(scrolled, ["  Testing        model  basic tests test"]);
    assert_eq!(
        changing[..2],
        [
            "  Testing  12.3s model  basic tests test",
            "                 | test_model.py::test_r0"
        ]
    );
    let over = [&events[..], &[(2_000, suite("", true))]].concat();
    let (_, changing) = live(&over, 12_300, (60, 24));
    assert_eq!(changing.len(), 1, "{changing:?}");
    let lines = plain(&events, &[31_500]);
    assert!(
        lines.contains("running model basic tests test (31.5s: test_model.py::test_r0)"),
        "{lines}"
    );
}
