//! Which tests a run would run, and why: the part of a plan that is about tests.

use std::collections::BTreeMap;

use cairn_build::image::ImageRecord;
use cairn_spec::ImageId;
use cairn_spec::suite::SuiteKind;
use cairn_store::{ContentDigest, Store, TestRecord};
use serde::Serialize;

use super::evidence::{self, Evidence};
use super::{TestError, cannot_run, read_structure};
use crate::load::LoadedStack;
use crate::{structure, suite};

/// What happens to one test file or suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestPlan {
    /// The file or folder.
    pub file: String,
    /// `structure`, `pytest`, `integration`, `workflow` or `manual`.
    pub kind: &'static str,
    /// What happens to it.
    pub action: TestAction,
    /// Why, as a phrase that follows "because".
    pub because: String,
}

/// What happens to a test file or suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestAction {
    /// It runs.
    Run,
    /// What is known of it is used again.
    Reuse,
    /// It runs unless the image turns out to be one that it passed on.
    After,
    /// It runs when it is named, or never by itself.
    Wait,
}

/// Tells what would become of an image's tests; `record` is the image, if it is known already.
pub fn forecast(
    store: &Store,
    loaded: &LoadedStack,
    id: ImageId,
    record: Option<&ImageRecord>,
    record_of: &dyn Fn(&str) -> Option<ImageRecord>,
) -> Result<Vec<TestPlan>, TestError> {
    let image = &loaded.stack[id];
    let mut plans = Vec::new();
    if image.tests.structure.is_empty() && image.tests.suites.is_empty() {
        return Ok(plans);
    }
    let history = store
        .history()?
        .tests_of_image(&loaded.label(id), Some(&loaded.stack.name))?;
    let foreign = |runs: bool| cannot_run(&loaded.platform).filter(|_| runs);
    let decide = |file: &str, digest: ContentDigest, repeatable: bool, runs: bool| match record {
        None if foreign(runs).is_some() => (TestAction::Wait, foreign(runs).unwrap_or_default()),
        None => (TestAction::After, "the image is built first".to_owned()),
        Some(_) if !repeatable && foreign(runs).is_some() => {
            (TestAction::Wait, foreign(runs).unwrap_or_default())
        }
        Some(_) if !repeatable => (
            TestAction::Run,
            "it looks at more than the image and itself".to_owned(),
        ),
        Some(record) => {
            let evidence = Evidence::new(record, digest);
            match evidence::find(store, &evidence.key()) {
                Some(_) => (TestAction::Reuse, "it passed on the same image".to_owned()),
                None => match foreign(runs) {
                    Some(reason) => (TestAction::Wait, reason),
                    None => (TestAction::Run, why(&history, file, record, digest)),
                },
            }
        }
    };
    for file in &image.tests.structure {
        let parsed = read_structure(&loaded.directory, &file.value)?.file;
        let digest = structure::digest(&parsed, &loaded.directory);
        let repeatable = structure::is_repeatable(&parsed);
        let (action, because) =
            decide(&file.value, digest, repeatable, !parsed.commands.is_empty());
        plans.push(TestPlan {
            file: file.value.clone(),
            kind: "structure",
            action,
            because,
        });
    }
    for suite in &image.tests.suites {
        let (action, because) = match suite.kind {
            SuiteKind::Manual => (TestAction::Wait, "people run it by hand".to_owned()),
            SuiteKind::Workflow => (
                TestAction::Wait,
                format!("it runs when it is named: `--workflow {}`", suite.name),
            ),
            SuiteKind::Basic | SuiteKind::Integration => {
                let digest = suite::digest(suite, &loaded.directory, record_of)?;
                decide(&suite.path.value, digest, true, true)
            }
        };
        plans.push(TestPlan {
            file: suite.path.value.clone(),
            kind: suite.kind.key(),
            action,
            because,
        });
    }
    Ok(plans)
}

/// Why there is no evidence, from what happened the last time.
fn why(history: &[TestRecord], file: &str, record: &ImageRecord, digest: ContentDigest) -> String {
    let last = newest_run_of(history, file);
    let Some(first) = last.first() else {
        return "it was never run".to_owned();
    };
    if first.image_digest != record.content().to_string() {
        return "the image changed".to_owned();
    }
    if first.test_digest != digest.to_string() {
        return "the test changed".to_owned();
    }
    match last.iter().any(|test| test.verdict == "failed") {
        true => "it failed the last time".to_owned(),
        false => "what was known of it was collected".to_owned(),
    }
}

/// The tests of a file in the newest run that ran it; the history begins with the newest.
fn newest_run_of<'a>(history: &'a [TestRecord], file: &str) -> Vec<&'a TestRecord> {
    let prefix = format!("{file}: ");
    let of_file = history.iter().filter(|test| test.test.starts_with(&prefix));
    let mut runs: BTreeMap<&str, Vec<&TestRecord>> = BTreeMap::new();
    let mut newest = None;
    for test in of_file {
        newest.get_or_insert(test.run.as_str());
        runs.entry(&test.run).or_default().push(test);
    }
    newest.and_then(|run| runs.remove(run)).unwrap_or_default()
}
