//! Small images for three registries, and the program that publishes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::options::{Kind, Options};
use super::proxy::{Counts, Proxy};
use super::random::Random;
use super::registry::Registry;
use crate::command;
use crate::error::ChoreError;

/// So many registries.
pub(super) const REGISTRIES: usize = 3;

/// A stack with its registries behind proxies.
pub(super) struct Site {
    registries: Vec<Registry>,
    /// What stands before them.
    pub(super) proxies: Vec<Proxy>,
    /// What went through.
    pub(super) counts: Arc<Counts>,
    place: TempDir,
    cairn: PathBuf,
    images: usize,
    word: usize,
}

/// What the tags of all images mean at all registries; `None` for one that means nothing.
pub(super) type Meaning = Vec<Option<String>>;

impl Site {
    /// Starts registries and proxies, and writes the stack.
    pub(super) fn new(options: &Options, random: &mut Random) -> Result<Self, ChoreError> {
        let counts = Arc::new(Counts::default());
        let mut registries = Vec::new();
        let mut proxies = Vec::new();
        for _ in 0..REGISTRIES {
            let registry = Registry::start()?;
            let shelf = registry.shelf();
            proxies.push(Proxy::start(&registry.host, shelf, &counts, random.next())?);
            registries.push(registry);
        }
        let place = TempDir::new_in("/var/tmp").map_err(ChoreError::file("/var/tmp"))?;
        let site = Self {
            registries,
            proxies,
            counts,
            place,
            cairn: options.cairn.clone().unwrap_or_else(|| "cairn".into()),
            images: options.images,
            word: options.word,
        };
        let hosts = site.proxies.iter();
        let hosts: Vec<String> = hosts.map(|it| format!("\"{}/lab\"", it.host)).collect();
        let mut spec = format!(
            "[stack]\nname = \"campaign\"\nregistries = [{}]\nplatforms = [{}]\n\
             [retention]\nkeep = [\"main\"]\ndays = 0\ndelay-days = 0\nbranches = false\n",
            hosts.join(", "),
            platforms(options.kind)
        );
        for number in 0..options.images {
            spec.push_str(&format!("[image.i{number}]\ncontext = \"i{number}\"\n"));
            let file = "FROM scratch\nARG TARGETARCH\nLABEL is=$TARGETARCH\nCOPY word /word\n";
            site.write(&format!("i{number}/Dockerfile"), file)?;
        }
        site.write("cairn.toml", &spec)?;
        for number in 0..options.images {
            site.change(number, random)?;
        }
        Ok(site)
    }

    /// Gives an image another content.
    pub(super) fn change(&self, image: usize, random: &mut Random) -> Result<(), ChoreError> {
        self.write(&format!("i{image}/word"), &random.text(self.word))
    }

    /// Gives some images another content.
    pub(super) fn change_some(&self, random: &mut Random) -> Result<(), ChoreError> {
        for _ in 0..=random.below(4) {
            let image = usize::try_from(random.below(self.images as u64)).unwrap_or(0);
            self.change(image, random)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ChoreError> {
        let path = self.place.path().join(name);
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(ChoreError::file(folder))?;
        fs::write(&path, text).map_err(ChoreError::file(&path))
    }

    /// Forgets everything that this machine knows.
    pub(super) fn forget(&self) -> Result<(), ChoreError> {
        let home = self.place.path().join("home");
        match fs::remove_dir_all(&home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ChoreError::file(home)(error))
            }
            _ => Ok(()),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cairn);
        command
            .args(arguments)
            .current_dir(self.place.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.place.path())
            .env("CAIRN_HOME", self.place.path().join("home"));
        command
    }

    /// Runs the program.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Output, ChoreError> {
        command::output(&mut self.command(arguments))
    }

    /// Runs the program, which must succeed; gives what it says on both ways.
    pub(super) fn succeed(&self, arguments: &[&str]) -> Result<(String, String), ChoreError> {
        let mut command = self.command(arguments);
        let output = command::output(&mut command)?;
        if !output.status.success() {
            return Err(command::failure(&command, &output));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    /// Starts the program, to be killed; what it says on its standard output is [`Site::told`].
    pub(super) fn begin(&self, arguments: &[&str]) -> Result<Child, ChoreError> {
        let mut command = self.command(arguments);
        let path = self.told_at();
        let told = fs::File::create(&path).map_err(ChoreError::file(&path))?;
        let begun = command
            .stdin(Stdio::null())
            .stdout(told)
            .stderr(Stdio::null())
            .spawn();
        begun.map_err(|source| ChoreError::Start {
            program: command::shown(&command),
            source,
        })
    }

    /// What the program said that was begun last.
    pub(super) fn told(&self) -> String {
        fs::read_to_string(self.told_at()).unwrap_or_default()
    }

    fn told_at(&self) -> PathBuf {
        self.place.path().join("told")
    }

    /// What a tag of all images means at all registries.
    pub(super) fn meaning(&self, tag: &str) -> Meaning {
        let mut meaning = Vec::new();
        for registry in &self.registries {
            let shelf = registry.shelf();
            meaning.extend((0..self.images).map(|image| shelf.tag(&format!("lab/i{image}"), tag)));
        }
        meaning
    }

    /// How many platforms every image has at least at every registry, by a tag.
    pub(super) fn platforms(&self, tag: &str) -> usize {
        let shelves = self.registries.iter().map(Registry::shelf);
        let parts = shelves.flat_map(|shelf| {
            let images = 0..self.images;
            images.map(move |image| shelf.parts(&format!("lab/i{image}"), tag))
        });
        parts.min().unwrap_or(0)
    }

    /// Removes the layer of an image from the files of a registry.
    #[cfg(test)]
    pub(super) fn lose_a_blob(&self) {
        self.registries[0].shelf().lose_a_layer("lab/i0", "main");
    }

    /// Tags that lead to something that is not there, at all registries.
    pub(super) fn broken_tags(&self) -> Vec<String> {
        let registries = self.registries.iter();
        registries.flat_map(|it| it.shelf().broken_tags()).collect()
    }
}

/// The platforms of the images: promotion moves indexes of two.
fn platforms(kind: Kind) -> &'static str {
    match kind {
        Kind::Promote => "\"linux/amd64\", \"linux/arm64\"",
        Kind::Faults | Kind::Kills => "",
    }
}

/// What `cairn publish --json` says that the tags mean, in the order of [`Site::meaning`].
pub(super) fn reported(json: &str) -> Result<Meaning, ChoreError> {
    let wrong = || ChoreError::Unmet(format!("this is no report:\n{json}"));
    let report: serde_json::Value = serde_json::from_str(json).map_err(|_| wrong())?;
    let images = report["images"].as_array().ok_or_else(wrong)?;
    let digests = images
        .iter()
        .map(|it| it["digest"].as_str().map(str::to_owned));
    Ok(digests.collect())
}

/// Whether a tag means the same at all registries.
pub(super) fn is_alike(meaning: &Meaning) -> bool {
    let images = meaning.len() / REGISTRIES;
    let mut parts = meaning.chunks(images);
    parts.all(|part| part == &meaning[..images])
}
