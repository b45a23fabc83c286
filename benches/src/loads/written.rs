//! Loads beside a thread that writes other keys: how many of their values are stored.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use punctual::Cache;
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::callers::in_tasks;
use super::{LOAD, RUNS};
use crate::bar::{Bar, Limit, PERCENT};

/// Ten thousand writes a second.
const BURST: u64 = 10;
const BURST_EVERY: Duration = Duration::from_millis(1);
/// The first of the keys that are written, which are no more than a tenth of the capacity.
const WRITTEN: u64 = 1 << 32;

pub(super) fn lines() -> Vec<BarLine> {
    let capacities = || [1_000, 10_000, 100_000].into_iter();
    let with_room = capacities().map(|capacity| {
        let keys = room(capacity);
        line(capacity, keys, |name| Bar::new(name, PERCENT, Limit::exactly(100.0)))
    });
    let beyond_it = capacities().map(|capacity| {
        let keys = 4 * room(capacity);
        line(capacity, keys, |name| {
            Bar::new(name, PERCENT, Limit::at_least(90.0)).aim(Limit::at_least(99.0))
        })
    });
    with_room.chain(beyond_it).collect()
}

/// Returns how many keys may be loading at once by default.
fn room(capacity: usize) -> usize {
    (capacity / 32).clamp(64, 1_024).min(capacity)
}

fn line(capacity: usize, keys: usize, bar: impl Fn(String) -> Bar) -> BarLine {
    let runs: Vec<(f64, f64)> = (0..RUNS).map(|_| run(capacity, keys)).collect();
    let writes = runs.iter().map(|&(_, writes)| writes).fold(f64::INFINITY, f64::min);
    let stored = runs.iter().map(|&(stored, _)| 100.0 * stored).collect();
    let (keys, room, capacity) = (grouped(keys), grouped(room(capacity)), grouped(capacity));
    let name = format!("stored of {keys} loads, room for {room}, {capacity} entries");
    bar(name).worst(stored, &format!("{} writes/s", grouped(writes as u64)))
}

/// Returns the share of the loads that is stored, and the writes a second beside them.
fn run(capacity: usize, keys: usize) -> (f64, f64) {
    let cache = Cache::builder().capacity(capacity).build().expect("the capacity is possible");
    let (is_done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let writes = thread::scope(|scope| {
        scope.spawn(|| write(&cache, capacity as u64 / 10, &written, &is_done));
        while written.load(Relaxed) == 0 {
            thread::yield_now();
        }
        let (start, before) = (Instant::now(), written.load(Relaxed));
        load_all(&cache, keys);
        let writes = (written.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        is_done.store(true, Relaxed);
        writes
    });
    assert_eq!(cache.stats().evicted, 0, "what is not there was not stored");
    let stored = (0..keys as u64).filter(|key| cache.contains_key(key)).count();
    (stored as f64 / keys as f64, writes)
}

fn load_all(cache: &Cache<u64, u64>, keys: usize) {
    in_tasks(keys, |key| {
        let (cache, key) = (cache.clone(), key as u64);
        async move {
            let load = || async {
                tokio::time::sleep(LOAD).await;
                key
            };
            assert_eq!(cache.get_or_insert_with_async(&key, load).await, key);
        }
    });
}

/// Overwrites so many keys in turn, in bursts, until it is done. What is late by more than a burst
/// is not made up for.
fn write(cache: &Cache<u64, u64>, keys: u64, written: &AtomicU64, is_done: &AtomicBool) {
    let mut next = Instant::now();
    while !is_done.load(Relaxed) {
        let first = written.load(Relaxed);
        for number in first..first + BURST {
            cache.insert(WRITTEN + number % keys, number);
        }
        written.store(first + BURST, Relaxed);
        let now = Instant::now();
        next = (next + BURST_EVERY).max(now);
        thread::sleep(next - now);
    }
}
