//! The bars that the default policy has to clear, in percentage points.

use punctual_figures::record::{HitRow, HitTable, Target};
use punctual_figures::subject::Subjects;

use crate::targets::limits::Limits;

/// Hit ratios in percent that the DNS trace must reach, by capacity.
const DNS_MUST: [(usize, f64); 4] = [(14, 70.5), (71, 76.5), (143, 78.9), (287, 80.5)];
/// Generated traces on which the better of LRU and S3-FIFO is the measure.
const PATHOLOGIES: [&str; 7] = [
    "generated/one-time-keys",
    "generated/hot-set-shift",
    "generated/keys-seen-twice",
    "generated/pure-recency",
    "generated/loop-1-percent-larger",
    "generated/loop-10-percent-larger",
    "generated/loop-50-percent-larger",
];
const MEAN: Limits = Limits::at_least(Some(48.8), Some(50.0));
const REGRET: Limits = Limits::at_most(6.0, 2.0);
const PATHOLOGY: Limits = Limits::at_most(3.0, 0.0);

/// Rows of the table of the traces' README: seven traces at three capacities.
const ROWS: usize = 21;

pub(super) fn lines(tables: &[HitTable], subjects: &Subjects) -> Vec<Target> {
    let rows = |group: &str| -> Vec<(&str, &HitRow)> {
        let tables = tables.iter().filter(|table| table.trace.starts_with(group));
        tables.flat_map(|table| table.rows.iter().map(|row| (&*table.trace, row))).collect()
    };
    let ratio =
        |row: &HitRow, name: &str| 100.0 * row.ratio(name).expect("every shown one is replayed");
    let mut lines = Vec::new();
    let real = rows("real/");
    let names = real.first().map_or(&[][..], |(_, row)| &row.ratios).iter().map(|it| &*it.subject);
    for own in names.filter(|name| real.len() == ROWS && subjects.is_ours(name)) {
        let mean = real.iter().map(|(_, row)| ratio(row, own)).sum::<f64>() / ROWS as f64;
        lines.push(MEAN.target(format!("{own}: mean of the {ROWS} rows"), "", mean, String::new()));
        let regrets = real.iter().filter_map(|(trace, row)| {
            let best = 100.0 * row.best_other(subjects)?.ratio;
            Some((best - ratio(row, own), format!("{trace} at {}", row.capacity)))
        });
        if let Some((regret, details)) = regrets.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let bar = format!("{own}: furthest behind the best of a row");
            lines.push(REGRET.target(bar, "", regret, details));
        }
    }
    for (_, row) in rows("ttl/dns") {
        if let Some((capacity, must)) = DNS_MUST.iter().find(|(bar, _)| *bar == row.capacity) {
            let (bar, measured) = (format!("dns at {capacity}"), ratio(row, "punctual"));
            let limits = Limits::at_least(Some(*must), None);
            lines.push(limits.target(bar, "", measured, String::new()));
        }
    }
    for (pathology, row) in PATHOLOGIES.into_iter().flat_map(rows) {
        let mark = ratio(row, "LRU").max(ratio(row, "S3-FIFO"));
        let own = ratio(row, "punctual");
        let bar = format!("{pathology} at {}, behind", row.capacity);
        let details = format!("{own:.2} : {mark:.2}");
        lines.push(PATHOLOGY.target(bar, "the better of LRU and S3-FIFO", mark - own, details));
    }
    lines
}
