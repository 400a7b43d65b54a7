//! Promotion and rollback of everything, with and without local state: time and traffic.

use std::time::{Duration, Instant};

use super::options::Options;
use super::proxy::Counts;
use super::random::Random;
use super::stack::Site;
use crate::error::ChoreError;

const TIME_MAX: Duration = Duration::from_secs(5);
const BYTES_MAX: u64 = 1_000_000;
/// So many platforms the images are for.
const PLATFORMS: usize = 2;

#[derive(Debug, Default)]
struct Tally {
    longest: Duration,
    most: u64,
}

/// Runs the campaign.
pub(super) fn run(options: &Options) -> Result<String, ChoreError> {
    let mut random = Random::new(options.seed);
    let site = Site::new(options, &mut random)?;
    site.succeed(&["publish", "--tag", "main"])?;
    site.succeed(&["promote", "main", "stable"])?;
    let mut kept = Tally::default();
    let mut lost = Tally::default();
    for round in 0..options.rounds {
        site.change_some(&mut random)?;
        site.succeed(&["publish", "--tag", "main"])?;
        let before = site.meaning("stable");
        let is_lost = round % 2 == 1;
        let tally = if is_lost { &mut lost } else { &mut kept };
        timed(&site, is_lost, &["promote", "main", "stable"], tally)?;
        if site.meaning("stable") != site.meaning("main") {
            return Err(ChoreError::Unmet("`stable` is not `main`".to_owned()));
        }
        if site.platforms("stable") != PLATFORMS {
            return Err(ChoreError::Unmet("`stable` lacks platforms".to_owned()));
        }
        timed(&site, is_lost, &["rollback", "stable"], tally)?;
        if site.meaning("stable") != before {
            return Err(ChoreError::Unmet("`stable` is not as before".to_owned()));
        }
        site.succeed(&["promote", "main", "stable"])?;
    }
    let broken = site.broken_tags();
    if !broken.is_empty() {
        return Err(ChoreError::Unmet(format!("broken: {}", broken.join(", "))));
    }
    let told = |tally: &Tally| {
        format!(
            "{:.2} s and {:.0} kB at most",
            tally.longest.as_secs_f64(),
            tally.most as f64 / 1e3
        )
    };
    let report = format!(
        "promote: {} rounds of a promotion and a rollback, 10 images x 2 platforms x 3 registries\n\
         with local state:    {}\n\
         without local state: {}",
        options.rounds,
        told(&kept),
        told(&lost)
    );
    let is_fine = |tally: &Tally| tally.longest < TIME_MAX && tally.most < BYTES_MAX;
    match is_fine(&kept) && is_fine(&lost) {
        true => Ok(report),
        false => Err(ChoreError::Unmet(report)),
    }
}

fn timed(
    site: &Site,
    is_lost: bool,
    arguments: &[&str],
    tally: &mut Tally,
) -> Result<(), ChoreError> {
    if is_lost {
        site.forget()?;
    }
    let bytes = Counts::get(&site.counts.bytes);
    let began = Instant::now();
    site.succeed(arguments)?;
    tally.longest = tally.longest.max(began.elapsed());
    tally.most = tally.most.max(Counts::get(&site.counts.bytes) - bytes);
    Ok(())
}
