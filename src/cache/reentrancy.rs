//! Which caches this thread holds a lock of while callers' code runs: a call of the same
//! cache from there would deadlock, so it panics.
//!
//! Each call begins with one look at a counter. It is zero while callers' code runs, and after
//! every [`CALLS_UNCHECKED`] calls: then the call is checked.

use std::cell::Cell;

use crate::sync::shim::thread_local;

/// Closures of different caches within one another.
const NESTING_MAX: usize = 8;

/// Calls of a thread in a row that are not checked.
pub(crate) const CALLS_UNCHECKED: u32 = 32;

thread_local! {
    /// Calls of any cache that this thread may begin unchecked.
    static UNCHECKED_LEFT: Cell<u32> = const { Cell::new(0) };
    // Without destructors and constant from the start: no allocation, and a
    // plain load to read.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static CACHES: [Cell<usize>; NESTING_MAX] = const { [const { Cell::new(0) }; NESTING_MAX] };
}

/// Notes that this thread holds a lock of a cache, known by its address, until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct LockedScope {
    unchecked_left: u32,
}

impl LockedScope {
    pub(crate) fn new(cache: usize) -> Self {
        let depth = DEPTH.with(Cell::get);
        assert!(
            depth < NESTING_MAX,
            "punctual: closures of more than {NESTING_MAX} caches run within one another"
        );
        CACHES.with(|caches| caches[depth].set(cache));
        DEPTH.with(|held| held.set(depth + 1));
        Self { unchecked_left: UNCHECKED_LEFT.with(|left| left.replace(0)) }
    }
}

impl Drop for LockedScope {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
        UNCHECKED_LEFT.with(|left| left.set(self.unchecked_left));
    }
}

/// The scope of every lock in debug builds, where it also detects calls from a key's `Eq`
/// or a value's `Clone`, and [orders of locks](super::lock_order) that may deadlock. In release
/// builds it is nothing.
#[derive(Debug)]
#[cfg_attr(debug_assertions, expect(dead_code, reason = "held for its `Drop`"))]
pub(crate) struct DebugScope(#[cfg(debug_assertions)] LockedScope);

impl DebugScope {
    /// The scope of a lock of a cache whose entries are of that type; before it is locked, so
    /// that a panic leaves no lock held.
    #[inline]
    #[cfg_attr(not(debug_assertions), expect(unused_variables))]
    pub(crate) fn new(cache: usize, entry: &'static str) -> Self {
        #[cfg(debug_assertions)]
        let scope = LockedScope::new(cache);
        #[cfg(debug_assertions)]
        note_order(cache, entry);
        Self(
            #[cfg(debug_assertions)]
            scope,
        )
    }
}

/// Notes the order in which this thread locks the cache of the innermost scope.
#[cfg(debug_assertions)]
fn note_order(cache: usize, entry: &'static str) {
    let outer = DEPTH.with(Cell::get) - 1;
    if outer > 0 {
        let held: [usize; NESTING_MAX] =
            CACHES.with(|caches| std::array::from_fn(|position| caches[position].get()));
        super::lock_order::note(&held[..outer], cache, entry);
    }
}

/// The scope of a caller's closure, in all builds. In debug builds the lock has it already.
#[derive(Debug)]
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "held for its `Drop`"))]
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

/// Counts a call. Returns whether it is to be checked.
#[inline]
pub(crate) fn begin_call() -> bool {
    UNCHECKED_LEFT.with(|left| {
        let is_checked = left.get() == 0;
        if !is_checked {
            left.set(left.get() - 1);
        }
        is_checked
    })
}

/// Checks a call: panics if this thread is in callers' code that runs under a lock of that
/// cache. If it is in none, some calls from here on are not checked.
pub(crate) fn assert_not_inside(cache: usize, name: Option<&str>) {
    let depth = DEPTH.with(Cell::get);
    if depth == 0 {
        UNCHECKED_LEFT.with(|left| left.set(CALLS_UNCHECKED));
    }
    let is_inside = CACHES.with(|caches| caches[..depth].iter().any(|held| held.get() == cache));
    let (quote, name) = name.map_or(("", ""), |name| ("`", name));
    let space = if name.is_empty() { "" } else { " " };
    assert!(
        !is_inside,
        "punctual: the cache{space}{quote}{name}{quote} was called from within a closure (or a key's `Eq` or a value's \
         `Clone`) that runs under one of its locks; this would deadlock: move the call outside \
         the closure"
    );
}
