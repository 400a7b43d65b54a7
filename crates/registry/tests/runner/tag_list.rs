//! Tags come page by page, and a repository that is not there has none.

use cairn_oci::Reference;
use cairn_registry::Watch;

use crate::answering::{Answering, Reply, client};

#[test]
fn all_pages_are_read_and_no_repository_has_no_tags() {
    let server = Answering::start(|asked| match asked.path.as_str() {
        "/v2/" => Reply::status(200),
        "/v2/a/tags/list?n=1000" => Reply::status(200)
            .with("Link", "</v2/a/tags/list?n=1000&last=two>; rel=\"next\"")
            .body("{\"name\":\"a\",\"tags\":[\"one\",\"two\"]}"),
        "/v2/a/tags/list?n=1000&last=two" => {
            Reply::status(200).body("{\"name\":\"a\",\"tags\":[\"x\"]}")
        }
        "/v2/empty/tags/list?n=1000" => Reply::status(200).body("{\"name\":\"a\",\"tags\":null}"),
        "/v2/wrong/tags/list?n=1000" => Reply::status(200).body("<html>"),
        _ => Reply::status(404),
    });
    let tags = |name: &str| {
        let name: Reference = format!("{}/{name}", server.address).parse().unwrap();
        client().tags(&name, Watch::NONE)
    };
    assert_eq!(tags("a").unwrap(), ["one", "two", "x"]);
    assert_eq!(tags("empty").unwrap(), [""; 0]);
    assert_eq!(tags("none").unwrap(), [""; 0]);
    let there = |name: &str| {
        let name: Reference = format!("{}/{name}", server.address).parse().unwrap();
        client().tags_if_there(&name, Watch::NONE).unwrap()
    };
    assert_eq!(there("empty"), Some(Vec::new()));
    assert_eq!(there("none"), None);
    let wrong = tags("wrong").unwrap_err();
    assert!(format!("{wrong:?}").contains("no such list"), "{wrong:?}");
}
