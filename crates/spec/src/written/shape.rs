//! The keys of each table: those that work, and those that are designed but do not work yet.
//!
//! A test holds the lists equal to the properties of the JSON Schema, which is made from the
//! types; so a key cannot be added in one place only.

/// The keys that one kind of table may have.
#[derive(Debug)]
pub(crate) struct Shape {
    /// How messages name the table; `*` stands for a name the author chose.
    pub(crate) name: &'static str,
    /// The definition in the JSON Schema, if not the root.
    #[cfg_attr(not(test), expect(dead_code, reason = "holds the schema to the lists"))]
    pub(crate) definition: Option<&'static str>,
    /// The keys that work.
    pub(crate) keys: &'static [&'static str],
    /// The keys that are designed but have no effect yet.
    pub(crate) later: &'static [&'static str],
}

pub(crate) const FILE: Shape = Shape {
    name: "the file",
    definition: None,
    keys: &["stack", "build", "lock", "defaults", "image"],
    later: &["tags", "include", "env", "matrix", "policy"],
};

pub(crate) const STACK: Shape = Shape {
    name: "`[stack]`",
    definition: Some("StackSection"),
    keys: &["name", "registries", "platforms", "epoch"],
    later: &[],
};

pub(crate) const BUILD: Shape = Shape {
    name: "`[build]`",
    definition: Some("BuildSection"),
    keys: &["ca", "network", "jobs"],
    later: &["secrets"],
};

pub(crate) const LOCK: Shape = Shape {
    name: "`[lock]`",
    definition: None,
    keys: &["policy"],
    later: &[],
};

pub(crate) const DEFAULTS: Shape = Shape {
    name: "`[defaults]`",
    definition: Some("Defaults"),
    keys: &["args", "labels", "tests"],
    later: &["info", "platforms", "registries", "rebuild"],
};

pub(crate) const IMAGE: Shape = Shape {
    name: "`[image.*]`",
    definition: Some("ImageSection"),
    keys: &[
        "context",
        "dockerfile",
        "target",
        "args",
        "debian",
        "labels",
        "tests",
        "internal",
        "variant",
    ],
    later: &[
        "info",
        "matrix",
        "names",
        "platforms",
        "rebuild",
        "registries",
        "tags",
    ],
};

pub(crate) const VARIANT: Shape = Shape {
    name: "`[image.*.variant.*]`",
    definition: Some("VariantSection"),
    keys: &[
        "context",
        "dockerfile",
        "target",
        "args",
        "debian",
        "labels",
        "tests",
        "internal",
    ],
    later: &[
        "info",
        "names",
        "platforms",
        "rebuild",
        "registries",
        "tags",
    ],
};

pub(crate) const DEBIAN: Shape = Shape {
    name: "`debian`",
    definition: Some("DebianSection"),
    keys: &[
        "suite",
        "packages",
        "variant",
        "mirror",
        "arch",
        "keyring",
        "components",
    ],
    later: &[],
};

pub(crate) const TESTS: Shape = Shape {
    name: "`tests`",
    definition: Some("TestsSection"),
    keys: &["structure"],
    later: &[
        "pytest",
        "integration",
        "workflow",
        "manual",
        "services",
        "timeout",
    ],
};

/// Every kind of table.
pub(crate) const ALL: &[Shape] = &[
    FILE, STACK, BUILD, LOCK, DEFAULTS, IMAGE, VARIANT, DEBIAN, TESTS,
];
