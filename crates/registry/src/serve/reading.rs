//! Answers to GET and HEAD: what is on the shelf.

use cairn_oci::{Digest, Index, MediaType};

use super::answer::{Answer, Code, Headers, error, json};
use super::message::Request;
use super::route::Route;
use super::{Shelf, ShelfError};
use crate::distribution::Document;

pub(crate) fn answer(
    request: &Request,
    route: Route<'_>,
    shelf: &dyn Shelf,
) -> Result<Answer, ShelfError> {
    match route {
        Route::Base => Ok(json(&serde_json::json!({}), Vec::new())),
        Route::Catalog => {
            let names = shelf.repositories()?;
            Ok(page(
                names,
                request,
                |names| serde_json::json!({ "repositories": names }),
            ))
        }
        Route::Tags(name) => Ok(match shelf.tags(name)? {
            Some(tags) => page(
                tags,
                request,
                |tags| serde_json::json!({ "name": name, "tags": tags }),
            ),
            None => error(Code::NameUnknown, "no such repository"),
        }),
        Route::Manifest(repository, reference) => {
            let found = match reference.parse::<Digest>() {
                Ok(digest) => shelf.by_digest(repository, &digest)?,
                Err(_) => shelf.by_tag(repository, reference)?,
            };
            match found {
                Some(document) => Ok(manifest(document)),
                None if shelf.tags(repository)?.is_none() => {
                    Ok(error(Code::NameUnknown, "no such repository"))
                }
                None => Ok(error(Code::ManifestUnknown, "no such manifest")),
            }
        }
        Route::Blob(repository, name) => {
            let found = match name.parse::<Digest>() {
                Ok(digest) => shelf.blob(repository, &digest)?,
                Err(_) => None,
            };
            Ok(match found {
                Some((file, size)) => Answer::File(
                    vec![
                        ("Content-Type", "application/octet-stream".to_owned()),
                        ("Docker-Content-Digest", name.to_owned()),
                        ("Accept-Ranges", "bytes".to_owned()),
                    ],
                    file,
                    size,
                ),
                None => error(Code::BlobUnknown, "no such blob"),
            })
        }
        Route::Referrers(repository, subject) => referrers(request, repository, subject, shelf),
        Route::Uploads(_) | Route::Upload(..) => Ok(unsupported()),
    }
}

/// What is said to writers where nobody writes.
pub(crate) fn unsupported() -> Answer {
    let mut answer = error(Code::Unsupported, "this registry is read-only");
    if let Answer::Text(_, headers, _) = &mut answer {
        headers.push(("Allow", "GET, HEAD".to_owned()));
    }
    answer
}

fn manifest(document: Document) -> Answer {
    let descriptor = document.descriptor;
    let headers = vec![
        ("Content-Type", descriptor.media_type.as_str().to_owned()),
        ("Docker-Content-Digest", descriptor.digest.to_string()),
    ];
    Answer::Text(200, headers, document.bytes)
}

fn referrers(
    request: &Request,
    repository: &str,
    subject: &str,
    shelf: &dyn Shelf,
) -> Result<Answer, ShelfError> {
    let Ok(subject) = subject.parse::<Digest>() else {
        return Ok(error(Code::DigestInvalid, "no digest that is known here"));
    };
    let mut found = shelf.referrers(repository, &subject)?;
    let kind = MediaType::OciIndex.as_str().to_owned();
    let mut headers: Headers = vec![("Content-Type", kind)];
    if let Some(wanted) = request.field("artifactType") {
        found.retain(|one| one.artifact_type.as_deref() == Some(wanted));
        headers.push(("OCI-Filters-Applied", "artifactType".to_owned()));
    }
    Ok(Answer::Text(
        200,
        headers,
        Index::new(found).to_json_bytes(),
    ))
}

/// The part of a sorted list that was asked for, and where the next one is.
fn page(
    names: Vec<String>,
    request: &Request,
    print: impl Fn(&[String]) -> serde_json::Value,
) -> Answer {
    let after = request.field("last").unwrap_or_default();
    let mut left: Vec<String> = names
        .into_iter()
        .filter(|name| after.is_empty() || name.as_str() > after)
        .collect();
    let Some(count) = request.field("n") else {
        return json(&print(&left), Vec::new());
    };
    let Ok(count) = count.parse::<usize>() else {
        return error(Code::PageInvalid, "`n` is no number of names");
    };
    let has_more = left.len() > count;
    left.truncate(count);
    let link = left.last().filter(|_| has_more).map(|last| {
        let path = &request.path;
        (
            "Link",
            format!("<{path}?n={count}&last={last}>; rel=\"next\""),
        )
    });
    json(&print(&left), link.into_iter().collect())
}
