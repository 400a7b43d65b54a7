//! The history: runs, steps, tests and images, in SQLite. What reports and `why` read.
//!
//! Nothing a build needs is in here. A history that is damaged is moved aside and begun anew
//! ([`History::moved_aside`]); one that fails costs a report, never a build. It is opened when
//! first asked for, so that a run with nothing to do does not pay for it.
//!
//! In a store that cannot be written it is read as it lies there; entries of a run that was cut off
//! and never settled may be missing then.
//!
//! On network file systems WAL mode corrupts databases (its shared memory is not shared between
//! machines): there a rollback journal is used.

mod records;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{At, StoreError};
use crate::filesystem_kind::network_filesystem;
use crate::store::Store;

pub use records::{BuiltImage, RunRecord, StepRecord, TestRecord};

/// A writer waits for others, and they for the disk: on a busy one a sync can take many seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often who waits for a journal mode tries again.
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// The open history. Safe to share between threads.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    moved_aside: Option<PathBuf>,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the history, beginning it if there is none.
    pub fn history(&self) -> Result<History, StoreError> {
        History::open(&self.layout().part("history.db"))
    }
}

impl History {
    /// Where a damaged history was moved to when this one was opened in its place.
    pub fn moved_aside(&self) -> Option<&Path> {
        self.moved_aside.as_deref()
    }

    /// Looks through a whole database, changing nothing; says what is wrong with it.
    pub(crate) fn look(path: &Path) -> Result<Option<String>, StoreError> {
        let look = || -> rusqlite::Result<Vec<String>> {
            let connection = try_open(path)?;
            let mut lines = Vec::new();
            connection.pragma_query(None, "integrity_check", |row| {
                lines.push(row.get::<_, String>(0)?);
                Ok(())
            })?;
            Ok(lines)
        };
        match look() {
            Ok(lines) => Ok(lines.into_iter().find(|line| line != "ok")),
            Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
            Err(source) => Err(failed(path, source)),
        }
    }

    fn open(path: &Path) -> Result<Self, StoreError> {
        match try_open(path) {
            Ok(connection) => Ok(Self::new(path, connection, None)),
            Err(error) if is_damage(&error) => {
                let aside = move_aside(path)?;
                let connection = try_open(path).map_err(|source| failed(path, source))?;
                Ok(Self::new(path, connection, Some(aside)))
            }
            Err(source) => Err(failed(path, source)),
        }
    }

    fn new(path: &Path, connection: Connection, moved_aside: Option<PathBuf>) -> Self {
        Self {
            path: path.into(),
            moved_aside,
            connection: Mutex::new(connection),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("no panics while held")
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        failed(&self.path, source)
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::History {
        path: path.into(),
        source,
    }
}

fn try_open(path: &Path) -> rusqlite::Result<Connection> {
    match open_for_writing(path) {
        Err(error) if is_unwritable(&error) => open_for_reading(path).map_err(|_| error),
        opened => opened,
    }
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    )
}

/// Without the files beside it that SQLite would make, and without locks: what others write meanwhile
/// may be missed, or fail the reading. Nothing is changed for it.
fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

fn open_for_writing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode = match network_filesystem(path.parent().unwrap_or(path)) {
        Some(_) => "DELETE",
        None => "WAL",
    };
    set_journal_mode(&connection, mode)?;
    // The files are the truth: the history may lose its last entries with the power.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    schema::prepare(&connection)?;
    Ok(connection)
}

/// Where several open a new database at once, SQLite refuses this to all but one, and does not wait as
/// it does for everything else.
fn set_journal_mode(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", mode) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < BUSY_TIMEOUT =>
            {
                std::thread::sleep(BUSY_WAIT);
            }
            done => return done,
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Renames a damaged database; its journals, which belong to it by name, go.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut number = 1;
    let mut aside = named(".damaged-1");
    while aside.exists() {
        number += 1;
        aside = named(&format!(".damaged-{number}"));
    }
    std::fs::rename(path, &aside).at("move aside", path)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        crate::home::remove_if_there(&named(suffix))?;
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::slice;

    use super::{History, RunRecord};
    use crate::store::tests::fixture;

    #[test]
    fn a_damaged_history_is_moved_aside() {
        let (home, store) = fixture();
        let path = home.path().join("history.db");
        for round in 1..=2 {
            fs::write(
                &path,
                "this is no database, whatever its name says".repeat(100),
            )
            .unwrap();
            let history = store.history().unwrap();
            let aside = home.path().join(format!("history.db.damaged-{round}"));
            assert_eq!(history.moved_aside(), Some(&*aside));
            assert!(history.runs(10, None).unwrap().is_empty());
            assert!(fs::read(&aside).unwrap().starts_with(b"this is no"));
        }
        assert_eq!(store.history().unwrap().moved_aside(), None);
    }

    #[test]
    fn a_history_that_cannot_be_written_is_read() {
        let (home, store) = fixture();
        let record = RunRecord {
            run: "one".into(),
            command: "up".into(),
            stack: None,
            started_ms: 1,
            finished_ms: Some(2),
            outcome: None,
        };
        store.history().unwrap().start_run(&record).unwrap();
        // SQLite needs this name for writing; that a directory can be read only would not stop root.
        fs::create_dir(home.path().join("history.db-shm")).unwrap();
        let history = store.history().unwrap();
        assert_eq!(history.moved_aside(), None);
        assert_eq!(history.runs(10, None).unwrap(), slice::from_ref(&record));
        assert!(history.start_run(&record).is_err());
    }

    #[test]
    fn damage_inside_is_found() {
        let (home, store) = fixture();
        drop(store.history().unwrap());
        let path = home.path().join("history.db");
        assert_eq!(History::look(&path).unwrap(), None);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0x5a);
        fs::write(&path, bytes).unwrap();
        assert!(History::look(&path).unwrap().is_some());
    }
}
