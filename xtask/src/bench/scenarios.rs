//! What is measured: rows that need the same preparation are one scenario.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::engines::Engine;
use super::inputs::{BASE, Inputs, Recipe};
use super::meter::{Cost, measure};
use crate::campaign::registry::Registry;
use crate::error::ChoreError;

/// The rows of the design's table that exist, in its order.
pub(super) const ROWS: &[(&str, &str)] = &[
    (
        "stack-cold",
        "6-image stack (24 RUN, 6 COPY), nothing cached",
    ),
    ("stack-noop", "the same, nothing changed"),
    ("stack-leaf", "the same, one file of a leaf image changed"),
    ("start", "start a container and run `true`"),
    ("run-1gib", "RUN that writes 1 GiB, built"),
    (
        "run-1gib-gzip",
        "the same, built and written as a gzip OCI archive",
    ),
    ("run-50k-files", "RUN that writes 50,000 files, built"),
    (
        "copy-50k-cold",
        "COPY . of 50,000 files and 500 MB, nothing cached",
    ),
    ("copy-50k-noop", "the same, nothing changed"),
    (
        "push-1gib",
        "push of an image with a layer of 1 GiB to an empty registry",
    ),
    ("pull-1gib", "pull of that image into an empty store"),
    (
        "push-50k-files",
        "push of an image with 50,000 files to an empty registry",
    ),
    ("pull-50k-files", "pull of that image into an empty store"),
    (
        "push-stack",
        "push of the 6-image stack to an empty registry",
    ),
    ("push-stack-noop", "the same again"),
    (
        "plan-200",
        "plan of 200 images with 20,000 context files, nothing changed; Cairn alone",
    ),
    (
        "tests-200",
        "200 command tests of container-structure-test; Cairn alone",
    ),
];

/// A container start is too short to measure alone.
const STARTS: u32 = 10;

/// Costs, each under the name of its row.
pub(super) type Measured = Vec<(&'static str, Cost)>;

/// Rows that are measured together.
pub(super) struct Scenario {
    /// Its name in progress lines.
    pub(super) name: &'static str,
    rows: &'static [&'static str],
    /// One turn of one engine.
    pub(super) run: fn(&dyn Engine, &Inputs) -> Result<Measured, ChoreError>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stack",
        rows: &["stack-cold", "stack-noop", "stack-leaf"],
        run: stack,
    },
    Scenario {
        name: "start",
        rows: &["start"],
        run: start,
    },
    Scenario {
        name: "run-1gib",
        rows: &["run-1gib"],
        run: big_layer,
    },
    Scenario {
        name: "run-1gib-gzip",
        rows: &["run-1gib-gzip"],
        run: big_layer_gzip,
    },
    Scenario {
        name: "run-50k-files",
        rows: &["run-50k-files"],
        run: many_files,
    },
    Scenario {
        name: "copy-50k",
        rows: &["copy-50k-cold", "copy-50k-noop"],
        run: large_context,
    },
    Scenario {
        name: "registry-1gib",
        rows: &["push-1gib", "pull-1gib"],
        run: big_layer_there_and_back,
    },
    Scenario {
        name: "registry-50k-files",
        rows: &["push-50k-files", "pull-50k-files"],
        run: many_files_there_and_back,
    },
    Scenario {
        name: "registry-stack",
        rows: &["push-stack", "push-stack-noop"],
        run: push_stack,
    },
    Scenario {
        name: "plan-200",
        rows: &["plan-200"],
        run: plan,
    },
    Scenario {
        name: "tests-200",
        rows: &["tests-200"],
        run: tests,
    },
];

/// The scenarios that fill some rows.
pub(super) fn wanted(rows: &[String]) -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().filter(|scenario| {
        scenario
            .rows
            .iter()
            .any(|row| rows.iter().any(|want| want == row))
    })
}

fn stack(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    if engine.build_stack(inputs).is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    let build = || measure(&mut engine.build_stack(inputs), &engine.daemons());
    let cold = build()?;
    let noop = build()?;
    change(&inputs.leaf_file)?;
    let leaf = build()?;
    Ok(vec![
        ("stack-cold", cold),
        ("stack-noop", noop),
        ("stack-leaf", leaf),
    ])
}

/// Makes a file different from anything any engine has seen.
fn change(file: &std::path::Path) -> Result<(), ChoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let text = format!("changed at {:?}\n", now.unwrap_or_default());
    fs::write(file, text).map_err(ChoreError::file(file))
}

fn start(engine: &dyn Engine, _: &Inputs) -> Result<Measured, ChoreError> {
    let mut starts: Vec<_> = (0..STARTS).flat_map(|_| engine.start(BASE)).collect();
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    engine.ensure_base()?;
    let all = measure(&mut starts, &engine.daemons())?;
    let one = Cost {
        wall_s: all.wall_s / f64::from(STARTS),
        cpu_s: all.cpu_s / f64::from(STARTS),
        rss_mib: all.rss_mib,
    };
    Ok(vec![("start", one)])
}

fn big_layer(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    cold(engine, &inputs.big_layer, "run-1gib")
}

fn many_files(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    cold(engine, &inputs.many_files, "run-50k-files")
}

fn cold(engine: &dyn Engine, recipe: &Recipe, row: &'static str) -> Result<Measured, ChoreError> {
    let mut commands = engine.build(recipe);
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    let cost = measure(&mut commands, &engine.daemons())?;
    Ok(vec![(row, cost)])
}

fn big_layer_gzip(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    let archive = inputs.stack.with_file_name("big-layer.oci.tar");
    let mut commands = engine.build_archive(&inputs.big_layer, &archive);
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    let cost = measure(&mut commands, &engine.daemons())?;
    let size = archive
        .metadata()
        .map_err(ChoreError::file(&archive))?
        .len();
    eprintln!("  {}: archive of {} MiB", engine.name(), size >> 20);
    fs::remove_file(&archive).map_err(ChoreError::file(&archive))?;
    Ok(vec![("run-1gib-gzip", cost)])
}

fn large_context(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    if engine.build(&inputs.large_context).is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    let build = || measure(&mut engine.build(&inputs.large_context), &engine.daemons());
    Ok(vec![
        ("copy-50k-cold", build()?),
        ("copy-50k-noop", build()?),
    ])
}

fn big_layer_there_and_back(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    there_and_back(
        engine,
        inputs,
        &inputs.big_layer,
        ["push-1gib", "pull-1gib"],
    )
}

fn many_files_there_and_back(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    let rows = ["push-50k-files", "pull-50k-files"];
    there_and_back(engine, inputs, &inputs.many_files, rows)
}

/// Each engine pulls what it pushed: its own compression is a part of both.
fn there_and_back(
    engine: &dyn Engine,
    inputs: &Inputs,
    recipe: &Recipe,
    [push, pull]: [&'static str; 2],
) -> Result<Measured, ChoreError> {
    let registry = Registry::start_in(&inputs.folder)?;
    let reference = format!("{}/bench/{}:1", registry.host, recipe.name);
    let mut pushes = engine.push(recipe, &reference);
    if pushes.is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    measure(&mut engine.make(recipe), &engine.daemons())?;
    engine.name_for_push(recipe, &reference)?;
    let pushed = measure(&mut pushes, &engine.daemons())?;
    engine.empty_cache()?;
    let pulled = measure(&mut engine.pull(&reference), &engine.daemons())?;
    Ok(vec![(push, pushed), (pull, pulled)])
}

fn push_stack(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    let registry = Registry::start_in(&inputs.folder)?;
    let (prefix, tag) = (format!("{}/bench", registry.host), "1");
    let push = || engine.push_stack(inputs, &prefix, tag);
    if push().is_empty() || engine.build_stack(inputs).is_empty() {
        return Ok(Vec::new());
    }
    engine.empty_cache()?;
    measure(&mut engine.build_stack(inputs), &engine.daemons())?;
    for image in &inputs.stack_images {
        engine.name_for_push(image, &format!("{prefix}/{}:{tag}", image.name))?;
    }
    let cold = measure(&mut push(), &engine.daemons())?;
    let noop = measure(&mut push(), &engine.daemons())?;
    Ok(vec![("push-stack", cold), ("push-stack-noop", noop)])
}

fn plan(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    let mut plan = engine.plan(&inputs.wide_stack);
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    engine.ensure_base()?;
    measure(&mut engine.build_all(&inputs.wide_stack), &engine.daemons())?;
    // A file that is too new is read again, and 20,000 were just written.
    std::thread::sleep(std::time::Duration::from_secs(3));
    measure(&mut engine.plan(&inputs.wide_stack), &engine.daemons())?;
    let cost = measure(&mut plan, &engine.daemons())?;
    Ok(vec![("plan-200", cost)])
}

fn tests(engine: &dyn Engine, inputs: &Inputs) -> Result<Measured, ChoreError> {
    let mut test = engine.test_again(&inputs.tested_stack);
    if test.is_empty() {
        return Ok(Vec::new());
    }
    engine.ensure_base()?;
    measure(
        &mut engine.build_all(&inputs.tested_stack),
        &engine.daemons(),
    )?;
    let cost = measure(&mut test, &engine.daemons())?;
    Ok(vec![("tests-200", cost)])
}

#[cfg(test)]
mod row_tests {
    use super::*;

    #[test]
    fn every_row_has_one_scenario() {
        for (row, _) in ROWS {
            let homes = SCENARIOS
                .iter()
                .filter(|scenario| scenario.rows.contains(row));
            assert_eq!(homes.count(), 1, "{row}");
        }
    }

    #[test]
    fn only_wanted_scenarios_run() {
        let rows = ["stack-leaf".to_owned(), "start".to_owned()];
        let names: Vec<_> = wanted(&rows).map(|scenario| scenario.name).collect();
        assert_eq!(names, ["stack", "start"]);
    }
}
