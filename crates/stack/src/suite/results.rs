//! What the launcher writes down, read while it is being written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_build::event::Verdict;
use serde::Deserialize;

use super::TestRun;

/// The program that runs pytest.
pub(super) const LAUNCHER: &str = include_str!("launcher.py");
/// There is no pytest, and none was brought along.
const ABSENT: &str = "absent";
/// pytest's code for "no tests collected".
const NO_TESTS: i64 = 5;

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Test {
        test: String,
        verdict: Word,
        detail: String,
        seconds: f64,
    },
    Begin {
        begin: String,
    },
    End {
        end: i64,
    },
    Problem {
        problem: String,
        version: String,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Passed,
    Failed,
    Skipped,
}

/// The results of a suite, as far as they are known.
#[derive(Debug)]
pub(super) struct Results {
    path: PathBuf,
    read: u64,
    rest: Vec<u8>,
    /// The tests that are over.
    pub(super) tests: Vec<TestRun>,
    /// The test that runs.
    pub(super) running: Option<String>,
    /// pytest's own code.
    pub(super) end: Option<i64>,
    problem: Option<String>,
}

impl Results {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: 0,
            rest: Vec::new(),
            tests: Vec::new(),
            running: None,
            end: None,
            problem: None,
        }
    }

    /// Reads what is new; `tell` hears of each test.
    pub(super) fn poll(&mut self, tell: &dyn Fn(&TestRun)) {
        let mut new = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut new)
        });
        let Ok(count) = read else { return };
        self.read += count as u64;
        self.rest.append(&mut new);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(&line, tell);
        }
    }

    /// What the image may write is not trusted to be what the launcher writes.
    fn line(&mut self, line: &[u8], tell: &dyn Fn(&TestRun)) {
        match serde_json::from_slice(line) {
            Ok(Line::Test {
                test,
                verdict,
                detail,
                seconds,
            }) => {
                let run = TestRun {
                    test,
                    verdict: match verdict {
                        Word::Passed => Verdict::Passed,
                        Word::Failed => Verdict::Failed,
                        Word::Skipped => Verdict::Skipped,
                    },
                    detail: detail.trim_end().to_owned(),
                    elapsed: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                };
                tell(&run);
                self.running = None;
                self.tests.push(run);
            }
            Ok(Line::Begin { begin }) => self.running = Some(begin),
            Ok(Line::End { end }) => self.end = Some(end),
            Ok(Line::Problem { problem, version }) => {
                self.problem = Some(match problem.as_str() {
                    ABSENT => ABSENT.to_owned(),
                    "python" => format!(
                        "Python {version} is too old for the pytest that Cairn brings, which needs \
                         3.8: install pytest in the image, or write the suite as a `command`"
                    ),
                    _ => format!("pytest cannot be imported: {version}"),
                });
            }
            Err(_) => {}
        }
    }

    /// Whether there was no pytest, and none had been fetched.
    pub(super) fn wants_pytest(&self) -> bool {
        self.problem.as_deref() == Some(ABSENT)
    }

    /// What is wrong with the suite as a whole, and what to say of one that is well.
    pub(super) fn judged(&self, exit: &str, tail: &str) -> Result<Option<String>, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let with_tail = |text: String| match tail {
            "" => text,
            tail => format!("{text}\n{tail}"),
        };
        match self.end {
            Some(0 | 1) => Ok(None),
            Some(NO_TESTS) => Ok(Some("no tests collected".to_owned())),
            // Of several files that cannot be collected each is told.
            Some(_) if self.tests.iter().any(|it| it.verdict == Verdict::Failed) => Ok(None),
            Some(end) => Err(with_tail(format!("pytest ended with code {end}"))),
            None => {
                let during = self.running.as_ref();
                let during = during.map_or(String::new(), |test| format!(" during {test}"));
                Err(with_tail(format!("{exit}{during}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(text: &str) -> Results {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        std::fs::write(&path, text).unwrap();
        let mut results = Results::new(&path);
        results.poll(&|_| {});
        results
    }

    #[test]
    fn lines_are_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let text = "{\"begin\": \"a\"}\n{\"test\": \"a\", \"verdict\": \"passed\", \"detail\": \"\", \"seconds\": 0.5}\n";
        let mut results = Results::new(&path);
        for cut in 0..=text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            results.poll(&|_| {});
        }
        assert_eq!(results.tests.len(), 1);
        assert_eq!(results.tests[0].elapsed, Duration::from_millis(500));
    }

    /// DH-60: no tests collected is a pass, and it is said.
    #[test]
    fn ends_are_judged() {
        let judged = |text: &str| results(text).judged("it was killed", "last words");
        assert_eq!(judged("{\"end\": 0}\n"), Ok(None));
        assert_eq!(judged("{\"end\": 1}\n"), Ok(None));
        assert_eq!(
            judged("{\"end\": 5}\n"),
            Ok(Some("no tests collected".into()))
        );
        let usage = judged("{\"end\": 4}\n").unwrap_err();
        assert_eq!(usage, "pytest ended with code 4\nlast words");
        let killed = judged("{\"begin\": \"t.py::x\"}\nnonsense\n").unwrap_err();
        assert_eq!(killed, "it was killed during t.py::x\nlast words");
        let old = judged("{\"problem\": \"python\", \"version\": \"3.6\"}\n").unwrap_err();
        assert!(old.contains("Python 3.6 is too old"), "{old}");
    }
}
