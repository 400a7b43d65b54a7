//! What is known of an image and a test: kept in the store, by the content of both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_build::image::ImageRecord;
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, Store, StoreError};

use super::outcome::{FileCheck, TestOutcome};

/// Changes when an equal test would be judged differently.
const FORMAT: &str = "2";
/// What is kept of a test that passed, and what of one that was skipped goes before its reason.
const PASSED: &str = "passed";
const SKIPPED: &str = "skipped: ";

/// The pair that evidence is about.
pub(super) struct Evidence {
    image: ContentDigest,
    test: ContentDigest,
}

impl Evidence {
    pub(super) fn new(record: &ImageRecord, test: ContentDigest) -> Self {
        Self {
            image: record.content(),
            test,
        }
    }

    pub(super) fn key(&self) -> CacheKey {
        let mut hasher = KeyHasher::new("cairn evidence");
        hasher.field("format", FORMAT.as_bytes());
        hasher.field("image", self.image.as_bytes());
        hasher.field("test", self.test.as_bytes());
        hasher.finish_key()
    }

    pub(super) fn keep(
        &self,
        store: &Store,
        check: &FileCheck,
        elapsed: Duration,
    ) -> Result<(), StoreError> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let verdict = |test: &TestOutcome| match test.skipped {
            true => format!("{SKIPPED}{}", test.detail),
            false => PASSED.to_owned(),
        };
        store.put_record(&CacheRecord {
            key: self.key(),
            snapshot: None,
            content: self.image,
            created: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            cost_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            description: format!("tests of {}", check.file),
            inputs: check
                .tests
                .iter()
                .map(|test| (test.test.clone(), verdict(test)))
                .collect(),
        })
    }
}

/// The tests that are known to have passed.
pub(super) fn find(store: &Store, key: &CacheKey) -> Option<Vec<TestOutcome>> {
    let record = store.get_record(key)?;
    let tests = record.inputs.into_iter().map(|(test, verdict)| {
        let reason = verdict.strip_prefix(SKIPPED);
        TestOutcome {
            test,
            passed: true,
            skipped: reason.is_some(),
            detail: reason.unwrap_or_default().to_owned(),
            seconds: 0.0,
        }
    });
    Some(tests.collect())
}
