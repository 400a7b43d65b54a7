//! Dockerfiles to one graph.
//!
//! Lowering walks the stages that a target needs, depth first, and folds settings into the image
//! configuration on the way; only what touches files becomes a vertex. Stages that nothing needs
//! are never looked at. A sibling image is no registry round trip: its last vertex is used.
//!
//! Everything here is decided from text, arguments and the configurations of base images. The
//! only things read from outside are [`ImageSource`] and the [`Devices`] that a step asks for.

mod args;
mod dockerfile;
mod env;
mod exec;
mod files;
pub mod names;
mod scan;
mod settings;
mod stage;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::HashMap;

use cairn_diagnostic::Diagnostic;
use cairn_oci::{History, Platform, RunConfig};

use crate::device::Devices;
use crate::event::VertexId;
use crate::graph::{Fs, Graph, Op, Origin, Vertex};
use crate::request::{ImageRequest, Recipe};
use crate::resolve::{DebianBase, ImageSource};

pub use scan::Scan;
pub(crate) use scan::{SBOM, SCAN_OUTPUT};

/// A graph and what each image of the run is in it.
#[derive(Debug)]
pub struct Lowered {
    /// All vertices.
    pub graph: Graph,
    /// The images, in the order of the requests.
    pub images: Vec<LoweredImage>,
}

/// An image before its filesystem exists.
#[derive(Debug, Clone)]
pub struct LoweredImage {
    /// [`ImageRequest::name`].
    pub name: String,
    /// Its filesystem.
    pub fs: Fs,
    /// Its platform.
    pub platform: Platform,
    /// Its settings.
    pub config: RunConfig,
    /// Its author.
    pub author: Option<String>,
    /// How it came to be, from its base on.
    pub history: Vec<HistoryStep>,
    /// Annotations of its manifest.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Whether its layers above the base's become one.
    pub squash: bool,
    /// When it was made, in seconds since 1970.
    pub epoch: i64,
    /// Whether somebody gave that time.
    pub epoch_is_given: bool,
    /// What its list of packages is made of.
    pub scan: Scan,
}

/// One entry of an image's history.
#[derive(Debug, Clone)]
pub enum HistoryStep {
    /// Inherited from an external base, as it stands there.
    Inherited(History),
    /// Made by this run.
    Own {
        /// The instruction, in the form Docker and BuildKit write.
        created_by: String,
        /// The vertex that may have left a layer.
        vertex: Option<VertexId>,
    },
}

/// Lowers all images of a run. Siblings must come before the images that use them.
pub fn lower(
    requests: &[ImageRequest],
    images: &dyn ImageSource,
    devices: &Devices,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut run = Run {
        graph: Graph::default(),
        images,
        devices,
        done: HashMap::new(),
    };
    let mut lowered = Vec::new();
    let mut errors = Vec::new();
    for request in requests {
        match run.image(request) {
            Ok(image) => {
                let key = (request.called.clone(), request.platform.clone());
                run.done.insert(key, image.clone());
                lowered.push(image);
            }
            Err(error) => errors.push(*error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Lowered {
        graph: run.graph,
        images: lowered,
    })
}

/// What lowering collects over all images.
struct Run<'a> {
    graph: Graph,
    images: &'a dyn ImageSource,
    devices: &'a Devices,
    /// By what they are called, and the platform that was asked for.
    done: HashMap<(String, Platform), LoweredImage>,
}

impl Run<'_> {
    fn image(&mut self, request: &ImageRequest) -> Result<LoweredImage, Box<Diagnostic>> {
        let mut image = match &request.recipe {
            Recipe::Dockerfile(recipe) => dockerfile::lower(self, request, recipe)?,
            Recipe::Debian(base) => self.debian(request, base),
        };
        let changes = &request.changes;
        let is_kept = |line: &String| {
            let name = line.split('=').next().unwrap_or_default();
            !changes.unset_env.iter().any(|unset| unset == name)
        };
        image.config.env.retain(is_kept);
        let labels = &mut image.config.labels;
        labels.retain(|name, _| !changes.unset_labels.contains(name));
        labels.extend(request.labels.clone());
        image.squash = changes.squash;
        image.annotations.extend(request.annotations.clone());
        Ok(image)
    }

    fn debian(
        &mut self,
        request: &ImageRequest,
        base: &std::sync::Arc<DebianBase>,
    ) -> LoweredImage {
        let title = base.title.clone();
        let vertex = self.graph.add(Vertex {
            op: Op::Debian(base.clone()),
            base: Fs::Scratch,
            origin: Origin {
                image: request.name.clone(),
                stage: String::new(),
                step: (1, 1),
                title: title.clone(),
                label: None,
            },
        });
        LoweredImage {
            name: request.name.clone(),
            fs: Fs::Of(vertex),
            platform: request.platform.clone(),
            config: RunConfig {
                env: vec![format!("PATH={DEFAULT_PATH}")],
                cmd: Some(vec!["/bin/bash".to_owned()]),
                ..RunConfig::default()
            },
            author: None,
            history: vec![HistoryStep::Own {
                created_by: title,
                vertex: Some(vertex),
            }],
            annotations: std::collections::BTreeMap::new(),
            squash: false,
            epoch: request.epoch,
            epoch_is_given: request.epoch_is_given,
            scan: Scan::default(),
        }
    }
}

/// What `PATH` is where a base image sets none, as Docker has it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
