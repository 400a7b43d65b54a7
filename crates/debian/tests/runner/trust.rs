//! Signed Release files: what is believed, and what is refused under which name.
//!
//! The files in `tests/trust` were made with GnuPG: an archive signed on 2026-02-01 by keys that
//! are good, expired (on 2026-01-31), revoked or unknown; and one real InRelease of Debian's.

use cairn_debian::release::Release;
use cairn_debian::trust::{Keyring, TrustError, verify_clearsigned, verify_detached};

const KEYRING: &[u8] = include_bytes!("../trust/keyring.asc");
const GOOD: &str = include_str!("../trust/good.InRelease");
const IN_2026: i64 = 1_773_000_000;
const IN_2037: i64 = 2_114_380_800;
/// Thursday after the real file was signed.
const NOVEMBER_2026: i64 = 1_795_046_400;

fn verify(file: &str, now: i64) -> Result<String, TrustError> {
    verify_clearsigned(&Keyring::parse(KEYRING).unwrap(), file, now).map(|(text, _)| text)
}

/// The message a refused file gets.
fn refusal(file: &str, now: i64) -> String {
    verify(file, now).unwrap_err().to_string()
}

#[test]
fn a_good_signature_gives_the_signed_text() {
    assert_eq!(
        verify(GOOD, IN_2026).unwrap().trim_end(),
        include_str!("../trust/Release").trim_end()
    );
}

#[test]
fn a_detached_signature_is_checked_like_the_other() {
    let ring = Keyring::parse(include_bytes!("../trust/good.gpg")).unwrap();
    let (text, signature) = (
        include_bytes!("../trust/Release"),
        include_bytes!("../trust/Release.gpg"),
    );
    let signers = verify_detached(&ring, text, signature, IN_2026).unwrap();
    assert!(
        signers[0]
            .key
            .ends_with("(Good Archive <good@example.org>)")
    );
    assert_eq!(signers[0].signed_at, 1_769_904_000);
    let forged = verify_detached(&ring, &text[1..], signature, IN_2026);
    assert!(matches!(forged, Err(TrustError::BadSignature { .. })));
    assert!(matches!(
        verify_detached(&ring, text, b"", IN_2026),
        Err(TrustError::Unsigned)
    ));
}

#[test]
fn a_forged_text_is_refused() {
    let message = refusal(&GOOD.replace("Origin: Example", "Origin: Exemple"), IN_2026);
    assert!(
        message.starts_with("bad signature: the text is not what 3EB497A95ECB96B5"),
        "{message}"
    );
}

#[test]
fn a_forgery_is_refused_even_beside_a_good_signature_of_another() {
    let two = include_str!("../trust/two.InRelease");
    verify(two, IN_2026).unwrap();
    let forged = two.replace("Origin: Example", "Origin: Exemple");
    assert!(refusal(&forged, IN_2026).starts_with("bad signature"));
}

#[test]
fn an_expired_key_is_refused_now_or_later() {
    let message = refusal(include_str!("../trust/expired.InRelease"), IN_2026);
    assert!(
        message.starts_with("expired key: 3A531B02E5172B03"),
        "{message}"
    );
    assert!(message.ends_with("expired on 2026-01-31"), "{message}");
    assert!(refusal(GOOD, IN_2037).starts_with("expired key: 3EB497A95ECB96B5"));
}

#[test]
fn a_revoked_key_is_refused() {
    let revoked = include_str!("../trust/revoked.InRelease");
    let before = Keyring::parse(include_bytes!("../trust/unrevoked.asc")).unwrap();
    verify_clearsigned(&before, revoked, IN_2026).unwrap();
    assert!(refusal(revoked, IN_2026).starts_with("revoked key: 0BCE9C74521B648C"));
}

#[test]
fn an_unknown_key_is_refused_by_its_fingerprint() {
    let message = refusal(include_str!("../trust/stranger.InRelease"), IN_2026);
    assert!(
        message.starts_with("unknown key: it is signed by 4673E7F358A3339A2D8F"),
        "{message}"
    );
}

#[test]
fn a_weak_hash_is_refused() {
    let message = refusal(include_str!("../trust/weak.InRelease"), IN_2026);
    assert!(
        message.starts_with("weak hash:") && message.ends_with("signed with SHA1"),
        "{message}"
    );
}

#[test]
fn a_signature_of_the_future_is_refused() {
    assert!(refusal(GOOD, 1_769_000_000).ends_with("is not valid at this time"));
}

#[test]
fn nothing_may_stand_around_the_signed_text() {
    for file in [
        format!("Suite: evil\n\n{GOOD}"),
        format!("{GOOD}\nSuite: evil\n"),
        GOOD.replace("Hash: SHA512\n", "Hash: SHA512\nComment: x\n"),
        GOOD.replace(
            "-----BEGIN PGP SIGNATURE-----",
            "-----BEGIN PGP MESSAGE-----",
        ),
        include_str!("../trust/Release").to_owned(),
        String::new(),
    ] {
        assert!(verify(&file, IN_2026).is_err(), "{file}");
    }
}

#[test]
fn a_real_release_of_debian_is_believed_with_the_shipped_keys() {
    let file = include_str!("../trust/bookworm-security.InRelease");
    let (text, signers) = verify_clearsigned(Keyring::shipped(), file, NOVEMBER_2026).unwrap();
    assert_eq!(signers.len(), 2);
    let release = Release::parse(&text).unwrap();
    release
        .check("bookworm-security", NOVEMBER_2026, true)
        .unwrap();
    let index = release.file("updates/main/binary-amd64/Packages.xz");
    let plain = release.file("main/binary-amd64/Packages.xz");
    assert!(index.or(plain).is_some());
    let forged = file.replace("Label: Debian-Security", "Label: Debian-Securitx");
    let refused = verify_clearsigned(Keyring::shipped(), &forged, NOVEMBER_2026).unwrap_err();
    assert!(
        refused.to_string().starts_with("bad signature"),
        "{refused}"
    );
}
