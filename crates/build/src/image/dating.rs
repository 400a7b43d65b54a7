//! Which times an image leaves with, where an output asks for others than the build gave it.
//!
//! | asked | times of what the build made | mark on its layers, if one is wanted |
//! | --- | --- | --- |
//! | nothing | the image's own | its epoch, if somebody gave it one |
//! | an epoch | at most that epoch | that epoch |
//! | to forget the epoch | the image's own | none |
//!
//! Times in layers are clamped whatever is asked; the mark only says so in BuildKit's way. What
//! came with the base keeps its times and gets no mark.

use cairn_oci::rfc3339;

use super::record::ImageRecord;

/// What an output asks of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dating {
    /// Which epoch counts.
    pub epoch: Epoch,
    /// Whether layers are to say what their times were clamped to.
    pub marks: bool,
}

/// The epoch of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Epoch {
    /// That of the image.
    #[default]
    Own,
    /// That of the image, and nothing is said of it.
    Forgotten,
    /// This one.
    At(i64),
}

impl Dating {
    /// The image with the times that are asked for. `is_given` tells whether its own epoch was
    /// asked for by somebody, rather than being the one that images have by default.
    #[must_use]
    pub fn of(self, image: &ImageRecord, is_given: bool) -> ImageRecord {
        let mut dated = image.clone();
        if let Epoch::At(epoch) = self.epoch {
            for entry in dated.history.iter_mut().skip(image.inherited.history) {
                entry.created = Some(rfc3339(epoch));
            }
            dated.epoch = epoch;
            dated.epoch_is_given = true;
        }
        dated.marked = match self.epoch {
            Epoch::Own if is_given => Some(dated.epoch),
            Epoch::At(epoch) => Some(epoch),
            Epoch::Own | Epoch::Forgotten => None,
        };
        dated.marked = dated.marked.filter(|_| self.marks);
        dated
    }
}

#[cfg(test)]
mod tests {
    use cairn_oci::{History, Platform, RunConfig};

    use super::super::record::Inherited;
    use super::*;

    fn image() -> ImageRecord {
        let entry = History {
            created: Some(rfc3339(7)),
            ..History::default()
        };
        ImageRecord {
            platform: Platform::new("linux", "amd64"),
            config: RunConfig::default(),
            author: None,
            epoch: 7,
            epoch_is_given: false,
            layers: Vec::new(),
            history: vec![entry.clone(), entry],
            annotations: std::collections::BTreeMap::new(),
            outer: Vec::new(),
            packed: None,
            results: Vec::new(),
            attested: None,
            pulled: None,
            inherited: Inherited {
                layers: 1,
                history: 1,
            },
            marked: None,
            dialect: crate::image::dialect::Dialect::default(),
            absent: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn an_epoch_of_the_output_counts_for_what_the_build_made() {
        let at = |marks| Dating {
            epoch: Epoch::At(9),
            marks,
        };
        let dated = at(true).of(&image(), false);
        assert_eq!((dated.epoch, dated.marked), (9, Some(9)));
        let created: Vec<_> = dated.history.iter().map(|entry| &entry.created).collect();
        assert_eq!(created, [&Some(rfc3339(7)), &Some(rfc3339(9))]);
        assert_eq!(at(false).of(&image(), true).marked, None);
    }

    #[test]
    fn layers_of_one_month_are_equal_unless_an_epoch_is_given() {
        let at = |epoch, epoch_is_given| {
            let image = ImageRecord {
                epoch,
                epoch_is_given,
                ..image()
            };
            image.layer_epoch()
        };
        const MARCH_2026: i64 = 1_772_323_200;
        assert_eq!(at(MARCH_2026, false), MARCH_2026);
        assert_eq!(at(MARCH_2026 + 30 * 86_400, false), MARCH_2026);
        assert_eq!(at(MARCH_2026 - 1, false), MARCH_2026 - 28 * 86_400);
        assert_eq!(at(MARCH_2026 + 5, true), MARCH_2026 + 5);
        let dating = Dating {
            epoch: Epoch::At(9),
            marks: false,
        };
        assert_eq!(dating.of(&image(), false).layer_epoch(), 9);
    }

    #[test]
    fn a_mark_needs_an_epoch_that_somebody_gave() {
        let marked = |epoch, is_given| {
            let dating = Dating { epoch, marks: true };
            dating.of(&image(), is_given).marked
        };
        assert_eq!(marked(Epoch::Own, true), Some(7));
        assert_eq!(marked(Epoch::Own, false), None);
        assert_eq!(marked(Epoch::Forgotten, true), None);
        assert_eq!(Dating::default().of(&image(), true), image());
    }
}
