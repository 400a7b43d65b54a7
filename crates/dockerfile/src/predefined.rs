//! Arguments that exist without an `ARG`, and those whose value the builder knows.

/// Proxy settings: usable in `RUN` without being declared, and kept out of history and keys.
pub const PROXY_ARGS: [&str; 10] = [
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Arguments that change how the build works; they need no `ARG`, and one that is not used is not
/// worth a warning.
pub const BUILDER_ARGS: [&str; 9] = [
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
];

/// Arguments with values of the builder's: visible to `FROM`, and to a stage that redeclares them.
pub const PLATFORM_ARGS: [&str; 11] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "TARGETARCH",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETPLATFORM",
    "TARGETSTAGE",
    "TARGETVARIANT",
];

/// What `TARGETSTAGE` says when no stage was asked for.
const DEFAULT_STAGE: &str = "default";

/// Whether an argument is one of the proxy settings.
pub fn is_proxy(name: &str) -> bool {
    PROXY_ARGS.contains(&name)
}

/// The parts of a platform, normalised; an absent one is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlatformParts<'a> {
    /// `linux`
    pub os: &'a str,
    /// Only Windows has one.
    pub os_version: &'a str,
    /// `amd64`
    pub architecture: &'a str,
    /// `v7`
    pub variant: &'a str,
}

impl PlatformParts<'_> {
    /// `os[(version)]/architecture[/variant]`
    fn name(&self) -> String {
        let os = match self.os_version {
            "" => self.os.to_owned(),
            version => format!("{}({version})", self.os),
        };
        [os.as_str(), self.architecture, self.variant]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// The values of [`PLATFORM_ARGS`] for a build on one platform for another.
pub fn platform_args(
    build: &PlatformParts<'_>,
    target: &PlatformParts<'_>,
    target_stage: Option<&str>,
) -> Vec<(&'static str, String)> {
    vec![
        ("BUILDARCH", build.architecture.to_owned()),
        ("BUILDOS", build.os.to_owned()),
        ("BUILDOSVERSION", build.os_version.to_owned()),
        ("BUILDPLATFORM", build.name()),
        ("BUILDVARIANT", build.variant.to_owned()),
        ("TARGETARCH", target.architecture.to_owned()),
        ("TARGETOS", target.os.to_owned()),
        ("TARGETOSVERSION", target.os_version.to_owned()),
        ("TARGETPLATFORM", target.name()),
        (
            "TARGETSTAGE",
            target_stage.unwrap_or(DEFAULT_STAGE).to_owned(),
        ),
        ("TARGETVARIANT", target.variant.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_argument_has_a_value() {
        let arm = PlatformParts {
            os: "linux",
            architecture: "arm",
            variant: "v7",
            ..PlatformParts::default()
        };
        let args = platform_args(&PlatformParts { variant: "", ..arm }, &arm, None);
        let names: Vec<_> = args.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, PLATFORM_ARGS);
        let value = |name| &args.iter().find(|(arg, _)| *arg == name).unwrap().1;
        assert_eq!(value("TARGETPLATFORM"), "linux/arm/v7");
        assert_eq!(value("BUILDPLATFORM"), "linux/arm");
        assert_eq!(value("TARGETSTAGE"), "default");
    }
}
