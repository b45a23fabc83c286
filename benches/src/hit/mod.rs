//! The hit ratio: who keeps what will be asked for again.
//!
//! Traces are replayed in simulated time, each request a lookup and, on a miss, an insert. What
//! punctual does is always replayed; peers and textbook policies do not change, so their figures
//! are kept in a file and replayed only once.

mod bars;
mod bytes;
mod columns;
mod generated;
mod list;
mod optimum;
mod policies;
mod trace;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use punctual_figures::places;
use punctual_figures::record::{Hit, HitRatio, HitRow, HitTable, Kind};

use crate::store::Store;
use columns::Column;
use trace::Trace;

/// Counts up when a replay changes its meaning, so that no old figure is taken for a new one.
const METHOD: u32 = 2;

/// The hit ratio of a column, by its number, at a capacity of a trace, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    trace: usize,
    capacity: usize,
    column: usize,
}

/// All that is asked for, and the answers.
struct Study {
    columns: Vec<Column>,
    traces: Vec<Trace>,
    ratios: BTreeMap<Cell, f64>,
    store: Store,
}

/// Replays the traces that the filter wants. A filter is a part of a trace's group and name, such
/// as `oltp`, `real` or `ttl/`, or `bytes`; an empty one wants everything.
pub(crate) fn run(filter: &str) -> Result<Hit, Box<dyn Error>> {
    let only_bytes = filter == "bytes";
    let wanted = |name: &str| only_bytes || name.contains(filter);
    let mut traces = Vec::new();
    match trace::folder() {
        Some(folder) => {
            println!("Real traces from {}.", folder.display());
            traces.extend(trace::real(&folder, wanted)?);
        }
        None => {
            println!("No real traces: set PUNCTUAL_TRACES to their folder. Generated ones only.");
        }
    }
    traces.extend(generated::all(wanted));
    if traces.is_empty() {
        return Err(format!("no trace's name contains {filter:?}").into());
    }
    let store = Store::open(places::output()?.join("hit-ratios-of-peers.json"));
    let mut study = Study { columns: columns::all(), traces, ratios: BTreeMap::new(), store };
    let mut hit = Hit { tables: Vec::new(), bytes: Vec::new(), bars: Vec::new() };
    if !only_bytes {
        study.same_entries()?;
        hit.tables = study.tables();
        hit.bars = bars::lines(&study);
    }
    if only_bytes || filter.is_empty() {
        hit.bytes = bytes::run(&mut study)?;
    }
    println!(
        "Peers' and marks' figures are replayed once and kept in {}.",
        study.store.path().display()
    );
    Ok(hit)
}

impl Study {
    /// Replays every trace at every capacity of its own, with every column that has something to
    /// say there.
    fn same_entries(&mut self) -> Result<(), Box<dyn Error>> {
        let mut cells = Vec::new();
        for (trace, of) in self.traces.iter().enumerate() {
            for &capacity in &of.capacities {
                for (column, by) in self.columns.iter().enumerate() {
                    if by.shown.on(of) {
                        cells.push(Cell { trace, capacity, column });
                    }
                }
            }
        }
        self.replay(cells)
    }

    /// Replays what is not known yet, on all processors.
    fn replay(&mut self, mut cells: Vec<Cell>) -> Result<(), Box<dyn Error>> {
        cells.retain(|cell| match self.kept_name(*cell).and_then(|name| self.store.get(&name)) {
            Some(ratio) => {
                self.ratios.insert(*cell, ratio);
                false
            }
            None => !self.ratios.contains_key(cell),
        });
        // One job for each seed, the longest first.
        let mut jobs: Vec<(Cell, u64)> = Vec::new();
        for &cell in &cells {
            jobs.extend((0..self.columns[cell.column].seeds).map(|seed| (cell, seed)));
        }
        jobs.sort_by_key(|(cell, _)| std::cmp::Reverse(self.traces[cell.trace].keys.len()));
        let next_job = AtomicUsize::new(0);
        let sums: Mutex<BTreeMap<Cell, f64>> = Mutex::default();
        std::thread::scope(|scope| {
            eprintln!("hit: {} replays ...", jobs.len());
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(&(cell, seed)) =
                        jobs.get(next_job.fetch_add(1, Ordering::Relaxed))
                    {
                        let column = &self.columns[cell.column];
                        let ratio =
                            (column.hit_ratio)(&self.traces[cell.trace], cell.capacity, seed);
                        let mut sums = sums.lock().expect("no replay panics");
                        *sums.entry(cell).or_default() += ratio / column.seeds as f64;
                    }
                });
            }
        });
        for (cell, ratio) in sums.into_inner()? {
            self.ratios.insert(cell, ratio);
            if let Some(name) = self.kept_name(cell) {
                self.store.set(name, ratio);
            }
        }
        self.store.save()?;
        Ok(())
    }

    /// Under which name a figure is kept; none for punctual's own, which change.
    fn kept_name(&self, cell: Cell) -> Option<String> {
        let Cell { trace, capacity, column } = cell;
        let (trace, column) = (&self.traces[trace], &self.columns[column]);
        (!matches!(column.kind, Kind::Punctual | Kind::Variant)).then(|| {
            format!("{METHOD}: {} in {} of {}", column.name, trace.name, trace.keys.len())
                + &format!(" at {capacity}")
        })
    }

    fn ratio(&self, trace: usize, capacity: usize, column: usize) -> Option<f64> {
        self.ratios.get(&Cell { trace, capacity, column }).copied()
    }

    /// Traces of a group, by number, and their capacities.
    fn rows(&self, group: &str) -> impl Iterator<Item = (usize, usize)> {
        let traces =
            self.traces.iter().enumerate().filter(move |(_, of)| of.name.starts_with(group));
        traces.flat_map(|(trace, of)| of.capacities.iter().map(move |&capacity| (trace, capacity)))
    }

    /// The best of the columns that one could have instead: peers and textbook policies.
    fn best_other(&self, trace: usize, capacity: usize) -> Option<f64> {
        let others = self.columns.iter().enumerate();
        let others = others.filter(|(_, column)| matches!(column.kind, Kind::Peer | Kind::Mark));
        let ratios = others.filter_map(|(number, _)| self.ratio(trace, capacity, number));
        ratios.max_by(f64::total_cmp)
    }

    /// At the same number of entries, of each trace.
    fn tables(&self) -> Vec<HitTable> {
        let row = |trace: usize, capacity: usize| {
            let ratios = self.columns.iter().enumerate().filter_map(|(number, column)| {
                let ratio = self.ratio(trace, capacity, number)?;
                Some(HitRatio { subject: column.name.clone(), kind: column.kind, ratio })
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

    /// As [`ratio`](Self::ratio), where it has been replayed for certain.
    fn ratios_at(&self, trace: usize, capacity: usize, column: usize) -> f64 {
        self.ratio(trace, capacity, column).expect("every shown column was replayed")
    }
}
