//! Retention: what stays in registries when `cairn registry gc` comes.

use crate::promote::Pattern;
use crate::stack::Stack;

/// What stays. A tag stays for which anything here speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Tags that stay.
    pub keep: Vec<Pattern>,
    /// So many generations of each tag that stays, the newest ones.
    pub generations: u32,
    /// What was published in so many days.
    pub days: u32,
    /// Whether the tags of branches and git tags that are there stay.
    pub branches: bool,
    /// How long something is announced before it is removed.
    pub delay_days: u32,
    /// For how many days nobody may have used what stays in caches.
    pub cache_days: Option<u32>,
    /// How much each cache may have.
    pub cache_gigabytes: Option<u32>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: Vec::new(),
            generations: 3,
            days: 30,
            branches: true,
            delay_days: 7,
            cache_days: None,
            cache_gigabytes: None,
        }
    }
}

impl Retention {
    /// Whether a tag stays whatever its age: the spec names it, or it is given by promotion.
    pub fn names(&self, stack: &Stack, tag: &str) -> bool {
        let is_promoted = || stack.promote.iter().any(|rule| rule.to.fits(tag));
        // Even without a rule: see the rules of tags.
        let is_stable = tag == "stable" || tag.ends_with("-stable");
        is_stable || self.keep.iter().any(|pattern| pattern.fits(tag)) || is_promoted()
    }
}
