//! BuildKit's recorded builds, done by Cairn and compared, file by file; and what its checker says.
//!
//! The data is not part of this project; it lies in `../shared/conformance` or where
//! `CAIRN_CONFORMANCE` says. The driver that comes with it builds every case with a command that we
//! give it and compares with what BuildKit made. How many must be equal is committed beside this
//! file: the number may only rise.
//!
//! Three cases cannot be equal: TestBuiltinArgs-0487 and TestEmptyStringArgInEnv-0483 recorded the
//! proxy variables of the machine that they ran on, TestCopySocket-0439 lost its socket in the
//! archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use super::{Outcome, cargo};
use crate::command;
use crate::error::ChoreError;

const FLOOR: &str = "xtask/src/test/conformance.floor";

/// The bases, and the registries that the cases' `FROM` lines name them in. Some lines are put
/// together from arguments; those lead to Docker's own registry.
const BASES: &[&str] = &["busybox", "alpine"];
const BASE_PREFIXES: &[&str] = &["127.0.0.1:5055/library", "docker.io/library"];
/// The tags that the cases ask for; all of a base are one image here.
const BASE_TAGS: &[&str] = &["latest", "stable", "stable-musl"];

/// Builds every case, compares, prints the count and compares it with the floor.
pub(super) fn run(root: &Path) -> Result<Outcome, ChoreError> {
    let data = std::env::var_os("CAIRN_CONFORMANCE")
        .map_or_else(|| root.join("../shared/conformance"), PathBuf::from);
    let driver = data.join("driver/driver.py");
    if !driver.is_file() {
        // Not a `Skipped`: the data belongs to others, and a checkout without it is whole.
        println!("    no conformance data at {}", data.display());
        return Ok(Outcome::Passed);
    }
    let work = tempfile::Builder::new()
        .prefix("cairn-conformance-")
        .tempdir_in("/var/tmp")
        .map_err(ChoreError::file("/var/tmp"))?;
    unpack(&data, work.path())?;
    let cairn = built_cairn(root)?;
    check_lint(&data, &cairn)?;
    load_bases(&cairn, work.path())?;
    build_cases(&driver, &cairn, work.path())?;
    let report = compare(&driver, work.path())?;
    judge(root, &report, ids(&cairn, work.path())?)
}

/// How many ids can exist inside: where there is one only, steps cannot see owners, and some cases
/// look at them (docs/dev/conformance.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    Many,
    One,
}

/// What `cairn doctor --json` says, as far as it matters here.
#[derive(Deserialize)]
struct Doctor {
    host: Vec<Probe>,
}

#[derive(Deserialize)]
struct Probe {
    name: String,
    verdict: String,
}

impl Doctor {
    fn ids(&self) -> Ids {
        let has_many = |probe: &Probe| probe.name == "ids" && probe.verdict == "works";
        match self.host.iter().any(has_many) {
            true => Ids::Many,
            false => Ids::One,
        }
    }
}

/// What the driver's comparison says of one case.
#[derive(Deserialize)]
struct Verdict {
    verdict: String,
}

type Report = std::collections::BTreeMap<String, Verdict>;

fn unpack(data: &Path, work: &Path) -> Result<(), ChoreError> {
    for archive in ["cases-buildkit", "golden-buildkit", "base"] {
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(data.join(format!("{archive}.tar.xz")));
        command::capture(tar.arg("-C").arg(work))?;
    }
    Ok(())
}

/// Builds the program and gives its path.
fn built_cairn(root: &Path) -> Result<PathBuf, ChoreError> {
    let build = [
        "build",
        "--quiet",
        "--locked",
        "--package",
        "cairn-cli",
        "--message-format=json",
    ];
    command::built_program(&mut cargo(root, &build))
}

/// Runs the checker over BuildKit's cases; all of them must be equal.
fn check_lint(data: &Path, cairn: &Path) -> Result<(), ChoreError> {
    let mut check = Command::new("python3");
    check
        .arg(data.join("driver/lint_check.py"))
        .arg(data.join("lint"));
    check.arg(format!(
        "{} lint --json {{dockerfile}} {{args}}",
        cairn.display()
    ));
    let said = command::capture(&mut check)?;
    print!("{}", indented(&said));
    match said.trim_end().ends_with("bad 0") {
        true => Ok(()),
        false => Err(ChoreError::Unmet(
            "the checker does not say what BuildKit's says".to_owned(),
        )),
    }
}

fn ids(cairn: &Path, work: &Path) -> Result<Ids, ChoreError> {
    let mut doctor = Command::new(cairn);
    doctor.arg("--home").arg(work.join("home"));
    let output = command::output(doctor.args(["doctor", "--json"]))?;
    let doctor = serde_json::from_slice::<Doctor>(&output.stdout);
    doctor
        .map(|doctor| doctor.ids())
        .map_err(|error| ChoreError::Unmet(format!("cairn doctor --json: {error}")))
}

fn load_bases(cairn: &Path, work: &Path) -> Result<(), ChoreError> {
    for base in BASES {
        let source = format!("oci:{}", work.join("base").join(base).display());
        for prefix in BASE_PREFIXES {
            for tag in BASE_TAGS {
                let mut load = Command::new(cairn);
                load.arg("--home").arg(work.join("home"));
                load.args(["load", "-t", &format!("{prefix}/{base}:{tag}"), &source]);
                command::capture(&mut load)?;
            }
        }
    }
    Ok(())
}

fn build_cases(driver: &Path, cairn: &Path, work: &Path) -> Result<(), ChoreError> {
    let builders = work.join("builders.json");
    let text = builders_file(cairn, work).to_string();
    fs::write(&builders, text).map_err(ChoreError::file(&builders))?;
    let mut run = Command::new("python3");
    run.current_dir(work)
        .arg(driver)
        .args(["run", "--cases", "buildkit"]);
    run.args(["--builder", "cairn", "--out", "result", "-j", "2"]);
    run.arg("--builders").arg(&builders);
    command::capture(&mut run).map(drop)
}

/// The driver's description of a builder: Cairn with its flags, on a store of this run.
fn builders_file(cairn: &Path, work: &Path) -> serde_json::Value {
    let command = format!(
        "{} --home {} build --no-cache -f {{dockerfile}} {{args}} --output type=oci,dest={{out}} {{ctx}}",
        cairn.display(),
        work.join("home").display()
    );
    json!({ "cairn": {
        "cmd": command,
        "buildarg": "--build-arg {k}={v}",
        "targetflag": "--target {t}",
        "contextflag": "--build-context {k}={v}",
        "labelflag": "--label {k}={v}",
        "secretflag": "--secret id={k},src={v}",
    } })
}

fn compare(driver: &Path, work: &Path) -> Result<Report, ChoreError> {
    let report = work.join("report.json");
    let mut compare = Command::new("python3");
    compare.current_dir(work).arg(driver);
    compare.args([
        "compare",
        "golden/buildkit",
        "result",
        "--cases",
        "buildkit",
    ]);
    compare.arg("--json").arg(&report);
    // The driver's own status says whether every case passed; the floor decides here.
    let output = command::output(&mut compare)?;
    let text = fs::read_to_string(&report).map_err(|_| command::failure(&compare, &output))?;
    print!("{}", indented(&String::from_utf8_lossy(&output.stdout)));
    serde_json::from_str(&text).map_err(|error| ChoreError::Content {
        path: report,
        detail: error.to_string(),
    })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn judge(root: &Path, report: &Report, ids: Ids) -> Result<Outcome, ChoreError> {
    let path = root.join(FLOOR);
    let text = fs::read_to_string(&path).map_err(ChoreError::file(&path))?;
    let floor = parse_floor(&text, ids).ok_or_else(|| ChoreError::Content {
        path,
        detail: "no number for as many ids as there are here".to_owned(),
    })?;
    let passed = passed(report);
    println!(
        "    conformance: {passed} of {}, floor {floor}",
        report.len()
    );
    if passed < floor {
        return Err(ChoreError::Unmet(format!(
            "{passed} conformance cases pass, and {floor} have passed before ({FLOOR})"
        )));
    }
    if passed > floor {
        println!("    the floor can rise to {passed}: {FLOOR}");
    }
    Ok(Outcome::Passed)
}

fn passed(report: &Report) -> usize {
    let verdicts = report.values();
    verdicts.filter(|case| case.verdict == "PASS").count()
}

/// Reads `many-ids 198` and `one-id 187`.
fn parse_floor(text: &str, ids: Ids) -> Option<usize> {
    let wanted = match ids {
        Ids::Many => "many-ids ",
        Ids::One => "one-id ",
    };
    let number = text.lines().find_map(|line| line.strip_prefix(wanted))?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_cases_count() {
        let report = r#"{"a": {"verdict": "PASS", "diffs": []}, "b": {"verdict": "FAIL"}}"#;
        let report: Report = serde_json::from_str(report).expect("a report");
        assert_eq!(passed(&report), 1);
    }

    #[test]
    fn a_count_below_the_floor_is_an_error() {
        let root = tempfile::tempdir().expect("a folder");
        let floor = root.path().join(FLOOR);
        fs::create_dir_all(floor.parent().expect("a folder")).expect("folders");
        fs::write(floor, "many-ids 2\none-id 1\n").expect("a floor");
        let report = |passing: usize| -> Report {
            let case = |n| {
                (
                    format!("{n}"),
                    Verdict {
                        verdict: "PASS".to_owned(),
                    },
                )
            };
            (0..passing).map(case).collect()
        };
        assert!(judge(root.path(), &report(1), Ids::Many).is_err());
        assert!(judge(root.path(), &report(2), Ids::Many).is_ok());
        assert!(judge(root.path(), &report(1), Ids::One).is_ok());
        assert!(judge(root.path(), &report(0), Ids::One).is_err());
    }

    #[test]
    fn the_committed_floors_are_numbers() {
        let text = crate::workspace::read_text(&crate::workspace::root().join(FLOOR));
        let text = text.expect("the floors");
        assert!(parse_floor(&text, Ids::Many) > parse_floor(&text, Ids::One));
        assert!(parse_floor(&text, Ids::One).is_some());
    }

    #[test]
    fn the_doctor_tells_how_many_ids_there_are() {
        let said = |verdict: &str| {
            let text = format!(r#"{{"host": [{{"name": "ids", "verdict": "{verdict}"}}]}}"#);
            serde_json::from_str::<Doctor>(&text).expect("JSON").ids()
        };
        assert_eq!(said("works"), Ids::Many);
        assert_eq!(said("degraded"), Ids::One);
    }

    #[test]
    fn the_builder_is_our_binary_on_its_own_store() {
        let builders = builders_file(Path::new("/bin/cairn"), Path::new("/w"));
        let command = builders["cairn"]["cmd"].as_str().expect("a command");
        assert!(command.starts_with("/bin/cairn --home /w/home build --no-cache -f {dockerfile}"));
    }
}
