//! Stacks that are made up: several levels, variants, stages, arguments, ignored files.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::bench::{BASE, Random, write_file};
use crate::error::ChoreError;

/// A stack as it stands.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) images: Vec<Image>,
    /// Whether it is for two platforms: then no step runs a program, for this machine may be able
    /// to run those of one only.
    pub(super) is_for_platforms: bool,
    /// What the environment `other` is.
    pub(super) overlay: Option<Overlay>,
    /// Where it is published, if it is.
    pub(super) registry: Option<String>,
}

/// How many images one entry of the spec is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// One.
    One,
    /// Two variants that differ in an argument.
    Variants,
    /// Two axes of two values each, without these combinations.
    Matrix(BTreeSet<(usize, usize)>),
}

/// The values of the axes of a matrix, which are arguments as well.
const AXES: [(&str, [&str; 2]); 2] = [("OTHER", ["one", "two"]), ("EXTRA", ["a", "b"])];

/// What an environment lays over one image.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    pub(super) image: usize,
    pub(super) setting: String,
    /// Whether it is asked for.
    pub(super) is_on: bool,
}

/// One image. Whatever can be changed about it shows in what it holds.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) name: String,
    /// The image it builds on; the base if there is none.
    pub(super) parent: Option<usize>,
    /// Another image that it copies a file from.
    pub(super) takes_from: Option<usize>,
    /// The files of `src`, by name, with their texts.
    pub(super) files: Vec<(String, String)>,
    /// The value of the argument `SETTING` in the spec, and its default in the Dockerfile.
    pub(super) setting: Option<String>,
    pub(super) default: String,
    /// What its step writes.
    pub(super) word: String,
    /// A variable that is set last.
    pub(super) variable: String,
    /// A label.
    pub(super) label: String,
    /// Whether a tool is made in a stage of its own, and what it says.
    pub(super) tool: Option<String>,
    /// Whether it is several images.
    pub(super) shape: Shape,
    /// Whether its steps run in every run.
    pub(super) is_always_built: bool,
    /// Remarks in the Dockerfile.
    pub(super) remarks: usize,
    /// Blanks in its step that change nothing of what it does.
    pub(super) blanks: usize,
    /// What a file holds that only the image for amd64 takes.
    pub(super) for_amd64: String,
}

impl Stack {
    pub(super) fn new(random: &mut Random) -> Self {
        let count = 4 + random.below(5);
        let mut images: Vec<Image> = Vec::new();
        for number in 0..count {
            // A variant has no one content that another image could build on.
            let plain: Vec<usize> = (0..number)
                .filter(|at| images[*at].shape == Shape::One)
                .collect();
            let one = |random: &mut Random| match plain.is_empty() {
                true => None,
                false => Some(plain[random.below(plain.len())]),
            };
            let parent = if random.below(4) > 0 {
                one(random)
            } else {
                None
            };
            let takes_from = if random.below(4) == 0 {
                one(random)
            } else {
                None
            };
            let files = (0..1 + random.below(4))
                .map(|file| (format!("file-{file}"), random.word()))
                .collect();
            images.push(Image {
                name: format!("image-{number}"),
                parent,
                takes_from,
                files,
                setting: (random.below(2) == 0).then(|| random.word()),
                default: random.word(),
                word: random.word(),
                variable: random.word(),
                label: random.word(),
                tool: (random.below(3) == 0).then(|| random.word()),
                shape: match random.below(6) {
                    0 => Shape::Variants,
                    1 => Shape::Matrix(BTreeSet::from([(1, 1)])),
                    _ => Shape::One,
                },
                is_always_built: false,
                remarks: 0,
                blanks: 0,
                for_amd64: random.word(),
            });
        }
        let is_for_platforms = random.below(3) == 0;
        let overlay = (!is_for_platforms && random.below(2) == 0).then(|| Overlay {
            image: random.below(images.len()),
            setting: random.word(),
            is_on: false,
        });
        Self {
            images,
            is_for_platforms,
            overlay,
            registry: None,
        }
    }

    /// Writes everything.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ChoreError> {
        for (at, image) in self.images.iter().enumerate() {
            let context = folder.join(&image.name);
            for (name, text) in &image.files {
                write_file(&context.join("src").join(name), text.as_bytes())?;
            }
            write_file(&context.join(".dockerignore"), b"**/*.ignored\n")?;
            self.write_further(at, folder)?;
            self.write_dockerfile(at, folder)?;
        }
        self.write_spec(folder)
    }

    /// Writes what the stack is.
    pub(super) fn write_spec(&self, folder: &Path) -> Result<(), ChoreError> {
        let mut text = "[stack]\nname = \"made-up\"\n".to_owned();
        if let Some(registry) = &self.registry {
            let _ = writeln!(text, "registries = [\"{registry}\"]");
        }
        text.push_str(
            "[changes]\nrebuild-words = [\"full rebuild\"]\nskip-words = [\"skip ci\"]\n",
        );
        if self.is_for_platforms {
            text.push_str("[defaults]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
        }
        for image in &self.images {
            let Image { name, label, .. } = image;
            let _ = writeln!(text, "\n[image.{name}]\ncontext = \"{name}\"");
            let _ = writeln!(text, "labels = {{ remark = \"{label}\" }}");
            let setting = image.setting.as_deref();
            if let Some(setting) = setting {
                let _ = writeln!(text, "args = {{ SETTING = \"{setting}\" }}");
            }
            if image.is_always_built {
                text.push_str("rebuild = \"always\"\n");
            }
            if let Shape::Matrix(excluded) = &image.shape {
                let _ = writeln!(text, "[image.{name}.matrix]");
                for (axis, values) in AXES {
                    let _ = writeln!(text, "{axis} = {values:?}");
                }
                let excluded = excluded.iter().map(|(one, two)| {
                    let pairs = AXES.iter().zip([one, two]);
                    let pairs: Vec<String> = pairs
                        .map(|((axis, values), at)| format!("{axis} = \"{}\"", values[*at]))
                        .collect();
                    format!("{{ {} }}", pairs.join(", "))
                });
                let excluded: Vec<String> = excluded.collect();
                let _ = writeln!(text, "exclude = [{}]", excluded.join(", "));
            }
            if image.shape == Shape::Variants {
                let _ = writeln!(text, "[image.{name}.variant.one]");
                let _ = writeln!(
                    text,
                    "[image.{name}.variant.two]\nargs = {{ OTHER = \"two\" }}"
                );
            }
        }
        if let Some(overlay) = &self.overlay {
            let name = &self.images[overlay.image].name;
            let setting = &overlay.setting;
            let _ = writeln!(
                text,
                "[env.other.image.{name}]\nargs.SETTING = \"{setting}\""
            );
        }
        write_file(&folder.join("cairn.toml"), text.as_bytes())
    }

    /// Whether a change of one image may reach another one.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        let image = &self.images[to];
        from == to
            || [image.parent, image.takes_from]
                .into_iter()
                .flatten()
                .any(|next| self.reaches(from, next))
    }

    /// The entry of the spec that an image is of, by the image's name.
    pub(super) fn entry(&self, image: &str) -> Option<usize> {
        let name = image.split([':', ' ']).next()?;
        self.images.iter().position(|it| it.name == name)
    }

    /// Writes the files of an image beside its `src`.
    pub(super) fn write_further(&self, at: usize, folder: &Path) -> Result<(), ChoreError> {
        let image = &self.images[at];
        let context = folder.join(&image.name);
        for (name, text) in [
            ("arch-amd64/it", image.for_amd64.as_str()),
            ("arch-arm64/it", "the other one"),
            ("tool", image.tool.as_deref().unwrap_or_default()),
        ] {
            write_file(&context.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Writes how one image is made.
    pub(super) fn write_dockerfile(&self, at: usize, folder: &Path) -> Result<(), ChoreError> {
        let text = match self.is_for_platforms {
            true => self.of_files(at),
            false => self.of_steps(at),
        };
        let name = &self.images[at].name;
        write_file(&folder.join(name).join("Dockerfile"), text.as_bytes())
    }

    /// An image that only takes files, some of them by platform.
    fn of_files(&self, at: usize) -> String {
        let image = &self.images[at];
        let name = &image.name;
        let mut text = String::new();
        if image.tool.is_some() {
            text.push_str("FROM scratch AS tool\nCOPY tool /tool\n");
        }
        let parent = image.parent.map(|parent| self.images[parent].name.as_str());
        let _ = writeln!(text, "FROM {}", parent.unwrap_or("scratch"));
        for remark in 0..image.remarks {
            let _ = writeln!(text, "# remark {remark}");
        }
        let _ = writeln!(
            text,
            "ARG SETTING={}\nARG OTHER=none\nARG EXTRA=none",
            image.default
        );
        let _ = writeln!(text, "ARG TARGETARCH");
        let _ = writeln!(text, "COPY arch-$TARGETARCH /opt/{name}/said");
        let _ = writeln!(text, "COPY src /opt/{name}/src");
        if let Some(from) = image.takes_from {
            let from = &self.images[from].name;
            let _ = writeln!(
                text,
                "COPY --from={from} /opt/{from}/said /opt/{name}/taken"
            );
        }
        let _ = writeln!(
            text,
            "COPY --chmod=0600 src /opt/{name}/$SETTING-$OTHER-$EXTRA"
        );
        if image.tool.is_some() {
            let _ = writeln!(text, "COPY --from=tool /tool /opt/{name}/tool");
        }
        let _ = writeln!(text, "ENV VARIABLE_{at}={}", image.variable);
        text
    }

    /// An image whose steps run programs.
    fn of_steps(&self, at: usize) -> String {
        let image = &self.images[at];
        let name = &image.name;
        let mut text = String::new();
        if let Some(tool) = &image.tool {
            let _ = writeln!(text, "FROM {BASE} AS tool\nRUN echo tool {tool} > /tool");
        }
        let parent = image
            .parent
            .map_or(BASE, |parent| &self.images[parent].name);
        let _ = writeln!(text, "FROM {parent}");
        for remark in 0..image.remarks {
            let _ = writeln!(text, "# remark {remark}");
        }
        let _ = writeln!(
            text,
            "ARG SETTING={}\nARG OTHER=none\nARG EXTRA=none",
            image.default
        );
        let _ = writeln!(text, "COPY src /opt/{name}/src");
        if let Some(from) = image.takes_from {
            let from = &self.images[from].name;
            let _ = writeln!(
                text,
                "COPY --from={from} /opt/{from}/said /opt/{name}/taken"
            );
        }
        let _ = writeln!(
            text,
            "RUN echo {} $SETTING {}$OTHER $EXTRA > /opt/{name}/said",
            image.word,
            " ".repeat(image.blanks)
        );
        if image.tool.is_some() {
            let _ = writeln!(text, "COPY --from=tool /tool /opt/{name}/tool");
        }
        let _ = writeln!(text, "ENV VARIABLE_{at}={}", image.variable);
        text
    }
}
