//! Paths in images for Windows: `C:\app` and `/app` are the same, and settings tell `\app`.

/// Why a path cannot be one in an image for Windows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// A drive and no path.
    #[error("No relative path specified in {0:?}")]
    OnlyDrive(String),
    /// A path on another machine.
    #[error("UNC paths are not supported")]
    Unc,
    /// Images have one drive.
    #[error("The specified path is not on the system drive (C:)")]
    OtherDrive,
}

/// The path as the layers have it: plain slashes, and no drive.
pub(super) fn plain(path: &str) -> Result<String, PathError> {
    let slashed = path.replace('\\', "/");
    if slashed.starts_with("//") {
        return Err(PathError::Unc);
    }
    match slashed.split_once(':') {
        None => Ok(slashed),
        Some((drive, "")) if drive.len() == 1 => Err(PathError::OnlyDrive(path.to_owned())),
        Some((drive, rest)) if drive.eq_ignore_ascii_case("c") => Ok(rest.to_owned()),
        Some(_) => Err(PathError::OtherDrive),
    }
}

/// A plain path as the settings of an image tell it.
pub(super) fn told(path: &str) -> String {
    path.replace('/', "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_drive_and_their_kind_of_slash() {
        for (written, expected) in [
            ("C:\\a\\b", "/a/b"),
            ("c:/a", "/a"),
            ("\\a\\", "/a/"),
            ("a\\b", "a/b"),
            ("C:a", "a"),
        ] {
            assert_eq!(plain(written).as_deref(), Ok(expected), "{written}");
        }
        assert_eq!(plain("D:\\a"), Err(PathError::OtherDrive));
        assert_eq!(plain("\\\\host\\a"), Err(PathError::Unc));
        let only = plain("C:").unwrap_err().to_string();
        assert_eq!(only, "No relative path specified in \"C:\"");
        assert_eq!(told("/a/b"), "\\a\\b");
    }
}
