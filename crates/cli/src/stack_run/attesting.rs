//! What a run attests of its images: how they were built, and which packages they have.

use std::time::SystemTime;

use cairn_build::engine::Engine;
use cairn_build::resolve::whole;
use cairn_build::run::Prepared;
use cairn_stack::attest::{AskedFor, Done, Occasion, Wish, attest};
use cairn_stack::request::Requests;
use cairn_stack::run::{ImageState, RunReport};

use super::StackRun;
use crate::error::{CommandError, Kind};
use crate::session::host_platform;

impl StackRun {
    /// Lets the run attest this of its images, once they are there.
    pub fn wish_for(&mut self, wish: &Wish) {
        self.options.lister = wish.lister();
        self.wish = Some(wish.clone()).filter(|wish| !wish.is_nothing());
    }

    /// Gathers what is wished for. The records in the store stay as they are: what is attested goes with
    /// what leaves.
    pub(super) fn attest(
        &self,
        requests: &Requests,
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
        report: &mut RunReport,
    ) -> Result<(), CommandError> {
        let Some(wish) = &self.wish else {
            return Ok(());
        };
        let occasion = Occasion {
            // It has one name at each registry, and is to have one digest at all of them.
            names: &[],
            options: &[],
            began: SystemTime::UNIX_EPOCH,
            tool: concat!("cairn-", env!("CARGO_PKG_VERSION")),
        };
        let mut attested = Vec::new();
        for (at, image) in prepared.lowered.images.iter().enumerate() {
            let Some((run, id)) = self.find(&image.name) else {
                continue;
            };
            let request = requests.images.iter().find(|it| it.name == image.name);
            let record = report.record(&image.name);
            let (Some(request), Some(record)) = (request, record) else {
                continue;
            };
            if !run.selected.contains(&id) || run.loaded.stack[id].internal {
                continue;
            }
            let asked = AskedFor::of_stack(&run.loaded, requests, request, &host_platform());
            let done = Done {
                asked: &asked,
                prepared,
                report,
                engine,
            };
            let mut record = record.clone();
            let all = attest(wish, done, image, &record, occasion).map_err(|error| {
                CommandError::new(Kind::Environment, whole(&error))
                    .while_doing(format!("cannot attest `{}`", image.name))
            })?;
            record.attest(engine.store, &all)?;
            attested.push((at, record));
        }
        for (at, attested) in attested {
            if let ImageState::Ready { record, .. } = &mut report.images[at].state {
                **record = attested;
            }
        }
        Ok(())
    }
}
