//! A registry in this process that answers as a function says, and a function that answers well.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cairn_oci::{
    Compression, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, Platform,
};
use cairn_registry::{FetchOptions, RegistryClient, RegistryOptions, RetryPolicy};
use cairn_testkit::{LayerTar, gzip};
use std::time::Duration;

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Hangs up after so many bytes of the body.
    pub(crate) breaks_after: Option<usize>,
    /// Hangs up without a word.
    pub(crate) is_silent: bool,
}

pub(crate) struct Answering {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Method and path in one, for matching.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Reply {
    pub(crate) fn status(status: u16) -> Reply {
        Reply {
            status,
            ..Reply::default()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }
}

impl Answering {
    /// Starts a server; it ends with the test process.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Answering {
        Self::start_cutting(answer, |_| None)
    }

    /// Starts a server that reads only so many bytes of some bodies.
    pub(crate) fn start_cutting(
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        cut: impl Fn(&Asked) -> Option<u64> + Send + Sync + 'static,
    ) -> Answering {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer, cut) = (asked.clone(), Arc::new(answer), Arc::new(cut));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer, cut) = (seen.clone(), answer.clone(), cut.clone());
                std::thread::spawn(move || {
                    // A client that has seen enough may be gone.
                    let _ = serve(stream, &seen, &*answer, &*cut);
                });
            }
        });
        Answering { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of all requests but the pings that find out the scheme.
    pub(crate) fn lines(&self) -> Vec<String> {
        let asked = self.asked();
        let lines = asked.iter().map(Asked::line);
        lines.filter(|line| line != "GET /v2/").collect()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> Reply,
    cut: &dyn Fn(&Asked) -> Option<u64>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(path), Some("HTTP/1.1")) = (words.next(), words.next(), words.next())
    else {
        // What a TLS client says first is no request.
        return Ok(());
    };
    let mut asked = Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        ..Asked::default()
    };
    for line in reader.by_ref().lines() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let name = name.to_ascii_lowercase();
        asked.headers.insert(name, value.trim().to_owned());
    }
    let length = asked.header("content-length").parse().unwrap_or(0);
    let length = cut(&asked).unwrap_or(length);
    reader.take(length).read_to_end(&mut asked.body)?;
    let reply = answer(&asked);
    let is_head = asked.method == "HEAD";
    seen.lock().unwrap().push(asked);
    if reply.is_silent {
        return Ok(());
    }
    write!(stream, "HTTP/1.1 {} Told\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    let length = reply.body.len();
    write!(
        stream,
        "Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    let end = reply.breaks_after.unwrap_or(length).min(length);
    if !is_head {
        stream.write_all(&reply.body[..end])?;
    }
    Ok(())
}

/// The content of one repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Shelf {
    pub(crate) fn blob(&mut self, kind: MediaType, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(kind, bytes);
        self.blobs
            .insert(descriptor.digest.to_string(), bytes.to_vec());
        descriptor
    }

    pub(crate) fn manifest(&mut self, tag: &str, kind: MediaType, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(kind.clone(), bytes);
        let entry = (kind.as_str().to_owned(), bytes.to_vec());
        for name in [tag, descriptor.digest.as_str()] {
            self.manifests.insert(name.to_owned(), entry.clone());
        }
        descriptor
    }

    /// Adds an image of one layer with a large file, under a tag.
    pub(crate) fn image(&mut self, tag: &str, platform: &Platform, text: &str) -> Descriptor {
        let noise: Vec<u8> = (0..60_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let tar = LayerTar::new()
            .file("word", text.as_bytes())
            .file("noise", &noise)
            .finish();
        let mut config = ImageConfig::new(platform);
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256(&tar))];
        let layer = self.blob(MediaType::OciLayer(Compression::Gzip), &gzip(&tar));
        let config = self.blob(MediaType::OciConfig, &config.to_json_bytes());
        let manifest = Manifest::new(config, vec![layer]).to_json_bytes();
        let mut descriptor = self.manifest(tag, MediaType::OciManifest, &manifest);
        descriptor.platform = Some(platform.clone());
        descriptor
    }

    /// Adds an index under a tag.
    pub(crate) fn index(&mut self, tag: &str, manifests: Vec<Descriptor>) -> Descriptor {
        let bytes = Index::new(manifests).to_json_bytes();
        self.manifest(tag, MediaType::OciIndex, &bytes)
    }

    /// Answers as a registry does that holds this in every repository.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.as_str();
        if path == "/v2/" {
            return Reply::status(200);
        }
        if let Some((_, name)) = path.split_once("/manifests/") {
            return match self.manifests.get(name) {
                Some((kind, bytes)) => Reply::status(200)
                    .with("Content-Type", kind)
                    .with("Docker-Content-Digest", Digest::sha256(bytes).to_string())
                    .body(bytes.clone()),
                None => missing("MANIFEST_UNKNOWN"),
            };
        }
        let blob = path
            .split_once("/blobs/")
            .and_then(|(_, digest)| self.blobs.get(digest));
        match blob {
            Some(bytes) => ranged(bytes, asked),
            None => missing("BLOB_UNKNOWN"),
        }
    }
}

fn ranged(bytes: &[u8], asked: &Asked) -> Reply {
    let start = asked
        .header("range")
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    match start {
        None => Reply::status(200).body(bytes),
        Some(start) => Reply::status(206)
            .with(
                "Content-Range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            )
            .body(&bytes[start..]),
    }
}

fn missing(code: &str) -> Reply {
    let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"not known here\"}}]}}");
    Reply::status(404).body(body)
}

/// Options with little patience.
pub(crate) fn options() -> RegistryOptions {
    RegistryOptions {
        http: FetchOptions {
            idle_timeout: Duration::from_secs(5),
            retry: RetryPolicy {
                attempts: 4,
                connect_attempts: 2,
                first_wait: Duration::from_millis(5),
                longest_wait: Duration::from_secs(2),
                budget: Duration::from_secs(5),
            },
            ..FetchOptions::default()
        },
        ..RegistryOptions::default()
    }
}

pub(crate) fn client() -> RegistryClient {
    RegistryClient::new(options())
}
