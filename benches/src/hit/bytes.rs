//! The hit ratio at the same number of bytes: each peer gets the capacity that fits the bytes
//! punctual takes.

use std::error::Error;

use super::columns::{Column, Kind};
use super::{Cell, Study, percent};
use crate::allocator::Counting;
use crate::subjects::punctual_cache::PunctualCache;
use crate::table::Table;

/// From this many entries up, the bar asks for the lead on every row.
const LARGE_ENTRIES: usize = 1_000;

/// Bytes that a full cache of a capacity has requested and not given back.
fn bytes_of(filled: fn(usize) -> Box<dyn std::any::Any>, capacity: usize) -> usize {
    let counting = Counting::start();
    let before = counting.bytes_held();
    let cache = filled(capacity);
    let bytes = counting.bytes_held() - before;
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

/// Prints the table and the bars.
pub(super) fn run(study: &mut Study) -> Result<(), Box<dyn Error>> {
    let rows: Vec<(usize, usize)> =
        study.rows("real/").filter(|&(trace, _)| study.traces[trace].times.is_none()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let shown: Vec<usize> = (0..study.columns.len())
        .filter(|&number| matches!(study.columns[number].kind, Kind::Punctual | Kind::Peer))
        .collect();
    // Capacities first: counting bytes and replaying must not happen at the same time.
    let mut capacities = Vec::new();
    for &(trace, capacity) in &rows {
        let bytes = PunctualCache::<u64, u64>::footprint_bytes(capacity);
        for &column in &shown {
            let fits = if study.columns[column].kind == Kind::Punctual {
                capacity
            } else {
                study.capacity_that_fits(column, bytes).unwrap_or(0)
            };
            capacities.push((Cell { trace, capacity, column }, fits));
        }
    }
    study.store.save()?;
    let cells = capacities.iter().filter(|(_, fits)| *fits > 0);
    study.replay(cells.map(|&(cell, fits)| Cell { capacity: fits, ..cell }).collect())?;

    let ratio = |row: (usize, usize), column: usize| {
        let cell = Cell { trace: row.0, capacity: row.1, column };
        let (_, fits) = capacities.iter().find(|(of, _)| *of == cell).expect("it was looked for");
        (*fits, study.ratio(row.0, *fits, column).unwrap_or(0.0))
    };
    println!(
        "\nHit ratio in percent (and capacity), same number of bytes as punctual takes: real/\n"
    );
    let names = shown.iter().map(|&column| study.columns[column].name.as_str());
    let mut table =
        Table::new(["trace", "bytes"].into_iter().chain(names).chain(["ahead of the best"]));
    let mut behind = Vec::new();
    for &row in &rows {
        let name = study.traces[row.0].name.trim_start_matches("real/");
        let bytes = PunctualCache::<u64, u64>::footprint_bytes(row.1);
        let mut cells = vec![name.to_owned(), bytes.to_string()];
        for &column in &shown {
            let (fits, share) = ratio(row, column);
            cells.push(format!("{} ({fits})", percent(Some(share))));
        }
        let own = ratio(row, shown[0]).1;
        let best = shown[1..].iter().map(|&column| ratio(row, column).1).fold(0.0, f64::max);
        cells.push(format!("{:+.2}", 100.0 * (own - best)));
        if own <= best {
            behind.push((row.1, format!("{name} {}", row.1)));
        }
        table.row(cells);
    }
    let means: Vec<f64> = shown
        .iter()
        .map(|&column| {
            rows.iter().map(|&row| ratio(row, column).1).sum::<f64>() / rows.len() as f64
        })
        .collect();
    let mut cells = vec!["mean".to_owned(), String::new()];
    cells.extend(means.iter().map(|mean| percent(Some(*mean))));
    let best_mean = means[1..].iter().copied().fold(0.0, f64::max);
    cells.push(format!("{:+.2}", 100.0 * (means[0] - best_mean)));
    table.row(cells);
    print!("{table}");

    let large = behind.iter().filter(|(entries, _)| *entries >= LARGE_ENTRIES).count();
    let verdict = match (means[0] > best_mean && large == 0, behind.is_empty()) {
        (true, true) => "aim",
        (true, false) => "must",
        (false, _) => "MISSED",
    };
    let behind: Vec<&str> = behind.iter().map(|(_, name)| name.as_str()).collect();
    println!(
        "\nBar: above every peer in the mean and on every row of {LARGE_ENTRIES} entries or more: \
         {verdict}. Not above on: {}.",
        if behind.is_empty() { "no row".to_owned() } else { behind.join(", ") },
    );
    Ok(())
}
