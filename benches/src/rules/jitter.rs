//! Entries that are inserted together and do not fall due together.

use std::time::Duration;

use punctual::{Cache, ManualClock};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::filled::ENTRIES;
use crate::bar::{Bar, Limit, RATIO};

const TTL: Duration = Duration::from_secs(60);
const JITTER: f64 = 0.1;
const STEP: Duration = Duration::from_millis(100);

pub(super) fn lines() -> Vec<BarLine> {
    let freed = freed_in_steps();
    assert_eq!(freed.iter().sum::<usize>(), ENTRIES);
    let most = *freed.iter().max().expect("there are steps");
    let steps = freed.iter().filter(|&&freed| freed > 0).count();
    let mean = ENTRIES as f64 / (TTL.as_secs_f64() * JITTER / STEP.as_secs_f64());
    let entries = grouped(ENTRIES);
    let name =
        format!("most freed in {STEP:?} against the mean, {entries} entries, jitter {JITTER}");
    let bar = Bar::new(name, RATIO, Limit::at_most(2.0));
    let [most_said, mean_said] = [most, mean as usize].map(grouped);
    vec![bar.once(most as f64 / mean, &format!("{most_said} : {mean_said}; in {steps} steps"))]
}

/// How many entries each step of the clock frees.
fn freed_in_steps() -> Vec<usize> {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .capacity(ENTRIES * 11 / 10)
        .ttl(TTL)
        .ttl_jitter(JITTER)
        .clock(clock.clone())
        .build()
        .expect("the capacity is possible");
    cache.insert_many((0..ENTRIES as u64).map(|key| (key, key)));
    let mut freed = Vec::new();
    while !cache.is_empty() {
        clock.advance(STEP);
        freed.push(cache.reap(usize::MAX));
    }
    freed
}
