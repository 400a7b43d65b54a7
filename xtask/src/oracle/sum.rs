//! What a campaign came to.

use std::collections::BTreeMap;

use serde_json::Value;

/// So many disagreements are shown.
const SHOWN_MAX: usize = 20;

/// What a campaign came to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) changes: usize,
    /// What was said of an image for a platform.
    pub(super) decisions: usize,
    /// Of these, `maybe`: decided by `--settle` alone.
    pub(super) open: usize,
    /// Of these, `build` where the steps that had to run made what they made before.
    pub(super) same: usize,
    by_kind: BTreeMap<&'static str, usize>,
    disagreements: Vec<String>,
    unnamed: Vec<String>,
}

impl Sum {
    /// Counts a change.
    pub(super) fn count(&mut self, kind: &'static str) {
        *self.by_kind.entry(kind).or_default() += 1;
        self.changes += 1;
    }

    /// A decision is wrong.
    pub(super) fn disagree(&mut self, what: &str, image: &Value, told: &str) {
        let told = format!("{what}: {}: {told}\n  {image}", image["image"]);
        self.disagreements.push(told);
    }

    /// A cause is not the one.
    pub(super) fn unnamed(&mut self, what: &str, image: &Value, causes: &str) {
        let image = &image["image"];
        let told = format!("{what}: {image}: the cause does not name the change: {causes}");
        self.unnamed.push(told);
    }

    /// Whether every decision and every cause was right.
    pub(super) fn is_right(&self) -> bool {
        self.disagreements.is_empty() && self.unnamed.is_empty()
    }

    pub(super) fn in_words(&self) -> String {
        let kinds: Vec<String> = self
            .by_kind
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let known = self.decisions - self.open;
        let mut text = format!(
            "{} changes ({})\n{} decisions: {known} at once, {} after `--settle`; {} of them wrong, {} causes not named\n\
             {} times steps had to run and made what was there before",
            self.changes,
            kinds.join(", "),
            self.decisions,
            self.open,
            self.disagreements.len(),
            self.unnamed.len(),
            self.same,
        );
        let all = self.disagreements.iter().chain(&self.unnamed);
        for told in all.take(SHOWN_MAX) {
            text.push_str(&format!("\n- {told}"));
        }
        text
    }
}
