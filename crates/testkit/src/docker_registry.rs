//! Debian's `docker-registry` on a free port of this machine, ended with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::needs;

const START_PATIENCE: Duration = Duration::from_secs(20);

/// A running registry with an empty storage of its own.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    host: String,
    place: TempDir,
}

/// How a registry lets people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Anybody, without TLS.
    Open,
    /// TLS by an authority of its own, and the user `joe` with the password `hunter2`.
    TlsAndPassword,
}

impl DockerRegistry {
    /// Starts a registry; `None`, with a reason printed, where the machine has none.
    #[must_use]
    pub fn start(guard: Guard) -> Option<Self> {
        let programs = match guard {
            Guard::Open => &["docker-registry"][..],
            Guard::TlsAndPassword => &["docker-registry", "openssl", "htpasswd"],
        };
        for program in programs {
            let what = format!("{program} (Debian: docker-registry, openssl, apache2-utils)");
            if !needs(&what, is_there(program)) {
                return None;
            }
        }
        let place = TempDir::new_in("/var/tmp").expect("a temporary directory");
        let host = format!("127.0.0.1:{}", free_port());
        let config = config(place.path(), &host, guard);
        fs::write(place.path().join("config.yml"), config).expect("a new file");
        let registry = Self {
            process: begin(place.path()),
            host,
            place,
        };
        registry.wait();
        Some(registry)
    }

    /// Its host and port, as in references.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A directory with a folder for this registry that holds its authority, as docker has it.
    #[must_use]
    pub fn certificates(&self) -> &Path {
        self.place.path()
    }

    /// What it wrote about requests.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Ends it; its port is free then.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, on its port and with what it held.
    pub fn resume(&mut self) {
        self.process = begin(self.place.path());
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(&self.host).is_err() {
            assert!(
                Instant::now() < deadline,
                "the registry does not listen: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn begin(place: &Path) -> Child {
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(place.join("log"))
        .expect("a log");
    Command::new("docker-registry")
        .arg("serve")
        .arg(place.join("config.yml"))
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the registry starts")
}

/// A port nobody listens to; somebody else may take it before it is used, which is rare.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn config(place: &Path, host: &str, guard: Guard) -> String {
    let shown = place.display();
    let mut config = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {shown}/storage\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {host}\n  secret: of-this-test\n"
    );
    if guard == Guard::TlsAndPassword {
        let folder = place.join(host);
        fs::create_dir(&folder).expect("a new directory");
        let key = place.join("server.key");
        // Its own authority: the name `*.crt` in the registry's folder makes it trusted.
        let certificate = folder.join("ca.crt");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=registry of a test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "openssl: {made:?}");
        let users = Command::new("htpasswd")
            .args(["-Bbn", "joe", "hunter2"])
            .output()
            .expect("htpasswd runs");
        fs::write(place.join("users"), users.stdout).expect("a new file");
        config.push_str(&format!(
            "  tls:\n    certificate: {}\n    key: {}\nauth:\n  htpasswd:\n    realm: test\n    \
             path: {shown}/users\n",
            certificate.display(),
            key.display()
        ));
    }
    config
}
