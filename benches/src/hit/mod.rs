//! The hit ratio: who keeps what will be asked for again.
//!
//! Traces are replayed in simulated time, each request a lookup and, on a miss, an insert. What
//! punctual does is always replayed; peers and textbook policies do not change, so their figures
//! are kept in a file and replayed only once.

mod bytes;
mod columns;
mod generated;
mod optimum;
mod targets;
mod trace;

use std::collections::BTreeMap;
use std::error::Error;

use punctual_figures::paths;
use punctual_figures::record::{Hit, HitRatio, HitRow, HitTable};
use punctual_figures::subject::Subjects;
use rayon::prelude::*;

use crate::baseline::Baseline;
use crate::progress;
pub(crate) use columns::optimum;

use columns::Column;
use trace::Trace;

/// Counts up when a replay changes its meaning, so that no old figure is taken for a new one.
const METHOD: u32 = 2;

/// The hit ratio of a column at a capacity of a trace, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    trace: usize,
    capacity: usize,
    column: Column,
}

/// All that is asked for, and the answers.
struct Study {
    traces: Vec<Trace>,
    ratios: BTreeMap<Cell, f64>,
    baseline: Baseline,
}

/// Replays the traces that the filter wants. A filter is a part of a trace's group and name, such
/// as `oltp`, `real` or `ttl/`, or `bytes`; an empty one wants everything.
pub(crate) fn run(filter: &str, subjects: &Subjects) -> Result<Hit, Box<dyn Error>> {
    let only_bytes = filter == "bytes";
    let wanted = |name: &str| only_bytes || name.contains(filter);
    let mut traces = Vec::new();
    match trace::folder() {
        Some(folder) => {
            progress::note(&format!("Real traces from {}.", folder.display()));
            traces.extend(trace::real(&folder, wanted)?);
        }
        None => {
            progress::note(
                "No real traces: set PUNCTUAL_TRACES to their folder. Generated ones only.",
            );
        }
    }
    traces.extend(generated::all(wanted));
    if traces.is_empty() {
        return Err(format!("no trace's name contains {filter:?}").into());
    }
    let baseline = Baseline::open(paths::output()?.join("hit-ratios-of-peers.json"));
    let mut study = Study { traces, ratios: BTreeMap::new(), baseline };
    let mut hit = Hit { tables: Vec::new(), bytes: Vec::new(), bars: Vec::new() };
    if !only_bytes {
        study.same_entries()?;
        hit.tables = study.tables();
        hit.bars = targets::lines(&hit.tables, subjects);
    }
    if only_bytes || filter.is_empty() {
        hit.bytes = bytes::run(&mut study)?;
    }
    progress::note(&format!(
        "Peers' and marks' figures are replayed once and kept in {}.",
        study.baseline.path().display()
    ));
    Ok(hit)
}

impl Study {
    /// Replays every trace at every capacity of its own, with every column that has something to
    /// say there.
    fn same_entries(&mut self) -> Result<(), Box<dyn Error>> {
        let mut cells = Vec::new();
        for (trace, of) in self.traces.iter().enumerate() {
            for &capacity in &of.capacities {
                let shown = columns::all().filter(|column| column.is_shown_on(of));
                cells.extend(shown.map(|column| Cell { trace, capacity, column }));
            }
        }
        self.replay(cells)
    }

    /// Replays what is not known yet, on all processors.
    fn replay(&mut self, mut cells: Vec<Cell>) -> Result<(), Box<dyn Error>> {
        cells.retain(|cell| {
            match self.kept_name(*cell).and_then(|name| self.baseline.get(&name)) {
                Some(ratio) => {
                    self.ratios.insert(*cell, ratio);
                    false
                }
                None => !self.ratios.contains_key(cell),
            }
        });
        // The longest first.
        cells.sort_by_key(|cell| std::cmp::Reverse(self.traces[cell.trace].keys.len()));
        progress::step(&format!("hit: {} replays", cells.len()));
        let ratio =
            |&cell: &Cell| (cell, cell.column.hit_ratio(&self.traces[cell.trace], cell.capacity));
        let ratios: Vec<(Cell, f64)> = cells.par_iter().with_max_len(1).map(ratio).collect();
        for (cell, ratio) in ratios {
            self.ratios.insert(cell, ratio);
            if let Some(name) = self.kept_name(cell) {
                self.baseline.set(name, ratio);
            }
        }
        self.baseline.save()?;
        Ok(())
    }

    /// Under which name a figure is kept; none for punctual's own, which change.
    fn kept_name(&self, cell: Cell) -> Option<String> {
        let Cell { trace, capacity, column } = cell;
        let trace = &self.traces[trace];
        (!column.kind().is_ours()).then(|| {
            format!("{METHOD}: {} in {} of {}", column.name(), trace.name, trace.keys.len())
                + &format!(" at {capacity}")
        })
    }

    fn ratio(&self, trace: usize, capacity: usize, column: Column) -> Option<f64> {
        self.ratios.get(&Cell { trace, capacity, column }).copied()
    }

    /// Traces of a group, by number, and their capacities.
    fn rows(&self, group: &str) -> impl Iterator<Item = (usize, usize)> {
        let traces =
            self.traces.iter().enumerate().filter(move |(_, of)| of.name.starts_with(group));
        traces.flat_map(|(trace, of)| of.capacities.iter().map(move |&capacity| (trace, capacity)))
    }

    /// At the same number of entries, of each trace.
    fn tables(&self) -> Vec<HitTable> {
        let row = |trace: usize, capacity: usize| {
            let ratios = columns::all().filter_map(|column| {
                let ratio = self.ratio(trace, capacity, column)?;
                Some(HitRatio { subject: column.name().to_owned(), ratio })
            });
            HitRow { capacity, ratios: ratios.collect() }
        };
        let traces = self.traces.iter().enumerate();
        traces
            .map(|(number, trace)| HitTable {
                trace: trace.name.clone(),
                rows: trace.capacities.iter().map(|&capacity| row(number, capacity)).collect(),
            })
            .collect()
    }
}
