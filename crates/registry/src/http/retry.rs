//! When to try again, and how long to wait first.
//!
//! The policy is a value and the waiting is computed purely, so that both can be tested without a
//! clock. Waits grow exponentially with full jitter: many workers that lost the same mirror must
//! not come back in step.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// How often, how long and how patiently a download is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is sent at most before the download fails. Progress resets the
    /// count: a connection that breaks every megabyte still finishes.
    pub attempts: u32,
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
