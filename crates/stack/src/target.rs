//! What an image is called in a run that may be over several platforms.
//!
//! For this machine's platform an image goes by its name, for another one by its name and the
//! platform: `model:cloud linux/arm64`. So the steps, logs and tests of one are never taken for
//! those of the other, whatever else a run was about, and a run for this machine alone tells the
//! names of the spec.

use cairn_oci::Platform;

/// Stands between name and platform; no image's name has one.
const BETWEEN: char = ' ';

/// What an image is called in a run.
pub fn label(name: &str, platform: &Platform) -> String {
    match *platform == Platform::of_this_program() {
        true => name.to_owned(),
        false => format!("{name}{BETWEEN}{platform}"),
    }
}

/// The name of an image and its platform, of what it is called in a run.
pub fn image_and_platform(label: &str) -> (&str, Platform) {
    let here = Platform::of_this_program;
    match label.split_once(BETWEEN) {
        Some((name, platform)) => (name, platform.parse().unwrap_or_else(|_| here())),
        None => (label, here()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_back() {
        let here = Platform::of_this_program();
        assert_eq!(label("model:cloud", &here), "model:cloud");
        let there: Platform = "linux/arm/v6".parse().unwrap();
        assert_eq!(label("model:cloud", &there), "model:cloud linux/arm/v6");
        for platform in [here, there] {
            let text = label("model:cloud", &platform);
            assert_eq!(image_and_platform(&text), ("model:cloud", platform));
        }
    }
}
