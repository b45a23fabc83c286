//! The hit ratio at the same number of bytes: each peer gets the capacity that fits the bytes
//! punctual takes.

use std::error::Error;

use punctual_figures::record::{BytesRatio, BytesRow, Kind};
use punctual_testing::alloc::Count;

use super::columns::Column;
use super::{Cell, Study};
use crate::memory::footprint_bytes;

/// Bytes that a full cache of a capacity has requested and not given back.
fn bytes_of(filled: fn(usize) -> Box<dyn std::any::Any>, capacity: usize) -> usize {
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    let cache = filled(capacity);
    let bytes = count.traffic().bytes_kept - before;
    drop(cache);
    usize::try_from(bytes).unwrap_or(0)
}

impl Study {
    /// The largest capacity whose bytes fit; zero, if none does. Found by halving, which takes
    /// bytes to grow with the capacity, as they nearly do.
    fn capacity_that_fits(&mut self, column: usize, bytes: usize) -> Option<usize> {
        let Column { name, filled, .. } = &self.columns[column];
        let filled = (*filled)?;
        let name = format!("{}: capacity of {name} in {bytes} bytes", super::METHOD);
        if let Some(capacity) = self.store.get(&name) {
            return Some(capacity as usize);
        }
        let mut fits = 0;
        // No cache of pairs of `u64` takes less than 16 bytes an entry.
        let mut too_large = bytes / 16 + 1;
        while too_large - fits > 1 + fits / 500 {
            let middle = fits.midpoint(too_large);
            if bytes_of(filled, middle) <= bytes { fits = middle } else { too_large = middle }
        }
        self.store.set(name, fits as f64);
        Some(fits)
    }
}

/// Replays the traces whose entries do not expire, real ones and generated ones.
pub(super) fn run(study: &mut Study) -> Result<Vec<BytesRow>, Box<dyn Error>> {
    let all = study.rows("real/").chain(study.rows("generated/"));
    let rows: Vec<(usize, usize)> =
        all.filter(|&(trace, _)| study.traces[trace].times.is_none()).collect();
    let is_shown = |column: &Column| column.kind == Kind::Punctual || column.filled.is_some();
    let shown: Vec<usize> =
        (0..study.columns.len()).filter(|&number| is_shown(&study.columns[number])).collect();
    // Capacities first: counting bytes and replaying must not happen at the same time.
    let mut cells = Vec::new();
    for &(trace, capacity) in &rows {
        let bytes = footprint_bytes::<u64>(capacity);
        for &column in &shown {
            let fits = if study.columns[column].kind == Kind::Punctual {
                capacity
            } else {
                study.capacity_that_fits(column, bytes).unwrap_or(0)
            };
            cells.push(Cell { trace, capacity: fits, column });
        }
    }
    study.store.save()?;
    study.replay(cells.iter().copied().filter(|cell| cell.capacity > 0).collect())?;
    let row = |(&(trace, capacity), cells): (&(usize, usize), &[Cell])| {
        let ratios = cells.iter().map(|cell| BytesRatio {
            subject: study.columns[cell.column].name.clone(),
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
