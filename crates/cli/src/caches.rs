//! `--cache-from` and `--cache-to`: their language, and what a run does with them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cairn_build::cache::export::{Exported, RegistryTarget, export};
use cairn_build::cache::registry::{Opened, RegistryCache};
use cairn_build::cache::{CacheSource, directory};
use cairn_build::engine::Engine;
use cairn_build::event::{Event, EventSink};
use cairn_build::image::external::PullPolicy;
use cairn_build::resolve::whole;
use cairn_build::run::Prepared;
use cairn_build::solve::SolvedStep;
use cairn_oci::{Platform, Reference};
use cairn_registry::Watch;
use cairn_store::CacheKey;
use clap::Args;

use crate::commands::options::fields;
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::printer::Printer;
use crate::progress::count;
use crate::quantity;

/// Results of steps for other machines, and from them.
#[derive(Debug, Clone, Default, Args)]
pub struct CacheOptions {
    /// Take results of steps from elsewhere: `type=registry,ref=NAME` (also short: `NAME`) or
    /// `type=local,src=DIR` (can be repeated)
    #[arg(long, value_name = "CACHE", value_parser = CacheFrom::parse)]
    pub cache_from: Vec<CacheFrom>,
    /// Keep the results of steps elsewhere: `type=registry,ref=NAME[,mode=min|max][,limit=SIZE]`,
    /// `type=local,dest=DIR`, or `type=inline` in the images themselves; one that cannot be written
    /// is a warning, unless `ignore-error=false` is added (can be repeated)
    #[arg(long, value_name = "CACHE", value_parser = KeptCache::parse)]
    pub cache_to: Vec<KeptCache>,
}

/// A place that results go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCache {
    /// Which.
    pub to: CacheTo,
    /// Whether a run has failed that could not write there (`ignore-error=false`). Usually it has
    /// not: its images are there all the same.
    pub is_needed: bool,
}

/// Where results come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFrom {
    /// A directory.
    Local(PathBuf),
    /// A cache in a registry, or an image that carries one.
    Registry(Reference),
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTo {
    /// A directory.
    Local(PathBuf),
    /// A registry.
    Registry {
        /// Where, and how much of it.
        target: RegistryTarget,
        /// Whether only the results go there that images consist of.
        only_final: bool,
    },
    /// The images' configs.
    Inline,
}

const KINDS: [&str; 3] = ["registry", "local", "inline"];

/// Keys of docker's caches that change nothing here.
const WITHOUT_EFFECT: [&str; 6] = [
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "image-manifest",
    "digest",
];

/// What such a text says, before it is known what it must say.
#[derive(Default)]
struct Words {
    kind: Option<String>,
    place: Option<PathBuf>,
    reference: Option<Reference>,
    mode: Option<String>,
    limit: Option<u64>,
    ignores_errors: Option<bool>,
}

impl Words {
    fn read(text: &str, place: &str) -> Result<Self, String> {
        let mut words = Self::default();
        let fields = fields(text)?;
        // The keys of a kind that is unknown are unknown, too: that is not what is wrong.
        if let Some((_, kind)) = fields.iter().find(|(key, _)| key == "type")
            && !KINDS.contains(&kind.as_str())
        {
            return Err(unknown(Some(kind), "`registry`, `local` and `inline`"));
        }
        for (key, value) in fields {
            match key.as_str() {
                "type" => words.kind = Some(value),
                "ref" => words.reference = Some(reference(&value)?),
                "mode" => words.mode = Some(value),
                "limit" => words.limit = Some(quantity::parse_bytes(&value)?),
                "ignore-error" => words.ignores_errors = Some(flag(&key, &value)?),
                key if key == place => words.place = Some(value.into()),
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => {
                    return Err(format!(
                        "`{key}` is not known here; `type`, `ref`, `mode`, `limit` and `{place}` are"
                    ));
                }
            }
        }
        Ok(words)
    }

    fn place(self, key: &str) -> Result<PathBuf, String> {
        self.place
            .ok_or_else(|| format!("`{key}` is missing: `type=local,{key}=DIR`"))
    }

    fn registry(&self) -> Result<Reference, String> {
        let missing = "`ref` is missing: `type=registry,ref=HOST/NAME:TAG`";
        self.reference.clone().ok_or_else(|| missing.to_owned())
    }
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("`{key}={value}` is neither `true` nor `false`")),
    }
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn unknown(kind: Option<&str>, known: &str) -> String {
    match kind {
        Some(kind) => format!("`type={kind}` is not supported; {known} are"),
        None => format!("`type` is missing; {known} are known"),
    }
}

impl CacheFrom {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return reference(text).map(Self::Registry);
        }
        let words = Words::read(text, "src")?;
        match words.kind.as_deref() {
            Some("local") => words.place("src").map(Self::Local),
            Some("registry") => words.registry().map(Self::Registry),
            Some("inline") => {
                Err("results in an image are taken by `type=registry,ref=IMAGE`".into())
            }
            kind => Err(unknown(kind, "`type=registry` and `type=local`")),
        }
    }
}

impl KeptCache {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Err(format!("`type` is missing: `type=registry,ref={text}`"));
        }
        let words = Words::read(text, "dest")?;
        let is_needed = words.ignores_errors == Some(false);
        let to = CacheTo::of(words)?;
        Ok(Self { to, is_needed })
    }
}

impl CacheTo {
    fn of(words: Words) -> Result<Self, String> {
        let only_final = match words.mode.as_deref() {
            None | Some("max") => false,
            Some("min") => true,
            Some(mode) => return Err(format!("`mode={mode}` is neither `min` nor `max`")),
        };
        match words.kind.as_deref() {
            Some("local") => words.place("dest").map(Self::Local),
            Some("inline") => Ok(Self::Inline),
            Some("registry") => {
                let reference = words.registry()?;
                if reference.digest().is_some() {
                    return Err("a cache is written under a tag: `ref` has a digest".into());
                }
                let limit = words.limit;
                let target = RegistryTarget { reference, limit };
                Ok(Self::Registry { target, only_final })
            }
            kind => Err(unknown(
                kind,
                "`type=registry`, `type=local` and `type=inline`",
            )),
        }
    }
}

/// Finds the caches that a run takes from. One that is not there, or cannot be had, costs no run.
pub fn open(
    options: &CacheOptions,
    means: &mut Means,
    platforms: &[Platform],
    printer: &Printer,
) -> Result<(), CommandError> {
    means.settings.inline_cache = options.cache_to.iter().any(|it| it.to == CacheTo::Inline);
    for from in &options.cache_from {
        match from {
            CacheFrom::Local(place) => {
                if place.exists() && !place.is_dir() {
                    let place = place.display();
                    printer.warning(&format!("no cache at {place}: that is no directory"));
                    continue;
                }
                if !place.is_dir() {
                    printer.note(&format!("there is no cache at {} yet", place.display()));
                }
                let source = CacheSource::Directory(place.clone());
                means.settings.cache_from.push(source);
            }
            CacheFrom::Registry(reference) => open_registry(reference, means, platforms, printer)?,
        }
    }
    Ok(())
}

fn open_registry(
    reference: &Reference,
    means: &mut Means,
    platforms: &[Platform],
    printer: &Printer,
) -> Result<(), CommandError> {
    let name = reference.familiar();
    if means.pull == PullPolicy::Never {
        printer.note(&format!("`--offline`: the cache {name} is not asked"));
        return Ok(());
    }
    let watch = Watch {
        is_stopped: &|| means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let opened = RegistryCache::open(&means.store, &means.registry, reference, platforms, watch);
    match opened {
        Ok(Opened::Cache(cache)) => {
            means.settings.cache_from.push(CacheSource::Registry(cache));
        }
        Ok(Opened::Absent) => printer.note(&format!("there is no cache at {name} yet")),
        Ok(Opened::Other(what)) => printer.warning(&format!("no cache at {name}: it holds {what}")),
        Err(error) if error.is_cancelled() => return Err(CommandError::interrupted()),
        Err(error) => {
            let why = whole(&error);
            printer.warning(&format!("the cache {name} is not used: {why}"));
        }
    }
    Ok(())
}

/// Says what caches brought, and writes the results of a run to others.
pub fn keep(
    options: &CacheOptions,
    means: &Means,
    prepared: &Prepared<'_>,
    engine: &Engine<'_>,
    steps: &[SolvedStep],
) -> Result<(), CommandError> {
    tell_brought(engine);
    tell_fetched(means, engine.events);
    let mut kept = options.cache_to.iter();
    if kept.all(|it| it.to == CacheTo::Inline) || means.cancel.is_cancelled() {
        return Ok(());
    }
    let keys = prepared.keys(engine, steps).map_err(|error| {
        CommandError::from_error(Kind::Environment, &error).while_doing("cannot keep the cache")
    })?;
    let all: Vec<CacheKey> = keys.values().copied().collect();
    for KeptCache { to, is_needed } in &options.cache_to {
        let written = match to {
            CacheTo::Inline => Ok(()),
            CacheTo::Local(place) => {
                let known = all.iter().copied().chain(means.bases.keys());
                let saved = directory::save(place, engine.store, known);
                saved.map_err(|error| not_written(&place.display().to_string(), &error))
            }
            CacheTo::Registry { target, only_final } => {
                let mut wanted: Vec<CacheKey> = match only_final {
                    false => all.clone(),
                    true => {
                        let images = prepared.lowered.images.iter();
                        let chain = images.flat_map(|image| prepared.chain_of(image));
                        chain.filter_map(|id| keys.get(&id).copied()).collect()
                    }
                };
                wanted.extend(prepared.keys_of_files());
                wanted.extend(means.bases.keys());
                let known = if *only_final { &all[..] } else { &[] };
                let broken = broken_at(engine, &target.reference);
                let is_stopped = || means.cancel.is_cancelled();
                let (store, client) = (engine.store, &means.registry);
                match export(store, client, target, &wanted, known, &broken, &is_stopped) {
                    Ok(done) => {
                        tell_kept(engine.events, target, &done);
                        Ok(())
                    }
                    // Ctrl-C is told elsewhere.
                    Err(error) if error.is_cancelled() => Ok(()),
                    Err(error) => Err(not_written(&target.reference.familiar(), &error)),
                }
            }
        };
        match written {
            Err(text) if *is_needed => return Err(CommandError::new(Kind::Environment, text)),
            // The images are there all the same.
            Err(text) => tell(engine.events, true, text),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn not_written(name: &str, error: &(dyn std::error::Error + 'static)) -> String {
    format!("the cache {name} was not written: {}", whole(error))
}

/// What a cache promised this run and could not give.
fn broken_at(engine: &Engine<'_>, reference: &Reference) -> BTreeSet<CacheKey> {
    let sources = engine.settings.cache_from.iter();
    let broken = sources.filter_map(|source| match source {
        CacheSource::Registry(cache) if cache.reference() == reference => Some(cache.broken_keys()),
        _ => None,
    });
    broken.flatten().collect()
}

fn tell_brought(engine: &Engine<'_>) {
    for source in &engine.settings.cache_from {
        let CacheSource::Registry(cache) = source else {
            continue;
        };
        let (layers, bytes) = cache.brought();
        if layers > 0 {
            let (layers, bytes) = (count(layers, "layer"), quantity::bytes(bytes));
            let name = cache.reference().familiar();
            tell(
                engine.events,
                false,
                format!("{layers} ({bytes}) came from the cache {name}"),
            );
        }
    }
}

fn tell_fetched(means: &Means, events: &dyn EventSink) {
    let (layers, bytes) = means.bases.fetched();
    if layers > 0 {
        let (layers, bytes) = (count(layers, "layer"), quantity::bytes(bytes));
        tell(
            events,
            false,
            format!("{layers} ({bytes}) fetched for bases"),
        );
    }
}

fn tell_kept(events: &dyn EventSink, target: &RegistryTarget, done: &Exported) {
    let name = target.reference.familiar();
    let size = quantity::bytes(done.bytes);
    let size = match target.limit {
        Some(limit) => format!("{size} of {}", quantity::bytes(limit)),
        None => size,
    };
    let mut text = format!(
        "the cache {name} has {}, {size}",
        count(done.results, "result")
    );
    if done.new > 0 {
        text.push_str(&format!(
            "; {} new, {} sent",
            done.new,
            quantity::bytes(done.sent)
        ));
    }
    if done.left_out > 0 {
        let many = count(done.left_out, "result");
        text.push_str(&format!("; {many} left out, dearer to move than to make"));
    }
    if done.dropped > 0 {
        text.push_str(&format!(
            "; {} dropped for the limit",
            count(done.dropped, "old result")
        ));
    }
    tell(events, false, text);
}

fn tell(events: &dyn EventSink, warning: bool, text: String) {
    events.emit(Event::Notice { warning, text });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_named_as_docker_names_them() {
        let place = PathBuf::from("/c");
        let from = CacheFrom::parse("type=local,src=/c");
        assert_eq!(from, Ok(CacheFrom::Local(place.clone())));
        let to = |text: &str| KeptCache::parse(text).map(|it| it.to);
        let local = to("type=local,dest=/c,mode=max");
        assert_eq!(local, Ok(CacheTo::Local(place)));
        let name: Reference = "ghcr.io/lab/x:cache".parse().unwrap();
        for text in [
            "ghcr.io/lab/x:cache",
            "type=registry,ref=ghcr.io/lab/x:cache",
        ] {
            let from = CacheFrom::parse(text);
            assert_eq!(from, Ok(CacheFrom::Registry(name.clone())), "{text}");
        }
        let registry = to("type=registry,ref=ghcr.io/lab/x:cache,mode=min,limit=2GB");
        let target = RegistryTarget {
            reference: name,
            limit: Some(2_000_000_000),
        };
        let only_final = true;
        assert_eq!(registry, Ok(CacheTo::Registry { target, only_final }));
        assert_eq!(to("type=inline"), Ok(CacheTo::Inline));
    }

    #[test]
    fn a_cache_is_needed_where_that_is_said() {
        let is_needed = |said: &str| {
            let text = format!("type=local,dest=/c{said}");
            KeptCache::parse(&text).map(|it| it.is_needed)
        };
        assert_eq!(is_needed(""), Ok(false));
        assert_eq!(is_needed(",ignore-error=true"), Ok(false));
        assert_eq!(is_needed(",ignore-error=false"), Ok(true));
        is_needed(",ignore-error=no").unwrap_err();
    }

    #[test]
    fn what_is_none_is_refused() {
        let to = |text| KeptCache::parse(text).unwrap_err();
        assert!(to("type=gha").contains("`type=gha` is not supported"));
        assert!(to("host/x").contains("type=registry,ref=host/x"));
        assert!(to("type=local").contains("`dest` is missing"));
        assert!(to("type=registry").contains("`ref` is missing"));
        assert!(to("dest=/c").contains("`type` is missing"));
        assert!(to("type=registry,ref=A B").contains("A B"));
        assert!(to("type=registry,ref=a,mode=all").contains("neither"));
        assert!(to("type=registry,ref=a,limit=much").contains("much"));
        let digest = format!("type=registry,ref=a@sha256:{}", "0".repeat(64));
        assert!(to(&digest).contains("digest"));
        let from = |text| CacheFrom::parse(text).unwrap_err();
        assert!(from("type=inline").contains("ref=IMAGE"));
        assert!(from("type=s3,bucket=x").contains("`type=s3` is not supported"));
        assert!(from("type=registry,bucket=x").contains("`bucket`"));
    }
}
