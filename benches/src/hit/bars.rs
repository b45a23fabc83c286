//! The bars that the default policy has to clear, in percentage points.

use punctual_figures::record::{BarLine, Kind};

use super::Study;

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
const PATHOLOGY_MUST: f64 = 3.0;
const PATHOLOGY_AIM: f64 = 0.0;

/// Rows of the table of the traces' README: seven traces at three capacities.
const ROWS: usize = 21;

/// A figure of which more is better, or with a minus sign less.
fn line(bar: String, must: f64, aim: Option<f64>, measured: f64, details: String) -> BarLine {
    let verdict = if measured < must {
        "missed"
    } else if aim.is_some_and(|aim| measured >= aim) {
        "aim met"
    } else {
        "must met"
    };
    let sign = if must.is_sign_negative() { "≤" } else { "≥" };
    let shown = |value: f64| format!("{sign} {:.1}", value.abs());
    BarLine {
        bar,
        against: String::new(),
        must: shown(must),
        aim: aim.map_or_else(String::new, shown),
        measured: format!("{:.2}", measured.abs()),
        verdict: verdict.to_owned(),
        details,
    }
}

pub(super) fn lines(study: &Study) -> Vec<BarLine> {
    let mut lines = Vec::new();
    let rows: Vec<(usize, usize)> = study.rows("real/").collect();
    for (number, column) in study.columns.iter().enumerate() {
        if rows.len() != ROWS || !matches!(column.kind, Kind::Punctual | Kind::Variant) {
            continue;
        }
        let ratios = rows.iter().map(|&(trace, capacity)| study.ratios_at(trace, capacity, number));
        let mean = 100.0 * ratios.sum::<f64>() / ROWS as f64;
        let bar = format!("{}: mean of the {ROWS} rows", column.name);
        lines.push(line(bar, MEAN_MUST, Some(MEAN_AIM), mean, String::new()));
        let regrets = rows.iter().filter_map(|&(trace, capacity)| {
            let best = study.best_other(trace, capacity)?;
            Some((100.0 * (best - study.ratios_at(trace, capacity, number)), trace, capacity))
        });
        if let Some((regret, trace, capacity)) = regrets.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let bar = format!("{}: furthest behind the best of a row", column.name);
            let details = format!("{} at {capacity}", study.traces[trace].name);
            lines.push(line(bar, -REGRET_MUST, Some(-REGRET_AIM), -regret, details));
        }
    }
    for (trace, capacity) in study.rows("ttl/dns") {
        if let Some((_, must)) = DNS_MUST.iter().find(|(bar, _)| *bar == capacity) {
            let measured = 100.0 * study.ratios_at(trace, capacity, 0);
            lines.push(line(format!("dns at {capacity}"), *must, None, measured, String::new()));
        }
    }
    let column_named = |name: &str| study.columns.iter().position(|column| column.name == name);
    let (Some(lru), Some(s3_fifo)) = (column_named("LRU"), column_named("S3-FIFO")) else {
        return lines;
    };
    for pathology in PATHOLOGIES {
        for (trace, capacity) in study.rows(pathology) {
            let mark = study
                .ratios_at(trace, capacity, lru)
                .max(study.ratios_at(trace, capacity, s3_fifo));
            let own = study.ratios_at(trace, capacity, 0);
            let behind = 100.0 * (mark - own);
            let verdict = if behind <= PATHOLOGY_AIM {
                "aim met"
            } else if behind <= PATHOLOGY_MUST {
                "must met"
            } else {
                "missed"
            };
            lines.push(BarLine {
                bar: format!("{pathology} at {capacity}, behind"),
                against: "the better of LRU and S3-FIFO".to_owned(),
                must: format!("≤ {PATHOLOGY_MUST:.1}"),
                aim: format!("≤ {PATHOLOGY_AIM:.1}"),
                measured: format!("{behind:.2}"),
                verdict: verdict.to_owned(),
                details: format!("{:.2} : {:.2}", 100.0 * own, 100.0 * mark),
            });
        }
    }
    lines
}
