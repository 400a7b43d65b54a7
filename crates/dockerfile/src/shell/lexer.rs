//! Text to tokens: words with their quotes resolved, operators, here-documents.

use std::ops::Range;

use super::{DEPTH_MAX, ShellError, Word};

/// A piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word; one that begins with a quote is never a keyword.
    Word { word: Word, is_quoted: bool },
    /// `&&`, `||`, `;`, `;;`, `&`, `|`, `(`, `)` or a line end.
    Operator(&'static str),
    /// A redirection, without its target.
    Redirect(String),
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) range: Range<usize>,
    /// The body, if the token is the end mark of a here-document.
    pub(super) body: Option<String>,
}

/// Longest first.
const OPERATORS: [&str; 13] = [
    ";;&", ";;", ";&", "&&", "||", "|&", ";", "&", "|", "(", ")", "\r\n", "\n",
];
const REDIRECTS: [&str; 11] = [
    "&>>", "<<<", "<<-", "&>", "<<", ">>", "<&", ">&", "<>", ">|", "<",
];

/// Cuts a script into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ShellError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
        pending: Vec::new(),
    };
    while lexer.next()? {}
    // A here-document that the text ends before has an empty body.
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Placed>,
    /// End marks of here-documents whose bodies follow the line: the token, and whether tabs are
    /// stripped.
    pending: Vec<(usize, bool)>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Result<bool, ShellError> {
        self.skip_blanks();
        let Some(first) = self.rest().chars().next() else {
            return Ok(false);
        };
        if first == '#' {
            let length = self.rest().find('\n').unwrap_or(self.rest().len());
            self.at += length;
            return Ok(true);
        }
        if let Some(operator) = self.redirect() {
            self.push(Token::Redirect(operator.clone()), operator.len());
            return Ok(true);
        }
        let operator = OPERATORS.iter().find(|one| self.rest().starts_with(**one));
        if let Some(operator) = operator {
            let name = match *operator {
                "\r\n" => "\n",
                "|&" => "|",
                ";&" | ";;&" => ";;",
                other => other,
            };
            self.push(Token::Operator(name), operator.len());
            if name == "\n" {
                self.read_bodies();
            }
            return Ok(true);
        }
        self.word()?;
        Ok(true)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\u{b}', '\u{c}']).len();
            self.at += blanks;
            match self.rest() {
                rest if rest.starts_with("\\\n") => self.at += 2,
                rest if rest.starts_with("\\\r\n") => self.at += 3,
                _ => return,
            }
        }
    }

    /// A redirection operator, with the number before it.
    fn redirect(&self) -> Option<String> {
        let rest = self.rest();
        let digits = rest.len()
            - rest
                .trim_start_matches(|ch: char| ch.is_ascii_digit())
                .len();
        let after = &rest[digits..];
        // `&>` with a number before it is a word and an operator.
        let found = REDIRECTS
            .iter()
            .chain(&[">"])
            .find(|one| after.starts_with(**one) && !(digits > 0 && one.starts_with('&')))?;
        // `<(` and `>(` begin a substitution.
        if (*found == "<" || *found == ">") && after[1..].starts_with('(') {
            return None;
        }
        Some(format!("{}{found}", &rest[..digits]))
    }

    fn push(&mut self, token: Token, length: usize) {
        let range = self.at..self.at + length;
        self.at += length;
        self.place(token, range);
    }

    fn place(&mut self, token: Token, range: Range<usize>) {
        let before = self.tokens.last().map(|placed| &placed.token);
        if let (Some(Token::Redirect(operator)), Token::Word { .. }) = (before, &token) {
            let operator = operator.trim_start_matches(|ch: char| ch.is_ascii_digit());
            if operator == "<<" || operator == "<<-" {
                self.pending.push((self.tokens.len(), operator == "<<-"));
            }
        }
        self.tokens.push(Placed {
            token,
            range,
            body: None,
        });
    }

    /// Reads the here-documents that the line before asked for.
    fn read_bodies(&mut self) {
        for (index, strips_tabs) in std::mem::take(&mut self.pending) {
            let Token::Word { word, .. } = &self.tokens[index].token else {
                continue;
            };
            let end = word.text.clone();
            let mut body = String::new();
            while self.at < self.text.len() {
                let rest = self.rest();
                let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
                let line = &rest[..length];
                let bare = line.trim_end_matches(['\n', '\r']);
                let is_end = match strips_tabs {
                    true => bare.trim_start_matches('\t') == end,
                    false => bare == end,
                };
                if !is_end {
                    body.push_str(line);
                }
                self.at += length;
                if is_end {
                    break;
                }
            }
            self.tokens[index].body = Some(body);
        }
    }

    fn word(&mut self) -> Result<(), ShellError> {
        let start = self.at;
        let is_quoted = self.rest().starts_with(['"', '\'', '\\']);
        let mut word = Word {
            text: String::new(),
            is_literal: true,
            range: start..start,
        };
        while let Some(ch) = self.rest().chars().next() {
            match ch {
                ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | ';' | '&' | '|' | '(' | ')' => break,
                '\r' if self.rest().starts_with("\r\n") => break,
                // `<(` and `>(` are part of a word that is substituted.
                '<' | '>' if !self.rest()[1..].starts_with('(') => break,
                '<' | '>' => {
                    word.is_literal = false;
                    self.take(&mut word, 1);
                    let length = substitution(self.rest(), 0)?;
                    self.take(&mut word, length);
                }
                _ => self.part(&mut word, ch)?,
            }
        }
        word.range.end = self.at;
        let range = word.range.clone();
        self.place(Token::Word { word, is_quoted }, range);
        Ok(())
    }

    /// Takes bytes into a word as they are.
    fn take(&mut self, word: &mut Word, length: usize) {
        word.text.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn part(&mut self, word: &mut Word, ch: char) -> Result<(), ShellError> {
        match ch {
            '\\' => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some('\n') => self.at += 1,
                    Some(next) => self.take(word, next.len_utf8()),
                    None => {}
                }
            }
            '\'' => self.single_quoted(word)?,
            '"' => self.double_quoted(word)?,
            '$' | '`' => self.expansion(word)?,
            '*' | '?' | '[' => {
                word.is_literal = false;
                self.take(word, 1);
            }
            ch => self.take(word, ch.len_utf8()),
        }
        Ok(())
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), ShellError> {
        self.at += 1;
        let length = self.rest().find('\'').ok_or(ShellError::Unclosed("'"))?;
        self.take(word, length);
        self.at += 1;
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), ShellError> {
        self.at += 1;
        loop {
            match self.rest().chars().next() {
                None => return Err(ShellError::Unclosed("\"")),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.rest().chars().next() {
                        Some('\n') => self.at += 1,
                        Some(ch @ ('$' | '`' | '"' | '\\')) => self.take(word, ch.len_utf8()),
                        Some(_) => word.text.push('\\'),
                        None => return Err(ShellError::Unclosed("\"")),
                    }
                }
                Some('$' | '`') => self.expansion(word)?,
                Some(ch) => self.take(word, ch.len_utf8()),
            }
        }
    }

    /// Takes `$x`, `${...}`, `$(...)` and backquotes as written.
    fn expansion(&mut self, word: &mut Word) -> Result<(), ShellError> {
        let rest = self.rest();
        let length = if rest.starts_with('`') {
            backquoted(rest)?
        } else if rest.starts_with("$(") {
            1 + substitution(&rest[1..], 0)?
        } else if rest.starts_with("${") {
            braced(rest)?
        } else {
            1
        };
        let is_variable = length > 1
            || rest[1..]
                .starts_with(|ch: char| ch.is_ascii_alphanumeric() || "_@*#?$!-\"'".contains(ch));
        word.is_literal &= !is_variable;
        self.take(word, length);
        Ok(())
    }
}

/// The length of a `(...)` with everything in it. `nesting` counts the substitutions around it.
fn substitution(text: &str, nesting: usize) -> Result<usize, ShellError> {
    if nesting > DEPTH_MAX {
        return Err(ShellError::TooDeep);
    }
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(ch) = text[at..].chars().next() {
        match ch {
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            '\\' => at += text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '\'' => {
                at += 1 + text[at + 1..].find('\'').ok_or(ShellError::Unclosed("'"))?;
            }
            '"' => at += quoted(&text[at..], nesting)? - 1,
            _ => {}
        }
        at += ch.len_utf8();
    }
    Err(ShellError::Unclosed("$("))
}

/// The length of a `"..."` inside a substitution: single quotes mean nothing in it, and further
/// substitutions have quotes of their own.
fn quoted(text: &str, nesting: usize) -> Result<usize, ShellError> {
    let mut at = 1;
    while let Some(ch) = text[at..].chars().next() {
        match ch {
            '"' => return Ok(at + 1),
            '\\' => at += text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '$' if text[at + 1..].starts_with('(') => {
                at += substitution(&text[at + 1..], nesting + 1)?;
            }
            '`' => at += backquoted(&text[at..])? - 1,
            _ => {}
        }
        at += ch.len_utf8();
    }
    Err(ShellError::Unclosed("\""))
}

fn backquoted(text: &str) -> Result<usize, ShellError> {
    let mut at = 1;
    while let Some(ch) = text[at..].chars().next() {
        match ch {
            '`' => return Ok(at + 1),
            '\\' => at += text[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        at += ch.len_utf8();
    }
    Err(ShellError::Unclosed("`"))
}

fn braced(text: &str) -> Result<usize, ShellError> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(ch) = text[at..].chars().next() {
        match ch {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            '\\' => at += text[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        at += ch.len_utf8();
    }
    Err(ShellError::Unclosed("${"))
}
