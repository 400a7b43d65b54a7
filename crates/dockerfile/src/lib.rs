//! Dockerfile text to a spanned AST, expansion, lint rules; no IO.
//!
//! ```text
//!  text --tree::read--> Tree        lines joined, arguments cut apart, heredocs attached
//!  Tree --parse-------> Dockerfile  typed instructions in stages, words not yet expanded
//!  word --expand------> text        when a step is lowered, with the variables of that moment
//! ```
//!
//! The behaviour is that of BuildKit 0.32's `docker/dockerfile:1`. Errors are diagnostics that
//! point into the text; a text with several mistakes gets several of them.
//!
//! Beside the language itself live the small languages inside it: mounts ([`mount`]), ports
//! ([`expose`]), modes ([`chmod`]), wildcards ([`glob`]) and `.dockerignore` ([`ignore`]).

pub mod ast;
pub mod chmod;
pub mod chown;
mod csv;
pub mod device;
mod directive;
pub mod expand;
pub mod expose;
mod flags;
pub mod glob;
mod heredoc;
pub mod ignore;
mod instruction;
mod lines;
pub mod lint;
pub mod mount;
pub mod outline;
pub mod predefined;
pub mod shell;
pub mod signal;
mod stages;
pub mod suggest;
pub mod tree;
pub mod value;
mod words;

pub use ast::Dockerfile;
pub use csv::CsvError;
pub use directive::DirectiveError;
pub use flags::FlagError;
pub use instruction::{INSTRUCTIONS, InstructionError};
pub use stages::{parse, parse_leading, parse_trigger};
pub use words::WordsError;
