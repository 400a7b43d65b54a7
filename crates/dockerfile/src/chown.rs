//! `--chown=` and `USER`: a user and a group, each by name or by number.

/// An owner as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Before the `:`. A name is looked up in the target image's `/etc/passwd`.
    pub user: Option<Account>,
    /// Behind the `:`. Without it a user by name brings its group from `/etc/passwd`, and a user
    /// by number has the group of the same number.
    pub group: Option<Account>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl Owner {
    /// Splits at the first `:`; an empty side is none.
    pub fn parse(text: &str) -> Self {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        Self {
            user: Account::parse(user),
            group: Account::parse(group),
        }
    }
}

impl Account {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        Some(match text.parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names_and_numbers() {
        let owner = |text| {
            let Owner { user, group } = Owner::parse(text);
            (user, group)
        };
        let name = |text: &str| Some(Account::Name(text.to_owned()));
        assert_eq!(owner("app:www"), (name("app"), name("www")));
        assert_eq!(owner("1000"), (Some(Account::Id(1000)), None));
        assert_eq!(owner("app:33"), (name("app"), Some(Account::Id(33))));
        assert_eq!(owner(":5"), (None, Some(Account::Id(5))));
        assert_eq!(owner(""), (None, None));
        assert_eq!(owner("1a"), (name("1a"), None));
    }
}
