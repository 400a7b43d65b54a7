//! Dockerfile text to a spanned AST, expansion, lint rules; no IO.
