//! Go's regular expressions, as container-structure-test files are written in them.
//!
//! The two dialects come from one family, but a pattern from the wild meets the differences soon:
//! JSON in an expected output (`{` is itself in Go where it begins no repetition), `\Q...\E`,
//! octal escapes, `[[]`. [`Pattern::new`] rewrites a Go pattern into one that means the same here:
//!
//! | Go (RE2, Perl flags) | here |
//! | --- | --- |
//! | `{` that begins no `{n}`, `{n,}`, `{n,m}` | `\{` |
//! | `\d \s \w` and their negations are ASCII | classes written out |
//! | `\b \B` are ASCII | `(?-u:\b)` |
//! | `\Q...\E`, `\123`, escaped punctuation (`\<`, `\:`) | the characters |
//! | `[` , `&&`, `--`, `~~` inside a class are themselves | escaped |
//! | `a**`, `a{2}{3}`, `{1001}`, unknown escapes | refused |
//!
//! Without flags `.` stops at line ends and `^`, `$` mean the whole text, as there. A text that is
//! not UTF-8 is read with U+FFFD in place of the bytes that are not, which is what Go does.

use std::fmt;

use regex::bytes::Regex;

/// The repetition count that Go refuses to exceed.
const REPEAT_MAX: u32 = 1000;
/// Bounds what one pattern may need when compiled.
const COMPILED_BYTES_MAX: usize = 64 << 20;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    written: String,
    compiled: Regex,
}

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a regular expression: {reason}")]
pub struct PatternError {
    /// As written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Pattern {
    /// Compiles a pattern in Go's syntax.
    pub fn new(written: &str) -> Result<Self, PatternError> {
        let refuse = |reason: String| PatternError {
            pattern: written.to_owned(),
            reason,
        };
        let translated = translate(written).map_err(|reason| refuse(reason.to_owned()))?;
        let compiled = regex::bytes::RegexBuilder::new(&translated)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| refuse(last_line(&error)))?;
        Ok(Self {
            written: written.to_owned(),
            compiled,
        })
    }

    /// Whether the pattern matches somewhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text.as_bytes())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The regex crate draws the pattern over several lines and says what is wrong in the last.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

type Refused = &'static str;

fn translate(pattern: &str) -> Result<String, Refused> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len()),
    };
    translator.expression()?;
    Ok(translator.out)
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
}

impl<'p> Translator<'p> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&mut self, c: char) {
        self.out
            .push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn expression(&mut self) -> Result<(), Refused> {
        let mut repeated = false;
        while let Some(c) = self.rest.chars().next() {
            if let Some(operator) = self.repetition()? {
                if repeated {
                    return Err("a repetition cannot be repeated");
                }
                self.out.push_str(operator);
                repeated = true;
                continue;
            }
            repeated = false;
            self.next();
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '^' | '$' | '.' | '|' | ')' => self.out.push(c),
                other => self.literal(other),
            }
        }
        Ok(())
    }

    /// Takes `*`, `+`, `?` or a count, with the `?` that makes it lazy.
    fn repetition(&mut self) -> Result<Option<&'p str>, Refused> {
        let length = match self.rest.as_bytes().first() {
            Some(b'*' | b'+' | b'?') => 1,
            Some(b'{') => match count(self.rest)? {
                Some(length) => length,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let lazy = usize::from(self.rest[length..].starts_with('?'));
        let (operator, rest) = self.rest.split_at(length + lazy);
        self.rest = rest;
        Ok(Some(operator))
    }

    fn group(&mut self) -> Result<(), Refused> {
        self.out.push('(');
        if !self.eat("?") {
            return Ok(());
        }
        self.out.push('?');
        if self.rest.starts_with("P<") || self.rest.starts_with('<') {
            let end = self.rest.find('>').ok_or("a group's name has no end")?;
            let (name, rest) = self.rest.split_at(end + 1);
            self.out.push_str(name);
            self.rest = rest;
            return Ok(());
        }
        while let Some(c) = self.next() {
            self.out.push(c);
            match c {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' => return Ok(()),
                _ => return Err("unknown flag or group"),
            }
        }
        Err("a group has no end")
    }

    fn escape(&mut self) -> Result<(), Refused> {
        let c = self.next().ok_or("a backslash at the end")?;
        match c {
            'Q' => {
                let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.out.push_str(&regex::escape(quoted));
                self.rest = rest;
            }
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            'A' | 'z' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'C' => self.out.push_str("(?s:.)"),
            _ => match perl_class(c) {
                Some((negated, set)) => {
                    let caret = if negated { "^" } else { "" };
                    self.out.push_str(&format!("[{caret}{set}]"));
                }
                None if c == 'p' || c == 'P' => self.unicode_class(c)?,
                None => {
                    let c = self.escaped_char(c)?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    fn unicode_class(&mut self, p: char) -> Result<(), Refused> {
        let length = match self.rest.strip_prefix('{') {
            Some(_) => self.rest.find('}').ok_or("a class has no end")? + 1,
            None => self.rest.chars().next().map_or(0, char::len_utf8),
        };
        let (name, rest) = self.rest.split_at(length);
        self.out.push('\\');
        self.out.push(p);
        self.out.push_str(name);
        self.rest = rest;
        Ok(())
    }

    /// The one character that an escape stands for; `c` follows the backslash.
    fn escaped_char(&mut self, c: char) -> Result<char, Refused> {
        match c {
            'a' => Ok('\x07'),
            'f' => Ok('\x0C'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0B'),
            'x' => self.hexadecimal(),
            '0'..='7' => self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err("unknown escape"),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, Refused> {
        const BAD: Refused = "unknown escape";
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or(BAD)?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2).ok_or(BAD)?;
            self.rest = rest;
            digits
        };
        let value = u32::from_str_radix(digits, 16).map_err(|_| BAD)?;
        char::from_u32(value).ok_or(BAD)
    }

    /// `\1` alone would be a back reference, which this family of expressions does not have.
    fn octal(&mut self, first: char) -> Result<char, Refused> {
        let is_octal = |c: &char| ('0'..='7').contains(c);
        let following = self.rest.chars().take(2).take_while(is_octal).count();
        if first != '0' && following == 0 {
            return Err("unknown escape");
        }
        let digits = format!("{first}{}", &self.rest[..following]);
        self.rest = &self.rest[following..];
        let value = u32::from_str_radix(&digits, 8).map_err(|_| "unknown escape")?;
        char::from_u32(value).ok_or("unknown escape")
    }
}

/// Classes in brackets.
impl Translator<'_> {
    fn class(&mut self) -> Result<(), Refused> {
        const OPEN: Refused = "a class has no end";
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some(rest) = self.rest.strip_prefix("[:")
                && let Some(end) = rest.find(":]")
            {
                let (name, rest) = self.rest.split_at("[:".len() + end + ":]".len());
                self.out.push_str(name);
                self.rest = rest;
                continue;
            }
            if self.set_escape()? {
                continue;
            }
            let low = self.class_char(OPEN)?;
            self.literal(low);
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            if is_range {
                self.next();
                let high = self.class_char(OPEN)?;
                if high < low {
                    return Err("a range in a class runs backwards");
                }
                self.out.push('-');
                self.literal(high);
            }
            if self.rest.is_empty() {
                return Err(OPEN);
            }
        }
        self.next();
        self.out.push(']');
        Ok(())
    }

    /// An escape in a class that stands for several characters.
    fn set_escape(&mut self) -> Result<bool, Refused> {
        let mut chars = self.rest.chars();
        let (Some('\\'), Some(c)) = (chars.next(), chars.next()) else {
            return Ok(false);
        };
        if let Some((negated, set)) = perl_class(c) {
            let whole = if negated {
                format!("[^{set}]")
            } else {
                set.to_owned()
            };
            self.out.push_str(&whole);
        } else if c != 'p' && c != 'P' {
            return Ok(false);
        }
        self.rest = chars.as_str();
        if matches!(c, 'p' | 'P') {
            self.unicode_class(c)?;
        }
        Ok(true)
    }

    fn class_char(&mut self, open: Refused) -> Result<char, Refused> {
        match self.next().ok_or(open)? {
            '\\' => {
                let c = self.next().ok_or(open)?;
                self.escaped_char(c)
            }
            c => Ok(c),
        }
    }
}

/// What `\d` and the like hold, and whether it is what they leave out.
fn perl_class(c: char) -> Option<(bool, &'static str)> {
    match c {
        'd' | 'D' => Some((c == 'D', "0-9")),
        's' | 'S' => Some((c == 'S', r"\t\n\x0C\r\x20")),
        'w' | 'W' => Some((c == 'W', "0-9A-Za-z_")),
        _ => None,
    }
}

/// The length of the count at the beginning, if it is one: `{n}`, `{n,}` or `{n,m}`.
fn count(text: &str) -> Result<Option<usize>, Refused> {
    let Some(end) = text.find('}') else {
        return Ok(None);
    };
    let inside = &text[1..end];
    let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(low) || !(high.is_empty() || is_number(high)) {
        return Ok(None);
    }
    let value = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let too_many = value(low) > REPEAT_MAX || (!high.is_empty() && value(high) > REPEAT_MAX);
    if too_many || (!high.is_empty() && value(high) < value(low)) {
        return Err("a repetition count that is not allowed");
    }
    Ok(Some(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern, text, whether Go says that it matches.
    const CASES: &[(&str, &str, bool)] = &[
        // JSON and other braces are themselves.
        (r#"{"a": 1}"#, r#"x {"a": 1} y"#, true),
        (r#"{"a": \d+}"#, r#"{"a": 12}"#, true),
        ("a{,2}", "a{,2}", true),
        ("a{,2}", "aa", false),
        ("a{x}", "a{x}", true),
        ("ba{2}$", "baa", true),
        ("^a{2,}$", "aaa", true),
        ("^a{2,3}?$", "aaaa", false),
        ("x{", "x{", true),
        // Lines.
        ("^b", "a\nb", false),
        ("(?m)^b$", "a\nb\nc", true),
        ("a.b", "a\nb", false),
        ("(?s)a.b", "a\nb", true),
        ("b$", "a b\n", false),
        (r"b\n\z", "a b\n", true),
        (r"\Aa", "ba", false),
        // ASCII classes.
        (r"^\d$", "٣", false),
        (r"^\w$", "é", false),
        (r"^\W$", "é", true),
        (r"\bna", "éna", true),
        (r"\s", "\u{a0}", false),
        (r"^\S$", "\u{a0}", true),
        (r"^[\d.]+$", "1.2", true),
        (r"^[^\D]$", "1", true),
        (r"^[\W]$", "é", true),
        (r"^\s+$", " \t\r\n\x0C", true),
        // Classes.
        ("^[[]$", "[", true),
        ("^[a[b]$", "[", true),
        ("^[]]$", "]", true),
        ("^[^]]$", "a", true),
        ("^[a&&b]+$", "a&b", true),
        ("^[a~~b]+$", "~", true),
        ("^[+--]$", ",", true),
        ("^[a-]$", "-", true),
        ("^[-a]$", "-", true),
        (r"^[\]]$", "]", true),
        (r"^[\x41-\x43]$", "B", true),
        ("^[[:alpha:]_]+$", "a_b", true),
        ("^[[:^digit:]]$", "1", false),
        (r"^[\pL\d]+$", "é1", true),
        (r"^[\p{Greek}]$", "α", true),
        // Escapes.
        (r"\<b\>", "<b>", true),
        (r"a\:b\/c\-d\_", "a:b/c-d_", true),
        (r"\Qa.b[c\E.", "a.b[cx", true),
        (r"\Qa.b", "axb", false),
        (r"^\101$", "A", true),
        (r"^\x{41}$", "A", true),
        (r"^\t\x20$", "\t ", true),
        (r"\b{start}", "a{start}", true),
        (r"^\pL$", "é", true),
        (r"^\p{Lu}$", "É", true),
        (r"^\PL$", "1", true),
        // Groups and alternatives.
        ("(?i)FAIL", "fail", true),
        ("(?P<x>a)(?:b|c)$", "ac", true),
        ("(?<x>a)", "a", true),
        ("^(a|)$", "", true),
        ("#", "#", true),
        ("a b", "a b", true),
        // What the public files hold.
        (
            ".*(FOO|BAR)=keepit(secret|safe)!.*",
            "A=1\nFOO=keepitsecret!\n",
            true,
        ),
        (r"[a-z]+-2\.1\.*", "bash-2.1", true),
        (
            r#"DPkg::Pre-Install-Pkgs "";"#,
            r#"DPkg::Pre-Install-Pkgs "";"#,
            true,
        ),
        (
            r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}$",
            "2024-01-02T03:04:05.000006",
            true,
        ),
    ];

    #[test]
    fn patterns_mean_what_go_means() {
        for (pattern, text, wanted) in CASES {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(compiled.is_match(text), *wanted, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let patterns = [
            "(",
            ")",
            "[",
            "[a",
            "[]",
            "*",
            "a**",
            "a*+",
            "a{2}{3}",
            "a{1001}",
            "a{3,2}",
            r"\1",
            r"\8",
            r"\Z",
            r"\h",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?x)a",
            "[b-a]",
            r"a\",
            "(?P<>a)",
            r"[a-\d]",
            r"\x{110000}",
            "{2}x",
        ];
        for pattern in patterns {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    /// Whatever is written, the answer is a pattern or a reason.
    #[test]
    fn no_pattern_makes_the_translator_panic() {
        const PIECES: &[&str] = &[
            "[", "]", "(", ")", "{", "}", "?", "*", "+", "\\", "^", "-", ":", "[:", ":]", "\\x",
            "\\p", "\\Q", "\\E", "(?", "P<", "é", "7", "1,", "a", "&&",
        ];
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).expect("31 bits") % PIECES.len()
        };
        for _ in 0..20_000 {
            let pattern: String = (0..8).map(|_| PIECES[next()]).collect();
            let _ = translate(&pattern);
        }
    }
}
