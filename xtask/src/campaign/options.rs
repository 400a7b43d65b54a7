//! The command line of a campaign.

use std::path::PathBuf;

use crate::error::ChoreError;

const USAGE: &str = "\
usage: cargo xtask campaign <name> [OPTION...]

  publish-faults   publish through proxies that fail, lie and stall: complete or untouched
  publish-kills    kill publish, promote, rollback and gc anywhere: the next run ends them
  promote          promote and roll back, with and without local state: time and traffic

  --rounds N       how often (default: 200; promote: 10)
  --seed N         where randomness begins (default: 1)
  --cairn FILE     the program (default: build it with --release)
  --verbose        a line for each round
";

/// Which campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Registries fail.
    Faults,
    /// The program is killed.
    Kills,
    /// Nothing goes wrong.
    Promote,
}

/// What to do.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Which campaign.
    pub(super) kind: Kind,
    /// How often.
    pub(super) rounds: u64,
    /// Where randomness begins.
    pub(super) seed: u64,
    /// The program, when it exists already.
    pub(super) cairn: Option<PathBuf>,
    /// How many images.
    pub(super) images: usize,
    /// The bytes of each image's one file.
    pub(super) word: usize,
    /// A line for each round.
    pub(super) is_verbose: bool,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Print this and stop.
    Help(String),
    /// Go.
    Run(Options),
}

/// Reads the arguments.
pub(super) fn parse(arguments: &[String]) -> Result<Parsed, ChoreError> {
    let wrong = |message: String| ChoreError::Usage(format!("{message}\n\n{USAGE}"));
    let mut words = arguments.iter();
    let kind = match words.next().map(String::as_str) {
        Some("publish-faults") => Kind::Faults,
        Some("publish-kills") => Kind::Kills,
        Some("promote") => Kind::Promote,
        None | Some("--help" | "-h") => return Ok(Parsed::Help(USAGE.to_owned())),
        Some(other) => return Err(wrong(format!("there is no campaign `{other}`"))),
    };
    let mut options = Options {
        kind,
        rounds: if kind == Kind::Promote { 10 } else { 200 },
        seed: 1,
        cairn: None,
        images: 10,
        word: 96 << 10,
        is_verbose: false,
    };
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| wrong(format!("{word} needs a value")))
        };
        let number = |value: &String| {
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| wrong(format!("{word} {value}: not a number")))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(Parsed::Help(USAGE.to_owned())),
            "--rounds" => options.rounds = number(value()?)?.max(1),
            "--seed" => options.seed = number(value()?)?,
            "--cairn" => options.cairn = Some(PathBuf::from(value()?)),
            "--verbose" => options.is_verbose = true,
            other => return Err(wrong(format!("there is no option `{other}`"))),
        }
    }
    Ok(Parsed::Run(options))
}
