//! The keys of each table.
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
    /// The keys that it may have.
    pub(crate) keys: &'static [&'static str],
}

pub(crate) const FILE: Shape = Shape {
    name: "the file",
    definition: None,
    keys: &[
        "include",
        "stack",
        "build",
        "lint",
        "lock",
        "variables",
        "defaults",
        "tags",
        "promote",
        "retention",
        "verify",
        "sign",
        "changes",
        "info",
        "image",
        "env",
    ],
};

pub(crate) const STACK: Shape = Shape {
    name: "`[stack]`",
    definition: Some("StackSection"),
    keys: &["name", "registries", "platforms", "epoch"],
};

pub(crate) const BUILD: Shape = Shape {
    name: "`[build]`",
    definition: Some("BuildSection"),
    keys: &["ca", "network", "jobs", "secrets", "cache-from"],
};

pub(crate) const LOCK: Shape = Shape {
    name: "`[lock]`",
    definition: None,
    keys: &["policy"],
};

pub(crate) const DEFAULTS: Shape = Shape {
    name: "`[defaults]`",
    definition: Some("Defaults"),
    keys: &[
        "dockerfile",
        "args",
        "debian",
        "labels",
        "tests",
        "registries",
        "platforms",
        "rebuild",
        "info",
    ],
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
        "names",
        "registries",
        "platforms",
        "on",
        "rebuild",
        "tags",
        "info",
        "variant",
        "matrix",
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
        "prefix",
        "suffix",
        "names",
        "registries",
        "platforms",
        "on",
        "rebuild",
        "tags",
        "info",
    ],
};

pub(crate) const ON: Shape = Shape {
    name: "`[image.*.on.*]`",
    definition: Some("OnSection"),
    keys: &["when", "dockerfile", "target", "args", "debian"],
};

pub(crate) const PLATFORM: Shape = Shape {
    name: "a platform",
    definition: Some("PlatformTable"),
    keys: &["platform", "when"],
};

pub(crate) const TAGS: Shape = Shape {
    name: "`[tags]`",
    definition: Some("TagsSection"),
    keys: &[
        "prefix",
        "main-branches",
        "branch",
        "main",
        "release",
        "prerelease",
        "pull-request",
        "schedule",
        "manual",
    ],
};

pub(crate) const PROMOTE: Shape = Shape {
    name: "`[promote.*]`",
    definition: Some("PromoteSection"),
    keys: &["from", "tests", "workflow"],
};

pub(crate) const RETENTION: Shape = Shape {
    name: "`[retention]`",
    definition: Some("RetentionSection"),
    keys: &[
        "keep",
        "generations",
        "days",
        "branches",
        "delay-days",
        "cache-days",
        "cache-gigabytes",
    ],
};

pub(crate) const VERIFY: Shape = Shape {
    name: "`[verify.*]`",
    definition: Some("VerifySection"),
    keys: &["keys"],
};

pub(crate) const SIGN: Shape = Shape {
    name: "`[sign]`",
    definition: Some("SignSection"),
    keys: &["key", "form", "when", "registries"],
};

pub(crate) const CHANGES: Shape = Shape {
    name: "`[changes]`",
    definition: Some("ChangesSection"),
    keys: &["ignore", "build-all", "rebuild-words", "skip-words"],
};

pub(crate) const INFO: Shape = Shape {
    name: "`[info.*]`",
    definition: Some("InfoSection"),
    keys: &["title", "command"],
};

pub(crate) const VARIABLE: Shape = Shape {
    name: "`[variables.*]`",
    definition: Some("VariableTable"),
    keys: &["env", "default"],
};

pub(crate) const ENV: Shape = Shape {
    name: "`[env.*]`",
    definition: Some("EnvSection"),
    keys: &[
        "stack",
        "build",
        "lock",
        "variables",
        "defaults",
        "tags",
        "changes",
        "image",
    ],
};

pub(crate) const DEBIAN: Shape = Shape {
    name: "`debian`",
    definition: Some("DebianSection"),
    keys: &[
        "suite",
        "packages",
        "without",
        "variant",
        "mirror",
        "arch",
        "keyring",
        "components",
    ],
};

pub(crate) const TESTS: Shape = Shape {
    name: "`tests`",
    definition: Some("TestsSection"),
    keys: &[
        "structure",
        "pytest",
        "integration",
        "workflow",
        "manual",
        "services",
        "timeout",
    ],
};

pub(crate) const SUITE: Shape = Shape {
    name: "a suite of tests",
    definition: Some("SuiteSection"),
    keys: &[
        "path",
        "name",
        "on",
        "command",
        "args",
        "python-path",
        "env",
        "services",
        "user",
        "read-only",
        "gpu",
        "timeout",
    ],
};

pub(crate) const SERVICE: Shape = Shape {
    name: "`tests.services.*`",
    definition: Some("ServiceSection"),
    keys: &["image", "command", "env", "port", "log", "ready", "timeout"],
};

/// Every kind of table.
pub(crate) const ALL: &[Shape] = &[
    FILE, STACK, BUILD, LOCK, DEFAULTS, IMAGE, VARIANT, ON, PLATFORM, TAGS, PROMOTE, RETENTION,
    VERIFY, SIGN, CHANGES, INFO, VARIABLE, ENV, DEBIAN, TESTS, SUITE, SERVICE,
];
