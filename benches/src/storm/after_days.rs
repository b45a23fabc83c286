//! A cache that nobody touched for days, in simulated time: half a million entries have fallen due
//! one by one, at every level of a wheel, and the first calls come upon them.
//!
//! Of those caches only that can be given a clock. moka, mini-moka, stretto and ttl_cache know the
//! system's alone.

use std::time::Duration;

use foldhash::fast::FixedState;
use punctual::{Eviction, ManualClock};
use punctual_figures::record::Latencies;

use super::{Calls, DUE, LIVING, Nothing, latencies};
use crate::by::By;
use crate::speed::field;
use crate::subjects::Subject;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::original::Original;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::time::SimulatedTime;

const DAY: Duration = Duration::from_secs(24 * 3600);
const IDLE: Duration = Duration::from_secs(3 * 24 * 3600);
const OUTLIVES_IT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time goes on while calls are made.
const STEP: Duration = Duration::from_millis(1);
/// So many times as many as are made at once.
const BATCHES: u32 = 500;

pub(super) fn run() -> Vec<Latencies> {
    let capacity = (DUE + LIVING) as usize * 21 / 20;
    let (eviction, hasher) = (Eviction::default(), || FixedState::with_seed(1));
    let clock = ManualClock::new();
    let time = SimulatedTime::default();
    let by_clock = |now| clock.set(now);
    let by_time = |now| time.set(now);
    let punctual = PunctualCache::simulated(capacity, eviction, hasher(), clock.clone());
    let unsync = PunctualUnsync::simulated(capacity, eviction, hasher(), clock.clone());
    vec![
        latencies("no cache", touched_again(Nothing, |_| ())),
        latencies("quick_cache, nothing due", touched_again(QuickCache::new(capacity), |_| ())),
        latencies(field::punctual().name, touched_again(punctual, by_clock)),
        latencies(field::UNSYNC.name, touched_again(unsync, by_clock)),
        latencies(
            field::ORIGINAL.name,
            touched_again(Original::simulated(capacity, clock.clone()), by_clock),
        ),
        latencies(
            field::QUICK_CACHE_DEADLINE.name,
            touched_again(QuickCacheDeadline::new(capacity, time.clone()), by_time),
        ),
        latencies(
            field::LRU_DEADLINE.name,
            touched_again(LruDeadline::new(capacity, time.clone()), by_time),
        ),
    ]
}

/// Fills the subject, lets the days pass, and times calls.
fn touched_again(mut subject: impl Subject<u64, u64>, set_time: impl Fn(Duration)) -> Vec<u64> {
    set_time(Duration::ZERO);
    let mut random = fastrand::Rng::with_seed(48);
    for key in 0..DUE {
        let ttl_ms = random.u64(10..DAY.as_millis() as u64);
        subject.insert(key, key, Duration::from_millis(ttl_ms));
    }
    for key in DUE..DUE + LIVING {
        subject.insert(key, key, OUTLIVES_IT);
    }
    let mut calls = Calls::new();
    for batch in 0..BATCHES {
        set_time(IDLE + STEP * batch);
        calls.make(&mut subject, By::Passed);
    }
    calls.nanos
}
