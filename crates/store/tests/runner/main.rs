//! What the store promises, tried from outside. One binary; a module per promise.

mod hostile;
mod layers;
