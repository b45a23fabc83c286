//! The loads that this thread runs and that a shard's table has no room for: should
//! a loader ask for its own key, it would run within itself, for ever if it asks
//! each time.
//!
//! Such loads lie in one another on the thread's stack, so they are a stack here
//! too. It has as many places as would ever be used, and loads that lie deeper than
//! that share the last one, by turns: it is taken at each depth that is a power of
//! two. So who asks for its own key for ever is always found out (the last place
//! holds still for as many loads as there were before, and one of those asks for the
//! same again: Brent's way to find a cycle), and who asks once, if it is not too deep.

use std::cell::Cell;

use crate::shard::key_hash::KeyHash;
use crate::shim::thread_local;

const PLACES: usize = 16;

/// A load: the address of its shard's table, which is not zero, and its key's hash.
type Load = (usize, Option<KeyHash>);

const NONE: Load = (0, None);

thread_local! {
    // Without destructors and constant from the start: no allocation.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LOADS: [Cell<Load>; PLACES] = const { [const { Cell::new(NONE) }; PLACES] };
}

/// The place of the load that lies in so many others, if it has one.
fn place(depth: usize) -> Option<usize> {
    match depth {
        0..PLACES => Some(depth),
        _ if depth.is_power_of_two() => Some(PLACES - 1),
        _ => None,
    }
}

/// Notes that this thread runs a load, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running(());

impl Running {
    pub(crate) fn new(table: usize, hash: KeyHash) -> Self {
        let depth = DEPTH.with(Cell::get);
        if let Some(place) = place(depth) {
            LOADS.with(|loads| loads[place].set((table, Some(hash))));
        }
        DEPTH.with(|held| held.set(depth + 1));
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let depth = DEPTH.with(Cell::get) - 1;
        if let Some(place) = place(depth) {
            LOADS.with(|loads| loads[place].set(NONE));
        }
        DEPTH.with(|held| held.set(depth));
    }
}

/// # Panics
///
/// If this thread is loading the key already.
pub(crate) fn assert_not_running(table: usize, hash: KeyHash) {
    if DEPTH.with(Cell::get) == 0 {
        return;
    }
    let is_running = LOADS.with(|loads| loads.iter().any(|load| load.get() == (table, Some(hash))));
    assert!(
        !is_running,
        "punctual: a loader asked for its own key (or one of the same hash): it would run \
         within itself"
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
        if depth == depth_max || catch_unwind(|| assert_not_running(1, hash)).is_err() {
            return depth;
        }
        let _running = Running::new(1, hash);
        nest(keys, depth + 1, depth_max)
    }

    #[test]
    fn loads_of_different_keys_lie_as_deep_as_they_like() {
        let keys: Vec<_> = (0..1_000).collect();
        assert_eq!(nest(&keys, 0, 1_000), 1_000);
        assert_eq!(nest(&keys, 0, 1_000), 1_000, "nothing is left of them");
        for key in keys {
            assert_not_running(1, hash(key));
        }
    }

    #[test]
    fn a_load_is_known_as_long_as_it_runs() {
        for depth in 0..PLACES {
            let running: Vec<_> = (0..=depth).map(|key| Running::new(1, hash(key))).collect();
            assert!(catch_unwind(|| assert_not_running(1, hash(depth))).is_err());
            assert_not_running(2, hash(depth));
            assert_not_running(1, hash(depth + 1));
            drop(running);
            assert_not_running(1, hash(depth));
        }
    }

    /// So many loads of different keys, and then some that ask for each other.
    #[test]
    fn no_circle_goes_on_for_ever() {
        for before in [0, 1, PLACES - 1, PLACES, 100] {
            for period in [1, 2, 3, 7, 100] {
                let turns = (0..10_000).map(|turn| before + turn % period);
                let keys: Vec<_> = (0..before).chain(turns).collect();
                let depth = nest(&keys, 0, 10_000);
                let most = 2 * (before + period).max(PLACES) + period;
                assert!(depth <= most, "{depth} loads deep: {before} and {period}");
            }
        }
    }
}
