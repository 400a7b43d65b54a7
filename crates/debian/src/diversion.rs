//! Diversions: files that a package's maintainer script has moved out of another's way.
//!
//! `/var/lib/dpkg/diversions` holds three lines each: the path, where the file goes instead, and
//! the package to which this does not apply.

use std::borrow::Cow;
use std::collections::HashMap;

/// The diversions of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diversions {
    by_path: HashMap<String, (String, String)>,
}

impl Diversions {
    /// Reads dpkg's file.
    pub(crate) fn parse(text: &str) -> Diversions {
        let lines: Vec<&str> = text.lines().collect();
        let entries = lines.chunks_exact(3).map(|lines| {
            let below = |path: &str| path.trim_start_matches('/').to_owned();
            (below(lines[0]), (below(lines[1]), lines[2].to_owned()))
        });
        Diversions {
            by_path: entries.collect(),
        }
    }

    /// Where a file of a package goes.
    pub(crate) fn target<'p>(&self, path: &'p str, package: &str) -> Cow<'p, str> {
        match self.by_path.get(path) {
            Some((target, by)) if by != package => Cow::Owned(target.clone()),
            _ => Cow::Borrowed(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Diversions;

    #[test]
    fn other_packages_files_are_diverted() {
        let text = "/bin/sh\n/bin/sh.distrib\ndash\n/usr/x\n/usr/x.real\n:\n";
        let diversions = Diversions::parse(text);
        assert_eq!(diversions.target("bin/sh", "bash"), "bin/sh.distrib");
        assert_eq!(diversions.target("bin/sh", "dash"), "bin/sh");
        assert_eq!(diversions.target("usr/x", "anyone"), "usr/x.real");
        assert_eq!(diversions.target("usr/y", "anyone"), "usr/y");
        assert_eq!(Diversions::parse(""), Diversions::default());
    }
}
