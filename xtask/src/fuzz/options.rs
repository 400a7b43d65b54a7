//! The command line of the fuzzer.

use crate::error::ChoreError;

/// What to search, and how long.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    /// The targets, in order.
    pub(super) targets: Vec<String>,
    /// For how long each; 0 runs the seeds and what is kept, and stops.
    pub(super) seconds: u64,
}

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    /// Print this and stop.
    Help(String),
    /// Search.
    Run(Options),
}

/// Reads the arguments; `known` are the targets that exist.
pub(super) fn parse(arguments: &[String], known: &[String]) -> Result<Parsed, ChoreError> {
    let mut options = Options {
        targets: Vec::new(),
        seconds: 60,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(Parsed::Help(usage(known))),
            "--seconds" => {
                let value = words.next().and_then(|value| value.parse().ok());
                options.seconds =
                    value.ok_or_else(|| wrong("--seconds needs a whole number", known))?;
            }
            "all" => options.targets.extend_from_slice(known),
            name if known.iter().any(|target| target == name) => {
                options.targets.push(name.to_owned());
            }
            other => return Err(wrong(&format!("there is no target `{other}`"), known)),
        }
    }
    if options.targets.is_empty() {
        return Err(wrong("name a target", known));
    }
    Ok(Parsed::Run(options))
}

fn wrong(what: &str, known: &[String]) -> ChoreError {
    ChoreError::Usage(format!("{what}\n\n{}", usage(known)))
}

fn usage(known: &[String]) -> String {
    format!(
        "usage: cargo xtask fuzz [--seconds N] TARGET...

  --seconds N   how long to search each target (default: 60); 0 runs what is known only

targets, or `all`: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Parsed, ChoreError> {
        let owned = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        parse(&owned(arguments), &owned(&["oci", "shell"]))
    }

    #[test]
    fn targets_and_time_are_read() {
        let run = |targets: &[&str], seconds| {
            Parsed::Run(Options {
                targets: targets.iter().map(|name| (*name).to_owned()).collect(),
                seconds,
            })
        };
        assert_eq!(parsed(&["oci"]).unwrap(), run(&["oci"], 60));
        assert_eq!(
            parsed(&["--seconds", "5", "all"]).unwrap(),
            run(&["oci", "shell"], 5)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_the_targets() {
        for bad in [
            &[][..],
            &["cli"],
            &["oci", "--seconds"],
            &["--seconds", "x", "oci"],
        ] {
            let error = parsed(bad).unwrap_err().to_string();
            assert!(error.contains("oci, shell"), "{error}");
        }
    }
}
