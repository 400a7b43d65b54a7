//! Which platforms a run over a stack is for, and which images for each.
//!
//! | `--platform` | the run is for |
//! | --- | --- |
//! | nothing | what the spec lists for each image and this machine can build; this machine alone where the list is the stack's and leaves it out, or there is none |
//! | `all` | all that the spec lists |
//! | a list | these |
//!
//! What was asked for and cannot be built here is an error. What was not is left out, and that is
//! said: on a laptop, `cairn up` builds what the laptop can.

use std::collections::BTreeSet;
use std::slice;

use cairn_oci::Platform;
use cairn_sandbox::runs_here;
use cairn_spec::ImageId;
use cairn_stack::load::LoadedStack;

use crate::error::CommandError;
use crate::policy::Policy;
use crate::printer::Printer;
use crate::sanitize;
use crate::session::{Session, host_platform};

/// What the command line says of platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Usual,
    /// All that the spec lists.
    All,
    /// These; at least one.
    Named(Vec<Platform>),
}

/// What a run is to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Images in the store.
    Build,
    /// Images in registries: those that the spec lists, whatever this machine is.
    Publish,
    /// Jobs and locks for other machines, too.
    Elsewhere,
}

/// The images of a run for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The platform.
    pub platform: Platform,
    /// The images that were asked for.
    pub images: Vec<ImageId>,
}

impl Wanted {
    /// Reads `--platform`.
    pub fn read(session: &Session, text: Option<&str>) -> Result<Self, CommandError> {
        match text {
            None => Ok(Self::Usual),
            Some("all") => Ok(Self::All),
            Some(_) => {
                let platforms = session.platforms(text)?;
                session.tell_unfamiliar(&platforms);
                Ok(Self::Named(platforms))
            }
        }
    }

    /// The platform that a stack is read for first.
    pub fn first(&self) -> Platform {
        let here = host_platform();
        match self {
            Self::Named(platforms) if !platforms.contains(&here) => platforms[0].clone(),
            _ => here,
        }
    }

    /// Whether what cannot be built here is an error.
    pub fn is_demand(&self) -> bool {
        *self != Self::Usual
    }

    /// The platforms of a run over these images, this machine's first.
    pub fn choose(
        &self,
        session: &Session,
        policy: &Policy<'_>,
        purpose: Purpose,
        asked: &[ImageId],
        is_named: bool,
    ) -> Result<Vec<Chosen>, CommandError> {
        let here = host_platform();
        if let Self::Named(platforms) = self {
            let is_for_any = |id: &ImageId| platforms.iter().any(|it| policy.fits(*id, it));
            let unfit: Vec<ImageId> = asked.iter().copied().filter(|id| !is_for_any(id)).collect();
            policy.tell_unfit(
                session,
                &unfit,
                platforms,
                is_named || unfit.len() == asked.len(),
            )?;
            let images = |platform: &Platform| {
                let fit = asked.iter().filter(|id| policy.fits(**id, platform));
                fit.copied().collect()
            };
            let mut chosen: Vec<Chosen> = platforms
                .iter()
                .map(|platform| Chosen {
                    platform: platform.clone(),
                    images: images(platform),
                })
                .collect();
            chosen.sort_by_key(|it| it.platform != here);
            return Ok(chosen);
        }
        let mut chosen: Vec<Chosen> = Vec::new();
        let mut without: Vec<ImageId> = Vec::new();
        for &id in asked {
            let platforms = self.usual(policy, purpose, id);
            if platforms.is_empty() {
                without.push(id);
            }
            for platform in platforms {
                let known = chosen.iter_mut().find(|it| it.platform == platform);
                match known {
                    Some(known) => known.images.push(id),
                    None => chosen.push(Chosen {
                        platform,
                        images: vec![id],
                    }),
                }
            }
        }
        let is_mistake = is_named || chosen.is_empty();
        policy.tell_unfit(session, &without, slice::from_ref(&here), is_mistake)?;
        chosen.sort_by_key(|it| it.platform != here);
        Ok(chosen)
    }

    /// The platforms of an image where none is named.
    fn usual(&self, policy: &Policy<'_>, purpose: Purpose, id: ImageId) -> Vec<Platform> {
        let here = host_platform();
        let listed = policy.listed(id);
        let is_own = policy.has_own_list(id);
        let alone = || match policy.fits(id, &here) {
            true => vec![here.clone()],
            false => Vec::new(),
        };
        match (self, purpose) {
            _ if listed.is_empty() => alone(),
            // The stack's list says what is published; any machine builds for itself.
            (Self::Usual, Purpose::Build) if !is_own && !listed.contains(&here) => alone(),
            _ => listed,
        }
    }
}

/// Whether programs of a platform can run on this machine.
pub fn can_run(platform: &Platform) -> bool {
    platform.os == "linux" && runs_here(&platform.architecture)
}

/// Takes out the images that this machine cannot build for a platform, and says so.
pub fn leave_out(printer: &Printer, loaded: &LoadedStack, images: &mut Vec<ImageId>) {
    if can_run(&loaded.platform) {
        return;
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut told: BTreeSet<ImageId> = BTreeSet::new();
    let mut left_out = Vec::new();
    images.retain(|&id| {
        let Some(obstacle) = loaded.cannot_be_run(id, &can_run) else {
            return true;
        };
        left_out.push(id);
        if told.insert(obstacle.image) {
            let name = &loaded.stack[obstacle.image].name;
            reasons.push(format!("{} of {name}", sanitize::name(&obstacle.step)));
        }
        false
    });
    if !left_out.is_empty() {
        tell_left_out(printer, loaded, &left_out, &reasons);
    }
}

fn tell_left_out(
    printer: &Printer,
    loaded: &LoadedStack,
    left_out: &[ImageId],
    reasons: &[String],
) {
    const TOLD_MAX: usize = 3;
    let names: Vec<String> = left_out
        .iter()
        .map(|id| loaded.stack[*id].name.to_string())
        .collect();
    let more = match reasons.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let reasons = reasons[..reasons.len().min(TOLD_MAX)].join(", ");
    printer.note(&format!(
        "left out for {}: {}; this machine cannot run {reasons}{more}",
        loaded.platform,
        names.join(", ")
    ));
}
