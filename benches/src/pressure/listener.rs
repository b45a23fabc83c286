//! A slow listener: what calls of other keys feel of it.

use std::thread;
use std::time::{Duration, Instant};

use punctual::Cache;
use punctual_figures::record::BarLine;

use crate::bar::{Bar, Limit, MICROS};

const ENTRIES: u64 = 100;
const LISTENER: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);
const RUNS: usize = 5;

pub(super) fn lines() -> Vec<BarLine> {
    let name =
        format!("longest get while {ENTRIES} entries with a listener of {LISTENER:?} are due");
    let longest = (0..RUNS).map(|_| longest_micros()).collect();
    let bar = Bar::new(name, MICROS, Limit::at_most(1_000.0)).aim(Limit::at_most(100.0));
    vec![bar.median(longest)]
}

/// Gets that take longer were interrupted, if they are few: of the longest in each, the least.
fn longest_micros() -> f64 {
    let builder = Cache::builder().capacity(1_000).shards(1);
    let cache = builder.on_removal(|_: &u64, _: &u64, _| thread::sleep(LISTENER)).build().unwrap();
    cache.insert_with_ttl(0, 0, HOUR);
    for key in 1..=ENTRIES {
        cache.insert_with_ttl(key, key, Duration::from_millis(20));
    }
    let mut longest = Duration::ZERO;
    while cache.len() > 1 {
        let start = Instant::now();
        assert_eq!(cache.get(&0), Some(0));
        longest = longest.max(start.elapsed());
    }
    longest.as_secs_f64() * 1e6
}
