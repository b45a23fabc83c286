//! The report: one HTML page with nothing outside it, a section for each question.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use crate::chart::{Axis, Chart, Series};
use crate::hit;
use crate::places;
use crate::record::Record;
use crate::table::escaped;
use crate::tables;

/// A question, the table that answers it, and the command that measures only this.
const SECTIONS: [(&str, &str, &str); 7] = [
    ("How much memory?", "memory", "cargo bench -- memory"),
    ("When are the dead freed?", "promptness", "cargo bench -- promptness"),
    ("How fast?", "speed", "cargo bench -- speed"),
    ("What about spikes?", "storm", "cargo bench -- storm"),
    ("What is kept when it is full?", "hit-ratio", "cargo bench -- hit"),
    ("What does it cost as it grows?", "growth", "cargo bench -- growth"),
    ("And the timing wheel alone?", "wheel", "cargo bench -- wheel"),
];

const STYLE: &str = "
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
th { vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
code { background: #f3f3f3; padding: 0 0.2em; }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } .table { overflow: visible; } table { font-size: 6pt; } th, td { padding: 0.1rem 0.2rem; } svg, tr { break-inside: avoid; } }
";

/// Writes the page and says where it is.
pub(crate) fn write(record: &Record) -> Result<PathBuf, Box<dyn Error>> {
    let path = places::output()?.join("report.html");
    fs::write(&path, page(record)?)?;
    Ok(path)
}

fn page(record: &Record) -> Result<String, Box<dyn Error>> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>punctual: benchmarks</title><style>{STYLE}</style></head>\n<body>\n\
         <h1>punctual, beside what it replaces and what one could use instead</h1>\n"
    );
    let losses = tables::losses(record);
    page += "<h2>Where it loses</h2>\n";
    if losses.is_empty() {
        page += "<p>Nowhere in this run.</p>\n";
    } else {
        page += "<ul>\n";
        for loss in losses {
            page += &format!("<li>{}</li>\n", escaped(&loss));
        }
        page += "</ul>\n";
    }
    for (question, name, command) in SECTIONS {
        let Some(table) = tables::named(record, name) else { continue };
        if table.is_empty() {
            continue;
        }
        page += &format!("<h2>{question}</h2>\n<p>Measured by <code>{command}</code>.</p>\n");
        for chart in charts(record, name) {
            page += &chart.svg()?;
        }
        page += &table.html();
    }
    page += "<h2>Where, when and of what</h2>\n";
    if let Some(table) = tables::named(record, "setting") {
        page += &table.html();
    }
    Ok(page + "</body>\n</html>\n")
}

fn charts(record: &Record, section: &str) -> Vec<Chart> {
    match section {
        "memory" => vec![memory(record)],
        "promptness" => vec![promptness(record, false), promptness(record, true)],
        "hit-ratio" => record.hit_ratios.iter().filter_map(hit::plot::chart).collect(),
        "growth" => vec![growth(record)],
        _ => Vec::new(),
    }
}

/// Adds a point to the series of a name.
fn push(series: &mut Vec<Series>, name: &str, point: (f64, f64)) {
    match series.iter_mut().find(|series| series.name == name) {
        Some(series) => series.points.push(point),
        None => series.push(Series { name: name.to_owned(), points: vec![point] }),
    }
}

fn memory(record: &Record) -> Chart {
    let mut series = Vec::new();
    for result in record.memory.iter().filter(|result| result.material == "u64") {
        let bytes = result.bytes as f64 / result.capacity as f64;
        push(&mut series, &result.subject, (result.capacity as f64, bytes));
    }
    Chart {
        title: "Memory of a full cache, u64 to u64".to_owned(),
        x: Axis::logarithmic("capacity (entries)"),
        y: Axis::linear("bytes an entry"),
        series,
    }
}

fn promptness(record: &Record, loaded: bool) -> Chart {
    let mut series = Vec::new();
    for result in record.promptness.iter().filter(|result| result.loaded == loaded) {
        for &(ms, share) in &result.held {
            push(&mut series, &result.subject, (ms as f64, 100.0 * share));
        }
    }
    let meanwhile = if loaded { "others ask for other keys" } else { "nobody touches it" };
    Chart {
        title: format!("The dead that are still in memory while {meanwhile}"),
        x: Axis::logarithmic("time since the last deadline (ms)"),
        y: Axis::linear("dead entries held (%)"),
        series,
    }
}

fn growth(record: &Record) -> Chart {
    let mut series = Vec::new();
    for outcome in &record.growth {
        for result in &outcome.results {
            push(&mut series, &result.subject, (outcome.capacity as f64, result.median()));
        }
    }
    Chart {
        title: "Cost of a hit, keys uniform".to_owned(),
        x: Axis::logarithmic("entries"),
        y: Axis::linear("time of a hit (ns)"),
        series,
    }
}
