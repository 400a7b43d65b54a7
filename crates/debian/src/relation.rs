//! Relations between packages: `a (>= 1) | b:any [amd64], c`.
//!
//! A relation field is a list of clauses that must all hold; a clause is a list of alternatives.
//! Architecture and build-profile restrictions are decided while parsing, so that what remains is
//! true for the architecture that is being installed.

use crate::version::Version;

/// How a relation compares versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// One alternative: a package name, perhaps with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The package, real or virtual.
    pub name: &'a str,
    /// The architecture qualifier after the colon (`any`, `native` or a name).
    pub qualifier: Option<&'a str>,
    /// The version restriction.
    pub version: Option<(Operator, Version<'a>)>,
}

/// Alternatives, the preferred one first.
pub type Clause<'a> = Vec<Relation<'a>>;

impl Relation<'_> {
    /// Says whether a package of this version answers the version restriction.
    #[must_use]
    pub fn accepts(&self, version: Version<'_>) -> bool {
        let Some((operator, wanted)) = self.version else {
            return true;
        };
        let order = version.cmp(&wanted);
        match operator {
            Operator::Earlier => order.is_lt(),
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order.is_gt(),
        }
    }
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(out, ":{qualifier}")?;
        }
        let Some((operator, version)) = self.version else {
            return Ok(());
        };
        let sign = match operator {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        };
        write!(out, " ({sign} {version})")
    }
}

/// Parses a relation field for `arch`. Malformed alternatives are `Err` with their text.
///
/// # Errors
/// When an alternative is not of the form the policy manual gives.
pub fn parse<'a>(text: &'a str, arch: &str) -> Result<Vec<Clause<'a>>, MalformedRelation> {
    let mut clauses = Vec::new();
    for clause in text
        .split(',')
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
    {
        let mut alternatives = Clause::new();
        for alternative in clause.split('|') {
            if let Some(relation) = parse_alternative(alternative.trim(), arch)? {
                alternatives.push(relation);
            }
        }
        if !alternatives.is_empty() {
            clauses.push(alternatives);
        }
    }
    Ok(clauses)
}

/// A relation that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the relation {text:?} is malformed")]
pub struct MalformedRelation {
    /// The alternative as written.
    pub text: String,
}

fn parse_alternative<'a>(
    text: &'a str,
    arch: &str,
) -> Result<Option<Relation<'a>>, MalformedRelation> {
    let malformed = || MalformedRelation {
        text: text.to_owned(),
    };
    let name_end = text
        .find([' ', '\t', '\n', '(', '[', '<'])
        .unwrap_or(text.len());
    let (full_name, mut rest) = text.split_at(name_end);
    let (name, qualifier) = match full_name.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (full_name, None),
    };
    if name.is_empty() {
        return Err(malformed());
    }
    let mut relation = Relation {
        name,
        qualifier,
        version: None,
    };
    let mut profiles: Option<bool> = None;
    loop {
        rest = rest.trim_start();
        let Some(opening) = rest.chars().next() else {
            break;
        };
        let closing = match opening {
            '(' => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(malformed()),
        };
        let (inside, after) = rest[1..].split_once(closing).ok_or_else(malformed)?;
        rest = after;
        match opening {
            '(' => relation.version = Some(parse_version(inside).ok_or_else(malformed)?),
            '[' if !includes(inside, arch) => return Ok(None),
            '[' => {}
            _ => {
                *profiles.get_or_insert(false) |=
                    inside.split_whitespace().all(|p| p.starts_with('!'))
            }
        }
    }
    Ok((profiles != Some(false)).then_some(relation))
}

fn parse_version(text: &str) -> Option<(Operator, Version<'_>)> {
    let text = text.trim();
    let sign_end = text.find(|c| !matches!(c, '<' | '=' | '>'))?;
    let operator = match &text[..sign_end] {
        "<<" => Operator::Earlier,
        // A single sign is the obsolete spelling of "or equal".
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" | "" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    Some((operator, Version(text[sign_end..].trim())))
}

/// Says whether `[list]` includes `arch`: a list names architectures, or excludes them with `!`.
fn includes(list: &str, arch: &str) -> bool {
    let mut excluded = false;
    for item in list.split_whitespace() {
        match item.strip_prefix('!') {
            Some(name) if matches(name, arch) => return false,
            Some(_) => excluded = true,
            None if matches(item, arch) => return true,
            None => {}
        }
    }
    excluded
}

fn matches(pattern: &str, arch: &str) -> bool {
    pattern == arch
        || matches!(pattern, "any" | "linux-any")
        || pattern.strip_prefix("any-").is_some_and(|cpu| cpu == arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let clauses = parse(text, "amd64").unwrap();
        let clause = |c: &Clause<'_>| {
            c.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" | ")
        };
        clauses.iter().map(clause).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn relations_are_read() {
        let cases = [
            (
                "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0",
                "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0",
            ),
            (
                "python3:any (>= 3.9~),\n perl:native",
                "python3:any (>= 3.9~), perl:native",
            ),
            ("a(<<1),b(= 2)", "a (<< 1), b (= 2)"),
            ("a [i386], b [!i386] | c [linux-any]", "b | c"),
            ("a <!nocheck>, b <stage1>, c <stage1> <!cross>", "a, c"),
            ("a (> 1), b (< 2),", "a (>= 1), b (<= 2)"),
        ];
        for (given, expected) in cases {
            assert_eq!(shown(given), expected);
        }
    }

    #[test]
    fn malformed_relations_are_named() {
        for text in ["a (1", "a (>> )x", "(>= 1)", "a b", "a (=> 1)"] {
            assert!(parse(text, "amd64").is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_accepted_as_the_operator_says() {
        let accepts =
            |text: &str, version| parse(text, "amd64").unwrap()[0][0].accepts(Version(version));
        assert!(accepts("a (>= 1.0)", "1.0-1") && !accepts("a (>= 1.0)", "1.0~rc1"));
        assert!(accepts("a (<< 2)", "2~") && !accepts("a (<< 2)", "2"));
        assert!(accepts("a", "7"));
    }
}
