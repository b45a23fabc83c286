//! Memory: bytes an entry and allocations an insert, as the allocator counts them.

use std::io::{Write, stderr};

use punctual::Eviction;
use serde::{Deserialize, Serialize};

use crate::allocator::Counting;
use crate::bars::memory::capacities;
use crate::speed::field;
use crate::speed::keys::Material;
use crate::speed::work::ttl;
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

/// The short matrix ends here.
const SHORT_MAX: usize = 300_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryResult {
    pub(crate) subject: String,
    pub(crate) material: String,
    pub(crate) capacity: usize,
    /// Requested from the allocator and not given back, by the full cache with its contents.
    pub(crate) bytes: usize,
    /// Of punctual, what it said before it was built; contents are not in it.
    pub(crate) bytes_said: Option<usize>,
    /// For an insert of a fresh key into the full cache, besides the key and the value.
    pub(crate) allocations_an_insert: f64,
}

/// Measures all caches at several capacities.
pub(crate) fn run(full: bool) -> Vec<MemoryResult> {
    let mut results = Vec::new();
    let all: Vec<usize> = capacities().collect();
    let chosen: Vec<usize> = if full {
        all
    } else {
        all.into_iter().filter(|&capacity| capacity <= SHORT_MAX).collect()
    };
    for capacity in chosen {
        _ = writeln!(stderr(), "memory: {capacity} entries ...");
        measure_all::<u64>(capacity, &mut results);
        if full || capacity > SHORT_MAX / 2 {
            measure_all::<String>(capacity, &mut results);
        }
    }
    results
}

fn measure_all<M: Material>(capacity: usize, results: &mut Vec<MemoryResult>) {
    let said = PunctualCache::<M, M>::footprint_bytes(capacity);
    let long = std::time::Duration::from_secs(3600);
    let own = field::punctual().name;
    let default = Eviction::default();
    results
        .push(measure::<M, _>(own, capacity, Some(said), || PunctualCache::new(capacity, default)));
    results.push(measure::<M, _>(field::UNSYNC.name, capacity, None, || {
        PunctualUnsync::new(capacity, default, punctual::SystemClock)
    }));
    results.push(measure::<M, _>(field::ORIGINAL.name, capacity, None, || Original::new(capacity)));
    results.push(measure::<M, _>(field::MOKA_TTL.name, capacity, None, || {
        MokaTtl::new(capacity, long)
    }));
    results.push(measure::<M, _>(field::MOKA_EXPIRY.name, capacity, None, || {
        MokaExpiry::new(capacity)
    }));
    results.push(measure::<M, _>(field::MINI_MOKA.name, capacity, None, || {
        MiniMoka::new(capacity, long)
    }));
    results.push(measure::<M, _>(field::STRETTO.name, capacity, None, || Stretto::new(capacity)));
    results.push(measure::<M, _>(field::QUICK_CACHE.name, capacity, None, || {
        QuickCache::new(capacity)
    }));
    results.push(measure::<M, _>(field::QUICK_CACHE_DEADLINE.name, capacity, None, || {
        QuickCacheDeadline::new(capacity, RealTime)
    }));
    results.push(measure::<M, _>(field::LRU_DEADLINE.name, capacity, None, || {
        LruDeadline::new(capacity, RealTime)
    }));
    results
        .push(measure::<M, _>(field::TTL_CACHE.name, capacity, None, || TtlCache::new(capacity)));
}

fn measure<M: Material, S: Subject<M, M>>(
    name: &str,
    capacity: usize,
    bytes_said: Option<usize>,
    make: impl FnOnce() -> S,
) -> MemoryResult {
    let counting = Counting::start();
    let before = counting.bytes_held();
    let mut subject = make();
    let mut next = 0;
    // Stretto looks at all entries to evict one: twice over would take hours.
    let evicts_slowly = name == field::STRETTO.name;
    // Twice over, so that all has grown that grows.
    let fill = if evicts_slowly { capacity } else { 2 * capacity };
    insert_fresh::<M, S>(&mut subject, &mut next, fill);
    let bytes = usize::try_from(counting.bytes_held() - before).unwrap_or(0);
    // A key and a value of a string are an allocation each, in whatever cache.
    let own_allocations = if std::mem::needs_drop::<M>() { 2.0 } else { 0.0 };
    let inserts = if evicts_slowly { 256 } else { (capacity / 2).max(1) };
    let before = counting.allocations();
    insert_fresh::<M, S>(&mut subject, &mut next, inserts);
    let allocations = (counting.allocations() - before) as f64 / inserts as f64;
    drop(counting);
    drop(subject);
    MemoryResult {
        subject: name.to_owned(),
        material: M::NAME.to_owned(),
        capacity,
        bytes,
        bytes_said,
        allocations_an_insert: allocations - own_allocations,
    }
}

fn insert_fresh<M: Material, S: Subject<M, M>>(subject: &mut S, next: &mut u64, count: usize) {
    for number in 0..count {
        subject.insert(M::key(*next), M::value(*next), ttl(number));
        *next += 1;
        if number % 256 == 0 {
            subject.settle();
        }
    }
    for _ in 0..4 {
        subject.settle();
    }
}
