//! What a list of packages is made of: the image, and the stages and contexts that ask for it.
//!
//! `BUILDKIT_SBOM_SCAN_STAGE` and `BUILDKIT_SBOM_SCAN_CONTEXT` say so, in a stage or above all of
//! them, as `true` or by the names of stages. A generator is an image that is run over all of them
//! like any other step, and so kept like any other: its result is the directory that it writes to.

use std::sync::Arc;

use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::Stage;

use super::dockerfile::FileLowering;
use super::env::EnvList;
use super::stage::StageState;
use crate::device::Handed;
use crate::event::VertexId;
use crate::graph::{ExecNetwork, ExecOp, FileSource, Fs, MakeDirOp, Op, Origin, Vertex};
use crate::mount::{MountKind, MountRequest};
use crate::request::{Generator, Lister};
use crate::resolve::BaseImage;

/// What a list of an image's own packages is called.
pub(crate) const SBOM: &str = "sbom";
/// Where a generator writes.
pub(crate) const SCAN_OUTPUT: &str = "/run/out";

const SCAN_STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";
const SCAN_CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";
const CORE: &str = "/run/src/core";
const EXTRAS: &str = "/run/src/extras";

/// What a list of packages is made of, beside the image itself.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Stages and contexts that asked for it, by name.
    pub extras: Vec<(String, FileSource)>,
    /// The step of the generator, if one is to look.
    pub generator: Option<VertexId>,
}

impl FileLowering<'_, '_> {
    /// Finds out what is to be looked at, and adds the generator's step.
    pub(super) fn scan(
        &mut self,
        state: &StageState,
        target: usize,
    ) -> Result<Scan, Box<Diagnostic>> {
        if self.recipe.lister == Lister::Nobody {
            return Ok(Scan::default());
        }
        let mut extras = Vec::new();
        if self.asks(SCAN_CONTEXT, target, state) {
            let context = FileSource::Context(self.recipe.context);
            extras.push(("context".to_owned(), context));
        }
        for (index, below) in self.stages_below(target) {
            if self.asks(SCAN_STAGE, index, &below) {
                extras.push((self.stage_name(index), FileSource::Fs(below.fs)));
            }
        }
        let generator = match self.recipe.lister.generator() {
            Some(generator) => Some(self.generator(generator, state.fs, &extras)?),
            None => None,
        };
        Ok(Scan { extras, generator })
    }

    /// Whether a stage asks for something: what it says itself wins over what stands above all.
    fn asks(&self, name: &str, stage: usize, state: &StageState) -> bool {
        let own = state.args.iter().rev();
        let own = own.filter(|(known, _)| known == name);
        let own = own.filter_map(|(_, value)| value.as_deref()).next();
        let Some(value) = own.or_else(|| self.globals.get(name)) else {
            return false;
        };
        match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            names => names.split(',').any(|it| it == self.stage_name(stage)),
        }
    }

    fn stage_name(&self, index: usize) -> String {
        let name = self.file.stages.get(index).and_then(Stage::name);
        name.map_or_else(|| format!("stage-{index}"), str::to_owned)
    }

    /// The generator's step: its image, over it the directory that it writes to, then its command.
    fn generator(
        &mut self,
        generator: &Generator,
        image: Fs,
        extras: &[(String, FileSource)],
    ) -> Result<VertexId, Box<Diagnostic>> {
        let platform = &self.recipe.build_platform;
        let base = self.run.images.open(&generator.image, platform);
        let base = base.map_err(|error| {
            let text = format!("the generator of the list of packages: {error}");
            Box::new(Diagnostic::error(text))
        })?;
        let config = &base.config;
        let words = config.entrypoint.iter().chain(&config.cmd).flatten();
        let argv: Vec<String> = words.cloned().collect();
        if argv.is_empty() {
            let text = format!("scanner {} does not have cmd", generator.image);
            return Err(Box::new(Diagnostic::error(text)));
        }
        let mut mounts = vec![
            MountRequest {
                target: "/tmp".to_owned(),
                kind: MountKind::Tmpfs { size: None },
            },
            looked_at(format!("{CORE}/{SBOM}"), FileSource::Fs(image)),
        ];
        let extra = extras.iter();
        mounts
            .extend(extra.map(|(name, from)| looked_at(format!("{EXTRAS}/{SBOM}-{name}"), *from)));
        let exec = ExecOp {
            argv,
            env: environment(&base, generator, !extras.is_empty()),
            architecture: platform.architecture.clone(),
            cwd: match config.working_dir.as_str() {
                "" => "/".to_owned(),
                directory => directory.to_owned(),
            },
            user: String::new(),
            mounts,
            network: match self.recipe.network_none {
                true => ExecNetwork::None,
                false => ExecNetwork::Host,
            },
            insecure: false,
            ignore_cache: self.recipe.no_cache,
            proxies: Vec::new(),
            surroundings: Vec::new(),
            hostname: None,
            devices: Handed::default(),
        };
        let title = format!("generating sbom using {}", generator.image);
        let output = MakeDirOp {
            path: SCAN_OUTPUT.to_owned(),
            user: String::new(),
        };
        let from = self.image_vertex(&base, &generator.image, None);
        let place = self.scan_step(Op::MakeDir(output), from, (1, 2), &title);
        let op = Op::Exec(Box::new(exec));
        Ok(self.scan_step(op, Fs::Of(place), (2, 2), &title))
    }

    fn scan_step(&mut self, op: Op, base: Fs, step: (u32, u32), title: &str) -> VertexId {
        self.run.graph.add(Vertex {
            op,
            base,
            origin: Origin {
                image: self.request.name.clone(),
                stage: SBOM.to_owned(),
                step,
                title: title.to_owned(),
                label: None,
            },
        })
    }
}

fn looked_at(target: String, from: FileSource) -> MountRequest {
    MountRequest {
        target,
        kind: MountKind::Bind {
            from,
            path: "/".to_owned(),
            writable: false,
        },
    }
}

/// What a generator is told by its environment.
fn environment(
    base: &Arc<BaseImage>,
    generator: &Generator,
    has_extras: bool,
) -> Vec<(String, String)> {
    let mut env = EnvList::from_config(&base.config.env);
    if env.get("PATH").is_none() {
        env.set("PATH", super::DEFAULT_PATH);
    }
    env.set("BUILDKIT_SCAN_DESTINATION", &format!("{SCAN_OUTPUT}/"));
    env.set("BUILDKIT_SCAN_SOURCE", &format!("{CORE}/{SBOM}"));
    if has_extras {
        env.set("BUILDKIT_SCAN_SOURCE_EXTRAS", EXTRAS);
    }
    for (name, value) in &generator.parameters {
        env.set(&format!("BUILDKIT_SCAN_{name}"), value);
    }
    env.to_pairs()
}
