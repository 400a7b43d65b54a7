//! Bytes on their way from who downloads them to who unpacks them.

use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many pieces of a layer may wait to be unpacked.
const WAITING_MAX: usize = 32;

/// The two ends.
pub(super) fn pieces() -> (SyncSender<Vec<u8>>, Pieces) {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let pieces = Pieces {
        receiver,
        current: Cursor::new(Vec::new()),
    };
    (sender, pieces)
}

/// The pieces of a layer as a reader.
pub(super) struct Pieces {
    receiver: Receiver<Vec<u8>>,
    current: Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.recv() {
                Ok(piece) => self.current = Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// A writer for whoever reads the other end. One that is gone has seen enough, or will say what is
/// wrong.
pub(super) struct Feed(pub(super) SyncSender<Vec<u8>>);

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
