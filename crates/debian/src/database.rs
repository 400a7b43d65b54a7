//! dpkg's database, written as dpkg would have it after `--unpack`.
//!
//! ```text
//! var/lib/dpkg/
//!   status                  one paragraph per package: its control file, its state, its conffiles
//!   arch                    the native architecture
//!   info/format             1
//!   info/NAME.list          its paths             (NAME:ARCH for Multi-Arch: same)
//!   info/NAME.MEMBER        all control members: scripts, md5sums, triggers, conffiles ...
//!   triggers/File           which package waits for which path
//!   triggers/TRIGGER        which packages wait for a named trigger
//!   triggers/Unincorp       what was triggered since dpkg last looked
//! ```
//!
//! What dpkg itself then configures, it rewrites in its own way; nothing of this form is final.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::deb::Control;
use crate::deb822::Paragraph;
use crate::error::DebianError;
use crate::tree::Tree;
use crate::unpack::{Lost, Unpacked};

const ROOT: &str = "var/lib/dpkg";

/// Starts an empty database.
pub(crate) fn create(tree: &mut Tree<'_>, arch: &str) -> Result<(), DebianError> {
    tree.put(
        &format!("{ROOT}/arch"),
        0o644,
        format!("{arch}\n").as_bytes(),
    )?;
    tree.put(&format!("{ROOT}/info/format"), 0o644, b"1\n")?;
    tree.put(&format!("{ROOT}/status"), 0o644, b"")
}

/// Enters packages that are in the tree and have not been configured, and takes from all packages
/// the paths that they have lost to others.
pub(crate) fn add(
    tree: &mut Tree<'_>,
    packages: &[Unpacked],
    lost: &[Lost],
) -> Result<(), DebianError> {
    let mut status = read_text(tree, "status")?;
    for package in packages {
        write_info(tree, package)?;
        if !status.is_empty() && !status.ends_with("\n\n") {
            status.push('\n');
        }
        status.push_str(&stanza(package));
    }
    tree.put(&format!("{ROOT}/status"), 0o644, status.as_bytes())?;
    for lost in lost {
        forget_path(tree, lost)?;
    }
    add_triggers(tree, packages)
}

/// Removes a path from a package's list, as dpkg does for a file that another package replaces.
fn forget_path(tree: &mut Tree<'_>, lost: &Lost) -> Result<(), DebianError> {
    let arch = read_text(tree, "arch")?;
    for entry in [
        lost.package.clone(),
        format!("{}:{}", lost.package, arch.trim()),
    ] {
        let name = format!("info/{entry}.list");
        let list = read_text(tree, &name)?;
        if list.is_empty() {
            continue;
        }
        let kept = list
            .lines()
            .filter(|line| line.strip_prefix('/') != Some(&lost.path));
        let text: String = kept.map(|line| format!("{line}\n")).collect();
        tree.put(&format!("{ROOT}/{name}"), 0o644, text.as_bytes())?;
    }
    Ok(())
}

fn read_text(tree: &mut Tree<'_>, name: &str) -> Result<String, DebianError> {
    let bytes = tree.read(&format!("{ROOT}/{name}"))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How the database calls a package: with its architecture where several could be installed.
pub(crate) fn entry_name(control: &Control) -> String {
    let name = control.field("Package").unwrap_or_default();
    match (control.field("Multi-Arch"), control.field("Architecture")) {
        (Some("same"), Some(arch)) => format!("{name}:{arch}"),
        _ => name.to_owned(),
    }
}

fn write_info(tree: &mut Tree<'_>, package: &Unpacked) -> Result<(), DebianError> {
    let entry = format!("{ROOT}/info/{}", entry_name(&package.control));
    let mut list = String::from("/.\n");
    for path in &package.files {
        list.push('/');
        list.push_str(path);
        list.push('\n');
    }
    tree.put(&format!("{entry}.list"), 0o644, list.as_bytes())?;
    for (name, bytes) in &package.control.members {
        let script = matches!(
            name.as_str(),
            "preinst" | "postinst" | "prerm" | "postrm" | "config"
        );
        tree.put(
            &format!("{entry}.{name}"),
            if script { 0o755 } else { 0o644 },
            bytes,
        )?;
    }
    if !package.control.members.contains_key("md5sums") && !package.sums.is_empty() {
        let lines = package
            .sums
            .iter()
            .map(|(path, sum)| format!("{sum}  {path}\n"));
        tree.put(
            &format!("{entry}.md5sums"),
            0o644,
            lines.collect::<String>().as_bytes(),
        )?;
    }
    Ok(())
}

fn stanza(package: &Unpacked) -> String {
    let mut out = String::new();
    for (name, value) in Paragraph(&package.control.text).fields() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name}: {value}");
        if name.eq_ignore_ascii_case("Package") {
            out.push_str("Status: install ok unpacked\n");
        }
    }
    let removed = package.control.conffiles_to_remove();
    if !package.conffiles.is_empty() || !removed.is_empty() {
        out.push_str("Conffiles:\n");
        for (path, sum) in &package.conffiles {
            let _ = writeln!(out, " /{path} {sum}");
        }
        for path in removed {
            let _ = writeln!(out, " {path} newconffile remove-on-upgrade");
        }
    }
    out.push('\n');
    out
}

/// Enters what the packages wait for, and what their arrival triggers.
fn add_triggers(tree: &mut Tree<'_>, packages: &[Unpacked]) -> Result<(), DebianError> {
    let mut file_interests = FileInterests::parse(&read_text(tree, "triggers/File")?);
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut activated: BTreeSet<String> = BTreeSet::new();
    for package in packages {
        for path in &package.files {
            activated.extend(file_interests.activated_by(path));
        }
        for (directive, trigger) in package.control.triggers() {
            let noawait = if directive.ends_with("-noawait") {
                "/noawait"
            } else {
                ""
            };
            let waiting = format!("{}{noawait}", entry_name(&package.control));
            if directive.starts_with("activate") {
                activated.insert(trigger);
            } else if trigger.starts_with('/') {
                file_interests.lines.insert((trigger, waiting));
            } else {
                named.entry(trigger).or_default().insert(waiting);
            }
        }
    }
    for (trigger, waiting) in named {
        let path = format!("triggers/{trigger}");
        let mut lines: BTreeSet<String> =
            read_text(tree, &path)?.lines().map(str::to_owned).collect();
        lines.extend(waiting);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        tree.put(&format!("{ROOT}/{path}"), 0o644, text.as_bytes())?;
    }
    tree.put(
        &format!("{ROOT}/triggers/File"),
        0o644,
        file_interests.print().as_bytes(),
    )?;
    // `-`: nobody waits for the trigger to be processed.
    let unincorporated: String = activated
        .iter()
        .map(|trigger| format!("{trigger} -\n"))
        .collect();
    tree.put(
        &format!("{ROOT}/triggers/Unincorp"),
        0o644,
        unincorporated.as_bytes(),
    )
}

/// Who waits for files at or below which path.
struct FileInterests {
    lines: BTreeSet<(String, String)>,
}

impl FileInterests {
    fn parse(text: &str) -> FileInterests {
        let pair = |line: &str| {
            let (path, package) = line.rsplit_once(' ')?;
            Some((path.to_owned(), package.to_owned()))
        };
        FileInterests {
            lines: text.lines().filter_map(pair).collect(),
        }
    }

    fn activated_by<'a>(&'a self, file: &'a str) -> impl Iterator<Item = String> + 'a {
        let below = move |path: &str| {
            let rest = file.strip_prefix(path.trim_start_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.lines
            .iter()
            .filter(move |(path, _)| below(path))
            .map(|(path, _)| path.clone())
    }

    fn print(&self) -> String {
        self.lines
            .iter()
            .map(|(path, package)| format!("{path} {package}\n"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Unpacked {
        let text = "Package: a\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n\
            Description: short\n long\n .\n more\n";
        Unpacked {
            name: "a".to_owned(),
            control: Control {
                text: text.to_owned(),
                ..Control::default()
            },
            conffiles: vec![("etc/a".to_owned(), "00ff".to_owned())],
            ..Unpacked::default()
        }
    }

    #[test]
    fn a_status_paragraph_holds_state_and_conffiles() {
        assert_eq!(
            stanza(&package()),
            "Package: a\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\n\
             Multi-Arch: same\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a 00ff\n\n"
        );
        assert_eq!(entry_name(&package().control), "a:amd64");
    }

    #[test]
    fn conffiles_that_an_upgrade_removes_are_remembered() {
        let mut package = package();
        package.control.members.insert(
            "conffiles".to_owned(),
            b"remove-on-upgrade /etc/old\n".to_vec(),
        );
        assert!(
            stanza(&package).ends_with(" /etc/a 00ff\n /etc/old newconffile remove-on-upgrade\n\n")
        );
    }

    #[test]
    fn files_trigger_whoever_waits_at_or_above_them() {
        let interests = FileInterests::parse("/usr/share/x a\n/usr/lib/y b/noawait\n");
        let activated = |file| interests.activated_by(file).collect::<Vec<_>>();
        assert_eq!(activated("usr/share/x/file"), ["/usr/share/x"]);
        assert_eq!(activated("usr/lib/y"), ["/usr/lib/y"]);
        assert_eq!(activated("usr/share/xy"), [""; 0]);
        assert_eq!(interests.print(), "/usr/lib/y b/noawait\n/usr/share/x a\n");
    }
}
