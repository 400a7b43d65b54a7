//! Which tags and generations stay: pure, from what the ledger says.

use std::collections::{BTreeMap, BTreeSet};

use super::super::generation::LogEntry;

const DAY: i64 = 24 * 60 * 60;

/// What stays, and how long removals are announced.
pub struct Rules {
    /// Tags that stay whatever their age.
    pub names: Box<dyn Fn(&str) -> bool + Sync>,
    /// So many generations of each tag that stays.
    pub generations: u32,
    /// What was published in so many days.
    pub days: u32,
    /// How many days lie between announcing and removing.
    pub delay_days: u32,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("generations", &self.generations)
            .field("days", &self.days)
            .field("delay_days", &self.delay_days)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// How long removals are announced, in seconds.
    pub(super) fn delay(&self) -> i64 {
        i64::from(self.delay_days) * DAY
    }

    /// How long removals of what somebody may still join are announced, in seconds.
    pub(super) fn patience(&self) -> i64 {
        self.delay().max(i64::from(self.days) * DAY)
    }
}

/// What stays, by the ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Generations.
    pub(super) generations: BTreeSet<String>,
    /// Tags that do not stay.
    pub(super) gone: BTreeSet<String>,
}

/// Decides by all entries of a ledger.
pub(super) fn kept(entries: &[&LogEntry], rules: &Rules, now: i64) -> Kept {
    let since = now - i64::from(rules.days) * DAY;
    let mut logs: BTreeMap<&str, Vec<&LogEntry>> = BTreeMap::new();
    for entry in entries {
        logs.entry(&entry.tag).or_default().push(entry);
    }
    let mut kept = Kept::default();
    for (tag, mut log) in logs {
        log.sort_by_key(|entry| std::cmp::Reverse(entry.order()));
        let is_young = |entry: &LogEntry| entry.time > since;
        if !(rules.names)(tag) && !log.iter().any(|entry| is_young(entry)) {
            kept.gone.insert(tag.to_owned());
            continue;
        }
        let mut newest: BTreeSet<&str> = BTreeSet::new();
        for entry in log {
            let is_new = !newest.contains(entry.generation.as_str());
            let has_room = newest.len() < rules.generations as usize;
            // The first one is what the tag means now.
            if is_new && (has_room || is_young(entry)) {
                newest.insert(&entry.generation);
            }
        }
        kept.generations
            .extend(newest.into_iter().map(str::to_owned));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::super::generation::Action;
    use super::*;

    fn entry(tag: &str, number: u32, generation: &str, day: i64) -> LogEntry {
        LogEntry {
            tag: tag.to_owned(),
            number,
            generation: generation.to_owned(),
            action: Action::Publish,
            time: day * DAY,
            from: None,
            commit: None,
            registries: Vec::new(),
            images: BTreeMap::new(),
        }
    }

    fn check(entries: &[LogEntry], generations: &[&str], gone: &[&str]) {
        let rules = Rules {
            names: Box::new(|tag| tag == "stable" || tag == "main"),
            generations: 2,
            days: 10,
            delay_days: 1,
        };
        let entries: Vec<&LogEntry> = entries.iter().collect();
        let kept = kept(&entries, &rules, 100 * DAY);
        let texts = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(texts(&kept.generations), generations);
        assert_eq!(texts(&kept.gone), gone);
    }

    #[test]
    fn tags_stay_by_name_or_age_and_generations_by_number_or_age() {
        let main = [
            entry("main", 1, "a", 1),
            entry("main", 2, "b", 2),
            entry("main", 3, "c", 3),
        ];
        check(&main, &["b", "c"], &[]);
        // A promoted generation is needed by its tag, however old it is.
        let promoted = [&main[..], &[entry("stable", 1, "a", 1)]].concat();
        check(&promoted, &["a", "b", "c"], &[]);
        // After a rollback the newest ones are those that it meant last.
        let back = [&main[..], &[entry("main", 4, "a", 4)]].concat();
        check(&back, &["a", "c"], &[]);
        let branches = [
            entry("topic", 1, "x", 1),
            entry("topic", 2, "y", 2),
            entry("young", 1, "z", 95),
        ];
        check(&branches, &["z"], &["topic"]);
        let young = [
            entry("topic", 1, "x", 92),
            entry("topic", 2, "y", 93),
            entry("topic", 3, "z", 94),
        ];
        check(&young, &["x", "y", "z"], &[]);
        check(&[], &[], &[]);
    }
}
