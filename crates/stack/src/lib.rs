//! A run over many images: plan, build, check, report.
//!
//! ```text
//! directory    --load-->      LoadedStack: spec and Dockerfiles, parsed once
//! LoadedStack  --detect-->    Event: what the run answers, for tags and policies
//! LoadedStack  --requests-->  what the engine is asked to build, in graph order
//! (a lone Dockerfile gets its request from single::request)
//! Prepared     --report-->    PlanReport: what would happen, and why
//! Prepared     --run-->       RunReport: every image built and named, or why not
//! ImageRecords --publish--> a generation: all images and tags on all registries, together
//! RunReport    --attest-->    what is said of a lone build's images: provenance, packages
//! ImageRecord  --check-->     ImageCheck: what its tests say, kept as evidence
//! ```

pub mod attest;
pub mod check;
pub mod contexts;
pub mod decide;
mod dockerfile_place;
mod epoch;
pub mod event;
pub mod external;
pub mod git;
pub mod history;
pub mod info;
pub mod layout;
pub mod load;
pub mod lockfile;
pub mod made_of;
mod named_contexts;
pub mod pixi;
pub mod plan;
pub mod publish;
pub mod records;
pub mod request;
pub mod retag;
pub mod run;
pub mod single;
pub mod structure;
pub mod suite;
pub mod target;
pub mod unused_args;
