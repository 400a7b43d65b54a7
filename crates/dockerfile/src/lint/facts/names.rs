//! Which stage a name means, found without a walk over all stages.

use std::collections::HashMap;

use crate::ast::{Dockerfile, Stage};

/// The names of a file's stages.
pub(in crate::lint) struct Names<'a> {
    file: &'a Dockerfile,
    /// The stages of each name in lower case, in order.
    stages: HashMap<String, Vec<usize>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(file: &'a Dockerfile) -> Self {
        let mut stages: HashMap<String, Vec<usize>> = HashMap::new();
        for stage in &file.stages {
            if let Some(name) = stage.name() {
                let same = stages.entry(name.to_ascii_lowercase()).or_default();
                same.push(stage.index);
            }
        }
        Self { file, stages }
    }

    /// The last stage of a name that stands before another one.
    pub(super) fn before(&self, before: usize, name: &str) -> Option<usize> {
        let same = self.stages.get(&name.to_ascii_lowercase())?;
        let place = same.partition_point(|index| *index < before);
        place.checked_sub(1).map(|last| same[last])
    }

    /// The stage that `--from=` names, by name or number.
    pub(in crate::lint) fn from(&self, name: &str) -> Option<usize> {
        let stages = &self.file.stages;
        let by_number = || {
            let stage: &Stage = stages.get(name.parse::<usize>().ok()?)?;
            Some(stage.index)
        };
        self.before(stages.len(), name).or_else(by_number)
    }
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use super::*;

    #[test]
    fn the_last_stage_of_a_name_before_another_is_meant() {
        let text = "FROM x AS a\nFROM x AS b\nFROM x AS A\nFROM x\n";
        let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
        let names = Names::of(&file);
        assert_eq!(names.before(0, "a"), None);
        assert_eq!(names.before(2, "A"), Some(0));
        assert_eq!(names.before(3, "a"), Some(2));
        assert_eq!(names.before(3, "3"), None);
        for (name, stage) in [("a", Some(2)), ("B", Some(1)), ("3", Some(3)), ("4", None)] {
            assert_eq!(names.from(name), stage, "{name}");
            assert_eq!(file.stage(name).map(|stage| stage.index), stage, "{name}");
        }
    }
}
