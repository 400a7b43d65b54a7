//! Settings that are a word out of a few: their names are declared once, here.

use schemars::JsonSchema;

/// Declares an enum whose variants are the words of the file.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[schemars(rename = $word)] $variant,)+
        }

        impl $name {
            /// All words, as they are written.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word that is written for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What a word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What to do when a locked package can no longer be found anywhere.
    LockPolicy {
        /// Fail and name the packages.
        Strict = "strict",
        /// Lock again and print what moved.
        Refresh = "refresh",
    }
}

words! {
    /// What steps and tests can reach.
    NetworkPolicy {
        /// All that the host reaches.
        Host = "host",
        /// Nothing but their own loopback interface.
        None = "none",
    }
}

words! {
    /// How much a rule of `cairn lint` matters in the stack.
    LintLevel {
        /// Not at all.
        Off = "off",
        /// Worth knowing; not shown unless asked for.
        Info = "info",
        /// Probably a mistake.
        Warning = "warning",
        /// A mistake.
        Error = "error",
    }
}

words! {
    /// Which packages a Debian base holds besides those that are named, as in mmdebstrap.
    PackageSet {
        /// Those marked `Essential: yes`.
        Essential = "essential",
        /// Essential packages and apt.
        Apt = "apt",
        /// Essential packages, apt, and those of priority `required`.
        Minbase = "minbase",
        /// Those of `minbase` and what building packages takes for granted.
        Buildd = "buildd",
        /// Those of `minbase` and of priority `important`.
        Important = "important",
        /// Those of `important` and of priority `standard`.
        Standard = "standard",
    }
}

words! {
    /// When the steps of an image run again.
    Rebuild {
        /// When what reaches them changed.
        Changed = "changed",
        /// In every run.
        Always = "always",
        /// In every run of a main branch.
        OnMain = "on-main",
    }
}

words! {
    /// Where a suite of tests runs.
    SuitePlace {
        /// Inside the image.
        Image = "image",
        /// On the host, with the image's name in `TEST_IMAGE`.
        Host = "host",
    }
}

words! {
    /// How signatures are kept beside images.
    SignForm {
        /// Under the tag `sha256-<hex>.sig`: cosign 2, skopeo, podman.
        Tag = "tag",
        /// As a sigstore bundle that refers to the image: cosign 3.
        Bundle = "bundle",
    }
}

words! {
    /// What sort of event a run answers.
    EventKind {
        /// A push to a branch that is not main.
        Branch = "branch",
        /// A push to a main branch.
        Main = "main",
        /// A pushed git tag that is a version.
        Release = "release",
        /// A pushed git tag that is a version before a release.
        Prerelease = "prerelease",
        /// A pull request, or a merge request.
        PullRequest = "pull-request",
        /// A run at a set time.
        Schedule = "schedule",
        /// A run that somebody started by hand.
        Manual = "manual",
    }
}

/// Which of the host's certificates steps and tests trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CaPolicy {
    /// Those that the host trusts.
    Host,
    /// Only those that the image brings.
    None,
    /// Those in this PEM file, by its path from the spec's folder.
    File(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for word in PackageSet::WORDS {
            assert_eq!(
                PackageSet::from_word(word).map(PackageSet::as_str),
                Some(*word)
            );
        }
        assert_eq!(LockPolicy::from_word("Strict"), None, "case counts");
    }
}
