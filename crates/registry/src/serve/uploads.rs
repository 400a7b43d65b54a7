//! Blobs that are being uploaded: begun, written piece by piece, finished, or given up.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Intake, ShelfError, Stock};

/// How many uploads may be open at once.
const OPEN_MAX: usize = 512;
/// An upload that nobody went on with so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// More than any layer has.
const BLOB_MAX: u64 = 128 << 30;
const PIECE: usize = 256 << 10;

/// All uploads of a server. What was written for those that are given up goes with them.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Arc<Upload>>>);

/// One upload.
pub(crate) struct Upload {
    repository: String,
    state: Mutex<State>,
}

/// What has arrived of an upload.
pub(crate) struct State {
    /// `None` when it was finished or cancelled by another request.
    pub(crate) intake: Option<Box<dyn Intake>>,
    pub(crate) size: u64,
    last_use: Instant,
}

/// Why bytes were not written.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client went away; what has arrived stays.
    Client(io::Error),
    /// There is no room for that much.
    TooLarge,
    /// They cannot be kept.
    Shelf(ShelfError),
}

impl Uploads {
    /// Begins an upload and names it; `None` where too many are open.
    pub(crate) fn begin(
        &self,
        stock: &dyn Stock,
        repository: &str,
    ) -> Result<Option<String>, ShelfError> {
        self.sweep();
        let mut open = self.lock();
        if open.len() >= OPEN_MAX {
            return Ok(None);
        }
        let id = random();
        let upload = Upload {
            repository: repository.to_owned(),
            state: Mutex::new(State {
                intake: Some(stock.begin()?),
                size: 0,
                last_use: Instant::now(),
            }),
        };
        open.insert(id.clone(), Arc::new(upload));
        Ok(Some(id))
    }

    /// Finds an upload of a repository.
    pub(crate) fn find(&self, repository: &str, id: &str) -> Option<Arc<Upload>> {
        let open = self.lock();
        let upload = open.get(id)?;
        (upload.repository == repository).then(|| upload.clone())
    }

    /// Forgets an upload.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Gives up what nobody goes on with.
    pub(crate) fn sweep(&self) {
        self.lock()
            .retain(|_, upload| match upload.state.try_lock() {
                Ok(state) => state.last_use.elapsed() < IDLE_MAX,
                Err(_) => true,
            });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// Waits for its turn: one request at a time writes.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_use = Instant::now();
        state
    }
}

impl State {
    /// Writes what comes; it counts even if not all of it does.
    pub(crate) fn take(&mut self, body: &mut dyn Read) -> Result<(), Broken> {
        let Some(intake) = &mut self.intake else {
            return Ok(());
        };
        let mut buffer = vec![0; PIECE];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Broken::Client(error)),
            };
            if self.size + count as u64 > BLOB_MAX {
                return Err(Broken::TooLarge);
            }
            if let Err(error) = intake.write_all(&buffer[..count]) {
                // Half a piece may be there: nobody can go on from here.
                self.intake = None;
                return Err(Broken::Shelf(error.into()));
            }
            self.size += count as u64;
            self.last_use = Instant::now();
        }
    }

    /// What has arrived, as the protocol tells it: nothing looks like one byte.
    pub(crate) fn range(&self) -> String {
        format!("0-{}", self.size.saturating_sub(1))
    }
}

/// A name that nobody guesses: the keys of hash maps come from the kernel.
fn random() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}
