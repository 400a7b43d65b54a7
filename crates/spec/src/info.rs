//! Commands that tell what an image holds: those that are built in, and those of the spec.

use crate::suggest::nearest;

/// A command whose output is a section of an image's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoCommand {
    /// What the spec calls it.
    pub name: String,
    /// The heading above what it prints.
    pub title: String,
    /// What is run; `None` where nobody knows the name (DH-68: told, and left out).
    pub command: Option<Vec<String>>,
}

/// The commands that need no definition: name, heading, line for the shell.
const BUILT_IN: &[(&str, &str, &str)] = &[
    ("os", "Operating System", "cat /etc/os-release"),
    (
        "python",
        "Python Version",
        "python3 --version 2>&1 || python --version 2>&1",
    ),
    (
        "pip",
        "pip Packages",
        "python3 -m pip --disable-pip-version-check list || pip --disable-pip-version-check list",
    ),
    (
        "pip-outdated",
        "pip Packages That Could Be Updated",
        "python3 -m pip --disable-pip-version-check list --outdated",
    ),
    ("conda", "Conda Packages", "conda list"),
    ("conda-info", "Conda Info", "conda info"),
    (
        "apt",
        "System Packages",
        "dpkg-query -W -f '${Package} ${Version} ${Architecture}\\n'",
    ),
    (
        "r",
        "R Packages",
        "Rscript -e 'p <- installed.packages()[, c(\"Package\", \"Version\")]; cat(paste(p[, 1], p[, 2]), sep = \"\\n\")'",
    ),
    (
        "cuda",
        "CUDA Version",
        "nvcc --version || conda list | grep -E 'cuda|cudnn|nccl'",
    ),
    ("npm", "Node Packages", "npm list --global"),
];

impl InfoCommand {
    /// The command that is built in under a name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (name, title, line) = BUILT_IN.iter().find(|(known, _, _)| *known == name)?;
        Some(Self {
            name: (*name).to_owned(),
            title: (*title).to_owned(),
            command: Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
        })
    }

    /// The name that is built in and nearly this one.
    pub fn nearest_built_in(name: &str) -> Option<&'static str> {
        nearest(name, BUILT_IN.iter().map(|(known, _, _)| *known))
    }
}
