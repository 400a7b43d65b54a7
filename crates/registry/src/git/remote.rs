//! The address of a repository as `git` gets it: without its login.
//!
//! What is an argument of a program can be read by everybody on the machine, and what is the
//! address of a remote is written to `.git/config`, which may end up in an image. So a login in an
//! address (`https://user:password@host/...`) goes to `git` as a setting in its environment, which
//! replaces the beginning of all addresses at that host while it runs. A header that came with the
//! build's secrets goes the same way.

use std::process::Command;

use cairn_oci::{HIDDEN, redact};

/// A repository's address, taken apart.
pub(super) struct Remote {
    /// What `git` is given.
    pub(super) address: String,
    /// What messages say.
    pub(super) shown: String,
    login: Option<Login>,
    /// What a server of the web is told in the header `Authorization`.
    pub(super) header: Option<String>,
}

/// A login at a host of the web.
struct Login {
    user: String,
    password: Option<String>,
    /// The beginning of addresses at the host, without the login and with it.
    bare: String,
    full: String,
}

impl Remote {
    pub(super) fn new(text: &str) -> Self {
        let login = Login::of(text);
        let address = match &login {
            Some(login) => text.replacen(&login.full, &login.bare, 1),
            None => text.to_owned(),
        };
        Self {
            address,
            shown: redact(text),
            login,
            header: None,
        }
    }

    /// Gives the login to a `git` that is about to be started.
    pub(super) fn let_in(&self, command: &mut Command) {
        let of_address = self.login.as_ref().map(|login| {
            let key = format!("url.{}.insteadOf", login.full);
            (key, login.bare.clone())
        });
        let of_header = self.header.as_ref().map(|header| {
            let key = format!("http.{}.extraheader", self.header_scope());
            (key, format!("Authorization: {header}"))
        });
        let settings: Vec<(String, String)> = of_address.into_iter().chain(of_header).collect();
        if settings.is_empty() {
            return;
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (key, value)) in settings.iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{number}"), key)
                .env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
    }

    /// The addresses that the header is sent to: the repository's own, and all of a host whose
    /// repositories one token opens, for submodules.
    fn header_scope(&self) -> &str {
        const GITHUB: &str = "https://github.com/";
        match self.address.starts_with(GITHUB) {
            true => GITHUB,
            false => &self.address,
        }
    }

    /// What `git` said, without the login.
    pub(super) fn cleaned(&self, said: &str) -> String {
        let said = match &self.header {
            Some(header) => said.replace(header.as_str(), HIDDEN),
            None => said.to_owned(),
        };
        let Some(login) = &self.login else {
            return said;
        };
        let mut said = said.replace(&login.full, &login.bare);
        // A shorter one would tear words apart.
        if let Some(password) = login.password.as_ref().filter(|text| text.len() > 3) {
            said = said.replace(password, HIDDEN);
        }
        // Of an address without a password `git` tells the user, which is a token then.
        said.replace(&format!("{}@", login.user), &format!("{HIDDEN}@"))
    }
}

impl Login {
    fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, _) = rest.split_once('/')?;
        let (user_info, host) = authority.rsplit_once('@')?;
        if !matches!(scheme, "http" | "https") || user_info.is_empty() {
            return None;
        }
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            None => (user_info, None),
        };
        Some(Self {
            user: user.to_owned(),
            password,
            bare: format!("{scheme}://{host}/"),
            full: format!("{scheme}://{user_info}@{host}/"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_the_web_are_taken_off() {
        let address = |text: &str| Remote::new(text).address;
        assert_eq!(
            address("https://ann:p=w@h:8443/a/b.git"),
            "https://h:8443/a/b.git"
        );
        assert_eq!(address("https://ghp_x@h/a.git"), "https://h/a.git");
        for plain in ["https://h/a@b.git", "ssh://git@h/a", "git@h:a", "git://h/a"] {
            assert_eq!(address(plain), plain);
        }
    }

    #[test]
    fn the_login_is_a_setting_of_the_environment() {
        let mut command = Command::new("git");
        Remote::new("https://ann:p=w@h/a.git").let_in(&mut command);
        let key = command
            .get_envs()
            .find(|(name, _)| *name == "GIT_CONFIG_KEY_0");
        let (_, value) = key.unwrap();
        assert_eq!(value.unwrap(), "url.https://ann:p=w@h/.insteadOf");
    }

    #[test]
    fn a_header_is_for_this_repository_and_never_an_argument() {
        let settings = |address: &str| {
            let mut command = Command::new("git");
            let remote = Remote {
                header: Some("basic abc".to_owned()),
                ..Remote::new(address)
            };
            remote.let_in(&mut command);
            assert_eq!(command.get_args().count(), 0);
            let settings = command.get_envs().filter_map(|(_, value)| value?.to_str());
            settings.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            settings("https://h/a.git"),
            [
                "1",
                "http.https://h/a.git.extraheader",
                "Authorization: basic abc"
            ]
        );
        assert!(
            settings("https://github.com/a/b")
                .contains(&"http.https://github.com/.extraheader".to_owned())
        );
        assert_eq!(settings("https://ann@h/a.git")[0], "2");
    }

    #[test]
    fn messages_show_no_login() {
        let told = |address: &str, said: &str| Remote::new(address).cleaned(said);
        assert_eq!(
            told(
                "https://ann:hunter2@h/a.git",
                "unable to access 'https://ann:hunter2@h/a.git/': hunter2"
            ),
            "unable to access 'https://h/a.git/': xxxxx"
        );
        assert_eq!(
            told(
                "https://ghp_x@h/a.git",
                "could not read Password for 'https://ghp_x@h'"
            ),
            "could not read Password for 'https://xxxxx@h'"
        );
        assert_eq!(told("git@h:a", "git@h: no"), "git@h: no");
    }
}
