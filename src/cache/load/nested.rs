//! Detects recursive loads that the table of loads in flight had no room for: a loader that
//! asks for its own key would run within itself.
//!
//! Such loads are nested on the thread's stack, so they are tracked on a stack here, too, of
//! the innermost [`DEPTH_TRACKED`] loads. Loads that are nested deeper share its last entry,
//! which is overwritten at each depth that is a power of two (Brent's cycle detection): so
//! an infinite recursion over any cycle of keys is always detected, and one that asks once,
//! if it is not too deep.

use std::cell::Cell;

use crate::shard::key_hash::KeyHash;
use crate::sync::shim::thread_local;

const DEPTH_TRACKED: usize = 16;

/// A load: the address of its shard's table, which is not zero, and its key's hash.
type Load = (usize, Option<KeyHash>);

const NONE: Load = (0, None);

thread_local! {
    // Without destructors and constant from the start: no allocation.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LOADS: [Cell<Load>; DEPTH_TRACKED] = const { [const { Cell::new(NONE) }; DEPTH_TRACKED] };
}

/// The stack entry of the load at that depth, if it has one.
fn entry(depth: usize) -> Option<usize> {
    match depth {
        0..DEPTH_TRACKED => Some(depth),
        _ if depth.is_power_of_two() => Some(DEPTH_TRACKED - 1),
        _ => None,
    }
}

/// Marks a load as running on this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct NestedLoadScope(());

impl NestedLoadScope {
    pub(crate) fn new(table: usize, hash: KeyHash) -> Self {
        let depth = DEPTH.with(Cell::get);
        if let Some(entry) = entry(depth) {
            LOADS.with(|loads| loads[entry].set((table, Some(hash))));
        }
        DEPTH.with(|held| held.set(depth + 1));
        Self(())
    }
}

impl Drop for NestedLoadScope {
    fn drop(&mut self) {
        let depth = DEPTH.with(Cell::get) - 1;
        if let Some(entry) = entry(depth) {
            LOADS.with(|loads| loads[entry].set(NONE));
        }
        DEPTH.with(|held| held.set(depth));
    }
}

/// # Panics
///
/// If this thread is loading the key already.
pub(crate) fn assert_not_nested(table: usize, hash: KeyHash) {
    if DEPTH.with(Cell::get) == 0 {
        return;
    }
    let is_running = LOADS.with(|loads| loads.iter().any(|load| load.get() == (table, Some(hash))));
    assert!(
        !is_running,
        "punctual: recursive load: a loader asked for its own key (or one of the same hash), \
         which would recurse without end"
    );
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn hash(key: usize) -> KeyHash {
        KeyHash::new(&foldhash::fast::FixedState::with_seed(1), &key)
    }

    /// Runs loads within loads, of the keys in turn, until one asks for its own or
    /// they lie so deep; how deep they were.
    fn nest(keys: &[usize], depth: usize, depth_max: usize) -> usize {
        let hash = hash(keys[depth.min(keys.len() - 1)]);
        if depth == depth_max || catch_unwind(|| assert_not_nested(1, hash)).is_err() {
            return depth;
        }
        let _running = NestedLoadScope::new(1, hash);
        nest(keys, depth + 1, depth_max)
    }

    #[test]
    fn loads_of_different_keys_lie_as_deep_as_they_like() {
        let keys: Vec<_> = (0..1_000).collect();
        assert_eq!(nest(&keys, 0, 1_000), 1_000);
        assert_eq!(nest(&keys, 0, 1_000), 1_000, "nothing is left of them");
        for key in keys {
            assert_not_nested(1, hash(key));
        }
    }

    #[test]
    fn a_load_is_known_as_long_as_it_runs() {
        for depth in 0..DEPTH_TRACKED {
            let running: Vec<_> =
                (0..=depth).map(|key| NestedLoadScope::new(1, hash(key))).collect();
            assert!(catch_unwind(|| assert_not_nested(1, hash(depth))).is_err());
            assert_not_nested(2, hash(depth));
            assert_not_nested(1, hash(depth + 1));
            drop(running);
            assert_not_nested(1, hash(depth));
        }
    }

    /// So many loads of different keys, and then some that ask for each other.
    #[test]
    fn no_circle_goes_on_for_ever() {
        for before in [0, 1, DEPTH_TRACKED - 1, DEPTH_TRACKED, 100] {
            for period in [1, 2, 3, 7, 100] {
                let turns = (0..10_000).map(|claim| before + claim % period);
                let keys: Vec<_> = (0..before).chain(turns).collect();
                let depth = nest(&keys, 0, 10_000);
                let most = 2 * (before + period).max(DEPTH_TRACKED) + period;
                assert!(depth <= most, "{depth} loads deep: {before} and {period}");
            }
        }
    }
}
