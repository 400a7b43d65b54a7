//! The lower half of the parser: a flat tree of instructions with their arguments cut apart.
//!
//! It knows how each instruction's arguments are cut (JSON, words, pairs, one text), where
//! heredocs belong, and nothing of what they mean; the upper half gives them types.

mod sexp;

use cairn_diagnostic::{Diagnostic, Source, Span};

use crate::ast::{Directives, Heredoc, KeyValue, Spanned, Word};
use crate::directive::{DirectiveError, DirectiveReader};
use crate::expand::ExpandError;
use crate::lines::{Lines, Part};
use crate::words::{self, WordsError};
use crate::{flags, heredoc};

/// Errors beyond this number are left out: a text that is no Dockerfile has one per line.
pub(crate) const ERRORS_MAX: usize = 20;

/// A Dockerfile as a list of instructions that have no meaning yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The parser directives.
    pub directives: Directives,
    /// The instructions in order.
    pub nodes: Vec<Node>,
    /// The last lines of instructions that have a blank line inside a continuation.
    pub blank_continuations: Vec<Span>,
}

/// An instruction with its arguments cut apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The first word as written.
    pub keyword: Spanned<String>,
    /// The flags, `--` included, quotes taken away.
    pub flags: Vec<Word>,
    /// The arguments.
    pub arguments: Arguments,
    /// Whether the arguments were a JSON array.
    pub is_json: bool,
    /// The heredocs below the line.
    pub heredocs: Vec<Heredoc>,
    /// The logical line, spaces at its end included.
    pub line: String,
    /// All that is written after the keyword and the flags.
    pub rest: Word,
    /// From the keyword to the last byte, heredocs included.
    pub span: Span,
    /// The comment lines above.
    pub comments: Vec<Word>,
}

/// The arguments of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// Words, or a single text.
    Words(Vec<Word>),
    /// Names and values.
    Pairs(Vec<KeyValue>),
    /// Another instruction.
    Instruction(Option<Box<Node>>),
    /// Not read: the instruction is not known.
    Unknown,
}

/// A text that cannot be cut into instructions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum TreeError {
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    #[error(transparent)]
    Words(#[from] WordsError),
    #[error(transparent)]
    Heredoc(#[from] ExpandError),
    #[error("unterminated heredoc")]
    UnterminatedHeredoc { name: String },
    #[error("file with no instructions")]
    Empty,
}

/// Cuts a text into instructions.
pub fn read(source: &Source) -> Result<Tree, Vec<Diagnostic>> {
    let mut reader = Reader {
        source,
        lines: Lines::new(&source.text),
        directives: DirectiveReader::default(),
        comments: Vec::new(),
        nodes: Vec::new(),
        blank_continuations: Vec::new(),
        errors: Vec::new(),
    };
    reader.read();
    if reader.nodes.is_empty() && reader.errors.is_empty() {
        reader.fail(&TreeError::Empty, Span::new(0, 0));
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    Ok(Tree {
        directives: reader.directives.directives,
        nodes: reader.nodes,
        blank_continuations: reader.blank_continuations,
    })
}

struct Reader<'a> {
    source: &'a Source,
    lines: Lines<'a>,
    directives: DirectiveReader,
    comments: Vec<Word>,
    nodes: Vec<Node>,
    blank_continuations: Vec<Span>,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(first) = self.lines.next_physical() {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            let text = &self.source.text[first.text.clone()];
            let indent = text.len() - text.trim_start().len();
            let place = Span::new(first.text.start + indent, first.text.end);
            match self.directives.read(text.trim_start(), place) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return self.fail(&error.into(), place),
            }
            if self.lines.is_comment(&first.text) {
                self.comment(place);
                continue;
            }
            let escape = self.directives.directives.escape;
            let logical = self.lines.join(&first, escape);
            let line = logical.line.all();
            if line.as_str().trim().is_empty() {
                // What stands above a blank line says nothing of what is below.
                self.comments.clear();
                continue;
            }
            if logical.has_blank_continuation {
                self.blank_continuations.push(Span::from(logical.last));
            }
            match node(line, escape) {
                Ok(mut node) => {
                    if let Err(error) = self.read_heredocs(&mut node) {
                        return self.fail(&error, node.span);
                    }
                    node.comments = std::mem::take(&mut self.comments);
                    self.nodes.push(node);
                }
                Err(error) => self.fail(&error.into(), line.trim().span()),
            }
        }
    }

    /// Keeps a comment for the instruction below; an empty one starts anew.
    fn comment(&mut self, place: Span) {
        let text = self.source.text[place.start + 1..place.end].trim();
        if text.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(Word::new(text.to_owned(), place));
        }
    }

    fn read_heredocs(&mut self, node: &mut Node) -> Result<(), TreeError> {
        if !takes_heredocs(node) || !node.line.contains("<<") {
            return Ok(());
        }
        for word in heredoc::words_of_line(&node.line)? {
            let start = self.lines.at();
            let end = loop {
                let Some(line) = self.lines.next_physical() else {
                    return Err(TreeError::UnterminatedHeredoc { name: word.name });
                };
                let mut terminator = &self.source.text[line.text.clone()];
                if word.strip_tabs {
                    terminator = terminator.trim_start_matches('\t');
                }
                node.span.end = line.text.end;
                if terminator == word.name {
                    break line.full.start;
                }
            };
            node.heredocs.push(Heredoc {
                name: word.name,
                content: self.source.text[start..end].to_owned(),
                expand: word.expand,
                strip_tabs: word.strip_tabs,
                file_descriptor: word.file_descriptor,
                span: Span::new(start, end),
            });
        }
        // What ONBUILD holds takes the heredocs; ONBUILD itself keeps them for its trigger text.
        if let Arguments::Instruction(Some(inner)) = &mut node.arguments {
            inner.heredocs.clone_from(&node.heredocs);
            inner.span.end = node.span.end;
        }
        Ok(())
    }

    fn fail(&mut self, error: &TreeError, span: Span) {
        let finding = Diagnostic::error(error.to_string()).at(self.source, span);
        self.errors.push(match error {
            TreeError::UnterminatedHeredoc { name } => finding.hint(format!(
                "It ends with a line that is `{name}` and nothing else, no blanks either."
            )),
            _ => finding,
        });
    }
}

/// Cuts one logical line into keyword, flags and arguments.
fn node(line: Part<'_>, escape: char) -> Result<Node, WordsError> {
    let trimmed = line.trim();
    let text = trimmed.as_str();
    let keyword_end = text.find(words::is_separator).unwrap_or(text.len());
    let keyword = trimmed.part(0..keyword_end);
    let after = trimmed.from(keyword_end);
    let after = after
        .from(after.as_str().len() - after.as_str().trim_start_matches(words::is_separator).len());
    let (flags, rest) = flags::extract(after);
    let (arguments, is_json) = arguments(keyword.as_str(), rest, escape)?;
    Ok(Node {
        keyword: Spanned::new(keyword.as_str().to_owned(), keyword.span()),
        flags,
        arguments,
        is_json,
        heredocs: Vec::new(),
        line: line.as_str().to_owned(),
        rest: Word::new(rest.as_str().to_owned(), rest.span()),
        span: trimmed.span(),
        comments: Vec::new(),
    })
}

fn arguments(keyword: &str, rest: Part<'_>, escape: char) -> Result<(Arguments, bool), WordsError> {
    let plain = |words| (Arguments::Words(words), false);
    let whole = || match rest.as_str() {
        "" => Vec::new(),
        text => vec![Word::new(text.to_owned(), rest.span())],
    };
    Ok(match keyword.to_ascii_uppercase().as_str() {
        "ADD" | "COPY" | "VOLUME" => match words::json(rest)? {
            Some(words) => (Arguments::Words(words), true),
            None => plain(words::spaced(rest)),
        },
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => match words::json(rest)? {
            Some(words) => (Arguments::Words(words), true),
            None => plain(whole()),
        },
        "HEALTHCHECK" => healthcheck(rest)?,
        "ARG" => plain(words::quoted(rest, escape)),
        "ENV" => (Arguments::Pairs(words::pairs(rest, "ENV", escape)?), false),
        "LABEL" => (
            Arguments::Pairs(words::pairs(rest, "LABEL", escape)?),
            false,
        ),
        "EXPOSE" | "FROM" => plain(words::spaced(rest)),
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => plain(whole()),
        "ONBUILD" => {
            let inner = match rest.is_empty() {
                true => None,
                false => Some(Box::new(node_in_onbuild(rest, escape)?)),
            };
            (Arguments::Instruction(inner), false)
        }
        _ => (Arguments::Unknown, false),
    })
}

/// Reads what `ONBUILD` holds. A second `ONBUILD` is refused later and not followed here, so
/// that a chain of them costs no stack.
fn node_in_onbuild(rest: Part<'_>, escape: char) -> Result<Node, WordsError> {
    let first = rest
        .as_str()
        .split(words::is_separator)
        .next()
        .unwrap_or_default();
    if !first.eq_ignore_ascii_case("ONBUILD") {
        return node(rest, escape);
    }
    Ok(Node {
        keyword: Spanned::new(first.to_owned(), rest.part(0..first.len()).span()),
        flags: Vec::new(),
        arguments: Arguments::Instruction(None),
        is_json: false,
        heredocs: Vec::new(),
        line: rest.as_str().to_owned(),
        rest: Word::new(String::new(), rest.span()),
        span: rest.span(),
        comments: Vec::new(),
    })
}

/// Cuts off the check's type; what follows is a command in either form.
fn healthcheck(rest: Part<'_>) -> Result<(Arguments, bool), WordsError> {
    let text = rest.as_str();
    let type_end = text.find(char::is_whitespace).unwrap_or(text.len());
    if type_end == 0 {
        return Ok((Arguments::Words(Vec::new()), false));
    }
    let kind = rest.part(0..type_end);
    let command = rest.from(type_end).trim_start();
    let mut words = vec![Word::new(kind.as_str().to_owned(), kind.span())];
    if command.is_empty() {
        return Ok((Arguments::Words(words), false));
    }
    if let Some(command) = words::json(command)? {
        words.extend(command);
        return Ok((Arguments::Words(words), true));
    }
    words.push(Word::new(command.as_str().to_owned(), command.span()));
    Ok((Arguments::Words(words), false))
}

/// Whether heredocs may follow: `RUN`, `COPY` and `ADD` that are no JSON, also inside `ONBUILD`.
fn takes_heredocs(node: &Node) -> bool {
    if let Arguments::Instruction(Some(inner)) = &node.arguments {
        return takes_heredocs(inner);
    }
    let keyword = node.keyword.value.to_ascii_uppercase();
    matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") && !node.is_json
}
