//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?`, and `\` before either.

use regex::Regex;

/// Drops the shortest or longest match at the start.
pub(super) fn trim_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let regex = compile(pattern, greedy, true)?;
    Ok(match regex.find(value) {
        Some(found) => value[found.end()..].to_owned(),
        None => value.to_owned(),
    })
}

/// Drops the shortest or longest match at the end.
///
/// A regular expression finds leftmost matches, so text and pattern are both turned around.
pub(super) fn trim_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let value: String = value.chars().rev().collect();
    let trimmed = trim_prefix(&reversed(pattern), &value, greedy)?;
    Ok(trimmed.chars().rev().collect())
}

/// Replaces the first match, or all of them.
///
/// The replacement of all matches knows `$1` and `$$`, as BuildKit's does by accident.
pub(super) fn replace(
    pattern: &str,
    replacement: &str,
    value: &str,
    all: bool,
) -> Result<String, String> {
    let regex = compile(pattern, true, false)?;
    if all {
        return Ok(regex.replace_all(value, replacement).into_owned());
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

fn compile(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, String> {
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
                Some(other) => return Err(format!("invalid escape '\\{other}'")),
                None => return Err("escape at the end".to_owned()),
            },
            other => other,
        };
        out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }
    Regex::new(&out).map_err(|error| error.to_string())
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
