//! What identifies a test: evidence of an image is kept by it, and a changed test has another.
//!
//! | enters | does not |
//! | --- | --- |
//! | every key of the file that can change a verdict, in normal form | comments, order of keys, quoting |
//! | names of tests (results are shown by them) | the file's own name |
//! | the content of the `envFile` | values of `envVars`: they may be secrets |
//! | the way tests are run ([`VERSION`]) | network, mounts' content, time |
//!
//! A test that looks at something outside of image and file is not [`is_repeatable`]: what came
//! of it says nothing about the next time.

use std::path::Path;

use cairn_store::{ContentDigest, KeyHasher};

use super::file::TestFile;

/// To be raised when the same file may get another verdict from a newer cairn.
const VERSION: u64 = 1;

/// Takes the digest of a test file; `folder` is where its paths start from.
pub fn digest(file: &TestFile, folder: &Path) -> ContentDigest {
    let normal = serde_json::to_vec(file).unwrap_or_default();
    let mut hasher = KeyHasher::new("structure-test");
    hasher.number("version", VERSION);
    hasher.field("file", &normal);
    if let Some(env_file) = &file.run_options.env_file {
        match std::fs::read(folder.join(env_file)) {
            Ok(content) => hasher.field("env file", &content),
            Err(_) => hasher.field("no env file", b""),
        };
    }
    hasher.finish_content()
}

/// Whether the verdict depends on image and file alone, as far as the file tells.
pub fn is_repeatable(file: &TestFile) -> bool {
    let options = &file.run_options;
    options.bind_mounts.is_empty() && options.env_vars.is_empty() && !options.privileged
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use super::*;
    use crate::structure::parse;

    fn digest_of(text: &str, folder: &Path) -> ContentDigest {
        let parsed = parse(&Source::new("t.yaml", text)).expect("a good file");
        digest(&parsed.file, folder)
    }

    const TEXT: &str = "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: a\n  path: /a\n";

    #[test]
    fn what_means_the_same_has_the_same_digest() {
        let folder = Path::new("/nowhere");
        let same = [
            "# comment\nschemaVersion: '2.0.0'\nfileExistenceTests: [{path: /a, name: 'a'}]\n",
            "fileExistenceTests:\n- name: a\n  path: /a\n  shouldExist: yes\nschemaVersion: 2.0.0\n",
        ];
        for text in same {
            assert_eq!(digest_of(text, folder), digest_of(TEXT, folder), "{text}");
        }
        let other = TEXT.replace("path: /a", "path: /b");
        assert_ne!(digest_of(&other, folder), digest_of(TEXT, folder));
    }

    /// The digest is a format: evidence kept by an older cairn is found by it.
    #[test]
    fn the_digest_is_stable() {
        let digest = digest_of(TEXT, Path::new("/nowhere"));
        assert_eq!(
            digest.to_string(),
            "243c4eaafb42af87678ef5f3ae9c61d0875487aa0ac1ea745cb50f63156dff19"
        );
    }

    #[test]
    fn the_variables_file_enters_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{TEXT}containerRunOptions:\n  envFile: env\n");
        let missing = digest_of(&text, folder.path());
        std::fs::write(folder.path().join("env"), "A=1\n").unwrap();
        let one = digest_of(&text, folder.path());
        std::fs::write(folder.path().join("env"), "A=2\n").unwrap();
        let two = digest_of(&text, folder.path());
        assert!(missing != one && one != two);
    }

    #[test]
    fn what_looks_outside_is_not_repeatable() {
        let parsed = |options: &str| {
            let text = format!("{TEXT}containerRunOptions:\n  {options}\n");
            parse(&Source::new("t.yaml", text)).unwrap().file
        };
        assert!(is_repeatable(&parsed("user: root")));
        assert!(!is_repeatable(&parsed("envVars: [TOKEN]")));
        assert!(!is_repeatable(&parsed("bindMounts: ['/a:/b']")));
        assert!(!is_repeatable(&parsed("privileged: true")));
    }
}
