//! The program inside the image: a few verbs that show what a container sees.

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// The name under which the image has it.
pub(crate) const NAME: &str = "tool";

/// Acts as the tool if this process was started by its name.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    let name = arguments.next()?;
    if name.rsplit('/').next() != Some(NAME) {
        return None;
    }
    let words: Vec<String> = arguments.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(ExitCode::from(run(&words)))
}

fn run(words: &[&str]) -> u8 {
    match words {
        ["echo", rest @ ..] => say(&rest.join(" ")),
        ["err", rest @ ..] => {
            let _ = writeln!(std::io::stderr(), "{}", rest.join(" "));
            0
        }
        ["both", out, err] => run(&["echo", out]) + run(&["err", err]),
        ["exit", code] => code.parse().unwrap_or(99),
        ["fail", text, code] => {
            run(&["err", text]);
            run(&["exit", code])
        }
        ["env", name] => std::env::var(name).map_or(1, |value| say(&value)),
        ["cat", path] => fs::read_to_string(path).map_or(1, |text| say(text.trim_end())),
        ["write", path, text] => u8::from(fs::write(path, text).is_err()),
        ["exists", path] => u8::from(!fs::exists(path).unwrap_or(false)),
        ["remove", path] => u8::from(fs::remove_file(path).is_err()),
        ["pwd"] => std::env::current_dir().map_or(1, |path| say(&path.display().to_string())),
        ["id"] => say(&format!(
            "{}:{}",
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        )),
        ["status", key] => status(key),
        ["network"] => fs::read_link("/proc/self/ns/net")
            .map_or(1, |network| say(&network.display().to_string())),
        ["tty"] => say(if rustix::termios::isatty(std::io::stdout()) {
            "yes"
        } else {
            "no"
        }),
        ["bytes"] => u8::from(std::io::stdout().write_all(b"caf\xe9\n").is_err()),
        ["sleep", seconds] => {
            std::thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(0.0)));
            0
        }
        ["abort"] => std::process::abort(),
        _ => 98,
    }
}

fn say(text: &str) -> u8 {
    u8::from(writeln!(std::io::stdout(), "{text}").is_err())
}

/// A line of `/proc/self/status`.
fn status(key: &str) -> u8 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    line.map_or(1, say)
}
