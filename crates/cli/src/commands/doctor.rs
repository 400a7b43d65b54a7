//! `cairn doctor`: what this host can do, and whether the store is sound.

use std::io;
use std::path::{Path, PathBuf};

use cairn_build::image::lost::lost_names;
use cairn_oci::Reference;
use cairn_sandbox::{Ability, Emulator, Foreign, Verdict, foreign, probe};
use cairn_store::{Finding, Room, Severity, Store, StoreError, write_advice};
use clap::Args;
use serde::Serialize;

use super::options::JsonOption;
use crate::error::{CommandError, Kind};
use crate::host_trust::HostTrust;
use crate::quantity::bytes;
use crate::session::Session;
use crate::style::{Line, Tone};
use crate::table::{Align, Cell, Table};

/// Check what this machine can do and whether the store is sound
///
/// Exits with 3 if something needs attention.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Look only at the store
    #[arg(long)]
    store: bool,
    /// Repair the store
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    host: Vec<Ability>,
    certificates: Certificates,
    /// Other machines whose programs run here.
    foreign: Vec<Foreign>,
    store: StoreReport,
}

#[derive(Debug, Serialize)]
struct Certificates {
    bundle: Option<PathBuf>,
    local: usize,
}

#[derive(Debug, Serialize)]
struct StoreReport {
    home: PathBuf,
    exists: bool,
    /// What this user may still write on its disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    /// Why it cannot be used as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<Trouble>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    problem: String,
    hints: Vec<String>,
}

pub fn run(args: &DoctorArgs, session: &Session) -> Result<(), CommandError> {
    let report = examine(args, session)?;
    if args.json.json {
        session.printer.json(&report)?;
    } else {
        session.printer.lines(&lines(&report))?;
    }
    match report.needs_attention() {
        true => Err(CommandError::told(Kind::Environment)),
        false => Ok(()),
    }
}

fn examine(args: &DoctorArgs, session: &Session) -> Result<Report, CommandError> {
    let home = session.settings.home()?.to_owned();
    let host = match args.store {
        true => Vec::new(),
        false => probe("/proc/self/exe".as_ref(), existing(&home))?.abilities,
    };
    let trust = HostTrust::discover("/".as_ref(), &session.settings.environment);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        host,
        certificates: Certificates {
            bundle: trust.bundle,
            local: trust.local,
        },
        foreign: foreign(),
        store: examine_store(home, args.repair, session),
    })
}

/// What is wrong with the store is the report, not a reason to have none.
fn examine_store(home: PathBuf, repair: bool, session: &Session) -> StoreReport {
    let exists = home.exists();
    let mut report = StoreReport {
        home,
        exists,
        free_bytes: None,
        trouble: None,
        findings: Vec::new(),
    };
    let store = match session.store_if_there() {
        Ok(Some(store)) => store,
        Ok(None) => {
            report.exists = false;
            return report;
        }
        Err(error) => {
            report.trouble = Some(error.into());
            return report;
        }
    };
    let room = store.room().ok();
    report.free_bytes = room.map(|room| room.free_bytes);
    if let Err(error) = store.try_writing() {
        report.trouble = Some(CommandError::from(error).into());
    } else if room.is_some_and(Room::is_full) {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        report.trouble = Some(Trouble {
            problem: full.to_string(),
            hints: write_advice(&full).map(str::to_owned).into_iter().collect(),
        });
    }
    // Somebody else's files are seen here under owners that are not theirs.
    if !store.is_of_another_user() {
        let findings = store.check(repair).and_then(|mut findings| {
            findings.extend(lost_images(&store, repair)?);
            Ok(findings)
        });
        match findings {
            Ok(findings) => report.findings = findings,
            // Looking needs a little room, too: that there is none says more.
            Err(error) => {
                let trouble = || CommandError::from(error).into();
                report.trouble.get_or_insert_with(trouble);
            }
        }
    }
    report
}

/// Names whose images are gone, also those that the repairs before took the files of.
fn lost_images(store: &Store, repair: bool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for name in lost_names(store)? {
        if repair {
            store.remove_ref(&name)?;
        }
        let shown = name.parse().map(|name: Reference| name.familiar());
        findings.push(Finding {
            severity: Severity::Error,
            subject: format!("image {}", shown.unwrap_or(name)),
            problem: "some of its files are gone".to_owned(),
            remedy: "remove the name; build, pull or load the image again".to_owned(),
            is_repaired: repair,
        });
    }
    Ok(findings)
}

impl From<CommandError> for Trouble {
    fn from(error: CommandError) -> Self {
        Self {
            problem: error.messages.join(": "),
            hints: error.hints,
        }
    }
}

/// The nearest directory that is there: a store that was never used is not made by looking.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or_else(|| Path::new("/"))
}

impl Report {
    fn needs_attention(&self) -> bool {
        self.host
            .iter()
            .any(|ability| ability.verdict == Verdict::Missing)
            || self.store.trouble.is_some()
            || self
                .store
                .findings
                .iter()
                .any(|finding| finding.severity != Severity::Note && !finding.is_repaired)
    }
}

fn lines(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    if !report.host.is_empty() {
        lines.extend(host_lines(report));
        lines.push(Line::default());
    }
    let home = report.store.home.display();
    lines.push(Line::new(Tone::Strong, "Store").with(Tone::Plain, format!(" {home}")));
    lines.extend(store_lines(&report.store));
    lines
}

fn host_lines(report: &Report) -> Vec<Line> {
    let mut lines = vec![Line::new(Tone::Strong, "Host")];
    let mut table = Table::new(&[("", Align::Left); 3]);
    for ability in &report.host {
        let (word, tone) = match ability.verdict {
            Verdict::Works => ("works", Tone::Good),
            Verdict::Degraded => ("limited", Tone::Warn),
            Verdict::Missing => ("missing", Tone::Bad),
        };
        let word = Cell::new(tone, word);
        table.row([
            word,
            ability.name.as_str().into(),
            ability.detail.as_str().into(),
        ]);
        if let Some(remedy) = &ability.remedy {
            table.row([
                "".into(),
                "".into(),
                Cell::new(Tone::Busy, format!("hint: {remedy}")),
            ]);
        }
    }
    // The headings are empty: the rows speak for themselves.
    lines.extend(table.lines().into_iter().skip(1));
    lines.push(Line::default());
    lines.push(Line::new(Tone::Strong, "Certificates"));
    lines.push(Line::new(Tone::Plain, certificates(&report.certificates)));
    lines.push(Line::default());
    lines.push(Line::new(Tone::Strong, "Other CPUs"));
    let others = other_cpus(&report.foreign).into_iter();
    lines.extend(others.map(|text| Line::new(Tone::Plain, text)));
    lines
}

fn other_cpus(foreign: &[Foreign]) -> Vec<String> {
    if foreign.is_empty() {
        return vec![format!("none: {}", Emulator::how_to_get_one())];
    }
    let is_ours = |it: &&Foreign| it.emulator.is_some();
    let (ours, registered): (Vec<_>, Vec<_>) = foreign.iter().partition(is_ours);
    let mut lines = Vec::new();
    if !registered.is_empty() {
        let names: Vec<&str> = registered.iter().map(|it| it.architecture).collect();
        lines.push(format!(
            "{}, which the kernel has handlers for",
            names.join(", ")
        ));
    }
    for it in ours {
        let program = it.emulator.as_ref().map(|path| path.display().to_string());
        lines.push(format!(
            "{}, by {}",
            it.architecture,
            program.unwrap_or_default()
        ));
    }
    lines
}

fn certificates(certificates: &Certificates) -> String {
    match (&certificates.bundle, certificates.local) {
        (None, _) => "this host has no certificate bundle".to_owned(),
        (Some(bundle), 0) => format!("only public ones, in {}", bundle.display()),
        (Some(bundle), local) => {
            let bundle = bundle.display();
            format!("{local} of this host's own, trusted in steps and tests ({bundle})")
        }
    }
}

fn store_lines(store: &StoreReport) -> Vec<Line> {
    if !store.exists {
        return vec![Line::new(
            Tone::Plain,
            "not there yet; the first build makes it",
        )];
    }
    let mut lines = Vec::new();
    if let Some(free) = store.free_bytes {
        lines.push(Line::new(
            Tone::Plain,
            format!("{} free on its disk", bytes(free)),
        ));
    }
    if let Some(trouble) = &store.trouble {
        let problem = crate::sanitize::name(&trouble.problem);
        lines.push(Line::new(Tone::Bad, "error").with(Tone::Plain, format!(": {problem}")));
        let hints = trouble.hints.iter();
        lines.extend(hints.map(|hint| Line::new(Tone::Busy, format!("hint: {hint}"))));
    } else if store.findings.is_empty() {
        lines.push(Line::new(Tone::Good, "sound"));
    }
    for finding in &store.findings {
        let (word, tone) = match finding.severity {
            Severity::Note => ("note", Tone::Plain),
            Severity::Warning => ("warning", Tone::Warn),
            Severity::Error => ("error", Tone::Bad),
        };
        let clean = crate::sanitize::name;
        let line = Line::new(tone, word).with(
            Tone::Plain,
            format!(": {}: {}", clean(&finding.subject), clean(&finding.problem)),
        );
        let remedy = match finding.is_repaired {
            true => format!(" (repaired: {})", finding.remedy),
            false => format!(" (`cairn doctor --repair` would {})", finding.remedy),
        };
        lines.push(line.with(Tone::Dim, remedy));
    }
    lines
}
