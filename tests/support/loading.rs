//! What the tests of loaders have in common, be they of threads or of futures.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual::Cache;

/// Loads that one shard has room for.
pub(crate) const LOADS_MAX: u64 = 8;

pub(crate) fn in_shards(shards: usize) -> Cache<u64, u64> {
    Cache::builder()
        .capacity(100)
        .shards(shards)
        .concurrent_loads(LOADS_MAX as usize)
        .build()
        .unwrap()
}

pub(crate) fn in_one_shard() -> Cache<u64, u64> {
    in_shards(1)
}

/// Counts how many loaders run at once, and how many ran at all.
#[derive(Default)]
pub(crate) struct Turns {
    running: AtomicUsize,
    runs: AtomicU64,
}

impl Turns {
    /// The number of this turn, from 0; it ends when it is dropped.
    pub(crate) fn take(&self) -> (u64, impl Drop + '_) {
        struct Turn<'a>(&'a AtomicUsize);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        assert_eq!(self.running.fetch_add(1, SeqCst), 0, "two loaders run at once");
        let turn = Turn(&self.running);
        // Whoever else might run has a chance to.
        for _ in 0..20 {
            thread::yield_now();
        }
        (self.runs.fetch_add(1, SeqCst), turn)
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(SeqCst)
    }
}

/// What happens to key 1 while it is being loaded, with the value 1.
pub(crate) type Meanwhile = (&'static str, fn(&Cache<u64, u64>), Option<u64>);

/// With what is there afterwards.
pub(crate) const MEANWHILE: [Meanwhile; 12] = [
    ("nothing", |_| (), Some(1)),
    ("remove", |cache| _ = cache.remove(&1), None),
    ("insert", |cache| _ = cache.insert(1, 2), Some(2)),
    ("insert_with_ttl", |cache| _ = cache.insert_with_ttl(1, 2, Duration::MAX), Some(2)),
    ("insert_with_ttl, zero", |cache| _ = cache.insert_with_ttl(1, 2, Duration::ZERO), None),
    ("insert_many", |cache| cache.insert_many((0..20).map(|key| (key, 2))), Some(2)),
    (
        "insert_many_with_ttl, zero",
        |cache| cache.insert_many_with_ttl([(1, 2)], Duration::ZERO),
        None,
    ),
    ("clear", |cache| cache.clear(), None),
    (
        "insert and remove",
        |cache| {
            cache.insert(1, 2);
            cache.remove(&1);
        },
        None,
    ),
    (
        "insert and expire",
        |cache| {
            cache.insert(1, 2);
            cache.set_ttl(&1, Duration::ZERO);
        },
        None,
    ),
    ("remove another", |cache| _ = cache.remove(&2), Some(1)),
    ("insert another", |cache| _ = cache.insert(3, 3), Some(1)),
];
