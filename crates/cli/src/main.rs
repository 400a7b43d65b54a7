//! Arguments, configuration, rendering, exit codes; the only crate that prints, reads the environment or exits.
fn main() {}
