//! The rules about single source files.

use std::collections::BTreeSet;

use super::Finding;
use super::mask::{without_tests, without_text};
use super::pattern::{lines_with, lines_with_std};
use crate::workspace::TextFile;

const LINES_MAX: usize = 900;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "manager", "misc",
];

/// The crates that compute and touch nothing.
const PURE_CRATES: &[&str] = &["oci", "diagnostic", "dockerfile", "spec"];

/// Modules of `std` that reach outside the process.
///
/// `net` is not among them: an address is a value, and sockets are found everywhere.
const IMPURE_MODULES: &[&str] = &["fs", "env", "process", "os"];

/// Paths and methods that do, when the module itself is harmless.
const IMPURE_PATHS: &[&str] = &[
    "SystemTime",
    "Instant",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
];

/// Sockets; an address (`IpAddr`) is only a value.
const SOCKETS: &[&str] = &["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];

/// What only `cli` may do.
const OUTPUT: &[&str] = &[
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
    "io::stdout",
    "io::stderr",
    "process::exit",
];

/// What may be said outside the home of the rule, where, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/sandbox/",
        "env::",
        "a re-executed role reads its own arguments and finds its own binary",
    ),
    (
        "crates/sandbox/",
        "io::stdout",
        "a re-executed role answers its parent through a pipe on its stdout",
    ),
    (
        "crates/sandbox/",
        "process::exit",
        "a re-executed role is a process of its own and ends with its status",
    ),
];

/// A file with what the rules look for words in.
struct Source<'a> {
    file: &'a TextFile,
    /// Without comments and strings.
    code: String,
    /// Without tests as well.
    shipped: String,
    /// The modules declared under `#[cfg(test)]` that live in files of their own.
    test_modules: BTreeSet<String>,
}

impl<'a> Source<'a> {
    fn new(file: &'a TextFile) -> Self {
        let code = without_text(&file.text);
        let (shipped, test_modules) = without_tests(&code);
        Self {
            file,
            code,
            shipped,
            test_modules,
        }
    }
}

/// Checks every file.
pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let sources: Vec<Source<'_>> = files.iter().map(Source::new).collect();
    let test_modules = test_modules(&sources);
    let mut findings = Vec::new();
    for source in &sources {
        let path = source.file.path.as_str();
        findings.extend(shape(source.file));
        findings.extend(unfinished(path, &source.code));
        findings.extend(unsafety(path, &source.code));
        if !is_test(path, &test_modules) {
            findings.extend(sockets(path, &source.shipped));
            findings.extend(purity(path, &source.shipped));
            findings.extend(output(path, &source.shipped));
        }
    }
    findings
}

/// The folder of a package below `crates/`, or `xtask`.
fn crate_of(path: &str) -> &str {
    let inside = path.strip_prefix("crates/").unwrap_or(path);
    inside.split('/').next().unwrap_or_default()
}

/// The paths, without `.rs`, of modules that are declared under `#[cfg(test)]`.
fn test_modules(sources: &[Source<'_>]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for source in sources {
        let stem = source.file.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        let modules = source.test_modules.iter();
        paths.extend(modules.map(|module| format!("{folder}/{module}")));
    }
    paths
}

fn is_test(path: &str, test_modules: &BTreeSet<String>) -> bool {
    let krate = crate_of(path);
    let stem = path.trim_end_matches(".rs");
    krate == "testkit"
        || ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|folder| path.contains(folder))
        || stem.ends_with("/tests")
        || stem.ends_with("_tests")
        || test_modules
            .iter()
            .any(|module| stem == module || stem.starts_with(&format!("{module}/")))
}

fn shape(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(Finding::line(
            &file.path,
            1,
            "file-doc",
            "a file opens with `//!` and says what it holds and why",
        ));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::file(
            &file.path,
            "file-length",
            format!("{lines} lines, at most {LINES_MAX}; does it still hold one thing?"),
        ));
    }
    let names = file.path.trim_end_matches(".rs").split('/');
    for name in names.filter(|name| EMPTY_NAMES.contains(name)) {
        findings.push(Finding::file(
            &file.path,
            "module-name",
            format!("`{name}` says nothing; name the module after what it holds"),
        ));
    }
    findings
}

/// Looked for in tests as well: an ignored test is a test that is not there.
fn unfinished(path: &str, code: &str) -> Vec<Finding> {
    ["todo!", "unimplemented!", "#[ignore"]
        .iter()
        .flat_map(|word| {
            lines_with(code, word).into_iter().map(move |line| {
                let message = format!("`{word}` is not a state to commit");
                Finding::line(path, line, "unfinished", message)
            })
        })
        .collect()
}

fn unsafety(path: &str, code: &str) -> Vec<Finding> {
    if crate_of(path) == "sandbox" {
        return Vec::new();
    }
    lines_with(code, "unsafe")
        .into_iter()
        .map(|line| {
            let message = "`unsafe` is said in crate `sandbox` only";
            Finding::line(path, line, "unsafe-crate", message)
        })
        .collect()
}

fn purity(path: &str, code: &str) -> Vec<Finding> {
    let krate = crate_of(path);
    if !PURE_CRATES.contains(&krate) {
        return Vec::new();
    }
    let modules = IMPURE_MODULES
        .iter()
        .map(|module| (format!("std::{module}"), lines_with_std(code, module)));
    let paths = IMPURE_PATHS
        .iter()
        .map(|path| ((*path).to_owned(), lines_with(code, path)));
    modules
        .chain(paths)
        .flat_map(|(word, lines)| lines.into_iter().map(move |line| (word.clone(), line)))
        .map(|(word, line)| {
            let message =
                format!("`{krate}` is pure, and `{word}` is not; take the value as an argument");
            Finding::line(path, line, "pure-crate", message)
        })
        .collect()
}

fn sockets(path: &str, code: &str) -> Vec<Finding> {
    // The campaigns' proxies stand between the program and a registry, and are shipped to nobody.
    if crate_of(path) == "registry" || path.starts_with("xtask/src/campaign/") {
        return Vec::new();
    }
    SOCKETS
        .iter()
        .flat_map(|socket| {
            lines_with(code, socket)
                .into_iter()
                .map(move |line| (socket, line))
        })
        .map(|(socket, line)| {
            let message = format!("`{socket}` opens a connection; only crate `registry` does");
            Finding::line(path, line, "network-crate", message)
        })
        .collect()
}

fn output(path: &str, code: &str) -> Vec<Finding> {
    if ["cli", "xtask"].contains(&crate_of(path)) {
        return Vec::new();
    }
    let words = OUTPUT
        .iter()
        .map(|word| ((*word).to_owned(), lines_with(code, word)));
    // Constants of the compiler, not of the surroundings.
    let without_constants = code.replace("std::env::consts", "");
    let environment = [(
        "env::".to_owned(),
        lines_with_std(&without_constants, "env"),
    )];
    words
        .chain(environment)
        .filter(|(word, _)| !excepted(path, word))
        .flat_map(|(word, lines)| lines.into_iter().map(move |line| (word.clone(), line)))
        .map(|(word, line)| {
            let message = format!(
                "`{word}` belongs to crate `cli`; a library returns, and takes what it needs"
            );
            Finding::line(path, line, "output", message)
        })
        .collect()
}

fn excepted(path: &str, word: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(place, exception, _)| path.starts_with(place) && word == *exception)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let text = format!("//! A file.\n{text}");
        let file = TextFile {
            path: path.to_owned(),
            text,
        };
        check(&[file])
            .iter()
            .map(|finding| format!("{}:{}", finding.rule, finding.line))
            .collect()
    }

    #[test]
    fn a_pure_crate_that_reads_is_found() {
        let path = "crates/oci/src/a.rs";
        assert_eq!(findings(path, "use std::fs;"), ["pure-crate:2"]);
        assert_eq!(findings(path, "use std::{fmt, fs};"), ["pure-crate:2"]);
        assert_eq!(
            findings(path, "let t = SystemTime::now();"),
            ["pure-crate:2"]
        );
        assert_eq!(findings(path, "std::process::id();"), ["pure-crate:2"]);
        assert_eq!(findings("crates/store/src/a.rs", "use std::fs;"), [""; 0]);
        assert_eq!(
            findings(path, "#[cfg(test)]\nmod tests { use std::fs; }"),
            [""; 0]
        );
    }

    #[test]
    fn printing_and_the_environment_are_found_outside_cli() {
        let path = "crates/store/src/a.rs";
        assert_eq!(findings(path, "println!(\"x\");"), ["output:2"]);
        assert_eq!(
            findings(path, "let a = std::env::var(\"A\");"),
            ["output:2"]
        );
        assert_eq!(findings(path, "let a = std::env::consts::ARCH;"), [""; 0]);
        assert_eq!(findings(path, "std::process::exit(1);"), ["output:2"]);
        assert_eq!(findings(path, "std::io::stdout().flush();"), ["output:2"]);
        assert_eq!(findings("crates/cli/src/a.rs", "println!();"), [""; 0]);
        assert_eq!(findings("crates/store/tests/a.rs", "println!();"), [""; 0]);
        assert_eq!(
            findings(
                "crates/sandbox/src/a.rs",
                "std::process::exit(1); std::env::args();"
            ),
            [""; 0]
        );
        assert_eq!(
            findings("crates/sandbox/src/a.rs", "eprintln!();"),
            ["output:2"]
        );
    }

    #[test]
    fn unsafe_outside_the_sandbox_is_found_in_tests_too() {
        assert_eq!(
            findings("crates/store/tests/a.rs", "unsafe { a() }"),
            ["unsafe-crate:2"]
        );
        assert_eq!(
            findings("crates/sandbox/src/a.rs", "unsafe { a() }"),
            [""; 0]
        );
        assert_eq!(findings("crates/store/src/a.rs", "// unsafe"), [""; 0]);
    }

    #[test]
    fn sockets_outside_registry_are_found() {
        assert_eq!(
            findings("crates/debian/src/a.rs", "TcpStream::connect(a)"),
            ["network-crate:2"]
        );
        assert_eq!(
            findings("crates/build/src/a.rs", "std::net::IpAddr"),
            [""; 0]
        );
    }

    #[test]
    fn unfinished_work_is_found() {
        assert_eq!(findings("crates/cli/src/a.rs", "todo!()"), ["unfinished:2"]);
        assert_eq!(
            findings("crates/cli/src/a.rs", "unimplemented!(\"a\")"),
            ["unfinished:2"]
        );
        assert_eq!(
            findings("crates/cli/tests/a.rs", "#[test]\n#[ignore]\nfn a() {}"),
            ["unfinished:3"]
        );
        assert_eq!(findings("crates/cli/src/a.rs", "// todo!()"), [""; 0]);
    }

    #[test]
    fn files_open_with_a_doc_and_stay_short() {
        let file = |text: &str| TextFile {
            path: "crates/cli/src/a.rs".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(check(&[file("use a;\n")])[0].rule, "file-doc");
        let long = format!("//! A.\n{}", "\n".repeat(900));
        assert_eq!(check(&[file(&long)])[0].rule, "file-length");
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(findings("crates/cli/src/utils.rs", ""), ["module-name:0"]);
        assert_eq!(
            findings("crates/cli/tests/common/a.rs", ""),
            ["module-name:0"]
        );
    }

    #[test]
    fn a_test_module_in_its_own_file_is_a_test() {
        let parent = TextFile {
            path: "crates/oci/src/lib.rs".to_owned(),
            text: "//! A.\n#[cfg(test)]\nmod samples;\n".to_owned(),
        };
        let child = TextFile {
            path: "crates/oci/src/samples.rs".to_owned(),
            text: "//! A.\nuse std::fs;\n".to_owned(),
        };
        assert_eq!(check(&[parent, child]), []);
    }
}
