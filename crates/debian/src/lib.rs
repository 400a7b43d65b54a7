//! Debian base images from signed, locked packages.
