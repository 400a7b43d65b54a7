//! One line of comma-separated fields, as flags such as `--mount=` carry them.

/// A line that is no list of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// There is nothing.
    #[error("no fields")]
    Empty,
    /// A quote inside a field that does not start with one.
    #[error("bare \" in non-quoted field")]
    BareQuote,
    /// A quoted field goes on behind its closing quote, or never closes.
    #[error("extraneous or missing \" in quoted-field")]
    Quote,
}

/// Splits a line into its fields; `""` inside a quoted field is one quote.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, CsvError> {
    if line.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut out = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        out.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(out),
        }
    }
}

type Field<'a> = (String, Option<&'a str>);

fn plain_field(text: &str) -> Result<Field<'_>, CsvError> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(CsvError::BareQuote);
    }
    Ok((field.to_owned(), after))
}

fn quoted_field(mut text: &str) -> Result<Field<'_>, CsvError> {
    let mut field = String::new();
    loop {
        let (part, after) = text.split_once('"').ok_or(CsvError::Quote)?;
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            text = more;
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            let after = after.strip_prefix(',').ok_or(CsvError::Quote)?;
            return Ok((field, Some(after)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fields() {
        assert_eq!(fields("a=1,b").unwrap(), ["a=1", "b"]);
        assert_eq!(fields("\"a,\"\"b\"\"\",c").unwrap(), ["a,\"b\"", "c"]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
    }

    #[test]
    fn refuses_what_is_no_list() {
        assert_eq!(fields(""), Err(CsvError::Empty));
        assert_eq!(fields("a\"b"), Err(CsvError::BareQuote));
        assert_eq!(fields("\"a"), Err(CsvError::Quote));
        assert_eq!(fields("\"a\"b"), Err(CsvError::Quote));
    }
}
