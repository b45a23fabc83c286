//! Bytes an entry, said by the builder, with its default settings.

use std::iter::successors;

use punctual::{Cache, Footprint};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use crate::bar::{BYTES, Bar, Limit};

/// Capacities, and what the tables of loads must take and aim at.
const LOADS: [(usize, f64, f64); 3] =
    [(10_000, 1.2, 0.6), (100_000, 0.7, 0.35), (1_000_000, 0.7, 0.35)];
const TOTAL: Limit = Limit::at_most(48.0);

pub(super) fn lines() -> Vec<BarLine> {
    let loads = LOADS.iter().map(|&(capacity, must, aim)| {
        let name = format!("tables of loads, an entry, {} entries", grouped(capacity));
        let bar = Bar::new(name, BYTES, Limit::at_most(must)).aim(Limit::at_most(aim));
        bar.once(an_entry(capacity, Footprint::loads), "")
    });
    let totals = LOADS.iter().map(|&(capacity, ..)| {
        let name = format!("all, an entry, {} entries", grouped(capacity));
        Bar::new(name, BYTES, TOTAL).once(an_entry(capacity, Footprint::total), "")
    });
    loads.chain(totals).chain([worst()]).collect()
}

/// The capacity that takes most bytes an entry.
fn worst() -> BarLine {
    let capacities = successors(Some(1e4), |capacity: &f64| Some(capacity * 1.001));
    let capacities = capacities.take_while(|capacity| *capacity <= 1e7).map(|it| it as usize);
    let (capacity, bytes) = capacities
        .map(|capacity| (capacity, an_entry(capacity, Footprint::total)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are capacities");
    let bar = Bar::new("all, an entry, the worst from 10,000 to 10 million", BYTES, TOTAL);
    bar.once(bytes, &format!("at {} entries", grouped(capacity)))
}

fn an_entry(capacity: usize, bytes: impl Fn(&Footprint) -> usize) -> f64 {
    let builder = Cache::<u64, u64>::builder().capacity(capacity);
    bytes(&builder.footprint().expect("the capacity is possible")) as f64 / capacity as f64
}
