//! Dockerfiles and contexts to images: lower, bind, key, solve, assemble.

pub mod event;
