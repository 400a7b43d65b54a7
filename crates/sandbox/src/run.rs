//! The caller's side of one run.

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::sandbox::{Exit, Sandbox, Stream};

impl Sandbox {
    /// Runs the program to its end, handing on what it writes as it writes it.
    pub fn run(
        &self,
        cancel: &Cancel,
        on_output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit, SandboxError> {
        let _ = (cancel, on_output);
        Err(SandboxError::Invalid(
            "sandboxes are not built yet".to_owned(),
        ))
    }
}
