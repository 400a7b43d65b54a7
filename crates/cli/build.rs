//! Links the binary at fixed addresses.
//!
//! A static binary that may lie anywhere (static-pie) has to adjust tens of thousands of pointers
//! whenever it starts, and each page that holds some is copied. Every step and container starts
//! the binary twice, so that this was a quarter of the time that a container takes to start. What
//! is given up is a random place for our own code in memory, as in every static Go program; heap,
//! stack and mappings stay random.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    // Only there does the C compiler choose the start files by these options.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-static");
    }
}
