//! The image layout: the directory form in which images travel.

/// The file that marks a directory as an image layout.
pub const MARKER_FILE: &str = "oci-layout";
/// The bytes of [`MARKER_FILE`].
pub const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that lists the images of the layout.
pub const INDEX_FILE: &str = "index.json";
/// The folder of the blobs; below it one folder per algorithm.
pub const BLOBS: &str = "blobs";
