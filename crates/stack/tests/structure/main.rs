//! Command tests, in real sandboxes over an image whose only program is this one.
//!
//! The binary has three faces, so it has a `main` of its own: cairn's helper roles, the program
//! inside the image ([`tool`]), and the tests. The tests enter a user namespace, which a threaded
//! test harness could not do.

#![allow(clippy::print_stdout, reason = "a test harness of its own")]

mod image;
mod table;
mod tool;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cairn_sandbox::Enter;
use cairn_testkit::needs;

type Test = fn(&image::Image);

const TESTS: &[(&str, Test)] = &[
    ("verdicts_are_those_of_the_table", table::verdicts),
    ("nothing_stays", table::nothing_stays),
    ("results_keep_their_order_and_are_heard_of", table::order),
    ("many_commands_are_quick", table::many_commands),
    ("a_request_to_stop_is_followed", table::cancelled),
];

fn main() -> ExitCode {
    cairn_sandbox::dispatch();
    if let Some(code) = tool::main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_set = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if is_set("--list") {
        if !is_set("--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let entered = cairn_sandbox::enter(&Enter::default());
    let privilege = match entered {
        Ok(privilege) => privilege,
        Err(error) => {
            let _ = needs(&format!("namespaces ({error})"), false);
            return ExitCode::SUCCESS;
        }
    };
    let image = image::Image::new(privilege);
    let mut failed = 0;
    for (name, test) in TESTS {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        let passed = catch_unwind(AssertUnwindSafe(|| test(&image))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    ExitCode::from(u8::from(failed > 0))
}
