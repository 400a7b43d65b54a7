//! The tables, and how older ones become these.
//!
//! `PRAGMA user_version` holds the version. A version is never changed: a new one is added at the
//! end of [`STEPS`], and an older database runs the steps it lacks. A newer database than this
//! code knows is left alone.

use rusqlite::{Connection, TransactionBehavior};

const STEPS: [&str; 2] = [
    "
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        command TEXT NOT NULL,
        stack TEXT,
        started_ms INTEGER NOT NULL,
        finished_ms INTEGER,
        outcome TEXT
    ) STRICT;
    CREATE INDEX runs_by_start ON runs (started_ms);

    CREATE TABLE steps (
        run TEXT NOT NULL,
        image TEXT NOT NULL,
        stage TEXT NOT NULL,
        step INTEGER NOT NULL,
        title TEXT NOT NULL,
        key TEXT,
        inputs TEXT NOT NULL,
        outcome TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX steps_by_image ON steps (image, started_ms);
    CREATE INDEX steps_by_run ON steps (run);

    CREATE TABLE tests (
        run TEXT NOT NULL,
        image TEXT NOT NULL,
        image_digest TEXT NOT NULL,
        test TEXT NOT NULL,
        test_digest TEXT NOT NULL,
        platform TEXT NOT NULL,
        verdict TEXT NOT NULL,
        detail TEXT NOT NULL,
        finished_ms INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX tests_by_digest ON tests (image_digest, test_digest, platform);
    CREATE INDEX tests_by_run ON tests (run);

    CREATE TABLE images (
        run TEXT NOT NULL,
        image TEXT NOT NULL,
        digest TEXT NOT NULL,
        platform TEXT NOT NULL,
        built_ms INTEGER NOT NULL,
        is_new INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX images_by_name ON images (image, built_ms);
    CREATE INDEX images_by_run ON images (run);
",
    "CREATE INDEX tests_by_image ON tests (image, finished_ms);",
];

/// Brings a database to the newest version that this code knows.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let is_new_enough = |version: usize| version >= STEPS.len();
    if is_new_enough(version(connection)?) {
        return Ok(());
    }
    // Another process may have done it between the look and the lock.
    let behavior = TransactionBehavior::Immediate;
    let transaction = rusqlite::Transaction::new_unchecked(connection, behavior)?;
    for step in &STEPS[version(&transaction)?.min(STEPS.len())..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", STEPS.len() as i64)?;
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}
