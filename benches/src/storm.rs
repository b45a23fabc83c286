//! A storm: 500,000 entries fall due together, while a loop goes on calling the cache.
//!
//! Every call of the loop is timed. Nine of ten are lookups of any key, dead or alive; the tenth
//! overwrites one that lives on.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::by::By;
use crate::speed::field;
use crate::subjects::Subject;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::stretto::Stretto;

const DUE: u64 = 500_000;
const LIVING: u64 = 50_000;
/// When the entries fall due, counted from the start of filling.
const DUE_AFTER: Duration = Duration::from_secs(2);
/// The loop starts so long before the storm, and ends so long after.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_millis(1_500);
const LONG: Duration = Duration::from_secs(3600);

/// Whose latencies, and whether anything expires in its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StormSubject {
    /// The loop with no cache in it: the machine's own noise.
    Nothing,
    /// Expires nothing, so there is no storm: the mark.
    QuickCache,
    Punctual,
    MokaTtl,
    MokaExpiry,
    MiniMoka,
    Stretto,
}

impl StormSubject {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::QuickCache,
        Self::Punctual,
        Self::MokaTtl,
        Self::MokaExpiry,
        Self::MiniMoka,
        Self::Stretto,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no cache",
            Self::QuickCache => "quick_cache, no storm",
            Self::Punctual => "punctual",
            Self::MokaTtl => field::MOKA_TTL.name,
            Self::MokaExpiry => field::MOKA_EXPIRY.name,
            Self::MiniMoka => field::MINI_MOKA.name,
            Self::Stretto => field::STRETTO.name,
        }
    }
}

/// How long calls took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) subject: String,
    pub(crate) calls: usize,
    pub(crate) p50_nanos: u64,
    pub(crate) p99_nanos: u64,
    pub(crate) p999_nanos: u64,
    pub(crate) p9999_nanos: u64,
    pub(crate) max_nanos: u64,
}

impl Latencies {
    fn new(subject: StormSubject, mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize];
        Self {
            subject: subject.name().to_owned(),
            calls: nanos.len(),
            p50_nanos: at(0.5),
            p99_nanos: at(0.99),
            p999_nanos: at(0.999),
            p9999_nanos: at(0.9999),
            max_nanos: at(1.0),
        }
    }
}

/// The latencies of one subject's calls around its storm.
pub(crate) fn measure(subject: StormSubject, by: By) -> Latencies {
    let capacity = (DUE + LIVING) as usize * 21 / 20;
    let nanos = match subject {
        StormSubject::Nothing => weather(Nothing, by),
        StormSubject::QuickCache => weather(QuickCache::new(capacity), by),
        StormSubject::Punctual => {
            weather(PunctualCache::new(capacity, punctual::Eviction::default()), by)
        }
        // One TTL for all: counted from each entry's insert, so the storm is as long as filling.
        StormSubject::MokaTtl => weather(MokaTtl::new(capacity, DUE_AFTER), by),
        StormSubject::MokaExpiry => weather(MokaExpiry::new(capacity), by),
        StormSubject::MiniMoka => weather(MiniMoka::new(capacity, DUE_AFTER), by),
        StormSubject::Stretto => weather(Stretto::new(capacity), by),
    };
    Latencies::new(subject, nanos)
}

/// The latencies of all subjects, as callers feel them.
pub(crate) fn run() -> Vec<Latencies> {
    let subjects = StormSubject::ALL.iter();
    subjects
        .map(|&subject| {
            eprintln!("storm: {} ...", subject.name());
            measure(subject, By::Passed)
        })
        .collect()
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

    let mut random = fastrand::Rng::with_seed(45);
    let mut nanos: Vec<u64> = Vec::with_capacity(64 << 20);
    // The end is looked at now and then only, to leave the clock to the calls.
    while Instant::now() < end && nanos.len() + 4096 < nanos.capacity() {
        for _ in 0..4096 {
            let is_write = random.u8(..10) == 0;
            let key =
                if is_write { random.u64(DUE..DUE + LIVING) } else { random.u64(..DUE + LIVING) };
            let before = by.now();
            if is_write {
                subject.insert(key, key, LONG);
            } else {
                subject.get(&key, |value| _ = black_box(value));
            }
            let took = by.now().saturating_sub(before);
            nanos.push(took.as_nanos() as u64);
        }
    }
    nanos
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
