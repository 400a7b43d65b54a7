//! The page about an image: what it is, its layers, and what its commands said (DH-66 to DH-71).

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use cairn_build::image::ImageRecord;
use cairn_oci::annotation;
use cairn_store::Store;

use crate::check::ImageCheck;
use crate::info::{InfoSection, Said};
use crate::run::StepResult;

/// A longer section is folded.
const LINES_SHOWN: usize = 30;
/// So many characters of an instruction are shown, and compared.
const COMMAND_SHOWN: usize = 80;

/// What a page is about.
pub(super) struct Page<'a> {
    /// The image's name in the stack.
    pub(super) name: &'a str,
    /// Where it is published: registry, name and tag.
    pub(super) references: &'a [String],
    pub(super) record: &'a ImageRecord,
    pub(super) steps: &'a [StepResult],
    /// What came of its tests, if they were run.
    pub(super) check: Option<&'a ImageCheck>,
    pub(super) info: &'a [InfoSection],
}

impl Page<'_> {
    /// The page under one of its names.
    pub(super) fn text(&self, title: &str, store: &Store) -> String {
        let record = self.record;
        let layers = self.layers(store);
        let size: u64 = layers.iter().map(|layer| layer.bytes).sum();
        let mut page = format!("# {title}\n\n");
        if title != self.name {
            let _ = writeln!(page, "- image: `{}`", self.name);
        }
        let _ = writeln!(page, "- id: `{}`", record.id());
        let _ = writeln!(page, "- content: `{}`", record.content());
        let _ = writeln!(page, "- platform: `{}`", record.platform);
        let _ = writeln!(page, "- size: {} in {} layers", bytes(size), layers.len());
        if let Some(commit) = record.config.labels.get(annotation::REVISION) {
            let _ = writeln!(page, "- commit: `{commit}`");
        }
        if let Some(check) = self.check {
            let _ = writeln!(page, "- tests: {}", verdict(check));
        }
        for (name, value) in &record.config.labels {
            let _ = writeln!(page, "- label `{name}`: {value}");
        }
        page.push_str("\n## Layers\n\n");
        page.push_str("| created | command | size | cumulative | elapsed | tags |\n");
        page.push_str("| --- | --- | ---: | ---: | ---: | --- |\n");
        let mut sum = 0;
        for (number, layer) in layers.iter().enumerate() {
            sum += layer.bytes;
            let elapsed = layer.elapsed.map(seconds).unwrap_or_default();
            // The names are those of the whole, which is what lies on the last layer.
            let tags = match number + 1 == layers.len() {
                true => self.references.join("<br>"),
                false => String::new(),
            };
            let _ = writeln!(
                page,
                "| {} | `{}` | {} | {} | {elapsed} | {tags} |",
                layer.created,
                layer.command,
                bytes(layer.bytes),
                bytes(sum)
            );
        }
        for section in self.info {
            page.push_str(&text_of(section));
        }
        page
    }

    fn layers(&self, store: &Store) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut steps = self.steps.iter().peekable();
        let history = &self.record.history;
        let made = history.iter().filter(|entry| !entry.empty_layer);
        let mut made = made.map(|entry| {
            let command = entry.created_by.clone().unwrap_or_default();
            (entry.created.clone().unwrap_or_default(), command)
        });
        for layer in &self.record.layers {
            let (created, command) = made.next().unwrap_or_default();
            let command = one_line(&command);
            let elapsed = steps.next_if(|step| is_step(&step.title, &command));
            let short: String = command.chars().take(COMMAND_SHOWN).collect();
            layers.push(Layer {
                created,
                command: short.replace('|', "\\|").replace('`', "'"),
                bytes: size_of(&store.snapshot_dir(&layer.snapshot)),
                elapsed: elapsed.map(|step| step.elapsed),
            });
        }
        layers
    }
}

/// What came of tests, in a line; what failed by its name.
fn verdict(check: &ImageCheck) -> String {
    let (passed, failed): (Vec<_>, Vec<_>) = check.tests().partition(|test| test.passed);
    let left_out = check.files.iter().filter(|it| it.left_out.is_some());
    let mut words = vec![format!("{} passed", passed.len())];
    match left_out.count() {
        0 => {}
        count => words.push(format!("{count} suites left out")),
    }
    if !failed.is_empty() {
        let names: Vec<&str> = failed.iter().map(|test| test.test.as_str()).collect();
        words.push(format!(
            "**{} failed** ({}), so it is not published",
            names.len(),
            names.join(", ")
        ));
    }
    words.join(", ")
}

struct Layer {
    created: String,
    command: String,
    bytes: u64,
    /// How long its step ran, if it ran in this run.
    elapsed: Option<Duration>,
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line of the history tells of a step: what stands behind the instruction's name.
fn is_step(title: &str, command: &str) -> bool {
    let title = one_line(title);
    let words = title.split_once(' ').map_or("", |(_, words)| words);
    let words = words.trim_end_matches("...");
    let start: String = words.chars().take(COMMAND_SHOWN).collect();
    !start.is_empty() && command.contains(&start)
}

fn text_of(section: &InfoSection) -> String {
    let mut text = format!("\n## {}\n\n", section.title);
    let (fold, said) = match &section.said {
        Said::Text(said) => (said.lines().count() > LINES_SHOWN, said.clone()),
        Said::Failed(why) => (false, format!("Failed to execute cmd: {why}")),
    };
    // A fence that the text itself does not have.
    let fence = match said.contains("```") {
        true => "~~~~",
        false => "```",
    };
    if fold {
        let _ = writeln!(
            text,
            "<details><summary>{} lines</summary>\n",
            said.lines().count()
        );
    }
    let _ = writeln!(text, "{fence}\n{}\n{fence}", said.trim_end());
    if fold {
        text.push_str("\n</details>\n");
    }
    text
}

/// The bytes of the files below a folder; several names of one file count once.
fn size_of(folder: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut sum = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            if found.is_dir() {
                open.push(entry.path());
            } else if found.is_file()
                && (found.nlink() == 1 || seen.insert((found.dev(), found.ino())))
            {
                sum += found.len();
            }
        }
    }
    sum
}

/// Bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A time for people, as in `1 h 2 min 3.4 s`.
pub(super) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    let rest = time.as_secs_f64() % 60.0;
    match (whole / 3600, whole / 60 % 60) {
        (0, 0) => format!("{rest:.1} s"),
        (0, minutes) => format!("{minutes} min {rest:.0} s"),
        (hours, minutes) => format!("{hours} h {minutes} min {rest:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sections_are_folded_and_failures_told() {
        let section = |said| InfoSection {
            title: "pip Packages".to_owned(),
            said,
        };
        let short = text_of(&section(Said::Text("a 1\nb 2\n".to_owned())));
        assert_eq!(short, "\n## pip Packages\n\n```\na 1\nb 2\n```\n");
        let long = text_of(&section(Said::Text("x\n".repeat(31))));
        assert!(
            long.contains("<details><summary>31 lines</summary>"),
            "{long}"
        );
        let failed = text_of(&section(Said::Failed("it ended with code 1".to_owned())));
        assert!(failed.contains("Failed to execute cmd: it ended with code 1"));
        assert!(text_of(&section(Said::Text("```".to_owned()))).contains("~~~~"));
    }

    #[test]
    fn figures_are_for_people() {
        let sizes = [
            (999, "999 B"),
            (1_500, "1.5 kB"),
            (2_000_000_000, "2.00 GB"),
        ];
        for (size, wanted) in sizes {
            assert_eq!(bytes(size), wanted);
        }
        let times = [
            (3_400, "3.4 s"),
            (62_000, "1 min 2 s"),
            (3_723_000, "1 h 2 min 3 s"),
        ];
        for (time, wanted) in times {
            assert_eq!(seconds(Duration::from_millis(time)), wanted);
        }
    }

    #[test]
    fn a_line_of_the_history_finds_its_step() {
        let command = "RUN |1 A=1 /bin/sh -c pip install x && y # buildkit";
        assert!(is_step("RUN pip install x &&   y", command));
        assert!(is_step("RUN pip install...", command));
        assert!(!is_step("COPY a b", command) && !is_step("RUN", command));
    }
}
