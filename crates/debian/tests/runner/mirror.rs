//! Mirrors for tests: the archive of `tests/archive`, served over HTTP by this process, with
//! files taken away, replaced or added.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a mirror has at a path: other bytes, or nothing.
pub(crate) type Changes = HashMap<String, Option<Vec<u8>>>;

pub(crate) struct Mirror {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// The files of the test archive.
pub(crate) fn archive_file(path: &str) -> Vec<u8> {
    std::fs::read(archive_root().join(path)).unwrap()
}

fn archive_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive")
}

impl Mirror {
    /// Serves the test archive with changes; paths begin at the archive's root.
    pub(crate) fn start(changes: &[(&str, Option<&[u8]>)]) -> Mirror {
        let owned =
            |(path, bytes): &(&str, Option<&[u8]>)| ((*path).to_owned(), bytes.map(<[u8]>::to_vec));
        Mirror::serve(changes.iter().map(owned).collect(), archive_root())
    }

    /// Serves nothing but the given files.
    pub(crate) fn only(files: &[(&str, &[u8])]) -> Mirror {
        let owned = |(path, bytes): &(&str, &[u8])| ((*path).to_owned(), Some(bytes.to_vec()));
        Mirror::serve(
            files.iter().map(owned).collect(),
            PathBuf::from("/nonexistent"),
        )
    }

    fn serve(changes: Changes, root: PathBuf) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, changes) = (asked.clone(), Arc::new(changes));
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, changes, root) = (seen.clone(), changes.clone(), root.clone());
                std::thread::spawn(move || answer(stream, &seen, &changes, &root));
            }
        });
        Mirror { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>, changes: &Changes, root: &Path) {
    let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else {
        return;
    };
    let path = path.trim_start_matches('/').to_owned();
    seen.lock().unwrap().push(path.clone());
    let found = match changes.get(&path) {
        Some(changed) => changed.clone(),
        None => std::fs::read(root.join(&path)).ok(),
    };
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A client that has seen enough may be gone; that is its right.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}
