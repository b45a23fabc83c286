//! Which caches this thread holds a lock of while callers' code runs: a call of
//! the same cache from there would wait for itself for ever, so it panics.

use std::cell::Cell;

use crate::shim::thread_local;

/// Closures of different caches within one another.
const NESTING_MAX: usize = 8;

thread_local! {
    // Without destructors and constant from the start: no allocation, and a
    // plain load to read.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static CACHES: [Cell<usize>; NESTING_MAX] = const { [const { Cell::new(0) }; NESTING_MAX] };
}

/// Marks a cache, by its address, as locked by this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Mark(());

impl Mark {
    pub(crate) fn new(cache: usize) -> Self {
        let depth = DEPTH.with(Cell::get);
        assert!(depth < NESTING_MAX, "closures of more than {NESTING_MAX} caches in one another");
        CACHES.with(|caches| caches[depth].set(cache));
        DEPTH.with(|held| held.set(depth + 1));
        Self(())
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// Panics if this thread is in callers' code that runs under a lock of that
/// cache.
#[inline]
pub(crate) fn assert_outside(cache: usize) {
    if DEPTH.with(Cell::get) > 0 {
        assert_outside_all(cache);
    }
}

#[cold]
fn assert_outside_all(cache: usize) {
    let depth = DEPTH.with(Cell::get);
    let is_inside = CACHES.with(|caches| caches[..depth].iter().any(|held| held.get() == cache));
    assert!(
        !is_inside,
        "punctual: the cache was called from within a closure (or a key's `Eq` or a value's \
         `Clone`) that runs under one of its locks; do it after that call has returned"
    );
}
