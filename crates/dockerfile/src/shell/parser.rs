//! Tokens to a script.

use std::ops::Range;

use super::lexer::{Placed, Token, tokens};
use super::{
    AndOr, Command, Compound, CompoundKind, Connector, DEPTH_MAX, Pipeline, Redirect, Script,
    ShellError, Simple, Word,
};

pub(super) fn parse(text: &str) -> Result<Script, ShellError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
    };
    let script = parser.script(&[])?;
    match parser.tokens.get(parser.at) {
        None => Ok(script),
        Some(placed) => Err(unexpected(placed)),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
}

/// Words that begin or end compound commands where a command may stand.
const KEYWORDS: [&str; 14] = [
    "if", "then", "elif", "else", "fi", "while", "until", "for", "do", "done", "case", "esac", "{",
    "}",
];

fn unexpected(placed: &Placed) -> ShellError {
    ShellError::Unexpected(match &placed.token {
        Token::Word { word, .. } => word.text.clone(),
        Token::Operator(operator) => (*operator).to_owned(),
        Token::Redirect(operator) => operator.clone(),
    })
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(found)) if *found == operator)
    }

    fn take_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.at += usize::from(found);
        found
    }

    /// The keyword that stands here, if one does.
    fn keyword(&self) -> Option<&'static str> {
        match self.peek() {
            Some(Token::Word {
                word,
                is_quoted: false,
            }) => KEYWORDS.iter().copied().find(|known| *known == word.text),
            _ => None,
        }
    }

    fn expect_keyword(&mut self, keyword: &str) -> Result<(), ShellError> {
        match self.keyword() {
            Some(found) if found == keyword => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.error()),
        }
    }

    fn error(&self) -> ShellError {
        self.tokens
            .get(self.at)
            .map_or(ShellError::Unfinished, unexpected)
    }

    fn skip_line_ends(&mut self) {
        while self.take_operator("\n") {}
    }

    /// Where the token before ended.
    fn end(&self) -> usize {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.map_or(0, |placed| placed.range.end)
    }

    fn start(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.end(), |placed| placed.range.start)
    }

    /// Enters what may hold itself: the stack must not be a script's to fill.
    fn go_deeper(&mut self) -> Result<(), ShellError> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(ShellError::TooDeep),
            false => Ok(()),
        }
    }

    /// Lists up to one of these keywords, to `)` or `;;`, or to the end.
    fn script(&mut self, until: &[&str]) -> Result<Script, ShellError> {
        self.go_deeper()?;
        let mut script = Script::default();
        loop {
            while self.take_operator("\n") || self.take_operator(";") {}
            let is_over = match self.peek() {
                None | Some(Token::Operator(")" | ";;")) => true,
                _ => self.keyword().is_some_and(|found| until.contains(&found)),
            };
            if is_over {
                break;
            }
            let mut list = self.and_or()?;
            list.is_background = self.take_operator("&");
            let is_ended = list.is_background
                || self.is_operator(";")
                || self.is_operator("\n")
                || self.is_operator(")")
                || self.is_operator(";;")
                || self.peek().is_none();
            script.lists.push(list);
            // After a compound command its surroundings may end without a separator.
            let closes = self.keyword().is_some_and(|found| until.contains(&found));
            if !is_ended && !closes {
                return Err(self.error());
            }
        }
        self.depth -= 1;
        Ok(script)
    }

    fn and_or(&mut self) -> Result<AndOr, ShellError> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let connector = if self.take_operator("&&") {
                Connector::And
            } else if self.take_operator("||") {
                Connector::Or
            } else {
                break;
            };
            self.skip_line_ends();
            rest.push((connector, self.pipeline()?));
        }
        Ok(AndOr {
            first,
            rest,
            is_background: false,
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, ShellError> {
        let mut is_negated = false;
        while let Some(Token::Word {
            word,
            is_quoted: false,
        }) = self.peek()
        {
            match word.text.as_str() {
                "!" => is_negated = !is_negated,
                "time" => {}
                _ => break,
            }
            self.at += 1;
        }
        let mut commands = vec![self.command()?];
        while self.take_operator("|") {
            self.skip_line_ends();
            commands.push(self.command()?);
        }
        Ok(Pipeline {
            is_negated,
            commands,
        })
    }

    fn command(&mut self) -> Result<Command, ShellError> {
        let start = self.start();
        if self.take_operator("(") {
            let script = self.script(&[])?;
            if !self.take_operator(")") {
                return Err(self.error());
            }
            return self.compound(CompoundKind::Subshell, vec![script], start);
        }
        let Some(keyword) = self.keyword() else {
            return self.simple_or_function();
        };
        self.at += 1;
        let (kind, parts) = match keyword {
            "{" => {
                let script = self.script(&["}"])?;
                self.expect_keyword("}")?;
                (CompoundKind::Group, vec![script])
            }
            "if" => (CompoundKind::Condition, self.conditions()?),
            "while" | "until" => {
                let condition = self.script(&["do"])?;
                (CompoundKind::Condition, vec![condition, self.loop_body()?])
            }
            "for" => (CompoundKind::Other, vec![self.for_body()?]),
            "case" => (CompoundKind::Other, self.cases()?),
            _ => {
                self.at -= 1;
                return Err(self.error());
            }
        };
        self.compound(kind, parts, start)
    }

    fn compound(
        &mut self,
        kind: CompoundKind,
        parts: Vec<Script>,
        start: usize,
    ) -> Result<Command, ShellError> {
        while let Some(Token::Redirect(_)) = self.peek() {
            self.redirect()?;
        }
        Ok(Command::Compound(Compound {
            kind,
            parts,
            range: start..self.end(),
        }))
    }

    fn conditions(&mut self) -> Result<Vec<Script>, ShellError> {
        let mut parts = vec![self.script(&["then"])?];
        self.expect_keyword("then")?;
        parts.push(self.script(&["elif", "else", "fi"])?);
        match self.keyword() {
            Some("elif") => {
                self.at += 1;
                // Many `elif` are no deep nesting to who wrote them; the limit is generous.
                self.go_deeper()?;
                parts.extend(self.conditions()?);
                self.depth -= 1;
                return Ok(parts);
            }
            Some("else") => {
                self.at += 1;
                parts.push(self.script(&["fi"])?);
            }
            _ => {}
        }
        self.expect_keyword("fi")?;
        Ok(parts)
    }

    fn loop_body(&mut self) -> Result<Script, ShellError> {
        self.expect_keyword("do")?;
        let body = self.script(&["done"])?;
        self.expect_keyword("done")?;
        Ok(body)
    }

    fn for_body(&mut self) -> Result<Script, ShellError> {
        // The name, `in` and the words, or the `((...))` of other shells.
        while self.keyword() != Some("do") {
            match self.peek() {
                Some(Token::Word { .. } | Token::Operator(";" | "\n")) => self.at += 1,
                _ => return Err(self.error()),
            }
        }
        self.loop_body()
    }

    fn cases(&mut self) -> Result<Vec<Script>, ShellError> {
        let mut parts = Vec::new();
        self.word()?;
        self.skip_line_ends();
        match self.peek() {
            Some(Token::Word { word, .. }) if word.text == "in" => self.at += 1,
            _ => return Err(self.error()),
        }
        loop {
            self.skip_line_ends();
            if self.keyword() == Some("esac") {
                self.at += 1;
                return Ok(parts);
            }
            self.take_operator("(");
            self.word()?;
            while self.take_operator("|") {
                self.word()?;
            }
            if !self.take_operator(")") {
                return Err(self.error());
            }
            parts.push(self.script(&["esac"])?);
            self.take_operator(";;");
        }
    }

    fn word(&mut self) -> Result<Word, ShellError> {
        match self.peek() {
            Some(Token::Word { word, .. }) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.error()),
        }
    }

    fn redirect(&mut self) -> Result<Redirect, ShellError> {
        let Some(Token::Redirect(operator)) = self.peek() else {
            return Err(self.error());
        };
        let operator = operator.clone();
        self.at += 1;
        let body = self
            .tokens
            .get(self.at)
            .and_then(|placed| placed.body.clone());
        let target = self.word()?;
        Ok(Redirect {
            operator,
            target,
            body,
        })
    }

    fn simple_or_function(&mut self) -> Result<Command, ShellError> {
        let start = self.start();
        let mut simple = Simple::default();
        loop {
            match self.peek() {
                Some(Token::Word { is_quoted, .. }) => {
                    let may_assign = !is_quoted && simple.words.is_empty();
                    let word = self.word()?;
                    match assignment(&word).filter(|_| may_assign) {
                        Some(pair) => simple.assignments.push(pair),
                        None => simple.words.push(word),
                    }
                }
                Some(Token::Redirect(_)) => {
                    let redirect = self.redirect()?;
                    simple.redirects.push(redirect);
                }
                Some(Token::Operator("(")) if self.is_function_head(&simple) => {
                    return self.function(start);
                }
                _ => break,
            }
        }
        let is_empty =
            simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty();
        if is_empty {
            return Err(self.error());
        }
        simple.range = Range {
            start,
            end: self.end(),
        };
        Ok(Command::Simple(simple))
    }

    fn is_function_head(&self, simple: &Simple) -> bool {
        let closes = self.tokens.get(self.at + 1).map(|placed| &placed.token);
        simple.words.len() <= 2
            && !simple.words.is_empty()
            && simple.redirects.is_empty()
            && closes == Some(&Token::Operator(")"))
    }

    fn function(&mut self, start: usize) -> Result<Command, ShellError> {
        self.at += 2;
        self.skip_line_ends();
        // The body may be the head of another function.
        self.go_deeper()?;
        let body = self.command()?;
        self.depth -= 1;
        let Command::Compound(body) = body else {
            return Err(self.error());
        };
        self.compound(CompoundKind::Function, body.parts, start)
    }
}

/// Splits `NAME=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.text.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let is_name = name.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_')
        && name
            .chars()
            .all(|ch| ch.is_ascii_alphanumeric() || ch == '_');
    is_name.then(|| {
        let value = Word {
            text: value.to_owned(),
            is_literal: word.is_literal,
            range: word.range.clone(),
        };
        (name.to_owned(), value)
    })
}
