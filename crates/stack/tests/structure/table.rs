//! What commands are judged by: a table, and what a table cannot show.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cairn_sandbox::Cancel;
use cairn_stack::structure::{CheckError, Conditions};

use crate::image::{Image, file};

/// A command test in YAML (after its name), further keys of the file, and what comes of it:
/// failures one a line, notes with `note: ` in front.
const CASES: &[(&str, &str, &str)] = &[
    // Exit codes.
    ("command: tool\n  args: [exit, 0]", "", ""),
    (
        "command: tool\n  args: [exit, 3]",
        "",
        "exit code: expected 0, got 3",
    ),
    ("command: tool\n  args: [exit, 3]\n  exitCode: 3", "", ""),
    (
        "command: tool\n  args: [exit, 0]\n  exitCode: 3",
        "",
        "exit code: expected 3, got 0",
    ),
    ("command: tool\n  args: [abort]\n  exitCode: 134", "", ""),
    (
        "command: tool\n  args: [abort]",
        "",
        "exit code: expected 0, got 134 (signal 6)",
    ),
    // Programs that are not there; the image's entry point does not run.
    (
        "command: absent\n  exitCode: 127",
        "",
        "command: expected to start, got exec: no such program `absent` in PATH (/bin)",
    ),
    (
        "command: /app/data",
        "",
        "command: expected to start, got exec: `/app/data` is not executable",
    ),
    // Output.
    (
        "command: tool\n  args: [echo, hello]\n  expectedOutput: ['^hello\\n$', 'ell']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, hello]\n  expectedOutput: ['bye', 'ell']",
        "",
        "stdout: expected a match of `bye`, got hello",
    ),
    (
        "command: tool\n  args: [echo, hello]\n  excludedOutput: ['ell']",
        "",
        "stdout: expected no match of `ell`, got hello",
    ),
    (
        "command: tool\n  args: [err, oops]\n  expectedError: [oops]\n  excludedOutput: [oops]",
        "",
        "",
    ),
    (
        "command: tool\n  args: [err, oops]\n  excludedError: ['.*oops.*']",
        "",
        "stderr: expected no match of `.*oops.*`, got oops",
    ),
    (
        "command: tool\n  args: [exit, 0]\n  expectedError: [x]\n  expectedOutput: [y]",
        "",
        "stderr: expected a match of `x`, got nothing\nstdout: expected a match of `y`, got nothing",
    ),
    (
        "command: tool\n  args: [both, a, b]\n  expectedOutput: ['^a\\n$']\n  expectedError: ['^b\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [bytes]\n  expectedOutput: ['^caf.\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, x]\n  expectedOutput: ['(?=x)']",
        "",
        "stdout: expected a pattern, got `(?=x)` is not a regular expression: unknown flag or group",
    ),
    // Where and as whom.
    (
        "command: tool\n  args: [pwd]\n  expectedOutput: ['^/app\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [id]\n  expectedOutput: ['^0:0\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [env, HOME]\n  expectedOutput: ['^/root\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [env, HOME]\n  expectedOutput: ['^/home/ann\\n$']",
        "containerRunOptions: {user: ann}",
        "",
    ),
    (
        "command: tool\n  args: [id]",
        "containerRunOptions: {user: eve}",
        "user: expected one that the image knows, got unable to find user eve: no matching entry \
         in passwd file",
    ),
    (
        "command: tool\n  args: [tty]\n  expectedOutput: ['^no\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [tty]\n  expectedOutput: ['^yes\\r\\n$']",
        "containerRunOptions: {allocateTty: true}",
        "",
    ),
    (
        "command: tool\n  args: [cat, /etc/hostname]\n  expectedOutput: ['cairn']",
        "",
        "",
    ),
    ("command: tool\n  args: [exists, /etc/hosts]", "", ""),
    // Variables: the image's, the file's, the test's; in values and in arguments.
    (
        "command: tool\n  args: [env, BAKED]\n  expectedOutput: ['in the image']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, '$BAKED/${PATH}']\n  expectedOutput: ['in the image//bin']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, '$PATH']\n  expectedOutput: ['^/env/bin:/bin\\n$']",
        "globalEnvVars: [{key: PATH, value: '/env/bin:$PATH'}]",
        "",
    ),
    (
        "command: tool\n  args: [env, LOCAL]\n  envVars: [{key: LOCAL, value: 'x$BAKED'}]\n  \
         expectedOutput: ['^xin the image\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, $LOCAL]\n  envVars: [{key: LOCAL, value: here}]\n  \
         expectedOutput: ['^here\\n$']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [echo, '$UNSET $1']\n  expectedOutput: ['^\\$UNSET \\$1\\n$']",
        "",
        "",
    ),
    (
        "command: $PROGRAM\n  args: [exit, 0]",
        "globalEnvVars: [{key: PROGRAM, value: tool}]",
        "",
    ),
    (
        "command: tool\n  args: [env, http_proxy]\n  expectedOutput: ['http://proxy']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [env, FROM_FILE]\n  expectedOutput: ['.*keepit(secret|safe)!.*']",
        "containerRunOptions: {envFile: env}",
        "",
    ),
    (
        "command: tool\n  args: [env, HANDED_ON]\n  expectedOutput: ['by the caller']",
        "containerRunOptions: {envVars: [HANDED_ON]}",
        "",
    ),
    (
        "command: tool\n  args: [env, OTHER]\n  exitCode: 1",
        "containerRunOptions: {envVars: [OTHER]}",
        "note: `OTHER` is not set here, so it is not handed on",
    ),
    // Setup and teardown.
    (
        "setup: [[tool, write, /tmp/a, one], [tool, write, /tmp/b, '$BAKED']]\n  command: tool\n  \
         args: [cat, /tmp/b]\n  expectedOutput: ['in the image']",
        "",
        "",
    ),
    (
        "setup: [[tool, write, /tmp/a, one], [tool, remove, /tmp/a]]\n  command: tool\n  \
         args: [exists, /tmp/a]\n  exitCode: 1",
        "",
        "",
    ),
    (
        "setup: [[tool, remove, /app/data]]\n  command: tool\n  args: [exists, /app/data]\n  exitCode: 1",
        "",
        "",
    ),
    (
        "setup: [[tool, fail, broken, 4]]\n  command: tool\n  args: [exit, 0]",
        "",
        "note: setup `tool fail broken 4` ended with 4: broken",
    ),
    (
        "setup: [[absent]]\n  command: tool\n  args: [exit, 0]",
        "",
        "setup: expected to start, got exec: no such program `absent` in PATH (/bin)",
    ),
    (
        "command: tool\n  args: [write, /tmp/c, text]\n  teardown: [[tool, exists, /tmp/c]]",
        "",
        "",
    ),
    (
        "command: tool\n  args: [exit, 0]\n  teardown: [[tool, exists, /tmp/c], [absent]]",
        "",
        "note: teardown `tool exists /tmp/c` ended with 1\n\
         note: teardown: exec: no such program `absent` in PATH (/bin)",
    ),
    // Mounts and privileges.
    (
        "command: tool\n  args: [cat, /mnt/file]\n  expectedOutput: ['of the host']",
        "containerRunOptions: {bindMounts: ['mounted:/mnt:ro']}",
        "",
    ),
    (
        "command: tool\n  args: [exists, /tmp/test]",
        "containerRunOptions: {bindMounts: ['/nowhere/on/the/host:/tmp/test']}",
        "",
    ),
    (
        "command: tool\n  args: [status, Seccomp]\n  expectedOutput: ['Seccomp:\\t2']",
        "",
        "",
    ),
    (
        "command: tool\n  args: [status, CapEff]\n  excludedOutput: ['00000000a80425fb']",
        "containerRunOptions: {privileged: true}",
        "",
    ),
    (
        "command: tool\n  args: [status, CapEff]\n  expectedOutput: ['CapEff:\\t00000000a80425fb']",
        "containerRunOptions: {capabilities: [NET_BIND_SERVICE, cap_chown]}",
        "",
    ),
    (
        "command: tool\n  args: [status, CapEff]\n  excludedOutput: ['00000000a80425fb']",
        "containerRunOptions: {capabilities: [sys_admin]}",
        "note: capabilities beyond the usual were asked for: it ran with all",
    ),
];

/// EPI-30: each case by itself, so that one does not see what another did.
pub(crate) fn verdicts(image: &Image) {
    let mut wrong = Vec::new();
    for (test, keys, wanted) in CASES {
        let text = format!("{keys}\ncommandTests:\n- name: a\n  {test}\n");
        let found = outcome(image, &text);
        let is_equal = match wanted.strip_suffix("is not executable") {
            Some(_) => found.starts_with(wanted),
            None => found == *wanted,
        };
        if !is_equal {
            wrong.push(format!("{text} wanted: {wanted}\n found:  {found}"));
        }
    }
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n\n"));
    networks(image);
    let text = "commandTests:\n- {name: a, command: tool, args: [sleep, 30]}\n";
    let conditions = Conditions {
        timeout: Some(Duration::from_millis(300)),
        ..image.conditions.clone()
    };
    let results = image.evaluate_with(&file(text), &conditions, &Cancel::new(), &|_| {});
    let failures = &results.expect("a verdict")[0].failures;
    assert_eq!(
        failures[0].to_string(),
        "time: expected an end within 0.3 s, got none: it was stopped"
    );
}

/// `network` of the tool's later versions; the usual one is what the stack says, here none.
fn networks(image: &Image) {
    let own = std::fs::read_link("/proc/self/ns/net").expect("a network");
    let own = own.display().to_string().replace(['[', ']'], ".");
    for (network, is_own) in [("host", true), ("none", false), ("bridge", false)] {
        let key = if is_own {
            "expectedOutput"
        } else {
            "excludedOutput"
        };
        let text = format!(
            "containerRunOptions: {{network: {network}}}\n\
             commandTests:\n- {{name: a, command: tool, args: [network], {key}: ['{own}']}}\n"
        );
        assert_eq!(outcome(image, &text), "", "{network}");
    }
}

fn outcome(image: &Image, text: &str) -> String {
    let results = image
        .evaluate(text)
        .unwrap_or_else(|error| panic!("{error:?}"));
    let mut out = String::new();
    for failure in &results[0].failures {
        let _ = writeln!(out, "{failure}");
    }
    for note in &results[0].notes {
        let _ = writeln!(out, "note: {note}");
    }
    out.trim_end().to_owned()
}

/// What a test writes is seen by no other test, and stays neither in the store nor on the host.
pub(crate) fn nothing_stays(image: &Image) {
    let before = listing(image);
    let text = "commandTests:\n\
        - {name: a, setup: [[tool, write, /tmp/left, x]], command: tool, args: [write, /app/data, x],\n   \
           teardown: [[tool, write, /tmp/later, x]]}\n\
        - {name: b, command: tool, args: [exists, /tmp/left], exitCode: 1}\n\
        - {name: c, command: tool, args: [cat, /app/data], expectedOutput: [baked]}\n\
        fileExistenceTests:\n- {name: d, path: /tmp/left, shouldExist: false}\n\
        fileContentTests:\n- {name: e, path: /app/data, expectedContents: [baked]}\n";
    let results = image.evaluate(text).expect("verdicts");
    for result in &results {
        assert!(result.passed(), "{}: {:?}", result.title(), result.failures);
    }
    assert_eq!(
        listing(image),
        before,
        "in the store or the folder of the tests"
    );
}

/// All paths below the store's snapshots and the folder of the tests.
fn listing(image: &Image) -> Vec<String> {
    let mut open = vec![image.path(""), image.home()];
    let mut paths = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            paths.push(entry.path().display().to_string());
        }
    }
    paths.sort();
    paths
}

/// Results come in the order of the file whatever finishes first, and are heard of at once.
pub(crate) fn order(image: &Image) {
    let text = "commandTests:\n- {name: slow, command: tool, args: [sleep, 0.5]}\n\
        - {name: quick, command: tool, args: [exit, 0]}\n\
        metadataTest: {workdir: /app}\n\
        fileExistenceTests:\n- {name: file, path: /app}\n";
    let heard = Mutex::new(Vec::new());
    let results = image
        .evaluate_with(&file(text), &image.conditions, &Cancel::new(), &|result| {
            heard.lock().unwrap().push(result.title());
        })
        .expect("verdicts");
    let titles: Vec<String> = results.iter().map(|it| it.title()).collect();
    let wanted = [
        "Command Test: slow",
        "Command Test: quick",
        "File Existence Test: file",
        "Metadata Test",
    ];
    assert_eq!(titles, wanted);
    assert!(results[0].duration >= Duration::from_millis(500));
    let mut heard = heard.into_inner().unwrap();
    assert_eq!(heard[0], "Command Test: quick", "side by side");
    heard.sort();
    let mut sorted = wanted.map(str::to_owned);
    sorted.sort();
    assert_eq!(heard, sorted);
}

/// A thousand container starts cost seconds.
pub(crate) fn many_commands(image: &Image) {
    let mut text = String::from("commandTests:\n");
    for number in 0..200 {
        let _ = writeln!(
            text,
            "- {{name: t{number}, command: tool, args: [echo, n{number}], expectedOutput: ['^n{number}\\n$']}}"
        );
    }
    let start = Instant::now();
    let results = image.evaluate(&text).expect("verdicts");
    let time = start.elapsed();
    assert!(results.iter().all(|result| result.passed()));
    println!("200 command tests: {:.2} s", time.as_secs_f64());
    // The budget is 6 s; unoptimised code on a busy machine gets four times that.
    assert!(time < Duration::from_secs(24), "{time:?}");
}

pub(crate) fn cancelled(image: &Image) {
    let text = "commandTests:\n- {name: a, command: tool, args: [sleep, 60]}\n\
        - {name: b, command: tool, args: [sleep, 60]}\n\
        - {name: c, command: tool, args: [sleep, 60]}\n";
    let cancel = Cancel::new();
    let start = Instant::now();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            cancel.cancel();
        });
        image.evaluate_with(&file(text), &image.conditions, &cancel, &|_| {})
    });
    assert!(matches!(ended, Err(CheckError::Cancelled)), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
}
