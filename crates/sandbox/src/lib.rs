//! Runs one process in Linux namespaces over given mounts; the only crate that may say `unsafe`.
