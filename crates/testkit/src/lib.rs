//! What the tests of several crates share: images, contexts and stores made from a few lines.
