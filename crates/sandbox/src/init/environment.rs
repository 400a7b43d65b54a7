//! Variables that the program gets beyond those it was given, and the files they point to.
//!
//! The files live in `/dev`, which is ours and gone afterwards. A variable that the caller has set
//! is never changed.

use std::path::Path;

use super::bundles::Trusted;
use super::command::User;
use crate::ca;
use crate::sandbox::Sandbox;

/// apt would become `_apt` to fetch, and checks that it did. With a single id nobody can.
const APT: &str = "/dev/.cairn/apt.conf";
const APT_TEXT: &[u8] = b"APT::Sandbox::User \"root\";\n";

/// The files that variables may point to, by their paths inside.
pub(super) fn files(user: User, trusted: &Trusted) -> Vec<(&'static str, &[u8])> {
    let apt = (user == User::OnlyRoot).then_some((APT, APT_TEXT));
    let bundle = trusted
        .bundle
        .as_deref()
        .map(|bundle| (ca::ENVIRONMENT_BUNDLE, bundle));
    apt.into_iter().chain(bundle).collect()
}

/// The whole environment of the program; to be called inside the new root.
pub(super) fn of(sandbox: &Sandbox, user: User) -> Vec<(String, String)> {
    let mut environment = sandbox.env.clone();
    let mut default = |name: &str, value: &str| {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.to_owned(), value.to_owned()));
        }
    };
    if sandbox.ca.as_ref().is_some_and(|ca| ca.set_env) {
        for name in ca::ENVIRONMENT {
            default(name, ca::ENVIRONMENT_BUNDLE);
        }
    }
    if user == User::OnlyRoot && Path::new("/etc/apt").is_dir() {
        default("APT_CONFIG", APT);
    }
    environment
}
