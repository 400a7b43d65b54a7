//! Streams that end when the run is to stop.
//!
//! An image can be gigabytes on their way to a slow disk or pipe. Who wraps one end of the copy in
//! this hears of the wish to stop with the next piece, and cleans up as after any other failure.

use std::io::{self, Read, Write};

use cairn_sandbox::Cancel;

/// A reader or writer that fails once the request to stop was made.
pub(crate) struct Stoppable<'a, T> {
    pub(crate) inner: T,
    pub(crate) cancel: &'a Cancel,
}

/// Fails if the run is to stop.
pub(super) fn go_on(cancel: &Cancel) -> io::Result<()> {
    match cancel.is_cancelled() {
        // Not `Interrupted`: copies try again after that.
        true => Err(io::Error::other("interrupted")),
        false => Ok(()),
    }
}

impl<T: Read> Read for Stoppable<'_, T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        go_on(self.cancel)?;
        self.inner.read(bytes)
    }
}

impl<T: Write> Write for Stoppable<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        go_on(self.cancel)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
