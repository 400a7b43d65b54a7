//! What a build of a lone Dockerfile fails by before its first step, as the command tells it.

use cairn_build::attest::AttestError;
use cairn_stack::single::SingleError;

use crate::error::{CommandError, Kind};

impl From<AttestError> for CommandError {
    fn from(error: AttestError) -> Self {
        let kind = match error {
            AttestError::NoStatement { .. } | AttestError::NothingWritten => Kind::Work,
            _ => Kind::Environment,
        };
        let told = Self::from_error(kind, &error);
        match kind {
            Kind::Work => told.hint(
                "a generator writes `NAME.spdx.json` files to `$BUILDKIT_SCAN_DESTINATION`; \
                 without `generator=` Cairn looks for packages itself",
            ),
            _ => told,
        }
    }
}

impl From<SingleError> for CommandError {
    fn from(error: SingleError) -> Self {
        let kind = match error.is_usage() {
            true => Kind::Usage,
            false => Kind::Environment,
        };
        match error {
            SingleError::Findings(findings) | SingleError::Locks(findings) => {
                Self::from_findings(Kind::Usage, findings)
            }
            SingleError::Store(error) => error.into(),
            SingleError::NoDockerfile(_) | SingleError::DockerfileIsDirectory(_) => {
                Self::from_error(kind, &error)
                    .hint("name it with `--file` if it is called otherwise or lies elsewhere")
            }
            SingleError::DockerfileOutside { .. } => {
                Self::from_error(kind, &error).hint("name the file itself with `--file`")
            }
            SingleError::NoContext(ref path) if path.is_file() => Self::from_error(kind, &error)
                .hint("a Dockerfile is named with `--file`, its context is a directory"),
            SingleError::Template(ref name) => Self::from_error(kind, &error).hint(format!(
                "do it yourself: `cpp -E -P {name} | cairn build -f - CONTEXT`"
            )),
            error => {
                let hint = match &error {
                    SingleError::Git(inner) => inner.hint(),
                    SingleError::Fetch(inner) => inner.hint(),
                    _ => None,
                };
                let told = Self::from_error(kind, &error);
                hint.into_iter().fold(told, Self::hint)
            }
        }
    }
}
