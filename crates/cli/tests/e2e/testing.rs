//! Tests beyond structure tests: suites in the image and on the host, services, evidence.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use cairn_testkit::needs;

use crate::workshop::{Said, Workshop, has_many_ids};

/// An image `model` with these tests; suites find `suite/run.sh`.
fn lab(tests: &str) -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"lab\"\n[image.model]\ncontext = \"model\"\n[image.model.tests]\n{tests}"
        ),
    );
    workshop.write("model/Dockerfile", "FROM base\nCOPY model.txt /model.txt\n");
    workshop.write("model/model.txt", "R0 = 2\n");
    workshop.write("suite/run.sh", "exit 0\n");
    Some(workshop)
}

fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

/// PAN-19, PAN-21: a script runs inside the built image, its exit status decides, and the image is
/// as it was.
#[test]
fn a_command_is_a_suite_and_leaves_nothing() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\", env = { WANTED = 2 } }\n";
    let Some(workshop) = lab(tests) else { return };
    workshop.write(
        "suite/run.sh",
        "grep -q \"R0 = $WANTED\" /model.txt && echo x > /written && touch run.sh 2>/dev/null && exit 9\n\
         test -f /written\n",
    );
    let up = workshop.cairn(&["up", "--progress", "plain"]).success();
    up.err_has("Passed").err_has("basic tests suite");
    workshop
        .cairn(&["run", "model", "test", "!", "-e", "/written"])
        .success();
    workshop.write("suite/run.sh", "echo no such R0; exit 3\n");
    workshop
        .cairn(&["test", "--progress", "plain"])
        .code(1)
        .err_has("it ended with code 3")
        .err_has("no such R0")
        .err_has("all that they printed is in");
}

/// DH-65, D7: what passed on the same bytes is known; a changed suite runs without a rebuild, and
/// the plan says which, and why.
#[test]
fn evidence_is_kept_by_image_and_suite() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\" }\nmanual = \"suite\"\n";
    let Some(workshop) = lab(tests) else { return };
    let because = |workshop: &Workshop| {
        let plan = json(&workshop.cairn(&["plan", "--json"]).success());
        let test = &plan["images"][0]["tests"][0];
        format!(
            "{} {}",
            test["action"].as_str().unwrap(),
            test["because"].as_str().unwrap()
        )
    };
    assert_eq!(because(&workshop), "after the image is built first");
    workshop.cairn(&["up"]).success();
    assert_eq!(because(&workshop), "reuse it passed on the same image");
    let again = json(&workshop.cairn(&["test", "--json"]).success());
    assert_eq!(again[0]["files"][0]["reused"], true, "{again}");

    workshop.write("suite/run.sh", "exit 1\n");
    assert_eq!(because(&workshop), "run the test changed");
    let said = workshop.cairn(&["test", "--progress", "plain"]).code(1);
    said.err_lacks("COPY model.txt /model.txt\n");
    assert_eq!(because(&workshop), "run it failed the last time");
    workshop
        .cairn(&["why", "model"])
        .success()
        .out_has("1 failed");

    workshop.write("suite/run.sh", "exit 0\n");
    workshop.write("model/model.txt", "R0 = 3\n");
    workshop.cairn(&["build"]).success();
    assert_eq!(because(&workshop), "run the image changed");
}

/// DH-56, DH-57, DH-58, EPI-33: integration tests follow the basic ones, workflow tests run by
/// name, manual ones never.
#[test]
fn kinds_run_when_they_should() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\" }\n\
                 integration = { path = \"ui\", command = \"true\" }\n\
                 workflow = { path = \"big\", name = \"smoke\", command = \"true\" }\n\
                 manual = \"by-hand\"\n";
    let Some(workshop) = lab(tests) else { return };
    for folder in ["ui", "big", "by-hand"] {
        workshop.write(&format!("{folder}/readme"), "");
    }
    let kinds = |said: &Said| {
        let checks = json(said);
        let files = checks[0]["files"].as_array().unwrap().clone();
        let told = files.iter().map(|file| {
            let how = match (&file["skipped"], &file["tests"][0]["passed"]) {
                (serde_json::Value::String(reason), _) => reason.clone(),
                (_, passed) => passed.to_string(),
            };
            format!("{} {how}", file["kind"].as_str().unwrap())
        });
        told.collect::<Vec<_>>()
    };
    let said = workshop.cairn(&["test", "--json"]).success();
    assert_eq!(kinds(&said), ["pytest true", "integration true"]);
    let said = workshop
        .cairn(&["test", "--json", "--workflow", "smoke"])
        .success();
    assert_eq!(kinds(&said)[2], "workflow true");
    let wrong = workshop.cairn(&["test", "--workflow", "smok"]).code(2);
    wrong
        .err_has("no image of this run has workflow tests `smok`")
        .err_has("smoke");
    let list = workshop.cairn(&["test", "--list"]).success();
    assert!(
        list.out.contains("by hand") && list.out.contains("when named"),
        "{}",
        list.out
    );
    workshop.write("suite/run.sh", "exit 1\n");
    let said = workshop.cairn(&["test", "--json"]).code(1);
    assert_eq!(
        kinds(&said),
        ["pytest false", "integration its basic tests failed"]
    );
}

/// DH-47: an image whose parent failed its tests is not tested; others are.
#[test]
fn what_builds_on_a_failed_image_is_left_out() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\n[defaults.tests]\npytest = { path = \"common\", command = \"test ! -e /bad\" }\n\
         [image.a]\ncontext = \"a\"\n[image.b]\ncontext = \"b\"\n[image.c]\ncontext = \"c\"\n",
    );
    workshop.write("common/readme", "");
    workshop.write("a/Dockerfile", "FROM base\nRUN touch /bad\n");
    workshop.write("b/Dockerfile", "FROM a\n");
    workshop.write("c/Dockerfile", "FROM base\n");
    let said = workshop
        .cairn(&["up", "--progress", "plain", "--junit", "out.xml"])
        .code(1)
        .err_has("the tests of a, which it builds on, failed");
    assert!(
        said.err.contains("1 passed, 1 failed, 1 skipped"),
        "{}",
        said.err
    );
    // D40: results are there although something failed.
    let junit = workshop.read("out.xml");
    assert!(
        junit.contains("<failure") && junit.contains("<skipped"),
        "{junit}"
    );
}

/// A suite that does not end is stopped with all that it has started, in the image and outside.
#[test]
fn a_suite_without_an_end_is_stopped() {
    let hang = "command = \"echo begun; sleep 4711 & sleep 4711\", timeout = \"1s\"";
    let tests = format!(
        "pytest = [{{ path = \"suite\", {hang} }}, {{ path = \"suite\", name = \"host\", on = \"host\", {hang} }}]\n"
    );
    let Some(workshop) = lab(&tests) else { return };
    let said = workshop.cairn(&["test", "--progress", "plain"]).code(1);
    let told = said.err.matches("1 s were over").count();
    assert_eq!(told, 2, "{}", said.err);
    said.err_has("begun").err_has("2 tests failed");
}

/// DH-59: on the host `TEST_IMAGE` names the image, and `cairn run` takes it.
#[test]
fn a_suite_on_the_host_uses_the_image() {
    let tests = "integration = { path = \"suite\", on = \"host\", command = \"sh run.sh\" }\n";
    let Some(workshop) = lab(tests) else { return };
    workshop.write(
        "suite/run.sh",
        "test \"$(\"$CAIRN\" run \"$TEST_IMAGE\" cat /model.txt)\" = 'R0 = 2'\n",
    );
    workshop.cairn(&["test", "--progress", "plain"]).success();
}

/// BOR-25, MAN-40: a user that nobody knows, without a home, over files that cannot be changed.
#[test]
fn a_random_user_has_no_home_and_a_read_only_root() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\", user = \"random\", read-only = true }\n";
    let Some(workshop) = lab(tests) else { return };
    workshop.write(
        "suite/run.sh",
        "id -u | grep -qE '^[2-5][0-9]{4}$' || exit 3\n\
         test \"$HOME\" = / || exit 4\n\
         (echo x > /x) 2>/dev/null && exit 5\n\
         echo x > /tmp/x || exit 6\n",
    );
    workshop.cairn(&["test", "--progress", "plain"]).success();
}

/// PAN-20: a service is started, waited for, and stopped; its log is kept, and told when it fails.
#[test]
fn services_run_beside_a_suite() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\", services = [\"clock\"] }\n\
                 services.clock = { command = \"echo about to; sleep 0.1; echo ready now; exec sleep 4712\", log = \"ready now\" }\n";
    let Some(workshop) = lab(tests) else { return };
    workshop.cairn(&["test", "--progress", "plain"]).success();
    let log = workshop.find_in_store("service_model_basic_suite_clock.log");
    let log = std::fs::read_to_string(log.expect("a log")).expect("a log");
    assert_eq!(log, "about to\nready now\n");
    let never = tests
        .replace("ready now\" }", "no such line\", timeout = \"1s\" }")
        .replace("services = [", "name = \"again\", services = [");
    let spec = workshop.read("cairn.toml");
    let (head, _) = spec.split_once("pytest =").expect("tests");
    workshop.write("cairn.toml", &format!("{head}{never}"));
    workshop
        .cairn(&["test", "--progress", "plain"])
        .code(1)
        .err_has("the service `clock` is not ready after 1 s")
        .err_has("it has not said `no such line`")
        .err_has("about to");
}

/// PAN-20: two runs at once do not get into each other's way, although both want the same port.
#[test]
fn suites_with_services_take_turns_over_all_runs() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let port = free.expect("a port").port();
    let tests = format!(
        "pytest = {{ path = \"suite\", command = \"sh run.sh\", services = [\"web\"] }}\n\
         services.web = {{ command = \"exec httpd -f -p 127.0.0.1:{port}\", port = {port} }}\n"
    );
    let Some(workshop) = lab(&tests) else { return };
    workshop.write("suite/run.sh", "sleep 0.3\n");
    workshop.cairn(&["build"]).success();
    let test = || workshop.cairn(&["test", "--again"]).success();
    thread::scope(|scope| {
        let other = scope.spawn(test);
        test();
        other.join().expect("the other passes, too");
    });
}

/// An image without Python is told so, with what to do.
#[test]
fn an_image_without_python_is_told() {
    let Some(workshop) = lab("pytest = \"suite\"\n") else {
        return;
    };
    workshop
        .cairn(&["test", "--progress", "plain"])
        .code(1)
        .err_has("the image has no Python")
        .err_has("on = \"host\"");
}

#[test]
fn a_suite_that_is_not_there_is_an_error_of_the_spec() {
    let Some(workshop) = lab("pytest = \"sweet\"\n") else {
        return;
    };
    workshop
        .cairn(&["plan"])
        .code(2)
        .err_has("no tests `sweet`");
}

/// DH-34, DH-48, DH-53, DH-76, D40: what CI archives is there although something failed, and the
/// history tells of the run.
#[test]
fn records_are_written_whatever_happens() {
    let tests = "pytest = { path = \"suite\", command = \"sh run.sh\" }\n";
    let Some(workshop) = lab(tests) else { return };
    workshop.write("suite/run.sh", "echo told by the suite; exit 1\n");
    let spec = workshop.read("cairn.toml");
    workshop.write(
        "cairn.toml",
        &format!("{spec}[image.bad]\ncontext = \"bad\"\n"),
    );
    workshop.write(
        "bad/Dockerfile",
        "FROM base\nRUN echo told by the step; exit 7\n",
    );
    workshop.cairn(&["up", "--records", "out"]).code(1);
    let has = |file: &str, text: &str| {
        let content = workshop.read(&format!("out/{file}"));
        assert!(content.contains(text), "no `{text}` in {file}:\n{content}");
    };
    has("artifacts/model.yaml", "state: failed");
    has("artifacts/model.yaml", "success: false");
    has("artifacts/bad.yaml", "reason: \"");
    has("artifacts/IMAGES_CHANGED", "model\n");
    has("logs/model.basic-tests.log", "told by the suite");
    has("logs/bad.build.log", "told by the step");
    has("logs/run.log", "bad: failed");
    has("manifests/model.md", "COPY model.txt /model.txt");
    has("manifests/model.md", "**1 failed** (");

    let list = workshop.cairn(&["show"]).success();
    list.out_has("up").out_has("failed");
    let shown = workshop.cairn(&["show", "last"]).success();
    shown
        .out_has("told by the suite")
        .out_has("RUN echo told by the step");
    workshop
        .cairn(&["show", "nonsense"])
        .code(2)
        .err_has("no run `nonsense`");
}

/// DH-66 to DH-70, DH-43, DH-44, DH-52: commands about an image are sections of its page; one that
/// nobody knows is told and left out, one that fails fails nothing, and none is asked twice.
#[test]
fn commands_tell_what_an_image_holds() {
    let Some(workshop) = lab("pytest = { path = \"suite\", command = \"true\" }\n") else {
        return;
    };
    let spec = workshop.read("cairn.toml");
    let info = "info = [\"LONG\", \"BAD\", \"pyp\", \"python\"]";
    workshop.write(
        "cairn.toml",
        &spec
            .replace("context = \"model\"", &format!("context = \"model\"\n{info}"))
            .replace(
                "[image.model]",
                "[info]\nLONG = { title = \"Model\", command = \"cat /model.txt; i=0; while test $i != 40; do echo line $i; i=$((i + 1)); done; echo x > /written\" }\n\
                 BAD.command = [\"/bin/sh\", \"-c\", \"echo no such thing; exit 3\"]\n[image.model]",
            ),
    );
    let up = workshop.cairn(&["up", "--records", "out"]).success();
    up.err_has("model: `info` names `pyp`, which is no command of `[info]`; did you mean `pip`?");
    let page = workshop.read("out/manifests/model.md");
    for text in [
        "| created | command | size | cumulative | elapsed | tags |",
        "COPY model.txt /model.txt",
        "## Model",
        "<details><summary>41 lines</summary>",
        "R0 = 2",
        "## BAD",
        "Failed to execute cmd: it ended with code 3",
        "no such thing",
        "## Python Version",
    ] {
        assert!(page.contains(text), "no `{text}`:\n{page}");
    }
    let log = workshop.read("out/logs/run.log");
    for text in [
        "build: ",
        "tests: ",
        "pages: ",
        "steps: 1 ran in ",
        "free on disk: ",
    ] {
        assert!(log.contains(text), "no `{text}`:\n{log}");
    }
    // `cairn build` keeps records, too; what was said is known, and nothing stayed in the image.
    workshop.write("model/model.txt", "R0 = 2\n");
    workshop.cairn(&["build", "--records", "again"]).success();
    assert_eq!(
        workshop.read("again/manifests/model.md"),
        page_without_times(&page).replace("- tests: 1 passed\n", ""),
        "a build runs no tests"
    );
    workshop
        .cairn(&["run", "model", "test", "!", "-e", "/written"])
        .success();
}

/// A page as a run writes it in which no step ran.
fn page_without_times(page: &str) -> String {
    let lines = page.lines().map(
        |line| match line.split('|').collect::<Vec<_>>().as_slice() {
            [a, b, c, d, e, time, rest @ ..] if time.ends_with(" s ") => {
                let head = [*a, b, c, d, e, "  "].join("|");
                format!("{head}|{}", rest.join("|"))
            }
            _ => line.to_owned(),
        },
    );
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The least that can be called pytest: enough for what our launcher asks of it.
pub(crate) const MINI_PYTEST: &str = r#"
import glob, importlib.util, os, sys, traceback

class Report:
    def __init__(self, nodeid, error):
        self.nodeid, self.when, self.duration = nodeid, "teardown", 0.25
        self.failed, self.skipped, self.longrepr, self.sections = bool(error), False, error, []

def main(words, plugins):
    files = sorted(glob.glob(os.path.join(words[-1], "test_*.py")))
    failed = count = 0
    for file in files:
        spec = importlib.util.spec_from_file_location("suite", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name in [it for it in dir(module) if it.startswith("test_")]:
            nodeid, error = os.path.basename(file) + "::" + name, None
            for plugin in plugins:
                plugin.pytest_runtest_logstart(nodeid, None)
            try:
                getattr(module, name)()
            except Exception:
                error = traceback.format_exc()
            for plugin in plugins:
                plugin.pytest_runtest_logreport(Report(nodeid, error))
            failed += bool(error)
            count += 1
    return 5 if not count else int(failed > 0)
"#;

/// Copies the host's Python, with the modules that are loaded at a start, into a folder.
pub(crate) fn copy_python(into: &Path) -> bool {
    const PYTHON: &str = "/usr/bin/python3";
    let script = "import json, importlib.util, glob, traceback, sys, encodings, os\n\
                  files = [getattr(m, '__file__', None) for m in list(sys.modules.values())]\n\
                  files += glob.glob(os.path.dirname(encodings.__file__) + '/*.py')\n\
                  print('\\n'.join(f for f in files if f and f.startswith('/')))\n\
                  print(os.path.realpath(sys.executable))\n";
    let Ok(listed) = Command::new(PYTHON).args(["-I", "-c", script]).output() else {
        return false;
    };
    let mut files: Vec<String> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let libraries = Command::new("ldd").arg(PYTHON).output();
    let libraries = libraries.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    for line in libraries.unwrap_or_default().lines() {
        files.extend(
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(str::to_owned),
        );
    }
    let copied = files.iter().all(|file| {
        let target = into.join(file.trim_start_matches('/'));
        let made = std::fs::create_dir_all(target.parent().expect("a parent"));
        made.is_ok() && std::fs::copy(file, target).is_ok()
    });
    let program = files.iter().find(|file| file.contains("/bin/python"));
    let program = program.map(|it| into.join(it.trim_start_matches('/')));
    let linked = program.is_some_and(|it| std::fs::copy(it, into.join("usr/bin/python3")).is_ok());
    copied && linked
}

/// DH-54, DH-55, DH-60: pytest inside the image, from a folder that is mounted; each test is told,
/// and none at all is a pass that is said.
#[test]
fn pytest_runs_inside_the_image() {
    let tests = "pytest = [{ path = \"suite\", python-path = \"extra\" }, { path = \"empty\", python-path = \"extra\" }]\n";
    let Some(workshop) = lab(tests) else { return };
    if !needs(
        "python3 in /usr/bin",
        copy_python(&workshop.path().join("model/python")),
    ) {
        return;
    }
    workshop.write(
        "model/Dockerfile",
        "FROM base\nCOPY python /\nCOPY model.txt /model.txt\n",
    );
    workshop.write("extra/pytest.py", MINI_PYTEST);
    workshop.write("empty/readme", "");
    workshop.write(
        "suite/test_model.py",
        "def test_reads():\n    assert open('/model.txt').read() == 'R0 = 2\\n'\n",
    );
    let said = workshop.cairn(&["up", "--progress", "plain"]).success();
    said.err_has("test_model.py::test_reads")
        .err_has("empty: no tests collected");
    workshop.write(
        "suite/test_model.py",
        "def test_reads():\n    assert 1 == 2, 'told'\n",
    );
    workshop
        .cairn(&["test", "--progress", "plain"])
        .code(1)
        .err_has("AssertionError: told");
    // Under one id alone another user cannot be had to run as.
    if has_many_ids() {
        let spec = workshop
            .read("cairn.toml")
            .replace("path = \"suite\",", "path = \"suite\", user = \"random\",");
        workshop.write("cairn.toml", &spec);
        workshop.write(
            "suite/test_model.py",
            "import os\ndef test_user():\n    assert os.getuid() > 9999\n",
        );
        workshop.cairn(&["test", "--progress", "plain"]).success();
    }
}
