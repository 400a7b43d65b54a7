//! The layouts of five teams, small: import takes them in, and files in them are changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::bench::{Random, write_file};
use crate::error::ChoreError;

/// A tree of files.
#[derive(Debug)]
pub(super) struct Layout {
    /// What its images build on.
    pub(super) bases: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
}

/// A change of one file.
#[derive(Debug)]
pub(super) struct FileChange {
    kind: Kind,
    /// The file's own name, which a cause must say.
    pub(super) name: String,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Edit,
    Mode,
    Touch,
    SameText,
    Add,
}

const KINDS: [Kind; 5] = [
    Kind::Edit,
    Kind::Mode,
    Kind::Touch,
    Kind::SameText,
    Kind::Add,
];

/// All five.
pub(super) fn all() -> Vec<Layout> {
    vec![DATAHUB, EPIDEMICS, PANOPTES, MANIAC, BOREALIS]
}

impl Layout {
    pub(super) fn write(&self, folder: &Path) -> Result<(), ChoreError> {
        for (name, text) in self.files {
            write_file(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Changes a file that is no description of a build.
    pub(super) fn change(
        &self,
        folder: &Path,
        random: &mut Random,
    ) -> Result<FileChange, ChoreError> {
        let content: Vec<&str> = self.files.iter().map(|(name, _)| *name).collect();
        let content: Vec<&str> = content.into_iter().filter(|it| !is_recipe(it)).collect();
        let kind = KINDS[random.below(KINDS.len())];
        let mut path = folder.join(content[random.below(content.len())]);
        if kind == Kind::Add {
            path.set_file_name(random.word());
        }
        let error = |source| ChoreError::file(&path)(source);
        match kind {
            Kind::Edit => {
                let mut text = fs::read(&path).map_err(error)?;
                text.extend(format!("# {}\n", random.word()).bytes());
                write_file(&path, &text)?;
            }
            Kind::Mode => {
                let mode = fs::metadata(&path).map_err(error)?.permissions().mode() ^ 0o111;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(error)?;
            }
            Kind::Touch => {
                let file = fs::File::options().append(true).open(&path);
                let now = std::time::SystemTime::now();
                file.and_then(|file| file.set_modified(now))
                    .map_err(error)?;
            }
            Kind::SameText => {
                let text = fs::read(&path).map_err(error)?;
                write_file(&path, &text)?;
            }
            Kind::Add => write_file(&path, random.word().as_bytes())?,
        }
        let name = path.file_name().unwrap_or_default();
        Ok(FileChange {
            kind,
            name: name.to_string_lossy().into_owned(),
            path,
        })
    }
}

impl FileChange {
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Edit => "edited files of layouts",
            Kind::Mode => "changed modes in layouts",
            Kind::Touch => "touched files of layouts",
            Kind::SameText => "rewritten files of layouts",
            Kind::Add => "added files in layouts",
        }
    }

    pub(super) fn in_words(&self) -> String {
        format!("{}: {}", self.kind(), self.path.display())
    }
}

/// Whether a file says how something is built.
fn is_recipe(name: &str) -> bool {
    let words = ["Dockerfile", ".dockerignore", ".yml", ".yaml", ".json"];
    words.iter().any(|word| name.ends_with(word))
}

const DATAHUB: Layout = Layout {
    bases: &["jupyter/datascience-notebook:python-3.11.8"],
    files: &[
        (
            "images/spec.yml",
            "images:\n  ds:\n    image_name: ghcr.io/hub/ds\n    build_args:\n      PYTHON: python-3.11.8\n  \
             rstudio:\n    image_name: ghcr.io/hub/rstudio\n    depend_on: ds\n  \
             ml:\n    image_name: ghcr.io/hub/ml\n    depend_on: ds\ntag:\n  prefix: \"2023.4\"\n",
        ),
        (
            "images/ds/Dockerfile",
            "ARG PYTHON=python-3.9\nFROM jupyter/datascience-notebook:$PYTHON\nARG PYTHON\n\
             COPY scripts /usr/share/scripts/\nRUN echo $PYTHON > /version\n",
        ),
        ("images/ds/scripts/install.sh", "true\n"),
        ("images/ds/scripts/start.sh", "true\n"),
        (
            "images/rstudio/Dockerfile",
            "ARG BASE_TAG=latest\nFROM ghcr.io/hub/ds:${BASE_TAG}\nCOPY rstudio.sh /\nRUN sh /rstudio.sh\n",
        ),
        ("images/rstudio/rstudio.sh", "echo here > /made\n"),
        (
            "images/ml/Dockerfile",
            "ARG BASE_TAG=latest\nFROM ghcr.io/hub/ds:${BASE_TAG}\nCOPY ml.sh other.sh /opt/\nRUN cat /opt/ml.sh > /made\n",
        ),
        ("images/ml/ml.sh", "true\n"),
        ("images/ml/other.sh", "true\n"),
        ("images/ml/notes.txt", "nobody takes it\n"),
    ],
};

const EPIDEMICS: Layout = Layout {
    bases: &[
        "python:3.11-slim",
        "ghcr.io/astral-sh/uv:latest",
        "gcr.io/google.com/cloudsdktool/cloud-sdk:slim",
    ],
    files: &[
        (
            "docker-compose.yml",
            "services:\n  builder:\n    image: suite:local\n    build:\n      context: .\n      dockerfile: docker/Dockerfile\n      target: local\n  \
             cloud:\n    image: suite:cloud\n    build:\n      context: .\n      dockerfile: docker/Dockerfile\n      target: cloud\n",
        ),
        (
            "docker/Dockerfile",
            "FROM python:3.11-slim AS base\nCOPY --from=ghcr.io/astral-sh/uv:latest /bin/busybox /usr/local/bin/uv\nWORKDIR /app\n\
             COPY docker/pyproject.toml docker/uv.lock /app/\nRUN cat uv.lock > installed\nCOPY docker/scripts/ /scripts/\n\
             FROM base AS local\nENTRYPOINT [\"/bin/sh\", \"/scripts/run.sh\"]\n\
             FROM gcr.io/google.com/cloudsdktool/cloud-sdk:slim AS gcloud\nCOPY docker/gcloud.conf /etc/\nRUN cat /etc/gcloud.conf > /gcloud\n\
             FROM base AS cloud\nCOPY --from=gcloud /gcloud /usr/lib/gcloud\nENTRYPOINT [\"/bin/sh\", \"/scripts/run.sh\"]\n",
        ),
        ("docker/pyproject.toml", "[project]\n"),
        ("docker/uv.lock", "version = 1\n"),
        ("docker/gcloud.conf", "zone\n"),
        ("docker/scripts/run.sh", "echo\n"),
    ],
};

const PANOPTES: Layout = Layout {
    bases: &["ubuntu:latest"],
    files: &[
        (
            "docker/cloudbuild.yaml",
            "substitutions:\n  _TAG: latest\nsteps:\n\
             - name: \"gcr.io/cloud-build/docker\"\n  id: base\n  args: [buildx, build, --push, -f=docker/base/Dockerfile, '--tag=gcr.io/${PROJECT_ID}/pan-base:${_TAG}', '.']\n\
             - name: \"gcr.io/cloud-build/docker\"\n  args: [buildx, build, --push, -f=docker/Dockerfile, '--build-arg=image_url=gcr.io/${PROJECT_ID}/pan-base:${_TAG}', '--tag=gcr.io/${PROJECT_ID}/pan-utils:${_TAG}', '.']\n",
        ),
        (
            "docker/base/Dockerfile",
            "ARG image_url=ubuntu:latest\nFROM ${image_url} AS base-image\nENV PANDIR /var/pan\nCOPY resources/zshrc /tmp/\n\
             RUN mkdir -p $PANDIR && cp /tmp/zshrc $PANDIR\nWORKDIR \"${PANDIR}\"\n",
        ),
        (
            "docker/Dockerfile",
            "ARG image_url=gcr.io/pan/pan-base:latest\nFROM ${image_url}\nCOPY . \"${PANDIR}/utils/\"\nRUN cat utils/README.md > read\n",
        ),
        (
            "docker/developer/Dockerfile",
            "ARG image_url=gcr.io/pan/pan-utils:develop\nFROM ${image_url}\nCOPY README.md .\n",
        ),
        ("resources/zshrc", "prompt\n"),
        ("README.md", "read\n"),
        ("NEWS.md", "ignored\n"),
        (".dockerignore", "cairn.*\n*.md\n!README*.md\n"),
    ],
};

const MANIAC: Layout = Layout {
    bases: &["ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0"],
    files: &[
        (
            "docker-bake.json",
            "{\"target\": {\"ml\": {\"context\": \"./ml\", \"matrix\": {\"cuda\": [\"12.6\", \"12.8\"]}, \"name\": \"ml-${replace(cuda, \\\".\\\", \\\"-\\\")}\", \
             \"args\": {\"CUDA_VERSION\": \"${cuda}\"}, \"tags\": [\"ghcr.io/lab/ml:cuda${cuda}\"]}}}",
        ),
        (
            "ml/Dockerfile",
            "ARG CUDA_VERSION=\"12.8\"\nFROM ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0 AS build\nARG CUDA_VERSION\nWORKDIR /app\n\
             COPY pixi.toml pixi.lock ./\nRUN mkdir -p .pixi/bin && cat pixi.lock > .pixi/bin/list && echo $CUDA_VERSION > .pixi/bin/version\n\
             FROM ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0\nWORKDIR /app\nCOPY --from=build /app/.pixi /app/.pixi\nCOPY config/notebook.py /etc/notebook.py\n",
        ),
        ("ml/pixi.toml", "[workspace]\n"),
        ("ml/pixi.lock", "version: 6\n"),
        ("ml/notes.md", "ignored\n"),
        ("ml/.dockerignore", "*.md\n"),
        ("ml/config/notebook.py", "c = 1\n"),
    ],
};

const BOREALIS: Layout = Layout {
    bases: &["python:3.8.6"],
    files: &[
        (
            "cloud/docker/runtime/Dockerfile",
            "ARG from=python:3.8.6\nFROM ${from}\nCOPY requirements.txt /\nRUN cat requirements.txt > /installed\n",
        ),
        (
            "cloud/docker/wholecell/Dockerfile",
            "ARG from=wcm-runtime:latest\nFROM ${from}\nCOPY . /app\nWORKDIR /app\nRUN cat main.py > done\n",
        ),
        ("requirements.txt", "numpy\n"),
        ("main.py", "print()\n"),
        ("lib/cell.py", "x = 1\n"),
        ("old.pyc", "ignored\n"),
        (".dockerignore", "*.pyc\ncairn.*\n"),
    ],
};
