//! Rules about what makes results wrong, or impossible to get again.

pub(super) mod cuda;
pub(super) mod environment;
pub(super) mod failures;
pub(super) mod floating;
pub(super) mod musl;
pub(super) mod pipes;
