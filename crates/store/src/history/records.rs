//! What the history holds, and the questions it answers.

use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::History;
use crate::error::StoreError;

/// One run of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name; also that of its folder of logs.
    pub run: String,
    /// What was run: `up`, `build model`.
    pub command: String,
    /// The stack, if it was about one.
    pub stack: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended; `None` while it runs, or if it was killed.
    pub finished_ms: Option<i64>,
    /// How it ended: `succeeded`, `failed`, `cancelled`.
    pub outcome: Option<String>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The run.
    pub run: String,
    /// The image it was for.
    pub image: String,
    /// Its stage.
    pub stage: String,
    /// Its number in the stage, from 1.
    pub step: u32,
    /// The instruction, for people.
    pub title: String,
    /// Its cache key, in hex.
    pub key: Option<String>,
    /// What entered the key, as name and value.
    pub inputs: Vec<(String, String)>,
    /// How it ended: `cached`, `done`, `failed`, `skipped`.
    pub outcome: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// How long it took.
    pub duration_ms: u64,
}

/// One test of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRecord {
    /// The run.
    pub run: String,
    /// The image's name.
    pub image: String,
    /// The digest of what was tested.
    pub image_digest: String,
    /// The test's name.
    pub test: String,
    /// The digest of the test itself.
    pub test_digest: String,
    /// The platform it ran on.
    pub platform: String,
    /// `passed`, `failed`, `skipped`.
    pub verdict: String,
    /// What was wrong; empty where nothing needs saying.
    pub detail: String,
    /// When it ended, in milliseconds since 1970.
    pub finished_ms: i64,
    /// How long it took.
    pub duration_ms: u64,
}

/// An image that a run made or found made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// The run.
    pub run: String,
    /// The image's name.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// Its platform.
    pub platform: String,
    /// When, in milliseconds since 1970.
    pub built_ms: i64,
    /// Whether anything ran for it.
    pub is_new: bool,
}

impl History {
    /// Notes that a run began. Its end is noted by [`finish_run`](Self::finish_run).
    pub fn start_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![
            run.run,
            run.command,
            run.stack,
            run.started_ms,
            run.finished_ms,
            run.outcome
        ];
        let done = self.connection().execute(sql, values);
        done.map(drop).map_err(|source| self.failed(source))
    }

    /// Notes how a run ended.
    pub fn finish_run(&self, run: &str, finished_ms: i64, outcome: &str) -> Result<(), StoreError> {
        let sql = "UPDATE runs SET finished_ms = ?2, outcome = ?3 WHERE run = ?1";
        let done = self
            .connection()
            .execute(sql, params![run, finished_ms, outcome]);
        done.map(drop).map_err(|source| self.failed(source))
    }

    /// Notes steps, all or none.
    pub fn record_steps(&self, steps: &[StepRecord]) -> Result<(), StoreError> {
        let sql = "INSERT INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.insert_all(sql, steps, |statement, step| {
            let inputs = serde_json::to_string(&step.inputs).unwrap_or_default();
            statement.execute(params![
                step.run,
                step.image,
                step.stage,
                step.step,
                step.title,
                step.key,
                inputs,
                step.outcome,
                step.started_ms,
                step.duration_ms as i64
            ])
        })
    }

    /// Notes tests, all or none.
    pub fn record_tests(&self, tests: &[TestRecord]) -> Result<(), StoreError> {
        let sql = "INSERT INTO tests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.insert_all(sql, tests, |statement, test| {
            statement.execute(params![
                test.run,
                test.image,
                test.image_digest,
                test.test,
                test.test_digest,
                test.platform,
                test.verdict,
                test.detail,
                test.finished_ms,
                test.duration_ms as i64
            ])
        })
    }

    /// Notes images, all or none.
    pub fn record_images(&self, images: &[BuiltImage]) -> Result<(), StoreError> {
        let sql = "INSERT INTO images VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.insert_all(sql, images, |statement, image| {
            statement.execute(params![
                image.run,
                image.image,
                image.digest,
                image.platform,
                image.built_ms,
                image.is_new
            ])
        })
    }

    /// The newest runs, newest first; those of one stack, or all.
    pub fn runs(&self, limit: usize, stack: Option<&str>) -> Result<Vec<RunRecord>, StoreError> {
        let sql = "SELECT run, command, stack, started_ms, finished_ms, outcome
                   FROM runs WHERE ?2 IS NULL OR stack = ?2
                   ORDER BY started_ms DESC, rowid DESC LIMIT ?1";
        self.rows(sql, params![limit as i64, stack], |row| {
            Ok(RunRecord {
                run: row.get(0)?,
                command: row.get(1)?,
                stack: row.get(2)?,
                started_ms: row.get(3)?,
                finished_ms: row.get(4)?,
                outcome: row.get(5)?,
            })
        })
    }

    /// The steps of a run, in the order they were noted.
    pub fn steps_of_run(&self, run: &str) -> Result<Vec<StepRecord>, StoreError> {
        let sql = format!("SELECT {STEP_COLUMNS} FROM steps WHERE run = ?1 ORDER BY rowid");
        self.rows(&sql, params![run], step)
    }

    /// The steps of an image in the newest run that has any, of one stack or of all: what `why`
    /// compares with.
    pub fn last_steps(
        &self,
        image: &str,
        stack: Option<&str>,
    ) -> Result<Vec<StepRecord>, StoreError> {
        let newest = format!(
            "SELECT run FROM steps WHERE image = ?1 AND {OF_STACK}
             ORDER BY started_ms DESC, rowid DESC LIMIT 1"
        );
        let sql = format!(
            "SELECT {STEP_COLUMNS} FROM steps WHERE image = ?1 AND run = ({newest}) ORDER BY rowid"
        );
        self.rows(&sql, params![image, stack], step)
    }

    /// The newest result of a test on an image, if it ever ran: evidence by digest.
    pub fn find_test(
        &self,
        image_digest: &str,
        test_digest: &str,
        platform: &str,
    ) -> Result<Option<TestRecord>, StoreError> {
        let sql = format!(
            "SELECT {TEST_COLUMNS} FROM tests
             WHERE image_digest = ?1 AND test_digest = ?2 AND platform = ?3
             ORDER BY finished_ms DESC, rowid DESC LIMIT 1"
        );
        let connection = self.connection();
        let found = connection.query_row(&sql, params![image_digest, test_digest, platform], test);
        found.optional().map_err(|source| self.failed(source))
    }

    /// The newest tests of an image, newest first; those of runs of one stack, or all.
    pub fn tests_of_image(
        &self,
        image: &str,
        stack: Option<&str>,
    ) -> Result<Vec<TestRecord>, StoreError> {
        const TESTS_MAX: i64 = 5000;
        let sql = format!(
            "SELECT {TEST_COLUMNS} FROM tests WHERE image = ?1 AND {OF_STACK}
             ORDER BY finished_ms DESC, rowid DESC LIMIT {TESTS_MAX}"
        );
        self.rows(&sql, params![image, stack], test)
    }

    /// The tests of a run, in the order they were noted.
    pub fn tests_of_run(&self, run: &str) -> Result<Vec<TestRecord>, StoreError> {
        let sql = format!("SELECT {TEST_COLUMNS} FROM tests WHERE run = ?1 ORDER BY rowid");
        self.rows(&sql, params![run], test)
    }

    /// The images of a run, in the order they were noted.
    pub fn images_of_run(&self, run: &str) -> Result<Vec<BuiltImage>, StoreError> {
        let sql = "SELECT run, image, digest, platform, built_ms, is_new
                   FROM images WHERE run = ?1 ORDER BY rowid";
        self.rows(sql, params![run], |row| {
            Ok(BuiltImage {
                run: row.get(0)?,
                image: row.get(1)?,
                digest: row.get(2)?,
                platform: row.get(3)?,
                built_ms: row.get(4)?,
                is_new: row.get(5)?,
            })
        })
    }

    fn insert_all<T>(
        &self,
        sql: &str,
        records: &[T],
        insert: impl Fn(&mut rusqlite::Statement<'_>, &T) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let mut insert_all = || {
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior)?;
            let mut statement = transaction.prepare(sql)?;
            for record in records {
                insert(&mut statement, record)?;
            }
            drop(statement);
            transaction.commit()
        };
        insert_all().map_err(|source| self.failed(source))
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let connection = self.connection();
        let rows = || -> rusqlite::Result<Vec<T>> {
            connection.prepare(sql)?.query_map(values, read)?.collect()
        };
        rows().map_err(|source| self.failed(source))
    }
}

/// Whether a row's run is one of the stack `?2`, or that is not asked.
const OF_STACK: &str = "(?2 IS NULL OR run IN (SELECT run FROM runs WHERE stack = ?2))";

const STEP_COLUMNS: &str =
    "run, image, stage, step, title, key, inputs, outcome, started_ms, duration_ms";

fn step(row: &Row<'_>) -> rusqlite::Result<StepRecord> {
    let inputs: String = row.get(6)?;
    Ok(StepRecord {
        run: row.get(0)?,
        image: row.get(1)?,
        stage: row.get(2)?,
        step: row.get(3)?,
        title: row.get(4)?,
        key: row.get(5)?,
        inputs: serde_json::from_str(&inputs).unwrap_or_default(),
        outcome: row.get(7)?,
        started_ms: row.get(8)?,
        duration_ms: row.get::<_, i64>(9)?.try_into().unwrap_or(0),
    })
}

const TEST_COLUMNS: &str = "run, image, image_digest, test, test_digest, platform, verdict, \
                            detail, finished_ms, duration_ms";

fn test(row: &Row<'_>) -> rusqlite::Result<TestRecord> {
    Ok(TestRecord {
        run: row.get(0)?,
        image: row.get(1)?,
        image_digest: row.get(2)?,
        test: row.get(3)?,
        test_digest: row.get(4)?,
        platform: row.get(5)?,
        verdict: row.get(6)?,
        detail: row.get(7)?,
        finished_ms: row.get(8)?,
        duration_ms: row.get::<_, i64>(9)?.try_into().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fixture, open};

    fn run(name: &str, started_ms: i64) -> RunRecord {
        RunRecord {
            run: name.into(),
            command: "up".into(),
            stack: Some("lab".into()),
            started_ms,
            finished_ms: None,
            outcome: None,
        }
    }

    fn step(run: &str, image: &str, step: u32, started_ms: i64) -> StepRecord {
        StepRecord {
            run: run.into(),
            image: image.into(),
            stage: String::new(),
            step,
            title: format!("RUN {step}"),
            key: Some("00".into()),
            inputs: vec![("command".into(), step.to_string())],
            outcome: "done".into(),
            started_ms,
            duration_ms: 7,
        }
    }

    #[test]
    fn runs_come_newest_first() {
        let (home, store) = fixture();
        let history = store.history().unwrap();
        history.start_run(&run("one", 100)).unwrap();
        history.start_run(&run("two", 200)).unwrap();
        history.finish_run("one", 150, "succeeded").unwrap();
        drop(history);
        drop(store);
        let history = open(home.path()).history().unwrap();
        let runs = history.runs(10, None).unwrap();
        let finished = RunRecord {
            finished_ms: Some(150),
            outcome: Some("succeeded".into()),
            ..run("one", 100)
        };
        assert_eq!(runs, [run("two", 200), finished]);
        assert_eq!(history.runs(1, Some("lab")).unwrap().len(), 1);
        assert_eq!(history.runs(1, Some("other")).unwrap(), []);
    }

    #[test]
    fn last_steps_are_those_of_the_newest_run_with_the_image() {
        let (_home, store) = fixture();
        let history = store.history().unwrap();
        let old = [step("one", "base", 1, 10), step("one", "app", 1, 11)];
        history.record_steps(&old).unwrap();
        let new = [step("two", "base", 1, 20), step("two", "base", 2, 21)];
        history.record_steps(&new).unwrap();
        assert_eq!(history.last_steps("base", None).unwrap(), new);
        assert_eq!(history.last_steps("app", None).unwrap(), old[1..]);
        assert_eq!(history.steps_of_run("one").unwrap(), old);
        assert!(history.last_steps("unknown", None).unwrap().is_empty());
        let of = |name: &str, stack: &str| RunRecord {
            stack: Some(stack.into()),
            ..run(name, 10)
        };
        history.start_run(&of("one", "lab")).unwrap();
        history.start_run(&of("two", "other")).unwrap();
        assert_eq!(history.last_steps("base", Some("lab")).unwrap(), old[..1]);
        assert_eq!(history.last_steps("base", Some("other")).unwrap(), new);
        assert!(history.last_steps("base", Some("none")).unwrap().is_empty());
    }

    #[test]
    fn a_test_is_found_by_all_that_it_depends_on() {
        let (_home, store) = fixture();
        let history = store.history().unwrap();
        let record = |verdict: &str, finished_ms| TestRecord {
            run: "one".into(),
            image: "app".into(),
            image_digest: "i".into(),
            test: "structure".into(),
            test_digest: "t".into(),
            platform: "linux/amd64".into(),
            verdict: verdict.into(),
            detail: String::new(),
            finished_ms,
            duration_ms: 3,
        };
        history
            .record_tests(&[record("failed", 1), record("passed", 2)])
            .unwrap();
        let found = history.find_test("i", "t", "linux/amd64").unwrap();
        assert_eq!(found, Some(record("passed", 2)));
        for (image, test, platform) in [
            ("x", "t", "linux/amd64"),
            ("i", "x", "linux/amd64"),
            ("i", "t", "linux/arm64"),
        ] {
            assert_eq!(history.find_test(image, test, platform).unwrap(), None);
        }
        assert_eq!(history.tests_of_run("one").unwrap().len(), 2);
    }

    #[test]
    fn images_of_a_run() {
        let (_home, store) = fixture();
        let history = store.history().unwrap();
        let image = BuiltImage {
            run: "one".into(),
            image: "app".into(),
            digest: "d".into(),
            platform: "linux/amd64".into(),
            built_ms: 5,
            is_new: true,
        };
        history.record_images(std::slice::from_ref(&image)).unwrap();
        assert_eq!(history.images_of_run("one").unwrap(), [image]);
    }

    #[test]
    fn several_processes_write_at_once() {
        let (_home, store) = fixture();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    // Each has a connection of its own, as a process would.
                    let history = store.history().unwrap();
                    for number in 0..20 {
                        let name = format!("{writer}-{number}");
                        history.start_run(&run(&name, number)).unwrap();
                        history
                            .record_steps(&[step(&name, "base", 1, number)])
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(
            store.history().unwrap().runs(1000, None).unwrap().len(),
            160
        );
    }
}
