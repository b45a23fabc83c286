//! More busy threads than processors: how long after its TTL a value is returned.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use punctual::Cache;
use punctual_figures::record::BarLine;

use crate::bar::{Bar, Limit, MILLIS};

const THREADS_PER_PROCESSOR: usize = 8;
const RUNS: usize = 10;
const RUN: Duration = Duration::from_secs(2);
const TTL: Duration = Duration::from_millis(20);
const KEYS: u64 = 64;

/// An insertion that took longer was interrupted: nobody knows from when its TTL counts.
const INSERTION_MAX: Duration = Duration::from_micros(100);

pub(super) fn lines() -> Vec<BarLine> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors * THREADS_PER_PROCESSOR;
    let latest = (0..RUNS).map(|_| latest_millis(threads)).collect();
    let name = format!(
        "latest return after the TTL, {threads} busy threads on {processors} processors, {RUNS} runs"
    );
    let bar = Bar::new(name, MILLIS, Limit::at_most(15.0)).aim(Limit::at_most(14.0));
    vec![bar.worst(latest, "")]
}

/// Returns by how many milliseconds, at most, the TTL of a returned value had passed before the
/// call.
fn latest_millis(threads: usize) -> f64 {
    let start = Instant::now();
    let cache: Cache<u64, Instant> = Cache::new(1_000);
    let (latest, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..threads as u64 {
            let (cache, latest, is_over) = (&cache, &latest, &is_over);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                while !is_over.load(Relaxed) {
                    let key = random.u64(..KEYS);
                    let before = Instant::now();
                    match cache.get(&key) {
                        Some(due) => {
                            let late = before.saturating_duration_since(due);
                            latest.fetch_max(late.as_nanos() as u64, Relaxed);
                        }
                        None => {
                            let before = Instant::now();
                            cache.insert_with_ttl(key, before + TTL, TTL);
                            if before.elapsed() > INSERTION_MAX {
                                cache.remove(&key);
                            }
                        }
                    }
                }
            });
        }
        thread::sleep(RUN.saturating_sub(start.elapsed()));
        is_over.store(true, Relaxed);
    });
    latest.into_inner() as f64 / 1e6
}
