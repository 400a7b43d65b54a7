//! `cargo xtask bench`: Cairn beside the container tools that are installed, on equal inputs.
//!
//! Inputs come from a seeded generator, so that every machine measures the same work. Engines take
//! turns within a round and each row is the median of the rounds. Before each turn the file system
//! is synced, so that nobody pays for another's dirty pages; cold turns begin with an empty build
//! cache, and loading the base image is never timed. Engines use the host's network where they can,
//! which is Cairn's default and spares the others their bridge.

mod engines;
mod inputs;
mod layout;
mod meter;
mod options;
mod place;
mod report;
mod scenarios;
mod stack;

use std::path::{Path, PathBuf};

use crate::error::ChoreError;
use engines::Engine;
use options::Options;
use report::Samples;

pub(crate) use inputs::{BASE, Random, write_file};

/// Writes the base image of made-up stacks as an OCI layout below a folder.
pub(crate) fn write_base(folder: &Path) -> Result<PathBuf, ChoreError> {
    Ok(layout::write(folder)?.layout)
}

/// `cargo xtask bench`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    let options = match options::parse(arguments)? {
        options::Parsed::Help(text) => {
            println!("{text}");
            return Ok(());
        }
        options::Parsed::Run(options) => options,
    };
    let place = place::prepare(&options)?;
    let inputs = inputs::Inputs::generate(&place.path.join("inputs"), &options)?;
    let engines = engines::start(&options, &place.path, &inputs)?;
    let samples = measure(&options, &engines, &inputs)?;
    let rows = report::rows(&samples, &options.rows);
    if options.json {
        println!("{}", report::json(&rows));
    } else {
        print!("{}", report::table(&rows));
    }
    Ok(())
}

/// Runs every wanted scenario `runs` times on every engine, taking turns.
fn measure(
    options: &Options,
    engines: &[Box<dyn Engine>],
    inputs: &inputs::Inputs,
) -> Result<Samples, ChoreError> {
    let mut samples = Samples::default();
    for scenario in scenarios::wanted(&options.rows) {
        for round in 1..=options.runs {
            for engine in engines {
                eprintln!(
                    "{} {round}/{}: {}",
                    scenario.name,
                    options.runs,
                    engine.name()
                );
                let result = (scenario.run)(engine.as_ref(), inputs);
                match result {
                    Ok(measured) => samples.add(engine.name(), measured),
                    // A peer that fails is left out of the row and named; Cairn may not fail.
                    Err(error) if engine.name() != engines::CAIRN => {
                        eprintln!("  {}: left out: {error}", engine.name());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(samples)
}
