//! What the store promises, tried from outside. One binary; a module per promise.

mod collecting;
mod crashes;
mod damage;
mod hostile;
mod layers;
mod overlay;
mod sharing;
