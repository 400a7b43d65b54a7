//! Downloads from servers that break off, stall, limit, lie and redirect.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cairn_oci::Digest;
use cairn_registry::{
    Download, FetchError, FetchOptions, FetchProblem, Fetched, Fetcher, Proxies, RetryPolicy,
};

use cairn_store::{OpenOptions, Ownership, Store};

use crate::server::{Act, Server};

fn file() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn options() -> FetchOptions {
    FetchOptions {
        idle_timeout: Duration::from_millis(500),
        retry: RetryPolicy {
            attempts: 4,
            connect_attempts: 2,
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_secs(2),
            budget: Duration::from_secs(5),
        },
        ..FetchOptions::default()
    }
}

/// Downloads the file, knowing its digest, from a server that follows the script.
fn verified(server: &Server) -> Result<(Vec<u8>, Fetched), FetchError> {
    let digest = Digest::sha256(&file());
    let url = server.url("/pool/a.deb");
    let download = Download {
        url: &url,
        digest: Some(&digest),
        size: Some(1_200_000),
        limit: 2_000_000,
    };
    let mut bytes = Vec::new();
    let fetched = Fetcher::new(options()).download(&download, &mut bytes, &mut go_on)?;
    Ok((bytes, fetched))
}

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_file_arrives_with_its_date() {
    let server = Server::start(file(), None, &[Act::Serve]);
    let (bytes, fetched) = verified(&server).unwrap();
    assert!(bytes == file());
    assert_eq!(fetched.last_modified, Some(1_783_764_997));
    assert_eq!(fetched.size, 1_200_000);
    assert!(
        server
            .header(0, "user-agent")
            .unwrap()
            .starts_with("cairn/")
    );
}

#[test]
fn a_broken_transfer_is_continued_where_it_broke() {
    let breaks = [
        Act::Break(400_000),
        Act::Break(100),
        Act::HangUp,
        Act::Serve,
    ];
    let server = Server::start(file(), Some("\"v1\""), &breaks);
    assert!(verified(&server).unwrap().0 == file());
    assert_eq!(server.header(0, "range"), None);
    assert_eq!(server.header(1, "range").as_deref(), Some("bytes=400000-"));
    assert_eq!(server.header(1, "if-range").as_deref(), Some("\"v1\""));
    assert_eq!(server.header(3, "range").as_deref(), Some("bytes=400100-"));
}

#[test]
fn a_server_without_ranges_is_read_past_what_is_known() {
    let server = Server::start(file(), None, &[Act::Break(700_000), Act::ServeWhole]);
    assert!(verified(&server).unwrap().0 == file());
}

#[test]
fn progress_renews_the_patience() {
    let mut script = vec![Act::Break(100_000); 9];
    script.push(Act::Serve);
    let server = Server::start(file(), Some("\"v1\""), &script);
    assert!(verified(&server).unwrap().0 == file());
}

#[test]
fn busy_servers_are_asked_again_after_the_time_they_name() {
    let script = [
        Act::Status(503, "", "busy"),
        Act::Status(429, "Retry-After: 1\r\n", "slow down"),
        Act::Serve,
    ];
    let server = Server::start(file(), None, &script);
    let begin = Instant::now();
    assert!(verified(&server).unwrap().0 == file());
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_server_that_stays_broken_is_told_with_its_words() {
    let server = Server::start(file(), None, &[Act::Status(500, "", "out of disk\nmore")]);
    let error = verified(&server).unwrap_err();
    assert_eq!(server.requests().len(), 4);
    assert_eq!(error.attempts, 4);
    assert!(
        error
            .to_string()
            .ends_with("the server answered 500: out of disk"),
        "{error}"
    );
    assert!(error.hint().is_some() && !error.is_gone());
}

#[test]
fn a_missing_file_is_not_asked_for_twice() {
    let server = Server::start(file(), None, &[Act::Status(404, "", "<html>no</html>")]);
    let error = verified(&server).unwrap_err();
    assert!(error.is_gone());
    assert!(
        error.to_string().ends_with("the server answered 404"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_stalled_server_is_left_after_the_idle_time() {
    let server = Server::start(file(), None, &[Act::Stall, Act::Serve]);
    let begin = Instant::now();
    assert!(verified(&server).unwrap().0 == file());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn another_content_is_refused() {
    let mut other = file();
    other[7] ^= 1;
    let server = Server::start(other, None, &[Act::Serve]);
    let error = verified(&server).unwrap_err();
    assert!(
        matches!(error.problem, FetchProblem::WrongDigest { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn another_size_is_refused_before_the_body() {
    let server = Server::start(file()[1..].to_vec(), None, &[Act::Serve]);
    let error = verified(&server).unwrap_err();
    assert!(
        matches!(
            error.problem,
            FetchProblem::WrongSize {
                actual: 1_199_999,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn limits_hold_whether_the_size_is_announced_or_not() {
    for act in [Act::Serve, Act::Unannounced] {
        let server = Server::start(file(), None, &[act]);
        let error = Fetcher::new(options())
            .get_bytes(&server.url("/x"), 1000)
            .unwrap_err();
        assert!(
            matches!(error.problem, FetchProblem::TooLarge { limit: 1000 }),
            "{error}"
        );
    }
}

#[test]
fn a_file_of_unknown_content_that_changes_midway_is_refused() {
    let server = Server::start(file(), None, &[Act::Break(5000), Act::Unannounced]);
    let error = Fetcher::new(options())
        .get_bytes(&server.url("/x"), 2_000_000)
        .unwrap_err();
    assert!(matches!(error.problem, FetchProblem::Changed), "{error}");
}

#[test]
fn a_blob_enters_the_store_only_when_it_is_the_right_one() {
    let home = tempfile::tempdir().unwrap();
    let open = OpenOptions {
        ownership: Ownership::Native,
    };
    let store = Store::open(home.path(), open).unwrap();
    let digest = Digest::sha256(&file());
    for (act, arrives) in [(Act::Status(404, "", ""), false), (Act::Serve, true)] {
        let server = Server::start(file(), None, &[Act::Break(1000), act]);
        let url = server.url("/a.deb");
        let download = Download {
            url: &url,
            digest: Some(&digest),
            size: None,
            limit: u64::MAX,
        };
        let fetched = Fetcher::new(options()).get_blob(&store, &download, &mut go_on);
        assert_eq!(fetched.is_ok(), arrives);
        assert_eq!(store.has_blob(&digest), arrives);
    }
}

#[test]
fn redirects_are_followed() {
    let target = Server::start(file(), None, &[Act::Serve]);
    let location: &'static str = format!("Location: {}\r\n", target.url("/real")).leak();
    let server = Server::start(Vec::new(), None, &[Act::Status(302, location, "")]);
    let (bytes, fetched) = verified(&server).unwrap();
    assert!(bytes == file());
    assert_eq!(fetched.url, target.url("/real"));
}

#[test]
fn a_download_can_be_stopped_in_the_transfer_and_in_the_wait() {
    let digest = Digest::sha256(&file());
    let slow = RetryPolicy {
        first_wait: Duration::from_secs(60),
        ..options().retry
    };
    let patient = RetryPolicy {
        longest_wait: Duration::from_secs(60),
        budget: Duration::from_secs(600),
        ..slow
    };
    let fetcher = Fetcher::new(FetchOptions {
        retry: patient,
        ..options()
    });
    for act in [Act::Serve, Act::Status(503, "", "")] {
        let server = Server::start(file(), None, &[act]);
        let url = server.url("/x");
        let download = Download {
            url: &url,
            digest: Some(&digest),
            size: None,
            limit: u64::MAX,
        };
        let mut stop = |_| ControlFlow::Break(());
        let error = fetcher
            .download(&download, &mut Vec::new(), &mut stop)
            .unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    }
}

#[test]
fn credentials_reach_the_server_and_no_message() {
    let server = Server::start(file(), None, &[Act::Status(403, "", "no")]);
    let url = format!("http://joe:hunter2@{}/x?token=abc", server.address);
    let error = Fetcher::new(options()).get_bytes(&url, 10).unwrap_err();
    assert_eq!(
        server.header(0, "authorization").as_deref(),
        Some("Basic am9lOmh1bnRlcjI=")
    );
    let message = format!("{error} {error:?}");
    assert!(
        !message.contains("hunter2") && !message.contains("abc"),
        "{message}"
    );
}

#[test]
fn given_proxies_are_used_but_for_their_exceptions() {
    let proxy = Server::start(file(), None, &[Act::ServeWhole]);
    let direct = Server::start(b"direct".to_vec(), None, &[Act::Serve]);
    let proxies = Proxies {
        http: Some(proxy.address.to_string()),
        exceptions: Some("127.0.0.1".to_owned()),
        ..Proxies::default()
    };
    let fetcher = Fetcher::new(FetchOptions {
        proxies,
        ..options()
    });
    assert_eq!(
        fetcher.get_bytes(&direct.url("/x"), 10).unwrap().0,
        b"direct"
    );
    let (bytes, _) = fetcher
        .get_bytes("http://mirror.invalid/y", 2_000_000)
        .unwrap();
    assert!(bytes == file());
    assert!(proxy.requests()[0][0].starts_with("GET http://mirror.invalid/y"));
}

#[test]
fn only_http_addresses_and_readable_certificates_are_taken() {
    let error = Fetcher::new(options())
        .get_bytes("file:///etc/passwd", 10)
        .unwrap_err();
    assert!(matches!(error.problem, FetchProblem::NotHttp));
    let lost = FetchOptions {
        extra_certificates: vec!["/nowhere/ca.pem".into()],
        ..options()
    };
    let error = Fetcher::new(lost)
        .get_bytes("http://127.0.0.1:1/", 10)
        .unwrap_err();
    assert!(
        matches!(error.problem, FetchProblem::Certificates { .. }),
        "{error}"
    );
}
