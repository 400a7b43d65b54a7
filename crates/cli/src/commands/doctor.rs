//! `cairn doctor`: what this host can do, and whether the store is sound.

use std::path::{Path, PathBuf};

use cairn_sandbox::{Ability, Verdict, probe};
use cairn_store::{Finding, Severity};
use clap::Args;
use serde::Serialize;

use super::options::JsonOption;
use crate::error::{CommandError, Kind};
use crate::host_trust::HostTrust;
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
    findings: Vec<Finding>,
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
    let (exists, findings) = match session.store_if_there()? {
        Some(store) => (true, store.check(args.repair)?),
        None => (false, Vec::new()),
    };
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        host,
        certificates: Certificates {
            bundle: trust.bundle,
            local: trust.local,
        },
        store: StoreReport {
            home,
            exists,
            findings,
        },
    })
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
    if store.findings.is_empty() {
        return vec![Line::new(Tone::Good, "sound")];
    }
    let mut lines = Vec::new();
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
