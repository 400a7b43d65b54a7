//! Users and groups of an image: what `USER` and `--chown` names mean there.
//!
//! Names are looked up in the image's own `/etc/passwd` and `/etc/group`, as `passwd(5)` and
//! `group(5)` describe them; a number needs no entry. The rules are Docker's: a user that is only
//! a number and unknown gets group 0; a group after `:` wins over the user's own.

/// The text of an image's account files. A missing file is an empty one.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
    /// Further groups, without `gid`.
    pub groups: Vec<u32>,
    /// Home directory: `/` for a user without an entry.
    pub home: String,
}

/// Who files belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
    /// Names that the image does not know, in whose place others stand.
    pub unknown: Vec<AccountError>,
}

/// A name that the image does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not in `/etc/passwd`.
    #[error("unable to find user {0}: no matching entry in passwd file")]
    UnknownUser(String),
    /// Not in `/etc/group`.
    #[error("unable to find group {0}: no matching entry in group file")]
    UnknownGroup(String),
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    /// Resolves `user`, `uid`, `user:group` and so on; empty means root.
    pub fn identity(&self, wanted: &str) -> Result<Identity, AccountError> {
        let (user, group) = wanted.split_once(':').unwrap_or((wanted, ""));
        let user = if user.is_empty() { "0" } else { user };
        let number = user.parse().ok();
        let known = self
            .users()
            .find(|known| known.name == user)
            .or_else(|| self.users().find(|known| Some(known.uid) == number));
        let (uid, own_gid) = match (&known, number) {
            (Some(known), _) => (known.uid, known.gid),
            (None, Some(uid)) => (uid, 0),
            (None, None) => return Err(AccountError::UnknownUser(user.to_owned())),
        };
        let gid = if group.is_empty() {
            own_gid
        } else {
            self.gid(group)?
        };
        let groups = match &known {
            Some(known) if group.is_empty() => self.memberships(known.name, gid),
            _ => Vec::new(),
        };
        let home = match &known {
            Some(known) if !known.home.is_empty() => known.home.to_owned(),
            _ => "/".to_owned(),
        };
        Ok(Identity {
            uid,
            gid,
            groups,
            home,
        })
    }

    /// Resolves who files belong to: a `--chown` value, or the user whose `WORKDIR` is made.
    ///
    /// The rules are BuildKit's, and others than for processes: a number is also the group's, an
    /// empty name is root, and so is one that the image does not know.
    pub fn owner(&self, wanted: &str) -> Owner {
        let (user, group) = match wanted.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (wanted, None),
        };
        let mut owner = Owner::default();
        match user.parse::<u32>() {
            Ok(uid) => (owner.uid, owner.gid) = (uid, uid),
            Err(_) if user.is_empty() => {}
            Err(_) => match self.users().find(|known| known.name == user) {
                Some(known) => (owner.uid, owner.gid) = (known.uid, known.gid),
                None => owner
                    .unknown
                    .push(AccountError::UnknownUser(user.to_owned())),
            },
        }
        match group {
            None => {}
            Some("") => owner.gid = 0,
            Some(group) => match group.parse().or_else(|_| self.gid(group)) {
                Ok(gid) => owner.gid = gid,
                Err(error) => owner.unknown.push(error),
            },
        }
        owner
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User {
                name,
                uid,
                gid,
                home: fields.nth(1).unwrap_or(""),
            })
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or("")))
        })
    }

    fn gid(&self, group: &str) -> Result<u32, AccountError> {
        let named = self
            .groups()
            .find(|(name, ..)| *name == group)
            .map(|(_, gid, _)| gid);
        named
            .or_else(|| group.parse().ok())
            .ok_or_else(|| AccountError::UnknownGroup(group.to_owned()))
    }

    fn memberships(&self, user: &str, own: u32) -> Vec<u32> {
        let mut groups: Vec<u32> = self
            .groups()
            .filter(|(_, gid, members)| *gid != own && members.split(',').any(|name| name == user))
            .map(|(_, gid, _)| gid)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nbroken\n"
                .into(),
            group: "root:x:0:\nstaff:x:50:ann,bob\nann:x:1001:\naudio:x:29:bob,ann\n".into(),
        }
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        assert_eq!(
            accounts().identity("ann").unwrap(),
            Identity {
                uid: 1000,
                gid: 1001,
                groups: vec![29, 50],
                home: "/home/ann".into()
            }
        );
    }

    #[test]
    fn a_number_finds_its_entry_and_needs_none() {
        assert_eq!(accounts().identity("1000").unwrap().gid, 1001);
        let unknown = accounts().identity("4242").unwrap();
        assert_eq!(
            (unknown.uid, unknown.gid, unknown.home.as_str()),
            (4242, 0, "/")
        );
    }

    #[test]
    fn a_given_group_wins() {
        let identity = accounts().identity("ann:staff").unwrap();
        assert_eq!((identity.gid, identity.groups), (50, vec![]));
        assert_eq!(accounts().identity("ann:77").unwrap().gid, 77);
    }

    #[test]
    fn unknown_names_are_errors() {
        assert_eq!(
            accounts().identity("eve"),
            Err(AccountError::UnknownUser("eve".into()))
        );
        assert_eq!(
            accounts().identity("ann:eve"),
            Err(AccountError::UnknownGroup("eve".into()))
        );
    }

    #[test]
    fn empty_means_root() {
        assert_eq!(accounts().identity("").unwrap().home, "/root");
        assert_eq!(Accounts::default().identity("").unwrap().uid, 0);
    }

    #[test]
    fn files_belong_to_whom_buildkit_gives_them() {
        let owner = |wanted: &str| {
            let owner = accounts().owner(wanted);
            (owner.uid, owner.gid, owner.unknown.len())
        };
        for (wanted, expected) in [
            ("7", (7, 7, 0)),
            ("1000", (1000, 1000, 0)),
            ("ann", (1000, 1001, 0)),
            ("ann:staff", (1000, 50, 0)),
            ("8:9", (8, 9, 0)),
            ("ann:", (1000, 0, 0)),
            (":", (0, 0, 0)),
            (":staff", (0, 50, 0)),
            ("eve", (0, 0, 1)),
            ("eve:staff", (0, 50, 1)),
            ("ann:eve", (1000, 1001, 1)),
        ] {
            assert_eq!(owner(wanted), expected, "{wanted}");
        }
    }
}
