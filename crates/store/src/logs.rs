//! Logs of steps: one file per run and vertex, whole.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::error::{At, StoreError};
use crate::store::Store;

impl Store {
    /// Opens the log of a vertex in a run for writing, empty.
    pub fn log_writer(&self, run: &str, vertex: &str) -> Result<File, StoreError> {
        let path = self.log_path(run, vertex);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).at("create", directory)?;
        }
        File::create(&path).at("create", &path)
    }

    /// Where the log of a vertex in a run is, or would be.
    pub fn log_path(&self, run: &str, vertex: &str) -> PathBuf {
        let logs = self.layout().part("logs");
        logs.join(file_name(run)).join(file_name(vertex) + ".log")
    }
}

/// Names may hold anything; what is not plain becomes `_`.
fn file_name(name: &str) -> String {
    const LENGTH_MAX: usize = 120;
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
        _ => '_',
    };
    name.chars().map(plain).take(LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use crate::store::tests::fixture;
    use std::io::Write;

    #[test]
    fn logs_stay_in_their_folder() {
        let (home, store) = fixture();
        let mut log = store.log_writer("../run 1", "../../v/7").unwrap();
        log.write_all(b"line\n").unwrap();
        let path = home.path().join("logs/___run_1/______v_7.log");
        assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
        assert_eq!(store.log_path("../run 1", "../../v/7"), path);
    }
}
