//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?`, and `\` before either.

use regex::Regex;

use super::template::Template;

/// A pattern may be so long: what is made of it takes a hundred times its memory.
const PATTERN_LENGTH_MAX: usize = 4096;

/// Why a pattern gives no result.
#[derive(Debug)]
pub(super) enum PatternError {
    /// It is no pattern, in words.
    Wrong(String),
    /// The result would be longer than there is room for.
    ResultTooLong,
}

/// Drops the shortest or longest match at the start.
pub(super) fn trim_prefix(
    pattern: &str,
    value: &str,
    greedy: bool,
) -> Result<String, PatternError> {
    let regex = compile(pattern, greedy, true)?;
    Ok(match regex.find(value) {
        Some(found) => value[found.end()..].to_owned(),
        None => value.to_owned(),
    })
}

/// Drops the shortest or longest match at the end.
///
/// A regular expression finds leftmost matches, so text and pattern are both turned around.
pub(super) fn trim_suffix(
    pattern: &str,
    value: &str,
    greedy: bool,
) -> Result<String, PatternError> {
    let value: String = value.chars().rev().collect();
    let trimmed = trim_prefix(&reversed(pattern), &value, greedy)?;
    Ok(trimmed.chars().rev().collect())
}

/// Replaces the first match, or all of them.
///
/// The replacement of all matches is a [`Template`], as BuildKit's is by accident.
pub(super) fn replace(
    pattern: &str,
    replacement: &str,
    value: &str,
    all: bool,
    room: usize,
) -> Result<String, PatternError> {
    let regex = compile(pattern, true, false)?;
    if all {
        return replace_all(&regex, replacement, value, room);
    }
    Ok(match regex.find(value) {
        Some(found) => format!(
            "{}{replacement}{}",
            &value[..found.start()],
            &value[found.end()..]
        ),
        None => value.to_owned(),
    })
}

/// As `Regex::replace_all`, up to a length of the result and with Go's templates.
fn replace_all(
    regex: &Regex,
    replacement: &str,
    value: &str,
    room: usize,
) -> Result<String, PatternError> {
    let template = Template::read(replacement);
    let mut out = String::new();
    let mut done = 0;
    for found in regex.find_iter(value) {
        out.push_str(&value[done..found.start()]);
        template.write(found.as_str(), &mut out);
        done = found.end();
        if out.len() > room {
            return Err(PatternError::ResultTooLong);
        }
    }
    out.push_str(&value[done..]);
    Ok(out)
}

fn compile(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, PatternError> {
    if pattern.len() > PATTERN_LENGTH_MAX {
        let why = format!("it is longer than {PATTERN_LENGTH_MAX} bytes");
        return Err(PatternError::Wrong(why));
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    if anchored {
        out.push('^');
    }
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        let literal = match ch {
            '*' => {
                out.push_str(if greedy { ".*" } else { ".*?" });
                continue;
            }
            '?' => {
                out.push('.');
                continue;
            }
            // `}` and `/` are escaped for the lexer's sake; the pattern does not need it.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '?' | '\\')) => escaped,
                Some(other) => {
                    return Err(PatternError::Wrong(format!("invalid escape '\\{other}'")));
                }
                None => return Err(PatternError::Wrong("escape at the end".to_owned())),
            },
            other => other,
        };
        out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }
    Regex::new(&out).map_err(|error| PatternError::Wrong(error.to_string()))
}

/// Turns a pattern around, keeping each `\` before the character it escapes.
fn reversed(pattern: &str) -> String {
    let mut units = Vec::new();
    let mut chars = pattern.chars();
    while let Some(ch) = chars.next() {
        let mut unit = String::from(ch);
        if ch == '\\' {
            unit.extend(chars.next());
        }
        units.push(unit);
    }
    units.into_iter().rev().collect()
}
