//! The image that the commands run in.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use cairn_diagnostic::Source;
use cairn_oci::RunConfig;
use cairn_sandbox::{Cancel, Network, Privilege};
use cairn_stack::structure::{
    CheckError, Conditions, Subject, TestFile, TestResult, evaluate, parse,
};
use cairn_store::{OpenOptions, Ownership, SnapshotId, Store};
use cairn_testkit::tree;

use crate::tool;

/// A store with the image in it, and a folder for the tests.
pub(crate) struct Image {
    store: Store,
    home: tempfile::TempDir,
    snapshots: Vec<SnapshotId>,
    config: RunConfig,
    folder: tempfile::TempDir,
    pub(crate) conditions: Conditions,
}

impl Image {
    pub(crate) fn new(privilege: Privilege) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let ownership = match privilege {
            Privilege::SingleId => Ownership::Recorded,
            _ => Ownership::Native,
        };
        let options = OpenOptions { ownership };
        let store = Store::open(home.path(), options).expect("a store");
        let active = store.begin_snapshot().expect("a snapshot");
        tree(
            active.upper(),
            &[
                "etc/passwd=root:x:0:0::/root:/bin/sh\nann:x:0:0::/home/ann:/bin/sh\n",
                "etc/group=root:x:0:\n",
                "app/data=baked\n",
                "bin/",
                "tmp/",
            ],
        );
        let program = active.upper().join("bin").join(tool::NAME);
        std::fs::copy("/proc/self/exe", &program).expect("a copy of this program");
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, permissions).expect("an executable program");
        let snapshots = vec![active.commit().expect("a commit")];

        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("mounted")).expect("a folder");
        std::fs::write(folder.path().join("mounted/file"), "of the host\n").expect("a file");
        std::fs::write(folder.path().join("env"), "FROM_FILE=keepitsecret!\n").expect("a file");
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).expect("a folder");
        let conditions = Conditions {
            exe: PathBuf::from("/proc/self/exe"),
            scratch,
            folder: folder.path().to_owned(),
            variables: BTreeMap::from([("HANDED_ON".to_owned(), "by the caller".to_owned())]),
            proxies: vec![("http_proxy".to_owned(), "http://proxy".to_owned())],
            network: Network::None,
            emulator: None,
            ca: None,
            timeout: Some(Duration::from_secs(20)),
            jobs: NonZeroUsize::new(2).expect("not zero"),
        };
        let config = serde_json::from_str(
            r#"{"Env": ["PATH=/bin", "BAKED=in the image"], "WorkingDir": "/app",
                "Entrypoint": ["/bin/tool", "exit", "77"]}"#,
        );
        Self {
            store,
            home,
            snapshots,
            config: config.expect("a config"),
            folder,
            conditions,
        }
    }

    /// A path in the folder that tests are run from.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the store is.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Runs a file's tests.
    pub(crate) fn evaluate(&self, text: &str) -> Result<Vec<TestResult>, CheckError> {
        self.evaluate_with(&file(text), &self.conditions, &Cancel::new(), &|_| {})
    }

    pub(crate) fn evaluate_with(
        &self,
        file: &TestFile,
        conditions: &Conditions,
        cancel: &Cancel,
        on_result: &(dyn Fn(&TestResult) + Sync),
    ) -> Result<Vec<TestResult>, CheckError> {
        let subject = Subject {
            store: &self.store,
            snapshots: &self.snapshots,
            config: &self.config,
        };
        evaluate(file, &subject, conditions, cancel, on_result)
    }
}

/// Reads a test file; its version is put in front.
pub(crate) fn file(text: &str) -> TestFile {
    let source = Source::new("t.yaml", format!("schemaVersion: 2.0.0\n{text}"));
    match parse(&source) {
        Ok(parsed) => parsed.file,
        Err(findings) => {
            let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
            panic!("{}", all.join("\n"))
        }
    }
}
