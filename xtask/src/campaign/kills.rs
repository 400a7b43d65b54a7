//! Killing publish, promote, rollback and gc anywhere: the next run ends what was begun, and sends
//! nothing that is there; what stays means what it meant.

use std::time::{Duration, Instant};

use super::options::Options;
use super::proxy::Counts;
use super::random::Random;
use super::stack::{Meaning, REGISTRIES, Site, is_alike};
use crate::error::ChoreError;

/// A switch that takes longer is too long.
const WINDOW_MAX: u64 = 1000;
const GC: [&str; 2] = ["registry", "gc"];
/// So long a registry may take for a request whose client is gone.
const SETTLING: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Tally {
    /// How many were killed, and how many were faster.
    killed: u64,
    ended: u64,
    /// Of those that were killed: how many had moved some tags and not all.
    in_switch: u64,
    windows: Vec<u64>,
    wrong: Vec<String>,
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Requests(u64),
    Time(Duration),
}

/// What a run without a kill takes.
#[derive(Debug, Clone, Copy)]
struct Whole {
    requests: u64,
    time: Duration,
}

/// Runs the campaign.
pub(super) fn run(options: &Options) -> Result<String, ChoreError> {
    let began = Instant::now();
    let mut random = Random::new(options.seed);
    let site = Site::new(options, &mut random)?;
    let mut tally = Tally::default();
    site.succeed(&["publish", "--tag", "main"])?;
    site.succeed(&["promote", "main", "stable"])?;
    site.change_some(&mut random)?;
    let publish = measured(&site, &["publish", "--tag", "main"], &mut tally)?;
    let promote = measured(&site, &["promote", "main", "stable"], &mut tally)?;
    let rollback = measured(&site, &["rollback", "stable"], &mut tally)?;
    site.succeed(&["promote", "main", "stable"])?;
    prepare(&site, GC[0], &mut random)?;
    let gc = measured(&site, &GC, &mut tally)?;
    for round in 1..=options.rounds {
        let (arguments, whole): (&[&str], Whole) = match random.below(10) {
            0..5 => (&["publish", "--tag", "main"], publish),
            5..7 => (&["promote", "main", "stable"], promote),
            7..9 => (&["rollback", "stable"], rollback),
            _ => (&GC, gc),
        };
        prepare(&site, arguments[0], &mut random)?;
        let moment = match random.below(4) {
            0 => {
                let whole = u64::try_from(whole.time.as_micros()).unwrap_or(u64::MAX);
                Moment::Time(Duration::from_micros(random.below(whole)))
            }
            _ => Moment::Requests(1 + random.below(whole.requests)),
        };
        let wrong = one(&site, arguments, moment, &mut tally)?;
        if options.is_verbose || !wrong.is_empty() {
            eprintln!(
                "round {round}: {} at {moment:?} {}",
                arguments[0],
                wrong.join("; ")
            );
        }
        let wrong = wrong.into_iter();
        tally
            .wrong
            .extend(wrong.map(|it| format!("round {round}, {}: {it}", arguments[0])));
    }
    tally.windows.sort_unstable();
    let longest = tally.windows.last().copied().unwrap_or_default();
    let median = tally.windows.get(tally.windows.len() / 2).copied();
    let report = format!(
        "publish-kills: {} rounds in {:.0} s, seed {}\n\
         killed {}, of them between two tags {}; done before {}\n\
         switch of 10 images x 3 registries: {} times, median {} ms, longest {longest} ms\n\
         wrong: {}",
        options.rounds,
        began.elapsed().as_secs_f64(),
        options.seed,
        tally.killed,
        tally.in_switch,
        tally.ended,
        tally.windows.len(),
        median.unwrap_or_default(),
        tally.wrong.len()
    );
    match tally.wrong.is_empty() && longest <= WINDOW_MAX {
        true => Ok(report),
        false => Err(ChoreError::Unmet(format!(
            "{report}\n{}",
            tally.wrong.join("\n")
        ))),
    }
}

/// Makes sure that the command has something to do.
fn prepare(site: &Site, command: &str, random: &mut Random) -> Result<(), ChoreError> {
    site.change_some(random)?;
    match command {
        "publish" => {}
        // Something that is needed by nothing, and something that is needed by a tag that stays.
        "registry" => {
            site.succeed(&["publish", "--tag", "gone"])?;
            site.change_some(random)?;
            site.succeed(&["publish", "--tag", "gone", "--tag", "main"])?;
        }
        "promote" => {
            site.succeed(&["publish", "--tag", "main"])?;
        }
        _ => {
            site.succeed(&["publish", "--tag", "main"])?;
            site.succeed(&["promote", "main", "stable"])?;
        }
    }
    Ok(())
}

/// Kills a command and lets the next one end it.
fn one(
    site: &Site,
    arguments: &[&str],
    moment: Moment,
    tally: &mut Tally,
) -> Result<Vec<String>, ChoreError> {
    let tag = match arguments[0] {
        "publish" | "registry" => "main",
        _ => "stable",
    };
    let stable = site.meaning("stable");
    let before = site.meaning(tag);
    let mut wrong = Vec::new();
    let mut child = site.begin(arguments)?;
    let began = Instant::now();
    let requests = Counts::get(&site.counts.requests);
    let was_killed = loop {
        if child
            .try_wait()
            .map_err(ChoreError::file("child"))?
            .is_some()
        {
            break false;
        }
        let is_time = match moment {
            Moment::Requests(number) => Counts::get(&site.counts.requests) - requests >= number,
            Moment::Time(time) => began.elapsed() >= time,
        };
        if is_time {
            child.kill().map_err(ChoreError::file("child"))?;
            child.wait().map_err(ChoreError::file("child"))?;
            break true;
        }
        std::thread::sleep(POLL);
    };
    // What was on its way arrives; the registry may be in the middle of writing a tag.
    std::thread::sleep(Duration::from_millis(30));
    let mut broken = site.broken_tags();
    let killed_at = Instant::now();
    while !broken.is_empty() && killed_at.elapsed() < SETTLING {
        std::thread::sleep(Duration::from_millis(100));
        broken = site.broken_tags();
    }
    let left = site.meaning(tag);
    if !broken.is_empty() {
        wrong.push(format!(
            "after the kill these lead nowhere: {}",
            broken.join(", ")
        ));
    }
    tally.killed += u64::from(was_killed);
    tally.ended += u64::from(!was_killed);
    tally.in_switch += u64::from(is_mixed(&before, &left));
    if !was_killed {
        return Ok(wrong);
    }
    let again = Counts::get(&site.counts.again);
    site.counts.sent_again.lock().expect("no panics").clear();
    let told = site.told();
    let (_, said) = site.succeed(arguments)?;
    tally.windows.extend(window(&said));
    let again = Counts::get(&site.counts.again) - again;
    if again > 0 {
        let what = site.counts.sent_again.lock().expect("no panics").join(", ");
        wrong.push(format!("{again} bytes were sent that were there: {what}"));
    }
    let after = site.meaning(tag);
    if !is_alike(&after) {
        wrong.push("the registries differ in the end".to_owned());
    }
    let broken = site.broken_tags();
    if !broken.is_empty() {
        wrong.push(format!(
            "in the end these lead nowhere: {}",
            broken.join(", ")
        ));
    }
    if arguments == GC && (left != before || after != before || site.meaning("stable") != stable) {
        wrong.push("what stays means something else".to_owned());
    }
    if arguments[0] == "promote" && after != site.meaning("main") {
        wrong.push("`stable` is not what `main` is".to_owned());
    }
    // Who was told that it was done asks for a step more.
    let was_told = !told.is_empty();
    if arguments[0] == "rollback" && !was_told && (after == before || !was_back(site, &after)?) {
        wrong.push("`stable` is not the generation before".to_owned());
    }
    // Nothing is left to do.
    let (_, said) = match arguments[0] {
        "rollback" => (String::new(), String::new()),
        _ => site.succeed(arguments)?,
    };
    let is_collected = || said.matches("nothing is removed").count() == REGISTRIES;
    if said.contains("was being published")
        || said.contains(" moved within")
        || arguments == GC && !is_collected()
    {
        wrong.push("something was left to do".to_owned());
    }
    Ok(wrong)
}

/// Whether one rollback was carried out and no second: what came before it was a promotion.
fn was_back(site: &Site, after: &Meaning) -> Result<bool, ChoreError> {
    let (log, _) = site.succeed(&["log", "stable", "--json"])?;
    let log: serde_json::Value = serde_json::from_str(&log)
        .map_err(|_| ChoreError::Unmet(format!("this is no log:\n{log}")))?;
    let entries = log.as_array().cloned().unwrap_or_default();
    let first = entries.first().map(|it| it["registry"].clone());
    let actions: Vec<&str> = entries
        .iter()
        .filter(|it| Some(&it["registry"]) == first.as_ref())
        .filter_map(|it| it["action"].as_str())
        .take(2)
        .collect();
    Ok(actions == ["rollback", "promote"] && is_alike(after))
}

/// Runs a command through, to know what it takes.
fn measured(site: &Site, arguments: &[&str], tally: &mut Tally) -> Result<Whole, ChoreError> {
    let requests = Counts::get(&site.counts.requests);
    let began = Instant::now();
    let (_, said) = site.succeed(arguments)?;
    tally.windows.extend(window(&said));
    Ok(Whole {
        requests: Counts::get(&site.counts.requests) - requests,
        time: began.elapsed(),
    })
}

/// Some tags have moved and some have not.
fn is_mixed(before: &Meaning, left: &Meaning) -> bool {
    let has_moved = before != left;
    has_moved && !is_alike(left)
}

/// The milliseconds of `30 tags moved within 120 ms`.
fn window(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once(" moved within ")?;
    rest.split(' ').next()?.parse().ok()
}
