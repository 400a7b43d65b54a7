//! One command that builds an image, as far as it says what is built: `docker build` and its
//! relatives, kaniko's executor, `gcloud builds submit`.

use super::paths::file_name;
use super::shell::assignment;

/// What is built by one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DockerBuild {
    pub(super) tags: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) labels: Vec<String>,
    pub(super) dockerfile: Option<String>,
    pub(super) target: Option<String>,
    pub(super) platforms: Vec<String>,
    pub(super) context: String,
    /// What it says besides that decides something, as written.
    pub(super) others: Vec<String>,
}

/// Words that stand before a command and are none.
const BEFORE: [&str; 13] = [
    "sudo", "time", "exec", "command", "env", "then", "do", "else", "if", "!", "{", "-", "run",
];

/// Flags of the builders that stand alone; any other one has a value.
const ALONE: [&str; 30] = [
    "--all-platforms",
    "--check",
    "--compress",
    "--debug",
    "--disable-content-trust",
    "--force-rm",
    "--http-proxy",
    "--identity-label",
    "--inherit-annotations",
    "--inherit-labels",
    "--layers",
    "--load",
    "--no-cache",
    "--no-hostname",
    "--no-hosts",
    "--omit-history",
    "--pull",
    "--pull-always",
    "--pull-never",
    "--push",
    "--quiet",
    "--rm",
    "--save-stages",
    "--skip-unused-stages",
    "--squash",
    "--squash-all",
    "--stdin",
    "--stream",
    "-D",
    "-q",
];

/// Flags of kaniko that stand alone.
const ALONE_IN_KANIKO: [&str; 16] = [
    "--cache",
    "--cache-copy-layers",
    "--cache-run-layers",
    "--cleanup",
    "--compressed-caching",
    "--force",
    "--ignore-var-run",
    "--insecure",
    "--insecure-pull",
    "--no-push",
    "--no-push-cache",
    "--reproducible",
    "--single-snapshot",
    "--skip-tls-verify",
    "--skip-unused-stages",
    "--use-new-run",
];

/// Flags that choose nothing of what is in the image.
const IN_PASSING: [&str; 12] = [
    "--builder",
    "--cache-from",
    "--cache-to",
    "--cache-repo",
    "--cache-ttl",
    "--iidfile",
    "--metadata-file",
    "--output",
    "--progress",
    "--verbosity",
    "--format",
    "-o",
];

impl DockerBuild {
    /// What the words of a command build, if they build an image.
    pub(super) fn read(words: &[String]) -> Option<Self> {
        let mut words = words.iter().map(String::as_str).skip_while(|word| {
            let bare = word.trim_start_matches(['@', '-', '+']);
            (BEFORE.contains(word) || bare.is_empty() || assignment(word).is_some())
                && !word.is_empty()
        });
        // Make's `@` and `-` stand before a command without a blank.
        let program = words.next()?.trim_start_matches(['@', '-', '+']);
        let rest: Vec<&str> = words.collect();
        match file_name(program) {
            "docker" | "podman" | "nerdctl" | "buildah" => Self::of_builder(&rest),
            "executor" => Some(Self::flags(&rest, &ALONE_IN_KANIKO)),
            "gcloud" => Self::of_gcloud(&rest),
            _ => None,
        }
    }

    fn of_builder(words: &[&str]) -> Option<Self> {
        let at = words
            .iter()
            .position(|it| matches!(*it, "build" | "b" | "bud"))?;
        let mut before = words[..at].iter();
        while let Some(word) = before.next() {
            match *word {
                "buildx" | "image" | "builder" => {}
                // A flag of the client itself, with its value.
                "-H" | "-c" | "-l" | "--host" | "--context" | "--config" | "--log-level"
                | "--namespace" | "-n" => {
                    before.next();
                }
                flag if flag.starts_with('-') => {}
                _ => return None,
            }
        }
        Some(Self::flags(&words[at + 1..], &ALONE))
    }

    /// `gcloud builds submit --tag NAME CONTEXT`; with `--config` another file says what is built.
    fn of_gcloud(words: &[&str]) -> Option<Self> {
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|it| !matches!(*it, "beta" | "alpha"))
            .collect();
        let rest = words.strip_prefix(&["builds", "submit"])?;
        let mut made = Self::flags(
            rest,
            &["--async", "--no-cache", "--no-source", "-q", "--quiet"],
        );
        // What it says besides is about the machine.
        made.others.clear();
        (!made.tags.is_empty()).then_some(made)
    }

    fn flags(words: &[&str], alone: &[&str]) -> Self {
        let mut made = Self::default();
        let mut places = Vec::new();
        let mut context = None;
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let (flag, attached) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value)),
                _ => (word, None),
            };
            if !flag.starts_with('-') || flag == "-" {
                places.push(word);
                continue;
            }
            if alone.contains(&flag) {
                continue;
            }
            let value = attached.or_else(|| words.next()).unwrap_or_default();
            let value = value.to_owned();
            match flag {
                "-t" | "--tag" | "-d" | "--destination" => made.tags.push(value),
                "--build-arg" => made.args.push(value),
                "-f" | "--file" | "--dockerfile" => made.dockerfile = Some(value),
                "-c" | "--context" => context = Some(value),
                "--label" => made.labels.push(value),
                "--target" => made.target = Some(value),
                "--platform" | "--custom-platform" | "--customPlatform" => {
                    made.platforms = value.split(',').map(str::to_owned).collect();
                }
                flag if IN_PASSING.contains(&flag) => {}
                flag => made.others.push(format!("{flag} {value}")),
            }
        }
        // Of several words, one that is a variable may stand for flags.
        let is_told = |it: &&&str| !it.starts_with('$');
        let place = places.iter().rev().find(is_told).or(places.last());
        made.context = context.unwrap_or_else(|| place.copied().unwrap_or_default().to_owned());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::shell::commands;

    fn read(line: &str) -> Option<DockerBuild> {
        commands(line).iter().find_map(|it| DockerBuild::read(it))
    }

    #[test]
    fn builders_and_their_flags_are_understood() {
        let table = [
            "docker build -t a:1 --build-arg X=1 -f d/Dockerfile ctx",
            "@docker image build --tag=a:1 --build-arg=X=1 --file d/Dockerfile --pull --shm-size 1g ctx",
            "sudo DOCKER_BUILDKIT=1 docker buildx build $(FLAGS) ctx --push -t a:1 --build-arg X=1 -f d/Dockerfile",
            "podman --log-level debug build --layers -t a:1 --build-arg X=1 -f d/Dockerfile ctx > log",
            "docker build -t a:1 --build-arg X=1 -f d/Dockerfile ctx >/dev/null 2>log",
            "docker build 2>&1 -t a:1 --build-arg X=1 &>>log -f d/Dockerfile ctx&",
            "(cd x && docker build -t a:1 --build-arg X=1 -f d/Dockerfile ctx) & wait",
            "in) docker build -t a:1 --build-arg X=1 -f d/Dockerfile ctx;;",
            "buildah bud -f d/Dockerfile -t a:1 --build-arg X=1 ctx",
            "/kaniko/executor --context ctx --dockerfile d/Dockerfile --destination a:1 --cache=true --build-arg X=1",
        ];
        for line in table {
            let made = read(line).unwrap_or_else(|| panic!("{line} builds"));
            assert_eq!(
                (made.tags, made.args, made.dockerfile, made.context),
                (
                    vec!["a:1".to_owned()],
                    vec!["X=1".to_owned()],
                    Some("d/Dockerfile".to_owned()),
                    "ctx".to_owned()
                ),
                "{line}"
            );
        }
        let made =
            read("gcloud builds submit --timeout=2h --tag gcr.io/p/x app/").expect("a build");
        assert_eq!(
            (made.tags[0].as_str(), made.context.as_str()),
            ("gcr.io/p/x", "app/")
        );
        for line in [
            "docker run a build",
            "docker compose build app",
            "docker buildx bake x",
            "echo docker build .",
            "gcloud builds submit --config=x.yaml",
            "make build",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        let made = read("docker build --ssh default --secret id=x .").expect("a build");
        assert_eq!(made.others, ["--ssh default", "--secret id=x"]);
    }
}
