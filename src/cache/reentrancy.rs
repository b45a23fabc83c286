//! Which caches this thread holds a lock of while callers' code runs: a call of the same
//! cache from there would deadlock, so it panics.

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

/// Notes that this thread holds a lock of a cache, known by its address, until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct LockedScope(());

impl LockedScope {
    pub(crate) fn new(cache: usize) -> Self {
        let depth = DEPTH.with(Cell::get);
        assert!(
            depth < NESTING_MAX,
            "punctual: closures of more than {NESTING_MAX} caches run within one another"
        );
        CACHES.with(|caches| caches[depth].set(cache));
        DEPTH.with(|held| held.set(depth + 1));
        Self(())
    }
}

impl Drop for LockedScope {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// The scope of every lock in debug builds, where it also detects calls from a key's `Eq`
/// or a value's `Clone`. In release builds it is nothing.
#[derive(Debug)]
pub(crate) struct DebugScope(#[cfg(debug_assertions)] LockedScope);

impl DebugScope {
    #[inline]
    #[cfg_attr(not(debug_assertions), expect(unused_variables))]
    pub(crate) fn new(cache: usize) -> Self {
        Self(
            #[cfg(debug_assertions)]
            LockedScope::new(cache),
        )
    }
}

/// The scope of a caller's closure, in all builds. In debug builds the lock has it already.
#[derive(Debug)]
pub(crate) struct ClosureScope(#[cfg(not(debug_assertions))] LockedScope);

impl ClosureScope {
    #[inline]
    #[cfg_attr(debug_assertions, expect(unused_variables))]
    pub(crate) fn new(cache: usize) -> Self {
        Self(
            #[cfg(not(debug_assertions))]
            LockedScope::new(cache),
        )
    }
}

/// Panics if this thread is in callers' code that runs under a lock of that cache.
#[inline]
pub(crate) fn assert_not_inside(cache: usize) {
    if DEPTH.with(Cell::get) > 0 {
        assert_not_inside_any(cache);
    }
}

#[cold]
fn assert_not_inside_any(cache: usize) {
    let depth = DEPTH.with(Cell::get);
    let is_inside = CACHES.with(|caches| caches[..depth].iter().any(|held| held.get() == cache));
    assert!(
        !is_inside,
        "punctual: the cache was called from within a closure (or a key's `Eq` or a value's \
         `Clone`) that runs under one of its locks; this would deadlock: move the call outside \
         the closure"
    );
}
