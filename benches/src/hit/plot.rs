//! Hit ratio over capacity, a picture for each trace.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::HitTable;
use crate::chart::{Axis, Chart, Series};

/// This crate's cache with its default policy. Its variants belong to the tables: twenty curves
/// would tell nothing.
const OURS: &str = "Cache";
const VARIANTS: [&str; 2] = ["Cache ", "unsync"];

/// The chart of a trace; none, if it was replayed at one capacity only.
pub(crate) fn chart(table: &HitTable) -> Option<Chart> {
    if table.rows.len() < 2 {
        return None;
    }
    let mut series: Vec<Series> = Vec::new();
    for row in &table.rows {
        for (name, ratio) in &row.ratios {
            if VARIANTS.iter().any(|variant| name.starts_with(variant)) {
                continue;
            }
            let name = if name == OURS { "punctual" } else { name };
            let point = (row.capacity as f64, 100.0 * ratio);
            match series.iter_mut().find(|series| series.name == name) {
                Some(series) => series.points.push(point),
                None => series.push(Series { name: name.to_owned(), points: vec![point] }),
            }
        }
    }
    Some(Chart {
        title: format!("Hit ratio: {}", table.trace),
        x: Axis::logarithmic("capacity (entries)"),
        y: Axis::linear("hit ratio (%)"),
        series,
    })
}

/// Draws every trace that was replayed at more than one capacity.
pub(super) fn draw_all(tables: &[HitTable], folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for table in tables {
        if let Some(chart) = chart(table) {
            let path = folder.join(format!("{}.svg", table.trace.replace('/', "-")));
            fs::write(path, chart.svg()?)?;
        }
    }
    println!("\nPlots of hit ratio over capacity: {}", folder.display());
    Ok(())
}
