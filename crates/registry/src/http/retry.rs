//! When to try again, and how long to wait first.
//!
//! The policy is a value and the waiting is computed purely, so that both can be tested without a
//! clock. Waits grow exponentially with full jitter: many workers that lost the same mirror must
//! not come back in step.

use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use super::error::FetchProblem;

/// How often a waiting request looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How often, how long and how patiently a download is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is sent at most before the download fails. Progress resets the
    /// count: a connection that breaks every megabyte still finishes.
    pub attempts: u32,
    /// The same for a server that cannot be connected to: who has no network is to hear it soon.
    pub connect_attempts: u32,
    /// The first wait; each further one may be twice as long.
    pub first_wait: Duration,
    /// No wait is longer, whatever the server asks for.
    pub longest_wait: Duration,
    /// All waits of one download together.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 6,
            connect_attempts: 3,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
            budget: Duration::from_secs(120),
        }
    }
}

/// The waits of one download.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    policy: &'a RetryPolicy,
    failures: u32,
    waited: Duration,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy) -> Backoff<'a> {
        Backoff {
            policy,
            failures: 0,
            waited: Duration::ZERO,
        }
    }

    /// Forgets earlier failures, but not the time spent waiting.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns how long to wait before the next attempt, or `None` when the
    /// patience is used up. `asked` is the server's `Retry-After`; `random` is any number.
    pub(crate) fn next_wait(&mut self, asked: Option<Duration>, random: u64) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.policy.attempts {
            return None;
        }
        let doubled = self
            .policy
            .first_wait
            .saturating_mul(1 << (self.failures - 1).min(16));
        let ceiling = doubled.min(self.policy.longest_wait);
        let jittered = ceiling / 2 + ceiling.mul_f64((random % 1024) as f64 / 2048.0);
        let wait = match asked {
            Some(asked) if asked > self.policy.longest_wait => return None,
            Some(asked) => asked.max(jittered),
            None => jittered,
        };
        if self.waited + wait > self.policy.budget {
            return None;
        }
        self.waited += wait;
        Some(wait)
    }
}

/// One request that did not bring what it should.
pub(crate) struct Failed {
    pub(crate) problem: FetchProblem,
    /// Whether bytes arrived nevertheless.
    pub(crate) has_progressed: bool,
}

impl From<FetchProblem> for Failed {
    fn from(problem: FetchProblem) -> Failed {
        Failed {
            problem,
            has_progressed: false,
        }
    }
}

/// Sends a request until it succeeds, fails for good, or the patience is used up.
///
/// The error is the last problem, with the number of requests that failed in a row.
pub(crate) fn persist<T>(
    policy: &RetryPolicy,
    is_stopped: &dyn Fn() -> bool,
    mut attempt: impl FnMut() -> Result<T, Failed>,
) -> Result<T, (FetchProblem, u32)> {
    let mut backoff = Backoff::new(policy);
    loop {
        let failed = match attempt() {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        if failed.has_progressed {
            backoff.progressed();
        }
        if !failed.problem.is_transient() {
            return Err((failed.problem, backoff.attempts() + 1));
        }
        let asked = match &failed.problem {
            FetchProblem::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let is_unreachable = match &failed.problem {
            FetchProblem::Connection(source) => source.is_connect(),
            FetchProblem::UnknownHost { .. } => true,
            _ => false,
        };
        if is_unreachable && backoff.attempts() + 1 >= policy.connect_attempts {
            return Err((failed.problem, backoff.attempts() + 1));
        }
        match backoff.next_wait(asked, jitter()) {
            Some(wait) if was_stopped_during(wait, is_stopped) => {
                return Err((FetchProblem::Cancelled, backoff.attempts()));
            }
            Some(_) => {}
            None => return Err((failed.problem, backoff.attempts())),
        }
    }
}

/// Waits, and says whether the caller asked to stop meanwhile.
pub(crate) fn was_stopped_during(wait: Duration, is_stopped: &dyn Fn() -> bool) -> bool {
    let end = Instant::now() + wait;
    loop {
        if is_stopped() {
            return true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(CANCEL_POLL));
    }
}

/// A number to spread waits with; it needs no quality, so the standard library's hash seed serves.
pub(crate) fn jitter() -> u64 {
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// Reads a `Retry-After` value: seconds, or a date against `now` (seconds since the epoch).
pub(crate) fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value)
        .ok()?
        .timestamp()
        .as_second();
    Some(Duration::from_secs(u64::try_from(date - now).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 4,
            connect_attempts: 2,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(2),
            budget: Duration::from_secs(5),
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let policy = policy();
        let mut backoff = Backoff::new(&policy);
        let waits: Vec<_> = (0..4).map(|_| backoff.next_wait(None, 1023)).collect();
        assert!(waits[0].unwrap() < waits[1].unwrap() && waits[1].unwrap() < waits[2].unwrap());
        assert_eq!(waits[3], None);
    }

    #[test]
    fn progress_gives_new_attempts_but_no_new_budget() {
        let policy = policy();
        let mut backoff = Backoff::new(&policy);
        let mut total = Duration::ZERO;
        while let Some(wait) = backoff.next_wait(Some(Duration::from_secs(1)), 0) {
            total += wait;
            backoff.progressed();
        }
        assert_eq!(total, Duration::from_secs(5));
    }

    #[test]
    fn a_server_that_asks_for_too_much_is_given_up() {
        let policy = policy();
        assert_eq!(
            Backoff::new(&policy).next_wait(Some(Duration::from_secs(3600)), 0),
            None
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("7", 0), Some(Duration::from_secs(7)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(
            retry_after(date, 1_445_412_470),
            Some(Duration::from_secs(10))
        );
        assert_eq!(retry_after(date, 1_945_412_470), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
    }
}
