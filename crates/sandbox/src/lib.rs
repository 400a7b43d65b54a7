//! Runs one process in Linux namespaces over given mounts; the only crate that may say `unsafe`.
//!
//! A caller does three things with it:
//!
//! 1. [`dispatch`] first thing in `main`: the crate works by executing the program again in a
//!    *role*, and this call is where a role begins.
//! 2. [`enter`] once, while the process has one thread: afterwards it owns a private mount
//!    namespace and believes to be uid 0, whoever started it.
//! 3. [`Sandbox::run`] as often as it likes, from as many threads as it likes.
//!
//! [`runs_here`] tells whether programs of an architecture can run, and [`Emulator`] what they need
//! for it; [`probe`] tells what the host allows; [`overlay`] mounts layers for the caller itself;
//! [`Cancel`] and [`interrupt`] stop things from outside. `docs/dev/sandbox.md` goes through the
//! steps in order and says what each protects.

pub mod ca;
mod cancel;
mod capabilities;
mod cgroup;
mod channel;
mod emulator;
mod enter;
mod error;
mod filesystem;
mod idmap;
mod init;
pub mod interrupt;
mod locate;
mod machine;
mod mount;
mod octets;
pub mod overlay;
mod owner;
mod probe;
mod program;
mod refusal;
mod run;
mod sandbox;
mod seccomp;
mod spawn;
mod terminal;
mod watch;

pub use ca::{CaTrust, Pem};
pub use cancel::Cancel;
pub use emulator::{Emulator, Foreign, foreign, look_for_emulators_in, runs_here};
pub use enter::{Enter, Privilege, enter, privilege};
pub use error::{ExecFailure, SandboxError, Step};
pub use probe::{Ability, HostReport, Verdict, probe};
pub use sandbox::{
    Exit, Limits, Mount, Network, Resolver, Sandbox, Security, Stdin, Stream, Ulimit, UlimitName,
    Writable,
};

/// Carries out the role this process was executed in, if any, and then never returns.
///
/// To be called first thing in `main`, before threads, arguments and output.
pub fn dispatch() {
    let role = std::env::args_os().next().unwrap_or_default();
    if role.as_encoded_bytes() == init::ROLE.to_bytes() {
        init::main();
    }
    if role == idmap::ROLE {
        idmap::main();
    }
    if role == probe::ROLE {
        probe::main();
    }
}
