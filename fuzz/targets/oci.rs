//! What comes from registries and image layouts: references, digests, platforms, documents.
//!
//! - nothing panics;
//! - a reference, digest or platform that is printed reads as the same one, and so does the short
//!   form of a reference; none is longer than a registry takes;
//! - a document that was read is written and read again as the same one.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use cairn_oci::{Digest, ImageConfig, Index, Manifest, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        comes_back::<Digest>(text);
        comes_back::<Platform>(text);
        if let Some(reference) = comes_back::<Reference>(text) {
            let short = reference.familiar();
            assert_eq!(short.parse().as_ref(), Ok(&reference), "short: {short}");
            assert!(reference.repository().len() <= 255);
        }
        let _ = cairn_oci::parse_rfc3339(text).map(cairn_oci::rfc3339);
    }
    if let Ok(manifest) = Manifest::from_json_bytes(data) {
        let again = Manifest::from_json_bytes(&manifest.to_json_bytes());
        assert_eq!(again.expect("a manifest that was written"), manifest);
    }
    if let Ok(index) = Index::from_json_bytes(data) {
        let again = Index::from_json_bytes(&index.to_json_bytes());
        assert_eq!(again.expect("an index that was written"), index);
    }
    if let Ok(config) = ImageConfig::from_json_bytes(data) {
        let _ = config.platform();
        let again = ImageConfig::from_json_bytes(&config.to_json_bytes());
        assert_eq!(again.expect("a config that was written"), config);
    }
});

fn comes_back<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    let again: T = printed
        .parse()
        .unwrap_or_else(|error| panic!("{printed:?}: {error:?}"));
    assert_eq!(value, again, "printed as {printed:?}");
    Some(value)
}
