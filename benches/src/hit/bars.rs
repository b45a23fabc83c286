//! The bars that the default policy has to clear: issue 4.

use super::columns::Kind;
use super::{Study, percent};
use crate::table::Table;

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
const MEAN_MUST: f64 = 48.8;
const MEAN_AIM: f64 = 50.0;
const REGRET_MUST: f64 = 6.0;
const REGRET_AIM: f64 = 2.0;
const PATHOLOGY_MUST: f64 = -3.0;
const PATHOLOGY_AIM: f64 = 0.0;

/// Rows of the table of the traces' README: seven traces at three capacities.
const ROWS: usize = 21;

pub(super) fn print(study: &Study) {
    let mut table = Table::new(["bar", "must", "aim", "measured", ""]);
    let verdict = |measured: f64, must: f64, aim: f64| {
        if measured >= aim {
            "aim"
        } else if measured >= must {
            "must"
        } else {
            "MISSED"
        }
    };
    let rows: Vec<(usize, usize)> = study.rows("real/").collect();
    for (number, column) in study.columns.iter().enumerate() {
        if rows.len() != ROWS || !matches!(column.kind, Kind::Punctual | Kind::Variant) {
            continue;
        }
        let ratios = rows.iter().map(|&(trace, capacity)| study.ratios_at(trace, capacity, number));
        let mean = 100.0 * ratios.sum::<f64>() / ROWS as f64;
        table.row([
            format!("{}: mean of the {ROWS} rows", column.name),
            format!("{MEAN_MUST:.1}"),
            format!("{MEAN_AIM:.1}"),
            format!("{mean:.2}"),
            verdict(mean, MEAN_MUST, MEAN_AIM).to_owned(),
        ]);
        let regrets = rows.iter().filter_map(|&(trace, capacity)| {
            let (_, best) = study.best_other(trace, capacity)?;
            Some((100.0 * (best - study.ratios_at(trace, capacity, number)), trace, capacity))
        });
        if let Some((regret, trace, capacity)) = regrets.max_by(|a, b| a.0.total_cmp(&b.0)) {
            table.row([
                format!("{}: worst regret ({} {capacity})", column.name, study.traces[trace].name),
                format!("{REGRET_MUST:.1}"),
                format!("{REGRET_AIM:.1}"),
                format!("{regret:.2}"),
                verdict(-regret, -REGRET_MUST, -REGRET_AIM).to_owned(),
            ]);
        }
    }
    for (trace, capacity) in study.rows("ttl/dns") {
        if let Some((_, must)) = DNS_MUST.iter().find(|(bar, _)| *bar == capacity) {
            let measured = 100.0 * study.ratios_at(trace, capacity, 0);
            table.row([
                format!("dns at {capacity}"),
                format!("{must:.1}"),
                String::new(),
                format!("{measured:.2}"),
                verdict(measured, *must, f64::MAX).to_owned(),
            ]);
        }
    }
    let column_named = |name: &str| study.columns.iter().position(|column| column.name == name);
    let (Some(lru), Some(s3_fifo)) = (column_named("LRU"), column_named("S3-FIFO")) else {
        return;
    };
    for pathology in PATHOLOGIES {
        for (trace, capacity) in study.rows(pathology) {
            let mark = study
                .ratios_at(trace, capacity, lru)
                .max(study.ratios_at(trace, capacity, s3_fifo));
            let ahead = 100.0 * (study.ratios_at(trace, capacity, 0) - mark);
            table.row([
                format!("{pathology} at {capacity}, ahead of LRU and S3-FIFO"),
                format!("{PATHOLOGY_MUST:+.0}"),
                format!("{PATHOLOGY_AIM:+.0}"),
                format!(
                    "{ahead:+.2} ({} / {})",
                    percent(Some(mark + ahead / 100.0)),
                    percent(Some(mark))
                ),
                verdict(ahead, PATHOLOGY_MUST, PATHOLOGY_AIM).to_owned(),
            ]);
        }
    }
    if !table.is_empty() {
        println!("\nBars of the hit ratio, in percentage points\n\n{table}");
    }
}
