//! Promptness: when expired entries are freed.
//!
//! Values note when they are dropped. A hundred thousand entries with one TTL are put into every
//! cache; then nobody touches the caches, or somebody asks for other keys a thousand times a
//! second. How many expired entries are still in memory is looked at for three seconds.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use punctual_figures::record::PromptnessOfCache;

use crate::progress;
use crate::subjects::boxed::Boxed;
use crate::subjects::registry::Who;
use crate::subjects::time::RealTime;

const ENTRIES: u64 = 100_000;
const TTL: Duration = Duration::from_secs(2);
/// Looked at so long after the last deadline.
const LOOKS_MS: [u64; 8] = [20, 50, 100, 200, 500, 1000, 2000, 3000];
/// Keys of others, that the load asks for.
const OTHERS: std::ops::Range<u64> = 1_000_000..1_010_000;

/// Notes its drop.
struct Tracked {
    deadline: Instant,
    log: Arc<Log>,
}

/// Microseconds from deadlines to drops.
type Log = Mutex<Histogram<u64>>;

impl Drop for Tracked {
    fn drop(&mut self) {
        let late = self.deadline.elapsed();
        *self.log.lock().expect("nobody panics with it") += late.as_micros() as u64;
    }
}

/// Watches all caches, first idle, then under load. They wait most of the time, so they do it
/// together.
pub(crate) fn run() -> Vec<PromptnessOfCache> {
    progress::step("promptness");
    let mut caches = watch(false);
    caches.extend(watch(true));
    caches
}

fn watch(loaded: bool) -> Vec<PromptnessOfCache> {
    let expiring = || Who::regular().filter(|who| who.facts().expires);
    let boxed = |who: Who| who.boxed(2 * ENTRIES as usize, TTL, &RealTime);
    let mut caches: Vec<Boxed<u64, Arc<Tracked>>> = expiring().map(boxed).collect();
    let new_log = |_| Mutex::new(Histogram::new(3).expect("three digits are possible"));
    let logs: Vec<Arc<Log>> = caches.iter().map(new_log).map(Arc::new).collect();
    let mut last_deadlines = Vec::new();
    let mut lost: Vec<u64> = Vec::new();
    for (cache, log) in caches.iter_mut().zip(&logs) {
        for key in 0..ENTRIES {
            let deadline = Instant::now() + TTL;
            cache.insert(key, Arc::new(Tracked { deadline, log: Arc::clone(log) }), TTL);
            if key % 256 == 0 {
                cache.settle();
            }
        }
        cache.settle();
        last_deadlines.push(Instant::now() + TTL);
        // What a cache refused or evicted does not count.
        let mut log = log.lock().expect("nobody panics with it");
        lost.push(log.len());
        log.reset();
    }
    let mut looks: Vec<(Instant, usize, u64)> = Vec::new();
    for (number, deadline) in last_deadlines.iter().enumerate() {
        let times = LOOKS_MS.iter().map(|&ms| (*deadline + Duration::from_millis(ms), number, ms));
        looks.extend(times);
    }
    looks.sort();
    let mut random = fastrand::Rng::with_seed(47);
    let mut held: Vec<Vec<(u64, f64)>> = vec![Vec::new(); caches.len()];
    for (time, number, ms) in looks {
        while Instant::now() < time {
            if loaded {
                for cache in &mut caches {
                    cache.get(&random.u64(OTHERS));
                }
            }
            std::thread::sleep(
                Duration::from_millis(1).min(time.saturating_duration_since(Instant::now())),
            );
        }
        let all = (ENTRIES - lost[number]).max(1);
        let dropped = logs[number].lock().expect("nobody panics with it").len();
        held[number].push((ms, 1.0 - dropped as f64 / all as f64));
    }
    let results = expiring().zip(&logs).zip(held);
    results
        .map(|((who, log), held)| {
            let late = log.lock().expect("nobody panics with it");
            let at = [0.5, 0.99, 0.999, 1.0].map(|share| late.value_at_quantile(share));
            PromptnessOfCache {
                subject: who.name().to_owned(),
                loaded,
                held,
                lateness_micros: (!late.is_empty()).then_some(at),
            }
        })
        .collect()
}
