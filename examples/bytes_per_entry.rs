//! What an entry of a `u64 → u64` cache costs, from 10,000 entries to 10 million.
//!
//! ```sh
//! cargo run --release --example bytes_per_entry
//! ```
//!
//! Everything is computed by `Builder::footprint()`; nothing is built. The bytes
//! are those of the whole cache, to the byte, divided by the entries *asked for*.

use punctual::unsync::Cache;
use punctual::{BuildError, Footprint};

/// No capacity may cost more.
pub(crate) const BYTES_MUST: f64 = 48.0;

/// No capacity should cost more.
pub(crate) const BYTES_AIM: f64 = 44.0;

/// Spread evenly in the logarithm, and between them those that a design is likely
/// to be unlucky with: where one table gets too small, or one shard too many.
pub(crate) const CAPACITIES: [usize; 25] = [
    10_000, 13_300, 13_338, 14_400, 16_667, 20_000, 24_373, 26_379, 28_673, 40_000, 50_000, 65_536,
    100_000, 114_689, 200_000, 262_144, 458_753, 500_000, 1_000_000, 1_500_000, 2_000_000,
    3_670_017, 5_000_000, 7_340_033, 10_000_000,
];

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) asked: usize,
    pub(crate) held: usize,
    pub(crate) shards: usize,
    pub(crate) footprint: Footprint,
}

impl Row {
    pub(crate) fn of(asked: usize) -> Result<Self, BuildError> {
        let footprint = Cache::<u64, u64>::builder().capacity(asked).footprint()?;
        // Two numbers that the builder does not tell, from what it does tell: a
        // cache of a thousand entries has as many slots and one wheel.
        let thousand = Cache::<u64, u64>::builder().capacity(1_000).footprint()?;
        let held = footprint.slots() / (thousand.slots() / 1_000);
        let shards = footprint.wheel() / thousand.wheel();
        Ok(Self { asked, held, shards, footprint })
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 bytes")]
    pub(crate) fn per_entry(&self, bytes: usize) -> f64 {
        bytes as f64 / self.asked as f64
    }

    pub(crate) fn bytes_per_entry(&self) -> f64 {
        self.per_entry(self.footprint.total())
    }
}

fn main() -> Result<(), BuildError> {
    println!("Bytes an entry asked for, u64 → u64, default eviction and shards");
    println!();
    println!(
        "{:>10} {:>10} {:>6} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7}  must ≤ {BYTES_MUST}, aim ≤ {BYTES_AIM}",
        "asked", "held", "shards", "slots", "index", "wheel", "eviction", "locks", "total",
    );
    for asked in CAPACITIES {
        let row = Row::of(asked)?;
        let footprint = row.footprint;
        println!(
            "{:>10} {:>10} {:>6} {:>7.2} {:>7.2} {:>7.2} {:>8.2} {:>7.2} {:>7.2}  {}",
            row.asked,
            row.held,
            row.shards,
            row.per_entry(footprint.slots()),
            row.per_entry(footprint.index()),
            row.per_entry(footprint.wheel()),
            row.per_entry(footprint.eviction()),
            row.per_entry(footprint.locks()),
            row.bytes_per_entry(),
            verdict(row.bytes_per_entry()),
        );
    }
    Ok(())
}

fn verdict(bytes_per_entry: f64) -> &'static str {
    match bytes_per_entry {
        bytes if bytes <= BYTES_AIM => "aim met",
        bytes if bytes <= BYTES_MUST => "must met",
        _ => "BROKEN",
    }
}
