//! Changes of a stack, each with what a cause must name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::stack::{Shape, Stack};
use crate::bench::{Random, write_file};
use crate::error::ChoreError;

/// What is changed about one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EditFile,
    AddFile,
    RemoveFile,
    ModeOfFile,
    EditStep,
    Setting,
    Default,
    Variable,
    Label,
    Tool,
    OnePlatform,
    SameResult,
    Exclude,
    Environment,
    Overlay,
    // From here on nothing changes that an image could hold.
    TouchFile,
    SameText,
    IgnoredFile,
    UnusedFile,
    Remark,
    Always,
    Nothing,
}

const KINDS: [Kind; 22] = [
    Kind::EditFile,
    Kind::AddFile,
    Kind::RemoveFile,
    Kind::ModeOfFile,
    Kind::EditStep,
    Kind::Setting,
    Kind::Default,
    Kind::Variable,
    Kind::Label,
    Kind::Tool,
    Kind::OnePlatform,
    Kind::SameResult,
    Kind::Exclude,
    Kind::Environment,
    Kind::Overlay,
    Kind::TouchFile,
    Kind::SameText,
    Kind::IgnoredFile,
    Kind::UnusedFile,
    Kind::Remark,
    Kind::Always,
    Kind::Nothing,
];

/// One change.
#[derive(Debug)]
pub(super) struct Mutation {
    kind: Kind,
    image: usize,
    file: usize,
    /// What a cause must say.
    token: String,
    /// The names of the image and of all that the change may reach through it.
    name: String,
}

impl Mutation {
    /// Chooses a change that the stack allows.
    pub(super) fn choose(stack: &Stack, random: &mut Random) -> Self {
        loop {
            let kind = KINDS[random.below(KINDS.len())];
            let at = match (kind, &stack.overlay) {
                (Kind::Environment | Kind::Overlay, Some(overlay)) => overlay.image,
                _ => random.below(stack.images.len()),
            };
            let is_overlaid = stack
                .overlay
                .as_ref()
                .is_some_and(|it| it.is_on && it.image == at);
            let image = &stack.images[at];
            let is_possible = match kind {
                Kind::RemoveFile => image.files.len() > 1,
                Kind::Default => image.setting.is_none() && !is_overlaid,
                Kind::Setting => image.setting.is_some() && !is_overlaid,
                Kind::Exclude => matches!(image.shape, Shape::Matrix(_)),
                Kind::Environment => stack.overlay.is_some(),
                Kind::Overlay => is_overlaid,
                // What is built in every run leaves what builds on it open in every plan.
                Kind::Always => {
                    let is_leaf =
                        (0..stack.images.len()).all(|it| it == at || !stack.reaches(at, it));
                    is_leaf && !stack.is_for_platforms
                }
                Kind::Tool => image.tool.is_some(),
                Kind::OnePlatform => stack.is_for_platforms,
                Kind::EditStep | Kind::SameResult => !stack.is_for_platforms,
                _ => true,
            };
            if !is_possible {
                continue;
            }
            let file = random.below(image.files.len());
            return Self {
                kind,
                image: at,
                file,
                token: match kind {
                    Kind::EditFile | Kind::RemoveFile | Kind::ModeOfFile => {
                        format!("src/{}", image.files[file].0)
                    }
                    Kind::AddFile => "src/added".to_owned(),
                    // It shows in where a step copies to.
                    Kind::Setting if stack.is_for_platforms => {
                        image.setting.clone().unwrap_or_default()
                    }
                    Kind::Default if stack.is_for_platforms => image.default.clone(),
                    Kind::Setting | Kind::Default | Kind::Environment | Kind::Overlay => {
                        "SETTING".to_owned()
                    }
                    Kind::Variable => format!("VARIABLE_{at}"),
                    Kind::Label => "remark".to_owned(),
                    Kind::EditStep => image.word.clone(),
                    Kind::Tool => "tool".to_owned(),
                    Kind::OnePlatform => "arch-amd64".to_owned(),
                    Kind::SameResult => "command".to_owned(),
                    _ => String::new(),
                },
                name: image.name.clone(),
            };
        }
    }

    /// What sort of change it is.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::EditFile => "edited files",
            Kind::AddFile => "added files",
            Kind::RemoveFile => "removed files",
            Kind::ModeOfFile => "changed modes",
            Kind::EditStep => "edited steps",
            Kind::Setting => "changed arguments",
            Kind::Default => "changed defaults",
            Kind::Variable => "changed variables",
            Kind::Label => "changed labels",
            Kind::Tool => "edited stages",
            Kind::OnePlatform => "files for one platform",
            Kind::SameResult => "steps that make the same",
            Kind::Exclude => "combinations left out or taken in",
            Kind::Environment => "other environments",
            Kind::Overlay => "arguments of an environment",
            Kind::Always => "policies",
            Kind::TouchFile => "touched files",
            Kind::SameText => "rewritten files",
            Kind::IgnoredFile => "ignored files",
            Kind::UnusedFile => "unused files",
            Kind::Remark => "remarks",
            Kind::Nothing => "without change",
        }
    }

    pub(super) fn in_words(&self) -> String {
        format!("{} of {} ({})", self.kind(), self.name, self.token)
    }

    /// Makes the change on the disk and in the stack.
    pub(super) fn apply(
        &self,
        stack: &mut Stack,
        folder: &Path,
        random: &mut Random,
    ) -> Result<(), ChoreError> {
        let image = &mut stack.images[self.image];
        let context = folder.join(&image.name);
        let path = context.join("src").join(&image.files[self.file].0);
        match self.kind {
            Kind::EditFile => {
                image.files[self.file].1 = random.word();
                return write_file(&path, image.files[self.file].1.as_bytes());
            }
            Kind::AddFile => {
                let name = format!("added-{}", random.word());
                let text = random.word();
                write_file(&context.join("src").join(&name), text.as_bytes())?;
                image.files.push((name, text));
                return Ok(());
            }
            Kind::RemoveFile => {
                image.files.remove(self.file);
                return fs::remove_file(&path).map_err(ChoreError::file(&path));
            }
            Kind::ModeOfFile => {
                let metadata = fs::metadata(&path).map_err(ChoreError::file(&path))?;
                let mode = metadata.permissions().mode() ^ 0o111;
                let mode = fs::Permissions::from_mode(mode);
                return fs::set_permissions(&path, mode).map_err(ChoreError::file(&path));
            }
            Kind::TouchFile => {
                let file = fs::File::options().append(true).open(&path);
                let touched = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
                return touched.map_err(ChoreError::file(&path));
            }
            Kind::SameText => return write_file(&path, image.files[self.file].1.as_bytes()),
            Kind::IgnoredFile => {
                let name = format!("src/{}.ignored", random.word());
                return write_file(&context.join(name), b"nobody sees it");
            }
            Kind::UnusedFile => {
                return write_file(&context.join(random.word()), b"nobody copies it");
            }
            Kind::Nothing => return Ok(()),
            Kind::EditStep => image.word = random.word(),
            Kind::Setting => image.setting = Some(random.word()),
            Kind::Default => image.default = random.word(),
            Kind::Variable => image.variable = random.word(),
            Kind::Label => image.label = random.word(),
            Kind::Tool => image.tool = Some(random.word()),
            Kind::OnePlatform => image.for_amd64 = random.word(),
            Kind::SameResult => image.blanks += 1,
            Kind::Remark => image.remarks += 1,
            Kind::Always => image.is_always_built = !image.is_always_built,
            Kind::Exclude => {
                if let Shape::Matrix(excluded) = &mut image.shape {
                    let pair = (random.below(2), random.below(2));
                    // One at least stays.
                    if !excluded.remove(&pair) && excluded.len() < 3 {
                        excluded.insert(pair);
                    }
                }
            }
            Kind::Environment => {
                if let Some(overlay) = &mut stack.overlay {
                    overlay.is_on = !overlay.is_on;
                }
            }
            Kind::Overlay => {
                if let Some(overlay) = &mut stack.overlay {
                    overlay.setting = random.word();
                }
            }
        }
        stack.write_further(self.image, folder)?;
        stack.write_dockerfile(self.image, folder)?;
        stack.write_spec(folder)
    }

    /// Whether steps run again and make what they made before.
    pub(super) fn may_make_the_same(&self) -> bool {
        self.kind == Kind::SameResult
    }

    /// The image that it is about.
    pub(super) fn image(&self) -> usize {
        self.image
    }

    /// Whether a commit shows it: another environment is asked for on the command line.
    pub(super) fn is_in_commits(&self) -> bool {
        !matches!(self.kind, Kind::Environment)
    }

    /// Whether what a plan says of an image names the change: itself, or the image it came by.
    pub(super) fn is_named(&self, image: &str, causes: &str) -> bool {
        let is_own = image.split([':', ' ']).next() == Some(&self.name);
        match is_own {
            true => causes.contains(&self.token),
            false => causes.contains(&self.token) || causes.contains(&self.name),
        }
    }
}
