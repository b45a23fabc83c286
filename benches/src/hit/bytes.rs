//! The hit ratio at the same number of bytes: each peer gets the capacity that fits the bytes
//! punctual takes.

use std::error::Error;

use punctual_figures::record::{BytesRatio, BytesRow};
use punctual_figures::subject::Kind;
use punctual_testing::alloc::Count;

use super::columns::{self, Column, LONG};
use super::{Cell, Study};
use crate::memory::footprint_bytes;
use crate::subjects::boxed::Boxed;
use crate::subjects::registry::Who;
use crate::subjects::time::SimulatedTime;

/// A full cache.
fn filled(who: Who, capacity: usize) -> Boxed<u64, u64> {
    let mut subject = who.boxed(capacity, LONG, &SimulatedTime::default());
    // Over the brim, so that all has grown that grows.
    let more = if who.facts().evicts_slowly { 0 } else { capacity / 2 + 64 };
    for key in 0..(capacity + more) as u64 {
        // Spread, so that no structure is flattered by an order.
        let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if subject.get(&key).is_none() {
            subject.insert(key, key, LONG);
        }
        if key % 64 == 0 {
            subject.settle();
        }
    }
    for _ in 0..4 {
        subject.settle();
    }
    subject
}

/// Bytes that a full cache of a capacity has requested and not given back.
fn bytes_of(who: Who, capacity: usize) -> usize {
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    let cache = filled(who, capacity);
    let bytes = count.traffic().bytes_kept - before;
    drop(cache);
    usize::try_from(bytes).unwrap_or(0)
}

impl Study {
    /// The largest capacity whose bytes fit; zero, if none does. Found by halving, which takes
    /// bytes to grow with the capacity, as they nearly do.
    fn capacity_that_fits(&mut self, who: Who, bytes: usize) -> usize {
        let name = who.name();
        let name = format!("{}: capacity of {name} in {bytes} bytes", super::METHOD);
        if let Some(capacity) = self.baseline.get(&name) {
            return capacity as usize;
        }
        let mut fits = 0;
        // No cache of pairs of `u64` takes less than 16 bytes an entry.
        let mut too_large = bytes / 16 + 1;
        while too_large - fits > 1 + fits / 500 {
            let middle = fits.midpoint(too_large);
            if bytes_of(who, middle) <= bytes { fits = middle } else { too_large = middle }
        }
        self.baseline.set(name, fits as f64);
        fits
    }
}

/// Replays the traces whose entries do not expire, real ones and generated ones.
pub(super) fn run(study: &mut Study) -> Result<Vec<BytesRow>, Box<dyn Error>> {
    let all = study.rows("real/").chain(study.rows("generated/"));
    let rows: Vec<(usize, usize)> =
        all.filter(|&(trace, _)| study.traces[trace].times.is_none()).collect();
    let is_shown = |column: Column| column.kind() == Kind::Punctual || column.same_bytes();
    let shown: Vec<Column> = columns::all().filter(|column| is_shown(*column)).collect();
    // Capacities first: counting bytes and replaying must not happen at the same time.
    let mut cells = Vec::new();
    for &(trace, capacity) in &rows {
        let bytes = footprint_bytes::<u64>(capacity);
        for &column in &shown {
            let fits = match column {
                Column::Subject(who) if !who.facts().kind.is_ours() => {
                    study.capacity_that_fits(who, bytes)
                }
                _ => capacity,
            };
            cells.push(Cell { trace, capacity: fits, column });
        }
    }
    study.baseline.save()?;
    study.replay(cells.iter().copied().filter(|cell| cell.capacity > 0).collect())?;
    let row = |(&(trace, capacity), cells): (&(usize, usize), &[Cell])| {
        let ratios = cells.iter().map(|cell| BytesRatio {
            subject: cell.column.name().to_owned(),
            capacity: cell.capacity,
            ratio: study.ratio(cell.trace, cell.capacity, cell.column).unwrap_or(0.0),
        });
        BytesRow {
            trace: study.traces[trace].name.clone(),
            capacity,
            bytes: footprint_bytes::<u64>(capacity),
            ratios: ratios.collect(),
        }
    };
    Ok(rows.iter().zip(cells.chunks(shown.len())).map(row).collect())
}
