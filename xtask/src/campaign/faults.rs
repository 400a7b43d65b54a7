//! Publishing through trouble: every publish is complete or has changed nothing.

use std::time::Instant;

use super::options::Options;
use super::proxy::Counts;
use super::random::Random;
use super::stack::{Site, reported};
use crate::error::ChoreError;

/// So much more traffic than without trouble is too much.
const ADDED_MAX: f64 = 0.10;
/// Below this number of rounds chance decides about traffic.
const ROUNDS_JUDGED: u64 = 50;

#[derive(Debug, Default)]
struct Tally {
    complete: u64,
    untouched: u64,
    torn: Vec<u64>,
    broken: Vec<String>,
    bytes: u64,
    requests: u64,
    troubles: u64,
}

/// Runs the campaign.
pub(super) fn run(options: &Options) -> Result<String, ChoreError> {
    let began = Instant::now();
    let calm = series(options, false)?;
    let troubled = series(options, true)?;
    let added = troubled.bytes as f64 / calm.bytes.max(1) as f64 - 1.0;
    let report = format!(
        "publish-faults: {} rounds in {:.0} s, seed {}\n\
         complete {}, untouched {}, torn {}, tags that lead nowhere {}\n\
         requests {} (calm: {}), troubles {}\n\
         traffic {:.2} MB (calm: {:.2} MB): {:+.1} %",
        options.rounds,
        began.elapsed().as_secs_f64(),
        options.seed,
        troubled.complete,
        troubled.untouched,
        troubled.torn.len(),
        troubled.broken.len(),
        troubled.requests,
        calm.requests,
        troubled.troubles,
        troubled.bytes as f64 / 1e6,
        calm.bytes as f64 / 1e6,
        added * 100.0
    );
    let is_costly = added > ADDED_MAX && options.rounds >= ROUNDS_JUDGED;
    match troubled.torn.is_empty() && troubled.broken.is_empty() && !is_costly {
        true => Ok(report),
        false => Err(ChoreError::Unmet(format!(
            "{report}\ntorn in rounds {:?}\nlead nowhere: {:?}",
            troubled.torn, troubled.broken
        ))),
    }
}

fn series(options: &Options, is_troubled: bool) -> Result<Tally, ChoreError> {
    let mut random = Random::new(options.seed);
    let site = Site::new(options, &mut random)?;
    site.succeed(&["publish", "--tag", "main"])?;
    let count = |number| Counts::get(number);
    let (bytes, requests) = (count(&site.counts.bytes), count(&site.counts.requests));
    let mut tally = Tally::default();
    let mut before = site.meaning("main");
    for proxy in &site.proxies {
        proxy.trouble(is_troubled);
    }
    for round in 1..=options.rounds {
        site.change_some(&mut random)?;
        let began = Instant::now();
        let output = site.run(&["publish", "--tag", "main", "--json"])?;
        let after = site.meaning("main");
        let is_complete =
            output.status.success() && reported(&String::from_utf8_lossy(&output.stdout))? == after;
        let is_untouched = !output.status.success() && after == before;
        match (is_complete, is_untouched) {
            (true, _) => tally.complete += 1,
            (_, true) => tally.untouched += 1,
            _ => tally.torn.push(round),
        }
        if options.is_verbose || !is_complete {
            let said = String::from_utf8_lossy(&output.stderr);
            let tail: Vec<&str> = said.lines().rev().take(6).collect();
            eprintln!(
                "round {round}: {} in {:.1} s{}",
                match (is_complete, is_untouched) {
                    (true, _) => "complete",
                    (_, true) => "untouched",
                    _ => "TORN",
                },
                began.elapsed().as_secs_f64(),
                match is_complete {
                    true => String::new(),
                    false => tail.iter().rev().map(|it| format!("\n    {it}")).collect(),
                }
            );
        }
        tally.broken.extend(site.broken_tags());
        before = after;
    }
    tally.bytes = count(&site.counts.bytes) - bytes;
    tally.requests = count(&site.counts.requests) - requests;
    tally.troubles = count(&site.counts.troubles);
    Ok(tally)
}
