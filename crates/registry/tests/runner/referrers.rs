//! What refers to a manifest: by the API, filtered or not, by pages, and by the tag before it.

use cairn_oci::{Descriptor, Digest, Index, MediaType};
use cairn_registry::Watch;

use crate::answering::{Answering, Asked, Reply, client};

fn one(kind: &str, bytes: &[u8]) -> Descriptor {
    let mut one = Descriptor::of(MediaType::OciManifest, bytes);
    one.artifact_type = Some(kind.to_owned());
    one
}

fn list(ones: &[&Descriptor]) -> Reply {
    let index = Index::new(ones.iter().map(|one| (*one).clone()).collect());
    let kind = MediaType::OciIndex.as_str().to_owned();
    let reply = Reply::status(200).with("Content-Type", kind);
    reply.body(index.to_json_bytes())
}

/// The digests that a registry with these answers tells.
fn asked(
    answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    kind: Option<&str>,
) -> (Vec<Digest>, Vec<String>) {
    let server = Answering::start(answer);
    let repository = format!("{}/lab/a", server.address).parse().unwrap();
    let subject = Digest::sha256(b"subject");
    let found = client().referrers(&repository, &subject, kind, Watch::NONE);
    let found = found.unwrap().into_iter().map(|one| one.digest).collect();
    (found, server.lines())
}

#[test]
fn referrers_are_listed_and_filtered() {
    let (report, signature) = (one("lab/report", b"r"), one("lab/signature", b"s"));
    let both = vec![report.digest.clone(), signature.digest.clone()];
    let (r, s) = (report.clone(), signature.clone());
    let (found, lines) = asked(move |_| list(&[&r, &s]), None);
    assert_eq!(found, both);
    let subject = Digest::sha256(b"subject");
    assert_eq!(lines, [format!("GET /v2/lab/a/referrers/{subject}")]);

    // A registry that filters is believed, one that does not is helped.
    let (r, s) = (report.clone(), signature.clone());
    let (found, lines) = asked(move |_| list(&[&r, &s]), Some("lab/report"));
    assert_eq!(found, both[..1]);
    assert!(
        lines[0].ends_with("?artifactType=lab%2Freport"),
        "{lines:?}"
    );
    let r = report.clone();
    let filters = move |_: &Asked| list(&[&r]).with("OCI-Filters-Applied", "artifactType");
    assert_eq!(asked(filters, Some("lab/report")).0, both[..1]);

    // By pages.
    let (r, s) = (report.clone(), signature.clone());
    let pages = move |asked: &Asked| match asked.path.contains("next=1") {
        true => list(&[&s]),
        false => {
            let link = format!("<{}?next=1>; rel=\"next\"", asked.path);
            list(&[&r]).with("Link", link)
        }
    };
    assert_eq!(asked(pages, None).0, both);
}

#[test]
fn a_registry_without_the_api_has_them_under_a_tag() {
    let report = one("lab/report", b"r");
    let expected = vec![report.digest.clone()];
    let tag = format!("/manifests/sha256-{}", Digest::sha256(b"subject").hex());
    let tagged = move |asked: &Asked| match asked.path.ends_with(&tag) {
        true => list(&[&report, &one("lab/other", b"o")]),
        false => Reply::status(404),
    };
    assert_eq!(asked(tagged, Some("lab/report")).0, expected);
    assert!(asked(|_| Reply::status(404), None).0.is_empty());
}
