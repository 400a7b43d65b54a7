//! What refers to a manifest: by the API, filtered or not, by pages, and by the tag before it.

use std::sync::{Arc, Mutex};

use cairn_oci::{Descriptor, Digest, Index, Manifest, MediaType};
use cairn_registry::{Document, Watch};

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

/// A registry without the API: it has manifests and a list under a tag, which somebody else
/// overwrites once.
#[test]
fn what_is_attached_is_noted_where_the_registry_does_not() {
    let subject = Descriptor::of(MediaType::OciManifest, b"subject");
    let config = Descriptor::of(MediaType::OciEmpty, b"{}");
    let mut manifest = Manifest::new(config.clone(), vec![config]);
    manifest.artifact_type = Some("lab/report".to_owned());
    manifest.subject = Some(subject.clone());
    let bytes = manifest.to_json_bytes();
    let document = Document {
        descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
        bytes,
    };
    let (old, other) = (one("lab/report", b"old"), one("lab/other", b"o"));
    let first = Index::new(vec![old.clone()]).to_json_bytes();
    let theirs = Index::new(vec![old.clone(), other.clone()]).to_json_bytes();
    let tag = format!("/manifests/sha256-{}", subject.digest.hex());
    let list = Arc::new(Mutex::new((first, 0)));
    let (kept, at) = (list.clone(), tag.clone());
    let server = Answering::start(move |asked| {
        let mut kept = kept.lock().unwrap();
        match (asked.method.as_str(), asked.path.ends_with(&at)) {
            ("PUT", true) => {
                kept.1 += 1;
                // Who read at the same time writes a moment later.
                kept.0 = match kept.1 {
                    1 => theirs.clone(),
                    _ => asked.body.clone(),
                };
                Reply::status(201)
            }
            ("PUT", false) => Reply::status(201),
            (_, true) => Reply::status(200)
                .with("Content-Type", MediaType::OciIndex.as_str())
                .body(kept.0.clone()),
            _ => Reply::status(404),
        }
    });
    let repository = format!("{}/lab/a", server.address).parse().unwrap();
    let replaced = [old.digest.clone()];
    client()
        .attach(&repository, &document, &replaced, Watch::NONE)
        .unwrap();
    let found = client().referrers(&repository, &subject.digest, None, Watch::NONE);
    let digests: Vec<Digest> = found.unwrap().into_iter().map(|it| it.digest).collect();
    assert_eq!(digests, [other.digest, document.descriptor.digest.clone()]);
    assert_eq!(list.lock().unwrap().1, 2);

    // One that has the API is believed.
    let knows = Answering::start(|_| Reply::status(201).with("OCI-Subject", "sha256:x"));
    let repository = format!("{}/lab/a", knows.address).parse().unwrap();
    client()
        .attach(&repository, &document, &[], Watch::NONE)
        .unwrap();
    let put = format!("PUT /v2/lab/a/manifests/{}", document.descriptor.digest);
    assert_eq!(knows.lines(), [put]);
}
