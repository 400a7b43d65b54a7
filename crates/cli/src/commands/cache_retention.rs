//! What `cairn registry gc` does with caches: those that the spec names, by `cache-days` and
//! `cache-gigabytes` of `[retention]`.

use std::collections::BTreeSet;

use cairn_build::cache::trim::{TrimRule, Trimmed, trim};
use cairn_oci::Reference;
use cairn_registry::RegistryError;
use cairn_spec::Stack;
use cairn_spec::retention::Retention;
use cairn_stack::publish::Means;
use serde::Serialize;

use crate::error::CommandError;
use crate::progress::count;
use crate::quantity;
use crate::session::Session;

const DAY: i64 = 24 * 60 * 60;
const GIGABYTE: u64 = 1_000_000_000;

/// What is done with one cache, as JSON.
#[derive(Debug, Serialize)]
pub struct CacheReport {
    cache: String,
    dry_run: bool,
    /// How many results stay.
    results: usize,
    /// How many go.
    dropped: usize,
    /// What the registry can free, at most.
    bytes: u64,
}

impl CacheReport {
    /// A line for a cache that is changed.
    pub fn line(&self) -> Option<String> {
        let verb = match (self.dry_run, self.results) {
            (true, 0) => "would remove",
            (false, 0) => "removed",
            (true, _) => "would trim",
            (false, _) => "trimmed",
        };
        (self.dropped > 0).then(|| format!("{verb} {}\n", self.cache))
    }

    fn tell(&self, session: &Session) {
        let would = if self.dry_run { "would go" } else { "went" };
        session.printer.note(&match self.dropped {
            0 => format!(
                "the cache {} keeps its {}",
                self.cache,
                count(self.results, "result")
            ),
            number => format!(
                "the cache {}: {} of {} {would} ({} at most)",
                self.cache,
                number,
                count(self.results + number, "result"),
                quantity::bytes(self.bytes)
            ),
        });
    }
}

/// Trims every cache in the repositories that `build.cache-from` names, whatever its tag: branches
/// have tags of their own.
pub fn trim_caches(
    session: &Session,
    means: Means<'_>,
    stack: &Stack,
    retention: &Retention,
    is_dry: bool,
) -> Result<Vec<CacheReport>, CommandError> {
    let rule = TrimRule {
        used_since: retention
            .cache_days
            .map(|days| means.now - i64::from(days) * DAY),
        bytes: retention
            .cache_gigabytes
            .map(|gigabytes| u64::from(gigabytes) * GIGABYTE),
    };
    if rule == TrimRule::default() {
        return Ok(Vec::new());
    }
    let named = stack.build.cache_from.iter().map(Reference::without_tag);
    let repositories: BTreeSet<String> = named.map(|it| it.name()).collect();
    let mut reports = Vec::new();
    for repository in repositories {
        for (cache, trimmed) in of_repository(means, &repository, rule, is_dry)? {
            let report = CacheReport {
                cache,
                dry_run: is_dry,
                results: trimmed.results,
                dropped: trimmed.dropped,
                bytes: trimmed.freed,
            };
            report.tell(session);
            reports.push(report);
        }
    }
    Ok(reports)
}

/// The caches of a repository; images beside them are left alone.
fn of_repository(
    means: Means<'_>,
    repository: &str,
    rule: TrimRule,
    is_dry: bool,
) -> Result<Vec<(String, Trimmed)>, RegistryError> {
    let Ok(repository) = repository.parse::<Reference>() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for tag in means.client.tags(&repository, means.watch)? {
        let Ok(reference) = repository.with_tag(&tag) else {
            continue;
        };
        let (store, client) = (means.store, means.client);
        if let Some(trimmed) = trim(store, client, &reference, rule, is_dry, means.watch)? {
            found.push((reference.familiar(), trimmed));
        }
    }
    Ok(found)
}
