//! Promptness: when the dead are freed.
//!
//! Values note when they are dropped. A hundred thousand entries with one TTL are put into every
//! cache; then nobody touches the caches, or somebody asks for other keys a thousand times a
//! second. How many of the dead are still in memory is looked at for three seconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use punctual::{Eviction, SystemClock};
use punctual_figures::record::{Promptness, PromptnessOfCache};

use crate::speed::field;
use crate::subjects::Subject;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::original::Original;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::stretto::Stretto;
use crate::subjects::time::RealTime;
use crate::subjects::ttl_cache::TtlCache;

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

#[derive(Default)]
struct Log {
    dropped: AtomicUsize,
    lateness: Mutex<Vec<Duration>>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.log.dropped.fetch_add(1, Ordering::Relaxed);
        let late = self.deadline.elapsed();
        self.log.lateness.lock().expect("nobody panics with it").push(late);
    }
}

/// A cache, whatever it is, while it is watched.
trait Watched {
    fn insert(&mut self, key: u64, value: Arc<Tracked>);
    fn get(&mut self, key: u64);
    fn settle(&mut self);
}

impl<S: Subject<u64, Arc<Tracked>>> Watched for S {
    fn insert(&mut self, key: u64, value: Arc<Tracked>) {
        Subject::insert(self, key, value, TTL);
    }

    fn get(&mut self, key: u64) {
        Subject::get(self, &key, |_| ());
    }

    fn settle(&mut self) {
        Subject::settle(self);
    }
}

fn field() -> Vec<(&'static str, Box<dyn Watched>)> {
    let capacity = 2 * ENTRIES as usize;
    vec![
        (
            field::punctual().name,
            Box::new(PunctualCache::new(capacity, Eviction::default())) as Box<dyn Watched>,
        ),
        (
            field::UNSYNC.name,
            Box::new(PunctualUnsync::new(capacity, Eviction::default(), SystemClock)),
        ),
        (field::ORIGINAL.name, Box::new(Original::new(capacity))),
        (field::MOKA_TTL.name, Box::new(MokaTtl::new(capacity, TTL))),
        (field::MOKA_EXPIRY.name, Box::new(MokaExpiry::new(capacity))),
        (field::MINI_MOKA.name, Box::new(MiniMoka::new(capacity, TTL))),
        (field::STRETTO.name, Box::new(Stretto::new(capacity))),
        (field::QUICK_CACHE_DEADLINE.name, Box::new(QuickCacheDeadline::new(capacity, RealTime))),
        (field::LRU_DEADLINE.name, Box::new(LruDeadline::new(capacity, RealTime))),
        (field::TTL_CACHE.name, Box::new(TtlCache::new(capacity))),
    ]
}

/// Watches all caches, first idle, then under load. They wait most of the time, so they do it
/// together.
pub(crate) fn run() -> Promptness {
    eprintln!("promptness ...");
    let mut caches = watch(false);
    caches.extend(watch(true));
    Promptness { caches }
}

fn watch(loaded: bool) -> Vec<PromptnessOfCache> {
    let mut caches = field();
    let logs: Vec<Arc<Log>> = caches.iter().map(|_| Arc::default()).collect();
    let mut last_deadlines = Vec::new();
    let mut lost: Vec<usize> = Vec::new();
    for ((_, cache), log) in caches.iter_mut().zip(&logs) {
        for key in 0..ENTRIES {
            let deadline = Instant::now() + TTL;
            cache.insert(key, Arc::new(Tracked { deadline, log: Arc::clone(log) }));
            if key % 256 == 0 {
                cache.settle();
            }
        }
        cache.settle();
        last_deadlines.push(Instant::now() + TTL);
        // What a cache refused or evicted does not count.
        lost.push(log.dropped.load(Ordering::Relaxed));
        log.lateness.lock().expect("nobody panics with it").clear();
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
                for (_, cache) in &mut caches {
                    cache.get(random.u64(OTHERS));
                }
            }
            std::thread::sleep(
                Duration::from_millis(1).min(time.saturating_duration_since(Instant::now())),
            );
        }
        let all = (ENTRIES as usize - lost[number]).max(1);
        let dropped = logs[number].dropped.load(Ordering::Relaxed) - lost[number];
        held[number].push((ms, 1.0 - dropped as f64 / all as f64));
    }
    let results = caches.iter().zip(&logs).zip(held);
    results
        .map(|(((name, _), log), held)| {
            let mut late = log.lateness.lock().expect("nobody panics with it").clone();
            late.sort_unstable();
            let at =
                |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_micros() as u64;
            let lateness = (!late.is_empty()).then(|| [at(0.5), at(0.99), at(0.999), at(1.0)]);
            let subject = (*name).to_owned();
            PromptnessOfCache { subject, loaded, held, lateness_micros: lateness }
        })
        .collect()
}
