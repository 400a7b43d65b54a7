//! What a case works with: directories of its own, an image made of busybox, runs and their
//! results.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use cairn_sandbox::{
    Cancel, Enter, Exit, Mount, Privilege, Sandbox, SandboxError, Stream, Writable,
};

use crate::mode::Mode;

/// How many arguments [`Fixture::enter`] takes.
pub(crate) const ARGUMENTS: usize = 2;

/// The first argument of a process that runs one sandbox and does nothing else.
pub(crate) const HOLD: &str = "--hold";

/// The first argument of this program as a tool inside.
pub(crate) const TOOL: &str = "--tool";

pub(crate) struct Fixture {
    pub(crate) mode: Mode,
    pub(crate) base: PathBuf,
    pub(crate) image: PathBuf,
    next: AtomicU32,
}

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The directories of one run.
pub(crate) struct Place {
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) scratch: PathBuf,
}

impl Fixture {
    /// Enters the mode named by the arguments, or says why that is impossible here.
    pub(crate) fn enter(arguments: &[String]) -> Result<Fixture, String> {
        let [mode, base, ..] = arguments else {
            return Err("two arguments expected".to_owned());
        };
        let mode = Mode::parse(mode).ok_or("unknown mode")?;
        let single_id = mode == Mode::SingleId;
        let entered = cairn_sandbox::enter(&Enter {
            single_id,
            ..Enter::default()
        });
        let wanted = match mode {
            Mode::Root => Privilege::Root,
            Mode::SubuidRange => Privilege::SubuidRange,
            Mode::SingleId => Privilege::SingleId,
        };
        match entered {
            Err(error) => return Err(error.to_string()),
            Ok(privilege) if privilege != wanted => return Err(format!("got {privilege:?}")),
            Ok(_) => {}
        }
        let base = PathBuf::from(base);
        let image = base.join("image");
        make_image(&image)?;
        Ok(Fixture {
            mode,
            base,
            image,
            next: AtomicU32::new(0),
        })
    }

    /// A new directory.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.base.join(format!("{number}-{name}"));
        fs::create_dir(&dir).unwrap();
        dir
    }

    pub(crate) fn place(&self) -> Place {
        let dir = self.dir("place");
        let [upper, work, scratch] = ["upper", "work", "scratch"].map(|name| dir.join(name));
        for dir in [&upper, &work, &scratch] {
            fs::create_dir(dir).unwrap();
        }
        Place {
            upper,
            work,
            scratch,
        }
    }

    /// A sandbox over the image that runs a shell script; its upper is the place's.
    pub(crate) fn shell(&self, place: &Place, script: &str) -> Sandbox {
        self.command(place, &["sh", "-c", script])
    }

    pub(crate) fn command(&self, place: &Place, argv: &[&str]) -> Sandbox {
        let writable = Writable::Upper {
            upper: place.upper.clone(),
            work: place.work.clone(),
        };
        let argv = argv.iter().map(|text| (*text).to_owned()).collect();
        let mut sandbox = Sandbox::new(
            place.scratch.clone(),
            vec![self.image.clone()],
            writable,
            argv,
        );
        sandbox.env = vec![("PATH".to_owned(), "/bin".to_owned())];
        sandbox
    }

    /// This program as `/tool`, for calls that no program of the image makes.
    pub(crate) fn tool(&self) -> Mount {
        Mount::Bind {
            source: fs::read_link("/proc/self/exe").unwrap(),
            target: "/tool".into(),
            read_only: true,
        }
    }

    /// What a script prints on the image; it must succeed.
    pub(crate) fn prints(&self, script: &str) -> String {
        run(&self.shell(&self.place(), script)).succeeded()
    }
}

impl Ran {
    /// Its standard output, without the last newline.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(
            self.exit,
            Exit::Code(0),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self.stdout.trim_end().to_owned()
    }
}

pub(crate) fn run(sandbox: &Sandbox) -> Ran {
    try_run(sandbox).unwrap_or_else(|error| panic!("{}", describe(&error)))
}

pub(crate) fn try_run(sandbox: &Sandbox) -> Result<Ran, SandboxError> {
    run_until(sandbox, &Cancel::new())
}

pub(crate) fn run_until(sandbox: &Sandbox, cancel: &Cancel) -> Result<Ran, SandboxError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = sandbox.run(cancel, &mut |stream, bytes| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran {
        exit,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// An error and its causes.
pub(crate) fn describe(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

/// What is below a directory, sorted: `d path`, `f path`, `l path`, `c path` for whiteouts.
pub(crate) fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(at) = ahead.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let letter = match () {
                () if kind.is_dir() => 'd',
                () if kind.is_file() => 'f',
                () if kind.is_symlink() => 'l',
                () => 'c',
            };
            let path = entry.path();
            found.push(format!(
                "{letter} {}",
                path.strip_prefix(dir).unwrap().display()
            ));
            if kind.is_dir() {
                ahead.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Writes a file and what is missing above it.
pub(crate) fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A process that enters and runs one sandbox; for what is about the process itself.
pub(crate) fn hold_command(fixture: &Fixture, stdin: &str, script: &str) -> Command {
    let place = fixture.place();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(HOLD)
        .arg(stdin)
        .arg(&place.scratch)
        .arg(&fixture.image)
        .arg(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Inside a sandbox: makes one system call.
pub(crate) fn tool(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let id = |text: &str| text.parse::<u32>().ok();
    let done = match words[..] {
        ["chown", path, uid, gid] => {
            std::os::unix::fs::chown(path, id(uid), id(gid)).map_err(|error| error.to_string())
        }
        ["effective-user"] => {
            println!("{}", rustix::process::geteuid().as_raw());
            Ok(())
        }
        ["become", uid, gid] => become_user(id(uid), id(gid)).map_err(|error| error.to_string()),
        _ => Err("unknown call".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What a daemon does before it serves.
fn become_user(uid: Option<u32>, gid: Option<u32>) -> Result<(), rustix::io::Errno> {
    let gid = rustix::thread::Gid::from_raw(gid.unwrap_or_default());
    rustix::thread::set_thread_groups(&[gid])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = rustix::thread::Uid::from_raw(uid.unwrap_or_default());
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

pub(crate) fn hold(arguments: &[String]) -> ExitCode {
    let [stdin, scratch, image, script] = arguments else {
        return ExitCode::FAILURE;
    };
    // Started by a process that has entered, this one need not.
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let mut sandbox = Sandbox::new(scratch.into(), vec![image.into()], Writable::Tmpfs, argv);
    sandbox.env = vec![("PATH".to_owned(), "/bin".to_owned())];
    sandbox.stdin = match stdin.as_str() {
        "tty" => cairn_sandbox::Stdin::Tty,
        _ => cairn_sandbox::Stdin::Inherit,
    };
    let exit = sandbox.run(&Cancel::new(), &mut |_, bytes| {
        use std::io::Write;
        let mut stdout = std::io::stdout();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .unwrap();
    });
    match exit {
        Ok(exit) => ExitCode::from(u8::try_from(exit.shell_code()).unwrap_or(255)),
        Err(error) => {
            println!("{}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// The smallest image with a shell: one static program under many names.
fn make_image(image: &Path) -> Result<(), String> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or("no /bin/busybox (package busybox-static)")?;
    let list = Command::new(busybox)
        .arg("--list")
        .output()
        .map_err(|error| error.to_string())?;
    let bin = image.join("bin");
    for dir in ["bin", "etc", "root", "tmp"] {
        fs::create_dir_all(image.join(dir)).unwrap();
    }
    fs::copy(busybox, bin.join("busybox")).unwrap();
    // A dynamic program names its interpreter in the first page.
    let program = fs::read(busybox).unwrap();
    if program[..program.len().min(4096)]
        .windows(4)
        .any(|window| window == b"/ld-")
    {
        return Err("busybox is not static (package busybox-static)".to_owned());
    }
    for name in String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", bin.join(name)).unwrap();
    }
    fs::set_permissions(image.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(image.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    Ok(())
}
