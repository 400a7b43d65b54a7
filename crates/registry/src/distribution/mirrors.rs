//! Mirrors that failed: told once, and not asked again where nobody answers there.
//!
//! A mirror that fails stops nobody, for the registry itself is asked next. But each request to one
//! that is dead costs the patience of a connection, and whoever set it up wants to know.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::RegistryError;

/// What was wrong with mirrors, by their hosts.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    known: Mutex<BTreeMap<String, Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    text: String,
    is_dead: bool,
    is_told: bool,
}

impl Troubles {
    /// Takes note of a failure; that a mirror does not have something is none.
    pub(super) fn note(&self, mirror: &str, error: &RegistryError) {
        if error.is_cancelled() || error.is_missing() {
            return;
        }
        let is_dead = error.is_unreachable();
        let mut known = self.lock();
        let trouble = known.entry(mirror.to_owned()).or_insert_with(|| Trouble {
            text: format!("the mirror {mirror} failed: {}", error.in_full()),
            is_dead,
            is_told: false,
        });
        trouble.is_dead |= is_dead;
    }

    /// Whether nobody answered there.
    pub(super) fn is_dead(&self, mirror: &str) -> bool {
        self.lock().get(mirror).is_some_and(|it| it.is_dead)
    }

    /// What is known of these mirrors.
    pub(super) fn of<'m>(&self, mirrors: impl Iterator<Item = &'m str>) -> Vec<String> {
        let known = self.lock();
        let found = mirrors.filter_map(|mirror| known.get(mirror));
        found.map(|trouble| trouble.text.clone()).collect()
    }

    /// What nobody was told yet.
    pub(super) fn untold(&self) -> Vec<String> {
        let mut known = self.lock();
        let untold = known.values_mut().filter(|trouble| !trouble.is_told);
        let told = untold.map(|trouble| {
            trouble.is_told = true;
            trouble.text.clone()
        });
        told.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
