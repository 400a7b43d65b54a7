//! Files of variables (`containerRunOptions.envFile`).
//!
//! One `NAME=value` a line; blank lines and lines that begin with `#` count for nothing, `export`
//! in front neither. A value may be quoted; without quotes it ends at ` #`.

/// Reads the variables in order.
pub(crate) fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), parse_value(value.trim())))
}

fn parse_value(text: &str) -> String {
    if let Some(rest) = text.strip_prefix('\'')
        && let Some((inside, _)) = rest.split_once('\'')
    {
        return inside.to_owned();
    }
    if let Some(rest) = text.strip_prefix('"')
        && let Some(inside) = double_quoted(rest)
    {
        return inside;
    }
    let end = text.find(" #").unwrap_or(text.len());
    text[..end].trim_end().to_owned()
}

/// What stands before the closing quote, escapes resolved.
fn double_quoted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text = "# comment\n\nFOO=keepitsecret!\nexport BAR = 'a b # c' # x\nBAZ=\"a\\n\\\"b\\\"\"\n\
                    QUX=a b # rest\nURL=http://x/#y\nEMPTY=\nnot a variable\n=x\n";
        let wanted = [
            ("FOO", "keepitsecret!"),
            ("BAR", "a b # c"),
            ("BAZ", "a\n\"b\""),
            ("QUX", "a b"),
            ("URL", "http://x/#y"),
            ("EMPTY", ""),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), wanted);
    }
}
