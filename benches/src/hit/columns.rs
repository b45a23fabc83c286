//! Who is asked for its hit ratio: a column of the tables each.

use std::any::Any;
use std::time::Duration;

use foldhash::fast::FixedState;
use punctual::{Eviction, ManualClock};
use punctual_figures::record::Kind;

use super::optimum;
use super::policies::{Fifo, Lru, S3Fifo, Sieve};
use super::trace::Trace;
use crate::subjects::Subject;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::original::Original;
use crate::subjects::prompt::Prompt;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::stretto::Stretto;
use crate::subjects::time::SimulatedTime;
use crate::subjects::ttl_cache::TtlCache;

/// Longer than any replay takes: a TTL of those that go by the system's clock.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

/// The policies of punctual that are compared; the default is always there. A new one is added
/// here.
const EVICTIONS: [Eviction; 3] = [Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo];

/// At the same number of entries, a deadline in the value changes nothing where nothing expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Always,
    WithTtls,
    WithoutTtls,
}

impl Shown {
    pub(crate) fn on(self, trace: &Trace) -> bool {
        match self {
            Self::Always => true,
            Self::WithTtls => trace.times.is_some(),
            Self::WithoutTtls => trace.times.is_none(),
        }
    }
}

/// Replays a trace at a capacity, with a seed of the hasher.
pub(crate) type HitRatio = dyn Fn(&Trace, usize, u64) -> f64 + Send + Sync;

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The traces on which it says something that no other column says.
    pub(crate) shown: Shown,
    /// The mean over so many seeds of the hasher.
    pub(crate) seeds: u64,
    /// The share of hits in a trace at a capacity.
    pub(crate) hit_ratio: Box<HitRatio>,
    /// A full cache of a capacity, whose bytes can be counted; none where they mean nothing, and
    /// where another column does the same in fewer of them.
    pub(crate) filled: Option<fn(usize) -> Box<dyn Any>>,
}

/// When a subject is let finish what it put off.
#[derive(Clone, Copy)]
enum Settling {
    Never,
    /// As if the trace took so long that its housekeeping is never far behind.
    EachRequests(usize),
    AfterInsert,
}

/// Asks a subject for every key, and puts in those it does not have.
fn replay(
    trace: &Trace,
    mut subject: impl Subject<u64, u64>,
    settling: Settling,
    set_time: impl Fn(Duration),
) -> f64 {
    let mut hits = 0_u32;
    for (number, &key) in trace.keys.iter().enumerate() {
        let key = u64::from(key);
        let ttl = trace.times.as_ref().map_or(LONG, |times| {
            set_time(times[number].at());
            times[number].ttl()
        });
        match subject.get(&key, |value| assert_eq!(*value, key, "a wrong value")) {
            Some(()) => hits += 1,
            None if ttl.is_zero() => {}
            None => {
                subject.insert(key, key, ttl);
                if let Settling::AfterInsert = settling {
                    subject.settle();
                }
            }
        }
        if let Settling::EachRequests(requests) = settling {
            if number % requests == 0 {
                subject.settle();
            }
        }
    }
    f64::from(hits) / trace.keys.len() as f64
}

/// Replays with a subject that cannot be given a clock: see [`Prompt`].
fn replay_promptly(trace: &Trace, subject: impl Subject<u64, u64>, settling: Settling) -> f64 {
    if trace.times.is_none() {
        return replay(trace, subject, settling, |_| ());
    }
    let time = SimulatedTime::default();
    replay(trace, Prompt::new(subject, time.clone()), settling, |now| time.set(now))
}

/// Fills a subject over the brim, so that all has grown that grows.
fn fill(subject: impl Subject<u64, u64> + 'static, capacity: usize) -> Box<dyn Any> {
    fill_with(subject, capacity + capacity / 2 + 64)
}

/// Puts so many entries in.
fn fill_with(mut subject: impl Subject<u64, u64> + 'static, entries: usize) -> Box<dyn Any> {
    for key in 0..entries as u64 {
        // Spread, so that no structure is flattered by an order.
        let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if subject.get(&key, |_| ()).is_none() {
            subject.insert(key, key, LONG);
        }
        if key % 64 == 0 {
            subject.settle();
        }
    }
    for _ in 0..4 {
        subject.settle();
    }
    Box::new(subject)
}

fn punctual(name: &str, kind: Kind, eviction: Eviction, seeds: u64) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        shown: Shown::Always,
        seeds,
        hit_ratio: Box::new(move |trace, capacity, seed| {
            let clock = ManualClock::new();
            let hasher = FixedState::with_seed(seed);
            let cache = PunctualCache::simulated(capacity, eviction, hasher, clock.clone());
            replay(trace, cache, Settling::Never, |now| clock.set(now))
        }),
        filled: None,
    }
}

fn punctual_unsync(eviction: Eviction) -> Column {
    Column {
        name: "punctual unsync".to_owned(),
        kind: Kind::Variant,
        shown: Shown::Always,
        seeds: 1,
        hit_ratio: Box::new(move |trace, capacity, seed| {
            let clock = ManualClock::new();
            let hasher = FixedState::with_seed(seed);
            let cache = PunctualUnsync::simulated(capacity, eviction, hasher, clock.clone());
            replay(trace, cache, Settling::Never, |now| clock.set(now))
        }),
        filled: None,
    }
}

fn peer(
    name: &str,
    shown: Shown,
    hit_ratio: fn(&Trace, usize) -> f64,
    filled: Option<fn(usize) -> Box<dyn Any>>,
) -> Column {
    Column {
        name: name.to_owned(),
        kind: Kind::Peer,
        shown,
        seeds: 1,
        hit_ratio: Box::new(move |trace, capacity, _| hit_ratio(trace, capacity)),
        filled,
    }
}

fn mark(name: &str, kind: Kind, hit_ratio: fn(&Trace, usize) -> f64) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        shown: Shown::Always,
        seeds: 1,
        hit_ratio: Box::new(move |trace, capacity, _| hit_ratio(trace, capacity)),
        filled: None,
    }
}

/// Housekeeping of moka and mini-moka: their calls do it in batches of some sixty.
const MOKA: Settling = Settling::EachRequests(32);

/// All columns, in the order in which tables show them.
pub(crate) fn all() -> Vec<Column> {
    let default = Eviction::default();
    let mut columns =
        vec![punctual("punctual", Kind::Punctual, default, 5), punctual_unsync(default)];
    for eviction in EVICTIONS.into_iter().filter(|eviction| *eviction != default) {
        columns.push(punctual(&format!("punctual {eviction:?}"), Kind::Variant, eviction, 1));
    }
    columns.extend([
        peer(
            "original",
            Shown::WithTtls,
            |trace, capacity| {
                let clock = ManualClock::new();
                let cache = Original::simulated(capacity, clock.clone());
                replay(trace, cache, Settling::Never, |now| clock.set(now))
            },
            None,
        ),
        peer(
            "moka",
            Shown::Always,
            |trace, capacity| replay_promptly(trace, MokaTtl::new(capacity, LONG), MOKA),
            Some(|capacity| fill(MokaTtl::new(capacity, LONG), capacity)),
        ),
        peer(
            "moka Expiry",
            Shown::WithTtls,
            |trace, capacity| replay_promptly(trace, MokaExpiry::new(capacity), MOKA),
            None,
        ),
        peer(
            "mini-moka",
            Shown::Always,
            |trace, capacity| replay_promptly(trace, MiniMoka::new(capacity, LONG), MOKA),
            Some(|capacity| fill(MiniMoka::new(capacity, LONG), capacity)),
        ),
        peer(
            "quick_cache",
            Shown::WithoutTtls,
            replay_quick_cache,
            Some(|capacity| fill(QuickCache::new(capacity), capacity)),
        ),
        peer(
            "quick_cache + deadline",
            Shown::WithTtls,
            |trace, capacity| {
                let time = SimulatedTime::default();
                let cache = QuickCacheDeadline::new(capacity, time.clone());
                replay(trace, cache, Settling::Never, |now| time.set(now))
            },
            None,
        ),
        peer(
            "lru + deadline",
            Shown::WithTtls,
            |trace, capacity| {
                let time = SimulatedTime::default();
                let cache = LruDeadline::new(capacity, time.clone());
                replay(trace, cache, Settling::Never, |now| time.set(now))
            },
            Some(|capacity| fill(LruDeadline::new(capacity, SimulatedTime::default()), capacity)),
        ),
        peer(
            "ttl_cache",
            Shown::WithTtls,
            |trace, capacity| replay_promptly(trace, TtlCache::new(capacity), Settling::Never),
            None,
        ),
        peer(
            "stretto",
            Shown::Always,
            |trace, capacity| replay_promptly(trace, Stretto::new(capacity), Settling::AfterInsert),
            // To evict one entry it looks at all of them: over the brim would take hours.
            Some(|capacity| fill_with(Stretto::new(capacity), capacity)),
        ),
        mark("FIFO", Kind::Mark, |trace, capacity| {
            replay_promptly(trace, Fifo::new(capacity), Settling::Never)
        }),
        mark("LRU", Kind::Mark, |trace, capacity| {
            replay_promptly(trace, Lru::new(capacity), Settling::Never)
        }),
        mark("SIEVE", Kind::Mark, |trace, capacity| {
            replay_promptly(trace, Sieve::new(capacity), Settling::Never)
        }),
        mark("S3-FIFO", Kind::Mark, |trace, capacity| {
            replay_promptly(trace, S3Fifo::new(capacity), Settling::Never)
        }),
        mark("optimum", Kind::Optimum, optimum::hit_ratio),
    ]);
    columns
}

/// Without expiry it answers with what is dead as well, which would count as hits: where entries
/// expire, they are removed for it.
fn replay_quick_cache(trace: &Trace, capacity: usize) -> f64 {
    replay_promptly(trace, QuickCache::new(capacity), Settling::Never)
}
