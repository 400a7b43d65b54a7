//! `RUN --mount=type=ssh`: a socket of the step's own in front of the agent's.
//!
//! The agent's socket cannot have the owner and mode that the step asks for, and an agent that
//! ends takes its socket with it. So the step gets a socket that is made for it, and each
//! connection to it is handed on to the agent. Nothing of the agent is in the step's layer or key.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use cairn_store::{ActiveSnapshot, Store};

use crate::failure::StepError;

const NAME: &str = "agent";

/// The socket of one mount; it is gone with this value.
pub(super) struct AgentSocket {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
    /// The directory that the socket lies in.
    place: ActiveSnapshot,
}

impl AgentSocket {
    /// Makes a socket in front of an agent's.
    pub(super) fn new(
        store: &Store,
        agent: &Path,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Self, StepError> {
        let place = store.begin_snapshot()?;
        let path = place.upper().join(NAME);
        let failed = |doing: &'static str| {
            let path = path.clone();
            move |source| StepError::Io {
                doing,
                path,
                source,
            }
        };
        let listener = bind(place.upper()).map_err(failed("listen at"))?;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).map_err(failed("set the mode of"))?;
        place.set_owner(Path::new(NAME), uid, gid)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let listening = {
            let (is_over, agent) = (is_over.clone(), agent.to_owned());
            thread::spawn(move || serve(&listener, &agent, &is_over))
        };
        Ok(Self {
            path,
            is_over,
            listening: Some(listening),
            place,
        })
    }

    /// Where the socket is on the host.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Whoever waits for a connection gets one, and sees that it is over.
        let woken = through(self.place.upper(), |path| UnixStream::connect(path));
        if let (Ok(_), Some(listening)) = (woken, self.listening.take()) {
            let _ = listening.join();
        }
    }
}

fn bind(directory: &Path) -> io::Result<UnixListener> {
    through(directory, |path| UnixListener::bind(path))
}

/// Names a socket by its open directory: addresses of sockets hold a hundred bytes, and a store
/// may lie deep.
fn through<T>(directory: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let open = File::open(directory)?;
    act(&PathBuf::from(format!(
        "/proc/self/fd/{}/{NAME}",
        open.as_raw_fd()
    )))
}

fn serve(listener: &UnixListener, agent: &Path, is_over: &AtomicBool) {
    for client in listener.incoming() {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        // A client whose agent is gone finds its connection closed.
        if let (Ok(client), Ok(agent)) = (client, UnixStream::connect(agent)) {
            hand_on(&client, &agent);
        }
    }
}

/// Copies both ways until both have ended.
fn hand_on(client: &UnixStream, agent: &UnixStream) {
    for (from, to) in [(client, agent), (agent, client)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use cairn_testkit::TempStore;

    use super::*;

    /// An agent that answers each line with itself.
    fn echo(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut bytes = [0; 4];
                client.read_exact(&mut bytes).unwrap();
                client.write_all(&bytes).unwrap();
            }
        });
    }

    #[test]
    fn connections_are_handed_on_and_the_mode_is_the_steps() {
        let store = TempStore::new();
        let folder = tempfile::tempdir().unwrap();
        let agent = folder.path().join("real");
        echo(&agent);
        let socket = AgentSocket::new(&store, &agent, 0o741, (0, 0)).unwrap();
        let found = std::fs::symlink_metadata(socket.path()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.mode() & 0o7777, 0o741);
        for text in [b"ping", b"pong"] {
            let mut client =
                through(socket.place.upper(), |path| UnixStream::connect(path)).unwrap();
            client.write_all(text).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, text);
        }
        let path = socket.path();
        drop(socket);
        assert!(!path.exists());
    }
}
