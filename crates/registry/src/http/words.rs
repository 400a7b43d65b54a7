//! What a server says in an answer that is no success, fit for a message.

use std::io::Read;

use reqwest::blocking::Response;
use serde::Deserialize;

const READ_MAX: u64 = 16 << 10;
const SHOWN_MAX: usize = 300;

/// What registries send with an error.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a server says in an answer that is no success.
pub(crate) struct Words {
    /// For people, cleaned of control characters: a registry's errors, or the first line of a page
    /// that is no HTML.
    pub(crate) said: String,
    /// The codes of a registry's errors.
    pub(crate) codes: Vec<String>,
}

/// Reads the server's words.
pub(crate) fn words(response: Response) -> Words {
    let mut page = Vec::new();
    // An error page that cannot be read is no second error.
    let _ = response.take(READ_MAX).read_to_end(&mut page);
    read(&page)
}

fn read(page: &[u8]) -> Words {
    if let Ok(told) = serde_json::from_slice::<Errors>(page) {
        let errors = told.errors.iter().map(one);
        return Words {
            said: clean(&errors.collect::<Vec<_>>().join("; ")),
            codes: told.errors.into_iter().map(|error| error.code).collect(),
        };
    }
    let page = String::from_utf8_lossy(page);
    let said = match page.trim_start().starts_with('<') {
        true => String::new(),
        false => clean(page.lines().next().unwrap_or_default()),
    };
    Words {
        said,
        codes: Vec::new(),
    }
}

fn one(error: &OneError) -> String {
    match (error.code.as_str(), error.message.as_str()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{message} ({code})"),
    }
}

fn clean(text: &str) -> String {
    let shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_MAX)
        .collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_lines_and_pages_are_told_apart() {
        let errors = br#"{"errors":[{"code":"DENIED","message":"no","detail":[1]},{"code":"X"}]}"#;
        let told = read(errors);
        assert_eq!(told.said, "no (DENIED); X");
        assert_eq!(told.codes, ["DENIED", "X"]);
        assert_eq!(read(b"out of disk\nmore").said, "out of disk");
        assert_eq!(read(b" <html>no</html>").said, "");
        assert_eq!(clean("a\u{1b}[31mb "), "a[31mb");
    }
}
