//! More busy threads than processors: how long after its TTL a value is returned.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
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

/// More than there is time for.
const INSERTIONS_MAX: usize = 1 << 20;

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
    // By value: when it falls due, in nanoseconds since the start, once that is known.
    let due: Vec<AtomicU64> = (0..INSERTIONS_MAX).map(|_| AtomicU64::new(0)).collect();
    let cache: Cache<u64, usize> = Cache::new(1_000);
    let (next, latest, is_over) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let nanos = || start.elapsed().as_nanos() as u64;
    let insert = |key| {
        let number = next.fetch_add(1, Relaxed);
        let before = nanos();
        cache.insert_with_ttl(key, number, TTL);
        if nanos() - before < INSERTION_MAX.as_nanos() as u64 {
            due[number].store(before + TTL.as_nanos() as u64, Relaxed);
        }
    };
    let look_up = |key| {
        let before = nanos();
        let Some(number) = cache.get(&key) else { return insert(key) };
        let due = due[number].load(Relaxed);
        if due > 0 {
            latest.fetch_max(before.saturating_sub(due), Relaxed);
        }
    };
    thread::scope(|scope| {
        for number in 0..threads as u64 {
            let (look_up, is_over) = (&look_up, &is_over);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                while !is_over.load(Relaxed) {
                    look_up(random.u64(..KEYS));
                }
            });
        }
        thread::sleep(RUN);
        is_over.store(true, Relaxed);
    });
    latest.into_inner() as f64 / 1e6
}
