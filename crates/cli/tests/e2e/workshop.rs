//! A place to run the program in: own store, own directory, a busybox base, fixed surroundings.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cairn_testkit::needs;
use tempfile::TempDir;

/// Static shells that Debian and others install; the first one found becomes the base image.
const BUSYBOX: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"];
const APPLETS: [&str; 20] = [
    "sh",
    "cat",
    "echo",
    "ls",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "touch",
    "sleep",
    "id",
    "env",
    "test",
    "true",
    "false",
    "chmod",
    "chown",
    "stat",
    "sha256sum",
    "grep",
];

/// A directory with a store in it.
pub(crate) struct Workshop {
    place: TempDir,
    home: PathBuf,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// Fails the test unless the command ended with 0.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    /// Fails the test unless standard error has this text.
    #[track_caller]
    pub(crate) fn err_has(self, text: &str) -> Self {
        assert!(
            self.err.contains(text),
            "no `{text}` in stderr:\n{}",
            self.err
        );
        self
    }

    /// Fails the test unless standard output has this text.
    #[track_caller]
    pub(crate) fn out_has(self, text: &str) -> Self {
        assert!(
            self.out.contains(text),
            "no `{text}` in stdout:\n{}",
            self.out
        );
        self
    }

    /// Fails the test if standard error has this text.
    #[track_caller]
    pub(crate) fn err_lacks(self, text: &str) -> Self {
        assert!(
            !self.err.contains(text),
            "`{text}` in stderr:\n{}",
            self.err
        );
        self
    }
}

impl Workshop {
    /// A workshop with the base image loaded as `base`; `None`, with a reason printed, where the
    /// machine cannot run it.
    pub(crate) fn with_base() -> Option<Self> {
        let workshop = Self::empty();
        let Some(busybox) = BUSYBOX.iter().map(Path::new).find(|path| is_static(path)) else {
            let _ = needs("a static busybox (Debian: busybox-static)", false);
            return None;
        };
        workshop.write_base(busybox);
        let said = workshop.cairn(&["load", "-t", "base", "tar:base.tar"]);
        if said.code == 3 {
            let _ = needs(&format!("sandboxes: {}", said.err), false);
            return None;
        }
        said.success();
        Some(workshop)
    }

    /// A workshop with an empty store.
    pub(crate) fn empty() -> Self {
        let place = TempDir::new_in("/var/tmp").expect("a temporary directory");
        let home = place.path().join("store");
        Self { place, home }
    }

    /// The working directory.
    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Uses another store from now on.
    pub(crate) fn move_to_store(&mut self, name: &str) {
        self.home = self.place.path().join(name);
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Runs the program to its end.
    pub(crate) fn cairn(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().expect("the program runs"))
    }

    /// The program with these arguments, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path())
            .env("CAIRN_HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Whether the store has a file of this name anywhere, in a step's unfinished changes too.
    pub(crate) fn store_has(&self, name: &str) -> bool {
        self.find_in_store(name).is_some()
    }

    /// Where the store has a file of this name.
    pub(crate) fn find_in_store(&self, name: &str) -> Option<PathBuf> {
        fn below(directory: &Path, name: &str) -> Option<PathBuf> {
            let entries = fs::read_dir(directory).ok()?;
            entries.filter_map(Result::ok).find_map(|entry| {
                if entry.file_name() == name {
                    return Some(entry.path());
                }
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                is_directory.then(|| below(&entry.path(), name))?
            })
        }
        below(&self.home, name)
    }

    /// Whether any file of the store holds these bytes.
    pub(crate) fn store_holds(&self, bytes: &[u8]) -> Option<PathBuf> {
        holder(&self.home, bytes)
    }

    fn write_base(&self, busybox: &Path) {
        let root = self.path().join("base-root");
        for dir in ["bin", "etc", "tmp", "root"] {
            fs::create_dir_all(root.join(dir)).expect("a directory");
        }
        fs::copy(busybox, root.join("bin/busybox")).expect("busybox");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.join("bin/busybox"), mode).expect("a mode");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        fs::write(root.join("etc/passwd"), passwd).expect("a file");
        fs::write(root.join("etc/group"), "root:x:0:\nann:x:1000:\n").expect("a file");
        let mut tar = tar::Builder::new(fs::File::create(self.path().join("base.tar")).unwrap());
        tar.follow_symlinks(false);
        tar.append_dir_all(".", &root).expect("a tar");
        tar.finish().expect("a tar");
        fs::remove_dir_all(root).expect("gone");
    }
}

/// Whether steps run here under several ids: as root, or with a range in `/etc/subuid`. Under one
/// alone, every file that a step sees belongs to its user, and may be changed by it.
pub(crate) fn has_many_ids() -> bool {
    let ours = fs::metadata("/proc/self").expect("a process").uid();
    let name = std::env::var("USER").unwrap_or_default();
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let mut owners = ranges.lines().filter_map(|line| line.split(':').next());
    ours == 0 || owners.any(|owner| owner == name || owner == ours.to_string())
}

/// What a finished process said.
pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a program needs no other file: its ELF header names no interpreter.
fn is_static(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    bytes.starts_with(b"\x7fELF") && !bytes.windows(8).any(|part| part == b"/ld-linu")
}

fn holder(directory: &Path, bytes: &[u8]) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).ok()?.filter_map(Result::ok) {
        let path = entry.path();
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            if let Some(found) = holder(&path, bytes) {
                return Some(found);
            }
        } else if kind.is_file()
            && let Ok(content) = fs::read(&path)
            && content.windows(bytes.len()).any(|part| part == bytes)
        {
            return Some(path);
        }
    }
    None
}
