//! Samples to rows, rows to a table or JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::engines::CAIRN;
use super::meter::Cost;

/// Every turn's cost, by row and engine.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(&'static str, String), Vec<Cost>>);

impl Samples {
    /// Adds what one turn of an engine measured.
    pub(super) fn add(&mut self, engine: &str, measured: Vec<(&'static str, Cost)>) {
        for (row, cost) in measured {
            let key = (row, engine.to_owned());
            self.0.entry(key).or_default().push(cost);
        }
    }

    fn median(&self, row: &str, engine: &str) -> Option<Cost> {
        let mut found = self.0.iter();
        let (_, costs) = found.find(|((name, of), _)| *name == row && of == engine)?;
        Some(Cost {
            wall_s: median(costs.iter().map(|cost| cost.wall_s))?,
            cpu_s: median(costs.iter().map(|cost| cost.cpu_s))?,
            rss_mib: costs.iter().map(|cost| cost.rss_mib).fold(0.0, f64::max),
        })
    }

    fn peers(&self, row: &str) -> Vec<&str> {
        self.0
            .keys()
            .filter(|(name, engine)| *name == row && engine != CAIRN)
            .map(|(_, engine)| engine.as_str())
            .collect()
    }
}

/// Cairn beside one peer in one row; `cpu_s` and `rss_mib` are Cairn's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    name: String,
    cairn_s: f64,
    peer: Option<String>,
    peer_s: Option<f64>,
    /// `cairn_s / peer_s`.
    ratio: Option<f64>,
    cpu_s: f64,
    rss_mib: f64,
    peer_cpu_s: Option<f64>,
    peer_rss_mib: Option<f64>,
}

/// The wanted rows, each peer in a line of its own, the fastest first.
pub(super) fn rows(samples: &Samples, wanted: &[String]) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in wanted {
        let Some(cairn) = samples.median(name, CAIRN) else {
            continue;
        };
        let peers = samples.peers(name);
        let mut beside: Vec<(&str, Cost)> = peers
            .into_iter()
            .filter_map(|peer| Some((peer, samples.median(name, peer)?)))
            .collect();
        beside.sort_by(|(_, a), (_, b)| a.wall_s.total_cmp(&b.wall_s));
        if beside.is_empty() {
            rows.push(row(name, cairn, None));
        }
        rows.extend(beside.into_iter().map(|peer| row(name, cairn, Some(peer))));
    }
    rows
}

fn row(name: &str, cairn: Cost, peer: Option<(&str, Cost)>) -> Row {
    let cost = peer.map(|(_, cost)| cost);
    Row {
        name: name.to_owned(),
        cairn_s: rounded(cairn.wall_s),
        peer: peer.map(|(name, _)| name.to_owned()),
        peer_s: cost.map(|cost| rounded(cost.wall_s)),
        ratio: cost.map(|cost| rounded(cairn.wall_s / cost.wall_s)),
        cpu_s: rounded(cairn.cpu_s),
        rss_mib: rounded(cairn.rss_mib),
        peer_cpu_s: cost.map(|cost| rounded(cost.cpu_s)),
        peer_rss_mib: cost.map(|cost| rounded(cost.rss_mib)),
    }
}

/// `{"rows": [...]}`.
pub(super) fn json(rows: &[Row]) -> String {
    serde_json::json!({ "rows": rows }).to_string()
}

/// The rows for people.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<16} {:>9} {:>8} {:>9}   {:<10} {:>9} {:>8} {:>9} {:>8}\n",
        "row", "cairn s", "cpu s", "rss MiB", "peer", "peer s", "cpu s", "rss MiB", "ratio"
    );
    for row in rows {
        let _ = write!(
            text,
            "{:<16} {:>9.3} {:>8.2} {:>9.1}",
            row.name, row.cairn_s, row.cpu_s, row.rss_mib
        );
        if let Some(peer) = &row.peer {
            let number = |value: Option<f64>| value.unwrap_or_default();
            let _ = write!(
                text,
                "   {peer:<10} {:>9.3} {:>8.2} {:>9.1} {:>8.3}",
                number(row.peer_s),
                number(row.peer_cpu_s),
                number(row.peer_rss_mib),
                number(row.ratio)
            );
        }
        text.push('\n');
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Four digits behind the point: a tenth of a millisecond.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(wall_s: f64) -> Cost {
        Cost {
            wall_s,
            cpu_s: 1.0,
            rss_mib: wall_s,
        }
    }

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for wall in [3.0, 1.0, 2.0] {
            samples.add(CAIRN, vec![("start", cost(wall))]);
        }
        samples.add("docker", vec![("start", cost(8.0))]);
        samples.add("podman", vec![("start", cost(4.0))]);
        samples
    }

    #[test]
    fn rows_hold_medians_and_ratios_the_best_peer_first() {
        let rows = rows(&samples(), &["start".to_owned(), "stack-cold".to_owned()]);
        let brief: Vec<_> = rows
            .iter()
            .map(|row| (row.peer.as_deref(), row.cairn_s, row.ratio))
            .collect();
        assert_eq!(
            brief,
            [
                (Some("podman"), 2.0, Some(0.5)),
                (Some("docker"), 2.0, Some(0.25))
            ]
        );
        // Memory is the highest seen, not the median.
        assert_eq!(rows[0].rss_mib, 3.0);
    }

    #[test]
    fn json_has_the_promised_keys() {
        let rows = rows(&samples(), &["start".to_owned()]);
        let value: serde_json::Value = serde_json::from_str(&json(&rows)).expect("JSON");
        for key in [
            "name", "cairn_s", "peer", "peer_s", "ratio", "cpu_s", "rss_mib",
        ] {
            assert!(!value["rows"][0][key].is_null(), "{key}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
    }
}
