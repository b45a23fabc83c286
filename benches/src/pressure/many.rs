//! Many caches in one process.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use punctual::Cache;
use punctual_figures::grouped;
use punctual_figures::record::{BarLine, quantile};

use super::processor_time;
use crate::bar::{Bar, Limit, MICROS, MILLIS, RATIO};
use crate::stopwatch::TimedBy;

const IDLE: usize = 10_000;
const IN_USE: usize = 10_000;
const TO_FREE: usize = 50_000;
const TO_DROP: usize = 60_000;
const HOUR: Duration = Duration::from_secs(3_600);
const RUN: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(1);
const RUNS: usize = 5;

fn caches<V: Send + Sync + 'static>(count: usize) -> Vec<Cache<u64, V>> {
    (0..count).map(|_| Cache::new(10)).collect()
}

/// Idle caches cost a busy one nothing.
pub(super) fn idle() -> Vec<BarLine> {
    let ratios = (0..RUNS).map(|_| {
        let alone = busy_for(RUN);
        let idle = caches(IDLE);
        for cache in &idle {
            cache.insert_with_ttl(0, 0, HOUR);
        }
        let beside = busy_for(RUN);
        drop(idle);
        beside.as_secs_f64() / alone.as_secs_f64()
    });
    let name = format!("{} idle caches beside a busy one: processor time", grouped(IDLE));
    let bar = Bar::new(name, RATIO, Limit::at_most(1.2)).aim(Limit::at_most(1.05));
    vec![bar.median(ratios.collect())]
}

/// Returns the processor time of a process with a cache that is used now and then: entries fall
/// due all the time, and its clock is refreshed.
fn busy_for(time: Duration) -> Duration {
    let cache: Cache<u64, u64> = Cache::new(10_000);
    let (start, used) = (Instant::now(), processor_time());
    let mut key = 0;
    while start.elapsed() < time {
        for _ in 0..200 {
            key += 1;
            cache.insert_with_ttl(key, key, Duration::from_millis(50));
            cache.get(&(key / 2));
        }
        thread::sleep(Duration::from_millis(1));
    }
    processor_time() - used
}

/// Each of many caches frees its entry in time.
pub(super) fn late() -> Vec<BarLine> {
    /// Tells when it is dropped.
    struct Due(Instant, Arc<Mutex<Vec<f64>>>);

    impl Drop for Due {
        fn drop(&mut self) {
            let late = self.0.elapsed();
            self.1.lock().expect("nobody panics").push(late.as_secs_f64() * 1e3);
        }
    }

    let mut medians = Vec::new();
    let mut ends = Vec::new();
    for run in 0..RUNS as u64 {
        let caches = caches(TO_FREE);
        let late = Arc::new(Mutex::new(Vec::with_capacity(TO_FREE)));
        let mut random = fastrand::Rng::with_seed(run);
        for cache in &caches {
            let ttl = Duration::from_micros(random.u64(500_000..2_500_000));
            cache.insert_with_ttl(0, Due(Instant::now() + ttl, late.clone()), ttl);
        }
        while late.lock().expect("nobody panics").len() < TO_FREE {
            thread::sleep(Duration::from_millis(10));
        }
        let late = late.lock().expect("nobody panics");
        medians.push(quantile(&late, 0.5));
        ends.push(quantile(&late, 0.99));
    }
    let name = |what| format!("{} caches: freed after the TTL, {what}", grouped(TO_FREE));
    vec![
        Bar::new(name("median"), MILLIS, Limit::at_most(10.0))
            .aim(Limit::at_most(5.0))
            .worst(medians, "of 5 runs the worst"),
        Bar::new(name("99 %"), MILLIS, Limit::at_most(20.0))
            .aim(Limit::at_most(10.0))
            .worst(ends, "of 5 runs the worst"),
    ]
}

/// What an insertion costs in all, its entry's expiry included, where each comes to another cache:
/// one after the other, and one each millisecond, when nothing is in the processor's caches any
/// more.
pub(super) fn in_use() -> Vec<BarLine> {
    let caches = caches(IN_USE);
    let lines = [("one after the other", Duration::ZERO), ("1,000 a second", PACE)];
    let lines = lines.map(|(pace, pause)| {
        let runs = || 0..RUNS as u64;
        let micros: Vec<_> = runs().map(|run| micros_an_insertion(&caches, pause, run)).collect();
        let alone = runs().map(|run| micros_an_insertion(&caches[..1], pause, run));
        let alone = quantile(&alone.collect::<Vec<_>>(), 0.5);
        let caches = grouped(IN_USE);
        let name = format!("{caches} caches in use, {pace}: processor time an insertion");
        let bar = Bar::new(name, MICROS, Limit::at_most(3.0)).aim(Limit::at_most(1.0));
        bar.once(quantile(&micros, 0.5), &format!("of one cache: {alone:.1} µs"))
    });
    lines.into()
}

/// Inserts entries for some seconds. Returns the processor time for each, of the calls themselves
/// and of all other threads: that is the reaper.
fn micros_an_insertion(caches: &[Cache<u64, u64>], pause: Duration, seed: u64) -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let others = || processor_time().saturating_sub(TimedBy::ThreadCpu.now());
    let (start, before) = (Instant::now(), others());
    let (mut insertions, mut inserting) = (0, Duration::ZERO);
    while start.elapsed() < 2 * RUN {
        let cache = &caches[random.usize(..caches.len())];
        let start = Instant::now();
        cache.insert_with_ttl(insertions, 0, TTL);
        inserting += start.elapsed();
        insertions += 1;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    (inserting + others() - before).as_secs_f64() * 1e6 / insertions as f64
}

/// Dropping a cache takes no longer, however many others there are.
pub(super) fn dropped() -> Vec<BarLine> {
    let millis = (0..RUNS).map(|_| {
        let caches = caches::<u64>(TO_DROP);
        for cache in &caches {
            cache.insert_with_ttl(0, 0, HOUR);
        }
        let start = Instant::now();
        drop(caches);
        start.elapsed().as_secs_f64() * 1e3
    });
    let name = format!("dropping {} caches", grouped(TO_DROP));
    vec![Bar::new(name, MILLIS, Limit::at_most(300.0)).worst(millis.collect(), "")]
}
