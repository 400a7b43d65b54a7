//! The project's own chores: tests, invariants, benchmarks.

fn main() {}
