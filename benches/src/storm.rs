//! A storm: 500,000 entries fall due together, while a loop goes on calling the cache.
//!
//! Every call of the loop is timed. What is due after days in which nobody called is apart, in
//! simulated time.

mod after_days;
mod reap_limits;

use std::hint::black_box;
use std::time::{Duration, Instant};

use punctual::{Eviction, SystemClock};
use punctual_figures::record::{Latencies, Storm};

use crate::by::By;
use crate::speed::field;
use crate::subjects::Subject;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::original::Original;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::stretto::Stretto;
use crate::subjects::time::RealTime;
use crate::subjects::ttl_cache::TtlCache;

const DUE: u64 = 500_000;
const LIVING: u64 = 50_000;
/// When the entries fall due, counted from the start of filling.
const DUE_AFTER: Duration = Duration::from_secs(2);
/// The loop starts so long before the storm, and ends so long after.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_millis(1_000);
const LONG: Duration = Duration::from_secs(3600);

/// Whose latencies, and whether anything expires in its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StormSubject {
    /// The loop with no cache in it: the machine's own noise.
    Nothing,
    /// Expires nothing, so there is no storm: the mark.
    QuickCache,
    Punctual,
    PunctualUnsync,
    Original,
    MokaTtl,
    MokaExpiry,
    MiniMoka,
    Stretto,
    QuickCacheDeadline,
    LruDeadline,
    TtlCache,
}

impl StormSubject {
    const ALL: [Self; 12] = [
        Self::Nothing,
        Self::QuickCache,
        Self::Punctual,
        Self::PunctualUnsync,
        Self::Original,
        Self::MokaTtl,
        Self::MokaExpiry,
        Self::MiniMoka,
        Self::Stretto,
        Self::QuickCacheDeadline,
        Self::LruDeadline,
        Self::TtlCache,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no cache",
            Self::QuickCache => "quick_cache, no storm",
            Self::Punctual => "punctual",
            Self::PunctualUnsync => field::UNSYNC.name,
            Self::Original => field::ORIGINAL.name,
            Self::MokaTtl => field::MOKA_TTL.name,
            Self::MokaExpiry => field::MOKA_EXPIRY.name,
            Self::MiniMoka => field::MINI_MOKA.name,
            Self::Stretto => field::STRETTO.name,
            Self::QuickCacheDeadline => field::QUICK_CACHE_DEADLINE.name,
            Self::LruDeadline => field::LRU_DEADLINE.name,
            Self::TtlCache => field::TTL_CACHE.name,
        }
    }
}

/// What the sorted times amount to.
fn latencies(subject: &str, mut nanos: Vec<u64>) -> Latencies {
    nanos.sort_unstable();
    let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize];
    Latencies {
        subject: subject.to_owned(),
        calls: nanos.len(),
        p50_nanos: at(0.5),
        p99_nanos: at(0.99),
        p999_nanos: at(0.999),
        p9999_nanos: at(0.9999),
        max_nanos: at(1.0),
    }
}

/// The latencies of one subject's calls around its storm.
pub(crate) fn measure(subject: StormSubject, by: By) -> Latencies {
    let capacity = (DUE + LIVING) as usize * 21 / 20;
    let nanos = match subject {
        StormSubject::Nothing => weather(Nothing, by),
        StormSubject::QuickCache => weather(QuickCache::new(capacity), by),
        StormSubject::Punctual => weather(PunctualCache::new(capacity, Eviction::default()), by),
        StormSubject::PunctualUnsync => {
            weather(PunctualUnsync::new(capacity, Eviction::default(), SystemClock), by)
        }
        StormSubject::Original => weather(Original::new(capacity), by),
        // One TTL for all: counted from each entry's insert, so the storm is as long as filling.
        StormSubject::MokaTtl => weather(MokaTtl::new(capacity, DUE_AFTER), by),
        StormSubject::MokaExpiry => weather(MokaExpiry::new(capacity), by),
        StormSubject::MiniMoka => weather(MiniMoka::new(capacity, DUE_AFTER), by),
        StormSubject::Stretto => weather(Stretto::new(capacity), by),
        StormSubject::QuickCacheDeadline => {
            weather(QuickCacheDeadline::new(capacity, RealTime), by)
        }
        StormSubject::LruDeadline => weather(LruDeadline::new(capacity, RealTime), by),
        StormSubject::TtlCache => weather(TtlCache::new(capacity), by),
    };
    latencies(subject.name(), nanos)
}

/// The latencies of all subjects, as callers feel them.
pub(crate) fn run() -> Storm {
    let due_together = StormSubject::ALL.map(|subject| {
        eprintln!("storm: {} ...", subject.name());
        measure(subject, By::Passed)
    });
    eprintln!("storm: after idle days ...");
    let after_days = after_days::run();
    eprintln!("storm: reap_limit ...");
    Storm { due_together: due_together.into(), after_days, reap_limits: reap_limits::run() }
}

/// Fills the subject and times the calls of the loop.
fn weather(mut subject: impl Subject<u64, u64>, by: By) -> Vec<u64> {
    let start = Instant::now();
    for key in 0..DUE {
        // However slow the machine: a TTL of zero would not be stored at all.
        let ttl = DUE_AFTER.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        subject.insert(key, key, ttl);
        if key % 256 == 0 {
            subject.settle();
        }
    }
    for key in DUE..DUE + LIVING {
        subject.insert(key, key, LONG);
    }
    subject.settle();
    // Those with one TTL for all have their last deadline so long after their last insert.
    let end = Instant::now() + DUE_AFTER + AFTER;
    let wait = (DUE_AFTER - BEFORE).saturating_sub(start.elapsed());
    std::thread::sleep(wait);

    let mut calls = Calls::new();
    // The end is looked at now and then only, to leave the clock to the calls.
    while Instant::now() < end && calls.make(&mut subject, by) {}
    calls.nanos
}

/// Calls one by one, each timed: nine of ten look up any key, the tenth overwrites one that lives.
struct Calls {
    random: fastrand::Rng,
    nanos: Vec<u64>,
}

impl Calls {
    const AT_ONCE: usize = 4096;

    fn new() -> Self {
        Self { random: fastrand::Rng::with_seed(45), nanos: Vec::with_capacity(64 << 20) }
    }

    /// Makes some; false, if there is no room for more.
    fn make(&mut self, subject: &mut impl Subject<u64, u64>, by: By) -> bool {
        for _ in 0..Self::AT_ONCE {
            let is_write = self.random.u8(..10) == 0;
            let keys = if is_write { DUE..DUE + LIVING } else { 0..DUE + LIVING };
            let key = self.random.u64(keys);
            let before = by.now();
            if is_write {
                subject.insert(key, key, LONG);
            } else {
                subject.get(&key, |value| _ = black_box(value));
            }
            let took = by.now().saturating_sub(before);
            self.nanos.push(took.as_nanos() as u64);
        }
        self.nanos.len() + Self::AT_ONCE < self.nanos.capacity()
    }
}

/// Holds nothing and does nothing.
struct Nothing;

impl Subject<u64, u64> for Nothing {
    fn get<R>(&mut self, key: &u64, _read: impl FnOnce(&u64) -> R) -> Option<R> {
        black_box(key);
        None
    }

    fn insert(&mut self, key: u64, _value: u64, _ttl: Duration) {
        black_box(key);
    }

    fn remove(&mut self, _key: &u64) {}
}
