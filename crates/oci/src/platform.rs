//! Platforms: operating system with its version, CPU architecture, variant. containerd's
//! normalisation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;

/// An operating system on a CPU: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The CPU architecture, in Go's spelling (`amd64`).
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// Its version (Windows).
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Its needed features (Windows).
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The CPU variant (`v7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Empty, too many parts, or letters that do not belong.
    #[error("`{0}` is no platform: expected os/architecture[/variant], such as linux/amd64")]
    Form(String),
    /// Only an operating system.
    #[error("`{0}` names no architecture: expected os/architecture, such as linux/amd64")]
    NoArchitecture(String),
}

const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// Operating systems that images are made for.
const SYSTEMS: &[&str] = &["darwin", "freebsd", "linux", "wasi", "wasip1", "windows"];

impl Platform {
    /// The first part of it that no image is known to be made for, with those that there are:
    /// probably a slip. Builders take it all the same, as BuildKit does.
    pub fn unfamiliar(&self) -> Option<(&str, &'static [&'static str])> {
        let parts = [(&self.os, SYSTEMS), (&self.architecture, ARCHITECTURES)];
        let mut parts = parts
            .into_iter()
            .map(|(part, known)| (part.as_str(), known));
        parts.find(|(part, known)| !known.contains(part))
    }

    /// The platform that this program was built for, which is the one it runs on.
    #[must_use]
    pub fn of_this_program() -> Self {
        let architecture = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else if cfg!(target_arch = "aarch64") {
            "arm64"
        } else if cfg!(target_arch = "x86") {
            "386"
        } else if cfg!(target_arch = "powerpc64") {
            "ppc64le"
        } else if cfg!(target_arch = "riscv64") {
            "riscv64"
        } else if cfg!(target_arch = "loongarch64") {
            "loong64"
        } else if cfg!(target_arch = "s390x") {
            "s390x"
        } else {
            "arm"
        };
        Self::new("linux", architecture)
    }

    /// Makes a normalised platform without a variant of its own.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            architecture: architecture.into(),
            os: os.into(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        }
        .normalised()
    }

    /// Whether something made for `other` runs where this is asked for: equal but for what
    /// normalisation leaves open.
    pub fn matches(&self, other: &Self) -> bool {
        let (wanted, offered) = (self.clone().normalised(), other.clone().normalised());
        wanted.os == offered.os
            && wanted.architecture == offered.architecture
            && wanted.variant == offered.variant
            && (wanted.os_version.is_none() || wanted.os_version == offered.os_version)
    }

    /// Brings the spellings in use (`aarch64`, `x86_64`, `armhf`, `arm64/v8`) to one.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".into(),
            os => os.into(),
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.take().unwrap_or_default().to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        self.variant = (!variant.is_empty()).then(|| variant.into());
        self.architecture = architecture.into();
        self
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let fits = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let (text, version) = split_version(text)?;
        let text = text.as_str();
        let with_version = |platform: Self| Self {
            os_version: version.clone(),
            ..platform
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| fits(part)) {
            return Err(PlatformError::Form(text.into()));
        }
        match parts[..] {
            [alone] => {
                let platform = Self::new("linux", alone);
                if ARCHITECTURES.contains(&platform.architecture.as_str()) {
                    Ok(platform)
                } else {
                    Err(PlatformError::NoArchitecture(text.into()))
                }
            }
            [os, architecture] => Ok(with_version(Self::new(os, architecture))),
            [os, architecture, variant] => Ok(with_version(Self {
                variant: Some(variant.into()),
                architecture: architecture.into(),
                ..Self::new(os, architecture)
            })
            .normalised()),
            _ => Err(PlatformError::Form(text.into())),
        }
    }
}

/// Takes the version out of `windows(10.0.17763)/amd64`.
fn split_version(text: &str) -> Result<(String, Option<String>), PlatformError> {
    let (os, rest) = text.split_once('/').unwrap_or((text, ""));
    let Some((os, version)) = os.split_once('(') else {
        return Ok((text.to_owned(), None));
    };
    let wrong = || PlatformError::Form(text.to_owned());
    let version = version.strip_suffix(')').ok_or_else(wrong)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if version.is_empty() || !version.chars().all(fits) {
        return Err(wrong());
    }
    Ok((format!("{os}/{rest}"), Some(version.to_owned())))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_taken_and_can_be_told() {
        let part = |text: &str| {
            let platform: Platform = text.parse().unwrap();
            platform.unfamiliar().map(|(part, _)| part.to_owned())
        };
        assert_eq!(part("linux/amd46").as_deref(), Some("amd46"));
        assert_eq!(part("linus/amd64").as_deref(), Some("linus"));
        for known in [
            "linux/x86_64",
            "windows(10.0.1)/amd64",
            "linux/arm/v6",
            "wasip1/wasm",
        ] {
            assert_eq!(part(known), None, "{known}");
        }
    }

    #[test]
    fn spellings_become_one() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm/5", "linux/arm/v5"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/riscv64", "linux/riscv64"),
            ("windows(10.0.1)/x86_64", "windows(10.0.1)/amd64"),
            ("windows(10.0.1)/arm", "windows(10.0.1)/arm/v7"),
        ] {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), expected, "{text}");
            assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "/",
            "linux/",
            "linux",
            "windows",
            "linux/amd64/v1/x",
            "linux/am d",
            "windows(/amd64",
            "windows()/amd64",
            "windows(1/2)/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn matches_after_normalising() {
        let wanted: Platform = "linux/arm64".parse().unwrap();
        let offered = Platform {
            variant: Some("v8".into()),
            ..wanted.clone()
        };
        assert!(wanted.matches(&offered));
        assert!(!wanted.matches(&"linux/arm/v7".parse().unwrap()));
    }
}
