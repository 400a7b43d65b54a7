//! `STOPSIGNAL`: which words are signals.

/// A word that is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(pub String);

const NAMES: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Checks a word as BuildKit does: any number but 0, or a Linux signal's name in any case, with
/// or without `SIG`. The word itself is what the image's config gets.
pub fn check(word: &str) -> Result<(), SignalError> {
    let is_signal = match word.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => {
            let upper = word.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            NAMES.contains(&name) || is_realtime(name)
        }
    };
    if is_signal {
        return Ok(());
    }
    Err(SignalError(word.to_owned()))
}

/// `RTMIN`, `RTMIN+1` to `RTMIN+15`, `RTMAX-14` to `RTMAX-1`, `RTMAX`.
fn is_realtime(name: &str) -> bool {
    let within = |offset: &str, sign: char, max: u8| {
        offset.is_empty()
            || offset
                .strip_prefix(sign)
                .and_then(|offset| offset.parse::<u8>().ok())
                .is_some_and(|offset| (1..=max).contains(&offset))
    };
    name.strip_prefix("RTMIN")
        .is_some_and(|rest| within(rest, '+', 15))
        || name
            .strip_prefix("RTMAX")
            .is_some_and(|rest| within(rest, '-', 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_signals() {
        for word in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "sigkill"] {
            assert_eq!(check(word), Ok(()), "{word}");
        }
        for word in ["", "0", "SIGFOO", "RTMIN+16", "RTMAX+1", "SIG"] {
            assert!(check(word).is_err(), "{word}");
        }
    }
}
