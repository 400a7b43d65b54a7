//! Versions of CUDA that do not fit each other (MAN-38).

use std::sync::LazyLock;

use cairn_diagnostic::Span;
use regex::Regex;

use crate::ast::InstructionKind;
use crate::expand::Expander;
use crate::lint::facts::{Base, Facts, StageFacts};
use crate::lint::finding::{Findings, Level};
use crate::lint::reference;
use crate::lint::rule::{Group, Rule};

/// One CUDA in base, arguments and packages.
pub(in crate::lint) static CUDA_MISMATCH: Rule = Rule {
    name: "CudaMismatch",
    aliases: &[],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "Base, arguments and packages should mean the same CUDA",
    why: "A toolkit of one CUDA beside libraries built for another one compiles, starts, and \
          fails where a GPU is, or runs on the processor without a word. Two main versions do not \
          work together at all; minor ones do within limits, which is a note.",
    bad: "FROM nvidia/cuda:13.0.0-runtime-ubuntu24.04\nRUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cu126\n",
    good: "FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04\nRUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cu126\n",
    check,
};

/// Somebody's idea of the version.
#[derive(Clone)]
struct Claim {
    major: u32,
    minor: Option<u32>,
    /// What says so.
    what: String,
    /// Where, in the Dockerfile.
    span: Span,
    /// Whether it is the toolkit itself, by name, rather than packages built for it.
    is_toolkit: bool,
}

fn check(facts: &Facts<'_>, found: &mut Findings) {
    let own: Vec<Vec<Claim>> = facts
        .stages
        .iter()
        .map(|stage| own_claims(facts, stage))
        .collect();
    let nearest = nearest(facts, &own);
    for stage in facts.reached() {
        let claims = claims(facts, stage, &own, &nearest);
        let Some((first, others)) = claims.split_first() else {
            continue;
        };
        for claim in others {
            let differs = claim.major != first.major;
            let minor = claim.minor.zip(first.minor);
            let differs_in_minor = minor.is_some_and(|(one, other)| one != other);
            let line = facts.file.source.position(first.span.start).line;
            let detail = format!(
                "CUDA {} by {}, but {} by {} (line {line})",
                version(claim),
                claim.what,
                version(first),
                first.what
            );
            // A stage upon another one says the same again.
            let is_known = stage.stage.span.start > claim.span.start;
            match (differs, differs_in_minor) {
                _ if is_known => {}
                (true, _) => found.at(claim.span, detail),
                (false, true) if claim.is_toolkit && first.is_toolkit => {
                    found.at(claim.span, detail);
                }
                (false, true) => found.doubtful(claim.span, detail),
                (false, false) => {}
            }
        }
    }
}

fn version(claim: &Claim) -> String {
    match claim.minor {
        Some(minor) => format!("{}.{minor}", claim.major),
        None => claim.major.to_string(),
    }
}

/// All claims about what is in a stage, those of its base first.
fn claims(
    facts: &Facts<'_>,
    stage: &StageFacts<'_>,
    own: &[Vec<Claim>],
    nearest: &[Option<usize>],
) -> Vec<Claim> {
    let below = |index: &usize| match facts.stages[*index].base {
        Some(Base::Stage(below)) => nearest[below],
        _ => None,
    };
    let chain: Vec<usize> = std::iter::successors(nearest[stage.stage.index], below).collect();
    let bottom = facts.bottom(stage);
    let image = facts.root(bottom);
    let image = image.and_then(|image| of_image(image, bottom.stage.from.kind.image.span));
    let below = chain.into_iter().rev().flat_map(|index| &own[index]);
    image.into_iter().chain(below.cloned()).collect()
}

/// For each stage the nearest one that claims something: itself, or one below it.
fn nearest(facts: &Facts<'_>, own: &[Vec<Claim>]) -> Vec<Option<usize>> {
    let mut nearest: Vec<Option<usize>> = Vec::with_capacity(own.len());
    for (index, stage) in facts.stages.iter().enumerate() {
        nearest.push(match stage.base {
            _ if !own[index].is_empty() => Some(index),
            Some(Base::Stage(below)) => nearest[below],
            _ => None,
        });
    }
    nearest
}

/// The claims that the instructions of a stage itself make.
fn own_claims(facts: &Facts<'_>, owner: &StageFacts<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for step in &owner.steps {
        match &step.instruction.kind {
            InstructionKind::Arg(arg) => {
                for declaration in &arg.declarations {
                    let name = declaration.name.as_str();
                    let value = owner.value_after(step, name);
                    claims
                        .extend(value.and_then(|value| of_variable("ARG", name, value, step.span)));
                }
            }
            InstructionKind::Env(pairs) => {
                for pair in pairs {
                    let name = pair.key.as_str();
                    let value = owner.value_after(step, name);
                    claims
                        .extend(value.and_then(|value| of_variable("ENV", name, value, step.span)));
                }
            }
            InstructionKind::Run(run) if !step.is_trigger => {
                let variables = owner.variables_at(step);
                let rules = Expander {
                    raw_quotes: true,
                    raw_escapes: true,
                    skip_unset: true,
                    ..facts.expander
                };
                for command in step.work(run, facts).commands() {
                    for word in command.invocation.arguments {
                        let text = rules.word(&word.text, &variables);
                        let text = text.map_or_else(|_| word.text.clone(), |word| word.text);
                        claims.extend(of_text(&text, command.span));
                    }
                }
            }
            InstructionKind::Copy(copy) if copy.from.is_none() => {
                for (name, text) in facts.input.package_files {
                    if names(&step.instruction.text, name) {
                        claims.extend(of_file(name, text, step.span));
                    }
                }
            }
            _ => {}
        }
    }
    claims
}

/// Whether an instruction names a file.
fn names(instruction: &str, file: &str) -> bool {
    let mut words = instruction.split(|ch: char| ch.is_whitespace() || "\"',[]".contains(ch));
    words.any(|word| word.rsplit('/').next() == Some(file))
}

/// What a file of packages says, once for each version.
fn of_file(name: &str, text: &str, span: Span) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut is_system = false;
    for (index, line) in text.lines().enumerate() {
        let line = line
            .trim()
            .trim_start_matches("- ")
            .trim_matches(['"', '\'', ',']);
        if line.starts_with('[') {
            is_system = line.contains("system-requirements");
        }
        let found = match is_system {
            true => of_requirement(line, span),
            false => line
                .split_whitespace()
                .find_map(|word| of_text(word.trim_matches(['"', '\'']), span)),
        };
        let Some(mut claim) = found else {
            continue;
        };
        let is_known = claims
            .iter()
            .any(|known| (known.major, known.minor) == (claim.major, claim.minor));
        if !is_known {
            claim.what = format!("{name}, line {}", index + 1);
            claims.push(claim);
        }
    }
    claims
}

/// `cuda = "13.0"` among the system requirements of pixi.
fn of_requirement(line: &str, span: Span) -> Option<Claim> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim().trim_matches(['"', '\'']);
    (key.trim() == "cuda")
        .then(|| numbers(value))
        .flatten()
        .map(|(major, minor)| Claim {
            major,
            minor,
            what: String::new(),
            span,
            is_toolkit: true,
        })
}

fn of_image(image: &str, span: Span) -> Option<Claim> {
    let (repository, tag, _) = reference::parts(image);
    let tag = tag?;
    let what = format!("the base {image}");
    let last = repository.rsplit('/').next().unwrap_or(repository);
    let (major, minor) = match last {
        "cuda" => numbers(tag)?,
        _ => {
            let hit = TAG.as_ref()?.captures(tag)?;
            match (hit.get(1), hit.get(3)) {
                (Some(major), _) => (
                    major.as_str().parse().ok()?,
                    hit.get(2).and_then(|minor| minor.as_str().parse().ok()),
                ),
                (None, Some(short)) => short_version(short.as_str())?,
                _ => return None,
            }
        }
    };
    Some(Claim {
        major,
        minor,
        what,
        span,
        is_toolkit: true,
    })
}

/// `cuda12.1`, `cuda-12.1` and `cu121` in a tag.
static TAG: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[-_.])(?:cuda[-_]?([0-9]{1,2})(?:\.([0-9]+))?|cu(1[0-9]{2}))(?:[-_.]|$)").ok()
});

/// `126` of `cu126`: the last digit is the minor version.
fn short_version(digits: &str) -> Option<(u32, Option<u32>)> {
    let (major, minor) = digits.split_at_checked(digits.len().checked_sub(1)?)?;
    Some((major.parse().ok()?, minor.parse().ok()))
}

/// `12.6.3-x` to 12 and 6.
fn numbers(text: &str) -> Option<(u32, Option<u32>)> {
    let mut parts = text.split(|ch: char| !ch.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = match text.contains('.') {
        true => parts.next().and_then(|minor| minor.parse().ok()),
        false => None,
    };
    // No CUDA has such numbers; what is meant is something else.
    (5..=30).contains(&major).then_some((major, minor))
}

static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^(?:[A-Z0-9]+_)*CUDA(?:TOOLKIT)?(?:_?(?:VERSION|VER|TAG|RELEASE|MAJOR_MINOR))?$",
    )
    .ok()
});

fn of_variable(instruction: &str, name: &str, value: &str, span: Span) -> Option<Claim> {
    VARIABLE.as_ref()?.find(name)?;
    let value = value.trim();
    let is_plain = value.chars().all(|ch| ch.is_ascii_digit() || ch == '.');
    let (major, minor) = match value.strip_prefix("cu") {
        Some(short) if short.len() == 3 => short_version(short)?,
        // `ENABLE_CUDA=1` and `USE_CUDA=ON` switch something on.
        _ if is_plain && (value.contains('.') || value.len() == 2) => numbers(value)?,
        _ => return None,
    };
    Some(Claim {
        major,
        minor,
        what: format!("{instruction} {name}"),
        span,
        is_toolkit: true,
    })
}

/// What names of packages and addresses say, with whether it is the toolkit: a pattern with the
/// main version, then the minor one, or with both in one number.
static PACKAGES: LazyLock<Vec<(Regex, bool)>> = LazyLock::new(|| {
    [
        (r"(?:/whl/(?:nightly/|test/)?|\+)cu(?P<short>1[0-9]{2})\b", false),
        (r"^cuda-(?:toolkit|runtime|libraries|compiler|nvcc)(?:-dev)?-(?P<major>[0-9]{1,2})-(?P<minor>[0-9]+)", true),
        (r"^(?:conda-forge::|nvidia::)?(?:cuda-version|cudatoolkit|cuda-toolkit|pytorch-cuda)=+(?P<major>[0-9]{1,2})(?:\.(?P<minor>[0-9]+))?", true),
        (r"^cupy-cuda(?P<major>[0-9]{2})x", false),
        (r"^nvidia-[a-z-]+-cu(?P<major>[0-9]{2})(?:[=<>~]|$)", false),
        (r"^jax\[cuda(?P<major>[0-9]{2})", false),
    ]
    .into_iter()
    .filter_map(|(pattern, is_toolkit)| Some((Regex::new(pattern).ok()?, is_toolkit)))
    .collect()
});

fn of_text(text: &str, span: Span) -> Option<Claim> {
    PACKAGES.iter().find_map(|(regex, is_toolkit)| {
        let hit = regex.captures(text)?;
        let number = |name| hit.name(name).and_then(|part| part.as_str().parse().ok());
        let (major, minor) = match hit.name("short") {
            Some(short) => short_version(short.as_str())?,
            None => (number("major")?, number("minor")),
        };
        Some(Claim {
            major,
            minor,
            what: format!("`{text}`"),
            span,
            is_toolkit: *is_toolkit,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::tests::{count, found};

    #[track_caller]
    fn differ(text: &str, expected: usize) {
        let found = found(text);
        let found = found.iter().filter(|one| one.starts_with("CudaMismatch"));
        assert_eq!(found.count(), expected, "{text}");
    }

    #[test]
    fn what_differs() {
        let base = "FROM nvidia/cuda:13.0.0-devel-ubuntu24.04\n";
        differ(&format!("{base}ARG CUDA_VERSION=12.6\n"), 1);
        differ(
            &format!("{base}ARG CUDA=12.8\nENV CONDA_OVERRIDE_CUDA=12.6\n"),
            2,
        );
        differ(
            &format!("{base}RUN apt-get install -y cuda-toolkit-13-1\n"),
            1,
        );
        differ(&format!("{base}RUN pip install torch==2.7.0+cu126\n"), 1);
        differ(&format!("{base}RUN pip install cupy-cuda12x\n"), 1);
        differ(
            &format!("{base}RUN conda install -y cuda-version=12.6\n"),
            1,
        );
        differ(
            "ARG CUDA=12.6\nFROM pytorch/pytorch:2.3.1-cuda11.8-cudnn8-runtime\nARG CUDA\n",
            1,
        );
        differ(
            &format!(
                "{base}ARG C=cu126\nRUN pip install x --index-url https://download.pytorch.org/whl/$C\n"
            ),
            1,
        );
    }

    #[test]
    fn a_builder_counts_too() {
        differ(
            "ARG CUDA_VERSION=\"12.6\"\nFROM ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0 AS build\nARG CUDA_VERSION\n\
             ENV CONDA_OVERRIDE_CUDA=$CUDA_VERSION\nFROM debian:13\nCOPY --from=build /x /x\n",
            2,
        );
    }

    #[test]
    fn files_of_packages() {
        let span = Span::default();
        let versions = |name: &str, text: &str| -> Vec<String> {
            let claims = of_file(name, text, span);
            claims
                .iter()
                .map(|claim| format!("{} {}", version(claim), claim.what))
                .collect()
        };
        assert_eq!(
            versions("requirements.txt", "numpy\ntorch==2.7.0+cu126\nx+cu126\n"),
            ["12.6 requirements.txt, line 2"]
        );
        assert_eq!(
            versions(
                "pixi.toml",
                "[system-requirements]\ncuda = \"13.0\"\n[x]\ncuda = \"9\"\n"
            ),
            ["13.0 pixi.toml, line 2"]
        );
        assert_eq!(
            versions(
                "environment.yml",
                "dependencies:\n  - cuda-version=12.4\n  - pytorch\n"
            ),
            ["12.4 environment.yml, line 2"]
        );
        assert!(names("COPY pixi.toml ./a/pixi.lock ./", "pixi.lock"));
        assert!(!names("COPY my-pixi.toml ./", "pixi.toml"));
    }

    #[test]
    fn what_fits() {
        let base = "FROM nvidia/cuda:12.6.3-devel-ubuntu24.04\n";
        differ(
            &format!("{base}ARG CUDA_VERSION=12.6\nRUN pip install torch==2.7.0+cu126\n"),
            0,
        );
        differ(
            &format!("{base}RUN pip install nvidia-cublas-cu12 'jax[cuda12]'\n"),
            0,
        );
        differ(
            &format!("{base}ENV TORCH_CUDA_ARCH_LIST=8.0 USE_CUDA=1 CUDA_HOME=/usr/local/cuda\n"),
            0,
        );
        differ(
            "ARG CUDA=12.6\nFROM nvidia/cuda:$CUDA.3-runtime\nARG CUDA\n",
            0,
        );
        differ(
            "FROM nvidia/cuda:11.8.0-base AS a\nFROM nvidia/cuda:12.6.3-base AS b\n",
            0,
        );
        differ(
            "FROM debian:13\nRUN pip install torch --index-url https://download.pytorch.org/whl/cpu\n",
            0,
        );
    }

    #[test]
    fn packages_for_another_minor_version_are_a_note() {
        let text = "FROM nvidia/cuda:12.6.3-base\nRUN pip install torch==2.7.0+cu128\n";
        differ(text, 0);
        assert_eq!(count("CudaMismatch", text), 1);
    }
}
