//! `cairn.toml` to a resolved `Stack` and the graph between its images; no IO.
