//! The loads in flight of one shard: a small table, so that other callers of a key wait
//! instead of loading it too (single flight).
//!
//! It is apart from the entries: a load in flight takes no slot and evicts nothing. A load
//! is known by its key's hash. Two keys of one 64-bit hash wait for each other, and then
//! each finds or loads its own.
//!
//! A forked child has its parent's loads in the table, and no thread that would end them:
//! they are dropped when the child first claims a load. So a load is ended by its hash and
//! its loader, and no caller ends another's.

use std::num::NonZeroU64;

use arrayvec::ArrayVec;
use forkguard::Guard;

use crate::shard::key_hash::KeyHash;

/// Loads that one shard tracks; more run without others waiting.
const LOADS_MAX: usize = 8;

/// What runs a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    /// The thread of that number: see [`thread_number`].
    Thread(NonZeroU64),
    /// A future, wherever it is polled.
    #[cfg_attr(not(feature = "async"), expect(dead_code))]
    Future,
}

#[derive(Debug)]
struct Load {
    hash: KeyHash,
    loader: Loader,
    /// Whether its value is to be stored: not if the key was set, removed or cleared
    /// meanwhile.
    is_valid: bool,
}

/// What a caller that has found no entry is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Load: the others of that key wait.
    Leader,
    /// Load: there is no room in the table, and no caller waits.
    Untracked,
    /// Wait for the leader, and look again.
    Follower,
}

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    loads: ArrayVec<Load, LOADS_MAX>,
    /// Detects a forked child.
    process: Guard,
}

impl InFlight {
    /// # Panics
    ///
    /// If this thread is loading the key already: it would wait for itself.
    pub(crate) fn claim(&mut self, hash: KeyHash, loader: Loader) -> Claim {
        if self.process.detected_fork() {
            self.loads.clear();
        }
        if let Some(load) = self.loads.iter().find(|load| load.hash == hash) {
            assert!(
                load.loader != loader || !matches!(loader, Loader::Thread(_)),
                "punctual: recursive load: a loader asked for its own key (or one of the same hash), \
                 which would deadlock"
            );
            return Claim::Follower;
        }
        match self.loads.try_push(Load { hash, loader, is_valid: true }) {
            Ok(()) => Claim::Leader,
            Err(_) => Claim::Untracked,
        }
    }

    /// Ends a load. Returns whether its value is to be stored: not if the load is no longer
    /// in the table.
    pub(crate) fn end(&mut self, hash: KeyHash, loader: Loader) -> bool {
        let is_this = |load: &Load| load.hash == hash && load.loader == loader;
        let position = self.loads.iter().position(is_this);
        position.is_some_and(|position| self.loads.swap_remove(position).is_valid)
    }

    /// The key, or any key if none is given, was set or removed: what a load in flight brings
    /// for it is out of date.
    pub(crate) fn invalidate(&mut self, hash: Option<KeyHash>) {
        for load in self.loads.iter_mut().filter(|load| hash.is_none_or(|it| it == load.hash)) {
            load.is_valid = false;
        }
    }

    /// Returns whether the key is being loaded.
    pub(crate) fn is_loading(&self, hash: KeyHash) -> bool {
        self.loads.iter().any(|load| load.hash == hash)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.loads.is_empty()
    }
}

/// Returns a number that no other thread has. std's thread ids would do, but asking for one
/// may allocate in a thread that Rust has not started.
pub(crate) fn thread_number() -> NonZeroU64 {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::shim::thread_local;

    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        let new = || NonZeroU64::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let this = number.get().unwrap_or_else(new);
        number.set(Some(this));
        this
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(number: u64) -> Loader {
        Loader::Thread(NonZeroU64::MIN.saturating_add(number))
    }

    fn hash(key: u64) -> KeyHash {
        KeyHash::new(&foldhash::fast::FixedState::with_seed(1), &key)
    }

    #[test]
    fn one_loads_and_others_wait() {
        let mut loads = InFlight::default();
        assert_eq!(loads.claim(hash(1), thread(1)), Claim::Leader);
        assert_eq!(loads.claim(hash(1), thread(2)), Claim::Follower);
        assert_eq!(loads.claim(hash(2), thread(2)), Claim::Leader);
        loads.invalidate(Some(hash(2)));
        assert!(!loads.end(hash(1), thread(2)), "another's load");
        assert!(loads.is_loading(hash(1)));
        assert!(loads.end(hash(1), thread(1)));
        assert!(!loads.is_loading(hash(1)), "it has ended, and the other one goes on");
        assert!(!loads.end(hash(2), thread(2)));
        assert!(loads.is_empty());
        assert_eq!(loads.claim(hash(1), thread(2)), Claim::Leader);
    }

    #[test]
    fn a_full_table_lets_loaders_run_untracked() {
        let mut loads = InFlight::default();
        for key in 0..LOADS_MAX as u64 {
            assert_eq!(loads.claim(hash(key), thread(key)), Claim::Leader);
        }
        assert_eq!(loads.claim(hash(99), thread(99)), Claim::Untracked);
        assert_eq!(loads.claim(hash(0), thread(99)), Claim::Follower);
        loads.invalidate(None);
        assert!(!loads.end(hash(3), thread(3)));
    }

    #[test]
    #[should_panic(expected = "recursive load")]
    fn a_recursive_load_panics() {
        let mut loads = InFlight::default();
        loads.claim(hash(1), thread(1));
        loads.claim(hash(1), thread(1));
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = thread_number();
        assert_eq!(here, thread_number());
        let there = std::thread::spawn(thread_number).join().unwrap();
        assert_ne!(here, there);
    }
}
