//! Variables in the order they were set.

/// An ordered list of variables, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EnvList(Vec<(String, String)>);

impl EnvList {
    /// Reads `KEY=value` entries as an image configuration holds them.
    pub(crate) fn from_config(entries: &[String]) -> Self {
        let mut list = Self::default();
        for entry in entries {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            list.set(name, value);
        }
        list
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sets a variable: in its old place, or at the end.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// All variables in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All variables as `KEY=value`, in order.
    pub(crate) fn to_config(&self) -> Vec<String> {
        self.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// All variables as pairs, in order.
    pub(crate) fn to_pairs(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

impl cairn_dockerfile::expand::Env for EnvList {
    fn get(&self, name: &str) -> Option<&str> {
        EnvList::get(self, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_keeps_the_place() {
        let mut env = EnvList::from_config(&["A=1".into(), "B".into(), "C=x=y".into()]);
        env.set("A", "2");
        env.set("D", "");
        assert_eq!(env.to_config(), ["A=2", "B=", "C=x=y", "D="]);
        assert_eq!(env.get("C"), Some("x=y"));
        assert_eq!(env.get("E"), None);
    }
}
