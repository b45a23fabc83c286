//! The loads in flight of one shard: a small table that says who loads what, so
//! that others wait instead of loading the same.
//!
//! It lies beside the entries: a pending load takes no entry's place and evicts
//! nothing. A load is known by its key's hash. Two keys
//! of one 64-bit hash wait for each other, and then each finds or loads its own.
//!
//! A child that is forked has its parent's loads in the table, and nobody who would
//! end them: they are forgotten when the child first asks for a turn. So a load ends
//! by its hash and its loader, and ends nobody else's.

use arrayvec::ArrayVec;
use forkguard::Guard;

use crate::shard::key_hash::KeyHash;

/// Loads that one shard keeps track of; more run without others waiting.
const LOADS_MAX: usize = 8;

/// Who runs a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    /// The thread of that number: see [`thread_number`].
    Thread(u64),
    /// A future, wherever it is polled.
    #[cfg(feature = "async")]
    Future,
}

#[derive(Debug)]
struct Load {
    hash: KeyHash,
    loader: Loader,
    /// Whether what it brings is to be stored: not if the key was set, removed
    /// or cleared meanwhile.
    is_wanted: bool,
}

/// What a caller that has found no entry shall do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Load: it is tracking, and others wait.
    Load,
    /// Load: there is no room to note it.
    LoadUnshared,
    /// Wait until something has changed, and look again.
    Wait,
}

#[derive(Debug)]
pub(crate) struct Loads {
    in_flight: ArrayVec<Load, LOADS_MAX>,
    /// Tells the process that the loads are in from a forked child. `None` where
    /// that cannot be told.
    process: Option<Guard>,
}

impl Default for Loads {
    fn default() -> Self {
        Self { in_flight: ArrayVec::new(), process: Guard::try_new().ok() }
    }
}

impl Loads {
    /// # Panics
    ///
    /// If this thread is loading the key already: it would wait for itself.
    pub(crate) fn turn(&mut self, hash: KeyHash, loader: Loader) -> Turn {
        if self.process.as_mut().is_some_and(Guard::detected_fork) {
            self.in_flight.clear();
        }
        if let Some(load) = self.in_flight.iter().find(|load| load.hash == hash) {
            assert!(
                load.loader != loader || !matches!(loader, Loader::Thread(_)),
                "punctual: a loader asked for its own key (or one of the same hash), for which it \
                 would wait for ever"
            );
            return Turn::Wait;
        }
        match self.in_flight.try_push(Load { hash, loader, is_wanted: true }) {
            Ok(()) => Turn::Load,
            Err(_) => Turn::LoadUnshared,
        }
    }

    /// Notes the end of a load, and says whether what it brings is to be stored: not
    /// if it has been forgotten.
    pub(crate) fn end(&mut self, hash: KeyHash, loader: Loader) -> bool {
        let is_it = |load: &Load| load.hash == hash && load.loader == loader;
        let position = self.in_flight.iter().position(is_it);
        position.is_some_and(|position| self.in_flight.swap_remove(position).is_wanted)
    }

    /// The key was set or removed: what a load brings for it is out of date.
    pub(crate) fn overrule(&mut self, hash: KeyHash) {
        for load in self.in_flight.iter_mut().filter(|load| load.hash == hash) {
            load.is_wanted = false;
        }
    }

    /// [`overrule`](Self::overrule) for every key.
    pub(crate) fn overrule_all(&mut self) {
        for load in &mut self.in_flight {
            load.is_wanted = false;
        }
    }

    /// Whether somebody loads the key.
    pub(crate) fn is_loading(&self, hash: KeyHash) -> bool {
        self.in_flight.iter().any(|load| load.hash == hash)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }
}

/// A number of this thread's own. std's thread ids would do, but asking for one
/// may allocate in a thread that Rust has not started.
pub(crate) fn thread_number() -> u64 {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::shim::thread_local;

    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> KeyHash {
        KeyHash::new(&foldhash::fast::FixedState::with_seed(1), &key)
    }

    #[test]
    fn one_loads_and_others_wait() {
        let mut loads = Loads::default();
        assert_eq!(loads.turn(hash(1), Loader::Thread(1)), Turn::Load);
        assert_eq!(loads.turn(hash(1), Loader::Thread(2)), Turn::Wait);
        assert_eq!(loads.turn(hash(2), Loader::Thread(2)), Turn::Load);
        loads.overrule(hash(2));
        assert!(!loads.end(hash(1), Loader::Thread(2)), "another's load");
        assert!(loads.is_loading(hash(1)));
        assert!(loads.end(hash(1), Loader::Thread(1)));
        assert!(!loads.is_loading(hash(1)), "it has ended, and the other one goes on");
        assert!(!loads.end(hash(2), Loader::Thread(2)));
        assert!(loads.is_empty());
        assert_eq!(loads.turn(hash(1), Loader::Thread(2)), Turn::Load);
    }

    #[test]
    fn a_full_table_lets_loaders_run_unshared() {
        let mut loads = Loads::default();
        for key in 0..LOADS_MAX as u64 {
            assert_eq!(loads.turn(hash(key), Loader::Thread(key)), Turn::Load);
        }
        assert_eq!(loads.turn(hash(99), Loader::Thread(99)), Turn::LoadUnshared);
        assert_eq!(loads.turn(hash(0), Loader::Thread(99)), Turn::Wait);
        loads.overrule_all();
        assert!(!loads.end(hash(3), Loader::Thread(3)));
    }

    #[test]
    #[should_panic(expected = "a loader asked for its own key")]
    fn a_loader_does_not_wait_for_itself() {
        let mut loads = Loads::default();
        loads.turn(hash(1), Loader::Thread(1));
        loads.turn(hash(1), Loader::Thread(1));
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = thread_number();
        assert_eq!(here, thread_number());
        let there = std::thread::spawn(thread_number).join().unwrap();
        assert_ne!(here, there);
    }
}
