//! The loads in flight of one shard: a small table, so that other callers of a key wait
//! instead of loading it too (single flight).
//!
//! It is apart from the entries: a load in flight takes no slot and evicts nothing. A load
//! is known by its key's hash. Two keys of one 64-bit hash wait for each other, and then
//! each finds or loads its own.
//!
//! A forked child has its parent's loads in the table, and no thread that would end them:
//! they are dropped when the child first claims a load. So a load is ended by its id, which
//! no other has, and no caller ends another's.

use std::num::NonZeroU64;

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

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a value that was stored, or would have been, had its key not been set or removed
    /// meanwhile.
    Stored,
    /// With a value that is not to be stored, since its TTL is zero.
    NotStored,
    /// With an error, or a panic.
    Failed,
    /// Its future was dropped before it was done.
    Abandoned,
}

/// What a leader and its followers know a load by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadId {
    hash: KeyHash,
    /// Tells loads of one key apart that were at the same position.
    generation: u32,
    position: u8,
}

#[derive(Debug)]
struct Load {
    hash: KeyHash,
    loader: Loader,
    generation: u32,
    /// Callers that wait for it. The load stays in the table until the last one has seen its
    /// end, or until its place is needed. From `u16::MAX` on they are no longer counted.
    followers: u16,
    /// Whether its value is to be stored: not if the key was set, removed or cleared
    /// meanwhile.
    is_valid: bool,
    end: Option<End>,
}

impl Load {
    fn is(&self, id: LoadId) -> bool {
        self.hash == id.hash && self.generation == id.generation
    }
}

/// What a caller that has found no entry is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Load: the others of that key wait.
    Leader(LoadId),
    /// Load: there is no room in the table, and no caller waits.
    Untracked,
    /// Wait for this load.
    Follower(LoadId),
}

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    loads: [Option<Load>; LOADS_MAX],
    next_generation: u32,
    /// Detects a forked child.
    process: Guard,
}

impl InFlight {
    /// # Panics
    ///
    /// If this thread is loading the key already: it would wait for itself.
    pub(crate) fn claim(&mut self, hash: KeyHash, loader: Loader) -> Claim {
        if self.process.detected_fork() {
            self.loads = Default::default();
        }
        if let Some(load) = self.in_flight(hash) {
            assert!(
                load.loader != loader || !matches!(loader, Loader::Thread(_)),
                "punctual: recursive load: a loader asked for its own key (or one of the same hash), \
                 which would deadlock"
            );
            load.followers = load.followers.saturating_add(1);
            let generation = load.generation;
            let position = self.position(hash).expect("it is in flight");
            return Claim::Follower(LoadId { hash, position, generation });
        }
        let vacant = self.loads.iter().position(Option::is_none);
        // Else one that has ended: followers that have not seen its end will look again.
        let has_ended = |load: &Option<Load>| load.as_ref().is_some_and(|it| it.end.is_some());
        let Some(position) = vacant.or_else(|| self.loads.iter().position(has_ended)) else {
            return Claim::Untracked;
        };
        let generation = self.next_generation;
        let load = Load { hash, loader, generation, followers: 0, is_valid: true, end: None };
        self.loads[position] = Some(load);
        self.next_generation = generation.wrapping_add(1);
        Claim::Leader(LoadId { hash, position: position as u8, generation })
    }

    /// Ends a load. Returns whether its value is to be stored. It is not if a forked child has
    /// dropped the load.
    pub(crate) fn end(&mut self, id: LoadId, end: End) -> bool {
        let Some(load) = self.load_mut(id) else { return false };
        let is_valid = load.is_valid;
        // Whatever it was, its followers look at what the key was set to.
        load.end = Some(if is_valid { end } else { End::Abandoned });
        self.vacate_if_done(id.position);
        is_valid
    }

    /// Returns how a load ended; `None` if it is in flight.
    pub(crate) fn end_of(&self, id: LoadId) -> Option<End> {
        let load = self.loads[usize::from(id.position)].as_ref();
        match load.filter(|load| load.is(id)) {
            Some(load) => load.end,
            // Its place was needed, or a forked child has dropped it.
            None => Some(End::Abandoned),
        }
    }

    /// A follower waits no longer.
    pub(crate) fn leave(&mut self, id: LoadId) {
        let Some(load) = self.load_mut(id) else { return };
        if load.followers != u16::MAX {
            load.followers -= 1;
        }
        self.vacate_if_done(id.position);
    }

    fn load_mut(&mut self, id: LoadId) -> Option<&mut Load> {
        self.loads[usize::from(id.position)].as_mut().filter(|load| load.is(id))
    }

    fn vacate_if_done(&mut self, position: u8) {
        self.loads[usize::from(position)].take_if(|load| load.followers == 0 && load.end.is_some());
    }

    /// The key, or any key if none is given, was set or removed: what a load in flight brings
    /// for it is out of date.
    pub(crate) fn invalidate(&mut self, hash: Option<KeyHash>) {
        for load in self.loads.iter_mut().flatten() {
            load.is_valid &= hash.is_some_and(|hash| hash != load.hash);
        }
    }

    /// Returns the position of the load of a key that is in flight.
    fn position(&self, hash: KeyHash) -> Option<u8> {
        let is_it = |load: &Load| load.hash == hash && load.end.is_none();
        let position = self.loads.iter().position(|load| load.as_ref().is_some_and(is_it))?;
        Some(position as u8)
    }

    fn in_flight(&mut self, hash: KeyHash) -> Option<&mut Load> {
        let position = self.position(hash)?;
        self.loads[usize::from(position)].as_mut()
    }

    /// Returns whether no load is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.loads.iter().flatten().all(|load| load.end.is_some())
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        self.loads.iter().all(Option::is_none)
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

    fn lead(loads: &mut InFlight, key: u64) -> LoadId {
        let Claim::Leader(id) = loads.claim(hash(key), thread(key)) else {
            panic!("key {key} is in flight, or there is no room");
        };
        id
    }

    fn follow(loads: &mut InFlight, key: u64) -> LoadId {
        let Claim::Follower(id) = loads.claim(hash(key), thread(99)) else {
            panic!("key {key} is not in flight");
        };
        id
    }

    #[test]
    fn one_loads_and_others_wait() {
        let mut loads = InFlight::default();
        let first = lead(&mut loads, 1);
        let follower = follow(&mut loads, 1);
        let second = lead(&mut loads, 2);
        loads.invalidate(Some(hash(2)));
        assert_eq!(loads.end_of(follower), None);
        assert!(loads.end(first, End::Failed));
        assert_eq!(loads.end_of(follower), Some(End::Failed));
        assert!(!loads.end(second, End::Stored));
        assert!(loads.is_idle() && !loads.is_empty(), "a follower has not seen the end");
        let third = lead(&mut loads, 1);
        assert_ne!(third, follower, "another load, elsewhere");
        assert_eq!(loads.end_of(follower), Some(End::Failed));
        loads.leave(follower);
        assert!(loads.end(third, End::Stored));
        assert!(loads.is_empty());
    }

    #[test]
    fn a_full_table_lets_loaders_run_untracked() {
        let mut loads = InFlight::default();
        let leaders: Vec<_> = (0..LOADS_MAX as u64).map(|key| lead(&mut loads, key)).collect();
        assert_eq!(loads.claim(hash(99), thread(99)), Claim::Untracked);
        let follower = follow(&mut loads, 3);
        assert!(loads.end(leaders[3], End::Failed));
        // The place of a load that has ended is taken, also by a load of the same key.
        let next = lead(&mut loads, 3);
        assert_eq!(loads.end_of(follower), Some(End::Abandoned));
        assert!(!loads.end(leaders[3], End::Stored), "that was another load");
        let later = follow(&mut loads, 3);
        assert_ne!(later, follower);
        loads.leave(follower);
        assert!(loads.end(next, End::Stored));
        assert_eq!(loads.end_of(later), Some(End::Stored), "it still has its own follower");
    }

    #[test]
    fn followers_of_an_overruled_load_look_again() {
        for end in [End::Stored, End::NotStored, End::Failed, End::Abandoned] {
            let mut loads = InFlight::default();
            let leader = lead(&mut loads, 1);
            let follower = follow(&mut loads, 1);
            loads.invalidate(None);
            assert!(!loads.end(leader, end));
            assert_eq!(loads.end_of(follower), Some(End::Abandoned));
        }
    }

    #[test]
    fn more_followers_than_can_be_counted() {
        let mut loads = InFlight::default();
        let leader = lead(&mut loads, 1);
        let followers: Vec<_> = (0..70_000).map(|_| follow(&mut loads, 1)).collect();
        assert!(loads.end(leader, End::Failed));
        for follower in followers {
            assert_eq!(loads.end_of(follower), Some(End::Failed));
            loads.leave(follower);
        }
        // Its place is not lost.
        for key in 2..2 + LOADS_MAX as u64 {
            lead(&mut loads, key);
        }
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
