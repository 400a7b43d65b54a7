//! The command line of the benchmark.

use std::path::PathBuf;

use super::scenarios::ROWS;
use crate::error::ChoreError;

const USAGE: &str = "\
usage: cargo xtask bench [OPTION...]

  --rows NAME,...    only these rows (default: all)
  --peers NAME,...   only these peers; `none` for Cairn alone (default: those installed)
  --runs N           rounds, of which the median is reported (default: 3)
  --scale FACTOR     size of the large inputs (default: 1)
  --dir DIR          where inputs and stores live (default: /var/tmp; must not be an overlay)
  --loop-ext4        make and mount a fresh ext4 file system in DIR (root only)
  --cairn FILE       the program to measure (default: build it with --release)
  --json             print JSON instead of a table
";

/// What to measure, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    /// The rows, by name.
    pub(super) rows: Vec<String>,
    /// The peers, by name; `None` for all that are installed.
    pub(super) peers: Option<Vec<String>>,
    /// Rounds.
    pub(super) runs: usize,
    /// Factor on the sizes of the large inputs.
    pub(super) scale: f64,
    /// The folder to work in.
    pub(super) dir: PathBuf,
    /// Whether to work on a fresh file system inside it.
    pub(super) loop_ext4: bool,
    /// The program to measure, when it exists already.
    pub(super) cairn: Option<PathBuf>,
    /// Whether to print JSON.
    pub(super) json: bool,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Print this and stop.
    Help(String),
    /// Measure.
    Run(Options),
}

/// Reads the arguments.
pub(super) fn parse(arguments: &[String]) -> Result<Parsed, ChoreError> {
    let mut options = Options {
        rows: ROWS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        peers: None,
        runs: 3,
        scale: 1.0,
        dir: PathBuf::from("/var/tmp"),
        loop_ext4: false,
        cairn: None,
        json: false,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| wrong(&format!("{word} needs a value")))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(Parsed::Help(help())),
            "--rows" => options.rows = rows(value()?)?,
            "--peers" => options.peers = Some(peers(value()?)),
            "--runs" => options.runs = number(word, value()?)?,
            "--scale" => options.scale = number(word, value()?)?,
            "--dir" => options.dir = PathBuf::from(value()?),
            "--cairn" => options.cairn = Some(PathBuf::from(value()?)),
            "--loop-ext4" => options.loop_ext4 = true,
            "--json" => options.json = true,
            other => return Err(wrong(&format!("there is no option `{other}`"))),
        }
    }
    if options.runs == 0 || options.scale <= 0.0 {
        return Err(wrong("--runs and --scale are positive"));
    }
    Ok(Parsed::Run(options))
}

fn help() -> String {
    let rows: String = ROWS
        .iter()
        .map(|(name, what)| format!("  {name:<16} {what}\n"))
        .collect();
    format!("{USAGE}\nrows:\n{rows}")
}

fn wrong(message: &str) -> ChoreError {
    ChoreError::Usage(format!("{message}\n\n{}", help()))
}

fn rows(list: &str) -> Result<Vec<String>, ChoreError> {
    let names: Vec<String> = list.split(',').map(str::to_owned).collect();
    for name in &names {
        if !ROWS.iter().any(|(row, _)| row == name) {
            return Err(wrong(&format!("there is no row `{name}`")));
        }
    }
    Ok(names)
}

fn peers(list: &str) -> Vec<String> {
    match list {
        "none" => Vec::new(),
        list => list.split(',').map(str::to_owned).collect(),
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, ChoreError> {
    value
        .parse()
        .map_err(|_| wrong(&format!("{option} {value}: not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, ChoreError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match parse(&words)? {
            Parsed::Run(options) => Ok(options),
            Parsed::Help(text) => Err(ChoreError::Usage(text)),
        }
    }

    #[test]
    fn options_are_read() {
        let options = parsed(&["--rows", "stack-cold,start", "--runs", "5", "--json"]);
        let options = options.expect("options");
        assert_eq!(options.rows, ["stack-cold", "start"]);
        assert_eq!((options.runs, options.json), (5, true));
        assert_eq!(
            parsed(&["--peers", "none"]).expect("options").peers,
            Some(vec![])
        );
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        for words in [
            &["--rows", "speed"][..],
            &["--runs", "many"],
            &["--runs"],
            &["--runs", "0"],
            &["--fast"],
        ] {
            let error = parsed(words).expect_err("no such option");
            assert!(error.to_string().contains("usage: cargo xtask bench"));
        }
    }
}
