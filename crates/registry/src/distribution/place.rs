//! Where the bytes of an upload go: a registry names the place, and may name any.

use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::LOCATION;

use crate::http::error::FetchProblem;
use crate::http::transfer::header_text;

/// Where a registry wants the bytes; it may say so relative to what was asked.
pub(super) fn location(response: &Response) -> Result<Url, FetchProblem> {
    let told = header_text(response, &LOCATION);
    let url = told.and_then(|told| response.url().join(&told).ok());
    let url = url.ok_or_else(|| {
        let text = "the registry answered without a place to upload to";
        FetchProblem::Answer(text.to_owned())
    })?;
    keeping_tls(response.url(), url)
}

/// A registry behind a proxy that speaks TLS for it may not know of that, and name a place of its
/// own without; bytes that were to be sent over TLS go nowhere else without it.
fn keeping_tls(asked: &Url, told: Url) -> Result<Url, FetchProblem> {
    if asked.scheme() != "https" || told.scheme() == "https" {
        return Ok(told);
    }
    let mut kept = asked.clone();
    kept.set_path(told.path());
    kept.set_query(told.query());
    match asked.host() == told.host() {
        true => Ok(kept),
        false => {
            let host = told.host_str().unwrap_or_default();
            let text = format!("the registry wants the bytes sent to `{host}` without TLS");
            Err(FetchProblem::Answer(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_with_tls_goes_on_with_it() {
        let place = |asked: &str, told: &str| {
            let told = Url::parse(told).unwrap();
            let kept = keeping_tls(&Url::parse(asked).unwrap(), told);
            kept.map(String::from).ok()
        };
        let same = |asked, told: &str| assert_eq!(place(asked, told).as_deref(), Some(told));
        same("https://r:5000/v2/", "https://storage/u?x=1");
        same("http://localhost/v2/", "http://localhost:5000/u");
        assert_eq!(
            place("https://r:5000/v2/a/", "http://r/v2/u?state=x").as_deref(),
            Some("https://r:5000/v2/u?state=x")
        );
        assert_eq!(place("https://r/v2/", "http://storage/u"), None);
    }
}
