//! The loads in flight of one shard: a hash table, so that other callers of a key wait instead
//! of loading it too (single flight).
//!
//! It is apart from the entries: a load in flight takes no slot and evicts nothing. A load is
//! known by its key's 64-bit hash. Two keys of one hash wait for each other, and then each finds
//! or loads its own.
//!
//! # Layout
//!
//! Buckets chain the records of loads in flight. All other records are in a queue: those that
//! never held a load, and those whose load has ended, the latest last. A record is reused from
//! the front, so the end of a load can be seen for as long as possible. A waiter that comes too
//! late for that learns [`End::Unknown`].
//!
//! A forked child has its parent's loads in the table, and no thread that would end them: they
//! are abandoned before the child begins, ends or waits for one. So a load is ended by its id,
//! which no other has, and no caller ends another's.

use std::num::NonZeroU32;

use forkguard::Guard;

use super::table_size::TableSize;
use super::write_log::{Start, WriteLog};
use crate::error::{BuildError, allocate};
use crate::shard::key_hash::{KeyHash, SlotHash};

/// The number of a record, and of a bucket.
type Position = u16;
const NONE: Position = Position::MAX;

const _: () = assert!(TableSize::LOADS_MAX <= NONE as usize);

/// What runs a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    /// The thread of that number: see [`thread_number`].
    Thread(NonZeroU32),
    /// A future or the holder of a ticket, on any thread.
    Anywhere,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a value that was stored.
    Stored,
    /// With a value that is not to be stored, since its TTL is zero.
    NotStored,
    /// In whatever way: its key was set, removed or cleared meanwhile.
    Overruled,
    /// With an error, or a panic.
    Failed,
    /// Its future or ticket was dropped before it was done.
    Abandoned,
    /// Long ago: its record has been reused.
    Unknown,
}

/// What a leader and its followers know a load by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadId {
    pub(super) position: Position,
    /// Tells the loads apart that a record has held.
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In flight. Its value is to be stored if its key is not set, removed or cleared.
    Running,
    /// In flight, and overruled.
    Overruled,
    Ended(End),
}

/// Two halves of a hash, so that a record takes 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedHash([u32; 2]);

impl From<KeyHash> for PackedHash {
    fn from(hash: KeyHash) -> Self {
        Self([hash.bits() as u32, (hash.bits() >> u32::BITS) as u32])
    }
}

impl PackedHash {
    fn unpack(self) -> KeyHash {
        let [low, high] = self.0;
        KeyHash::from_bits(u64::from(low) | u64::from(high) << u32::BITS)
    }
}

#[derive(Clone, Debug)]
struct Load {
    hash: PackedHash,
    generation: u32,
    /// [`Loader::Thread`], or else [`Loader::Anywhere`].
    thread: Option<NonZeroU32>,
    /// The next one of its bucket, or of the queue.
    next: Position,
    state: State,
}
const _: () = assert!(size_of::<Load>() + size_of::<Position>() == TableSize::BYTES_PER_LOAD);

/// A load that is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unshared {
    start: Start,
    generation: u32,
}

/// What a caller that has found no entry is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Load: the others of that key wait.
    Leader(LoadId),
    /// Load unshared: there is no room in the table, and no caller waits.
    Unshared(Unshared),
    /// Wait for this load.
    Follower(LoadId),
}

#[derive(Debug)]
pub(crate) struct InFlight {
    loads: Box<[Load]>,
    /// The first load in flight of each bucket.
    buckets: Box<[Position]>,
    /// The queue of records that hold no load in flight.
    queue_first: Position,
    queue_last: Position,
    running: Position,
    /// In the order in which loads begin, shared or not.
    next_generation: u32,
    /// For the loads that are not in the table.
    writes: WriteLog,
    /// Detects a forked child.
    process: Guard,
    /// Whether this process is one, and has abandoned its parent's loads.
    has_abandoned: bool,
}

impl InFlight {
    pub(crate) fn new(size: TableSize) -> Result<Self, BuildError> {
        let hash = PackedHash([0, 0]);
        let state = State::Ended(End::Unknown);
        let load = Load { hash, generation: 0, thread: None, next: NONE, state };
        let mut this = Self {
            loads: allocate(size.loads, load)?,
            buckets: allocate(size.loads, NONE)?,
            queue_first: NONE,
            queue_last: NONE,
            running: 0,
            // Not that of the records.
            next_generation: 1,
            writes: WriteLog::new(size.writes)?,
            process: Guard::default(),
            has_abandoned: false,
        };
        (0..size.loads).for_each(|position| this.enqueue(position as Position));
        Ok(this)
    }

    /// Abandons the loads of its parent if this is a forked child.
    pub(crate) fn forget_if_forked(&mut self) {
        if self.process.detected_fork() {
            self.forget();
        }
    }

    /// Claims the load of a key for its caller.
    ///
    /// # Panics
    ///
    /// If this thread is loading the key already: it would wait for itself.
    pub(crate) fn claim(&mut self, hash: KeyHash, loader: Loader) -> Claim {
        let Some(position) = self.find(hash) else {
            return match self.insert(hash, loader) {
                Some(load) => Claim::Leader(load),
                None => Claim::Unshared(self.begin_unshared()),
            };
        };
        let load = &self.loads[usize::from(position)];
        assert!(
            !matches!(loader, Loader::Thread(thread) if load.thread == Some(thread)),
            "punctual: recursive load: a loader asked for its own key (or one of the same hash), \
             which would deadlock"
        );
        Claim::Follower(LoadId { position, generation: load.generation })
    }

    /// Claims the load of a key that has a value, unless it is being loaded, or there is no room
    /// in the table.
    pub(crate) fn claim_refresh(&mut self, hash: KeyHash) -> Option<LoadId> {
        if self.find(hash).is_some() { None } else { self.insert(hash, Loader::Anywhere) }
    }

    /// Begins a load beside others, if any, of its key.
    pub(crate) fn begin_unshared(&mut self) -> Unshared {
        let generation = self.take_generation();
        Unshared { start: self.writes.begin(), generation }
    }

    fn take_generation(&mut self) -> u32 {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        generation
    }

    fn insert(&mut self, hash: KeyHash, loader: Loader) -> Option<LoadId> {
        let position = self.dequeue()?;
        let generation = self.take_generation();
        let thread = match loader {
            Loader::Thread(thread) => Some(thread),
            Loader::Anywhere => None,
        };
        let bucket = self.bucket(hash.slot_hash());
        let next = std::mem::replace(&mut self.buckets[bucket], position);
        let state = State::Running;
        self.loads[usize::from(position)] =
            Load { hash: hash.into(), generation, thread, next, state };
        self.running += 1;
        Some(LoadId { position, generation })
    }

    /// Ends a load. Returns whether its value is to be stored: not if it was overruled, or if a
    /// forked child has abandoned it.
    pub(crate) fn end(&mut self, id: LoadId, end: End) -> bool {
        let load = &mut self.loads[usize::from(id.position)];
        if load.generation != id.generation {
            return false;
        }
        let is_valid = match load.state {
            State::Running => true,
            State::Overruled => false,
            State::Ended(_) => return false,
        };
        // Whatever it was, its followers look at what the key was set to.
        load.state = State::Ended(if is_valid { end } else { End::Overruled });
        let hash = load.hash.unpack().slot_hash();
        self.unlink(self.bucket(hash), id.position);
        self.running -= 1;
        self.enqueue(id.position);
        is_valid
    }

    /// Ends an unshared load.
    pub(crate) fn end_unshared(&mut self, load: Unshared) {
        self.writes.end(load.start);
    }

    /// Returns whether the value of an unshared load is to be stored: not if its key was set or
    /// removed meanwhile.
    pub(crate) fn is_valid(&self, load: Unshared, hash: KeyHash) -> bool {
        self.writes.is_unwritten(load.start, hash.slot_hash())
    }

    /// Returns whether the value of a load in the table is to be stored: not if it was overruled, or
    /// if a forked child has abandoned it.
    pub(crate) fn is_valid_shared(&self, id: LoadId) -> bool {
        let load = &self.loads[usize::from(id.position)];
        load.generation == id.generation && load.state == State::Running
    }

    /// Returns whether a thread waits for a load that it runs itself.
    pub(crate) fn is_own(&self, id: LoadId, thread: NonZeroU32) -> bool {
        let load = &self.loads[usize::from(id.position)];
        load.generation == id.generation && load.thread == Some(thread)
    }

    /// Returns how a load ended; `None` if it is in flight.
    pub(crate) fn end_of(&self, id: LoadId) -> Option<End> {
        let load = &self.loads[usize::from(id.position)];
        match load.state {
            _ if load.generation != id.generation => Some(End::Unknown),
            State::Ended(end) => Some(end),
            State::Running | State::Overruled => None,
        }
    }

    /// A caller has set or removed the key: what a load in flight brings for it is out of date.
    pub(crate) fn overrule(&mut self, hash: KeyHash) {
        let packed = PackedHash::from(hash);
        self.overrule_where(hash.slot_hash(), |load| load.hash == packed);
        self.writes.log(hash.slot_hash());
    }

    /// The same where only the slot hash is known. One in 2^24 loads of other keys is taken for
    /// that of the key.
    pub(crate) fn overrule_slot_hash(&mut self, hash: SlotHash) {
        let is_it = |load: &Load| load.hash.unpack().slot_hash() == hash;
        self.overrule_where(hash, is_it);
        self.writes.log(hash);
    }

    /// An unshared load stores a value of the key, which an older one must not replace.
    pub(crate) fn overrule_older(&mut self, newer: Unshared, hash: KeyHash) {
        let packed = PackedHash::from(hash);
        let is_older = |load: &Load| newer.generation.wrapping_sub(load.generation) < u32::MAX / 2;
        self.overrule_where(hash.slot_hash(), |load| load.hash == packed && is_older(load));
    }

    fn overrule_where(&mut self, hash: SlotHash, is_it: impl Fn(&Load) -> bool) {
        let mut position = self.first_of(hash);
        while let Some(load) = self.loads.get_mut(usize::from(position)) {
            if is_it(load) {
                load.state = State::Overruled;
            }
            position = load.next;
        }
    }

    /// All keys were removed.
    pub(crate) fn overrule_all(&mut self) {
        for load in &mut self.loads {
            if load.state == State::Running {
                load.state = State::Overruled;
            }
        }
        self.writes.log_all();
    }

    /// Abandons the loads of a forked child's parent.
    #[cold]
    pub(super) fn forget(&mut self) {
        for bucket in 0..self.buckets.len() {
            let mut position = std::mem::replace(&mut self.buckets[bucket], NONE);
            while position != NONE {
                let load = &mut self.loads[usize::from(position)];
                load.state = State::Ended(End::Abandoned);
                let next = load.next;
                self.enqueue(position);
                position = next;
            }
        }
        self.running = 0;
        self.writes.forget();
        self.has_abandoned = true;
    }

    /// Whether loads may have ended without their leader, whose futures are still to be woken.
    pub(crate) fn has_abandoned(&mut self) -> &mut bool {
        &mut self.has_abandoned
    }

    /// Returns whether no load is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.writes.is_idle()
    }

    // ---- Chains ----

    fn bucket(&self, hash: SlotHash) -> usize {
        hash.bucket_below(self.buckets.len())
    }

    fn first_of(&self, hash: SlotHash) -> Position {
        // Without room for any load there is no bucket.
        self.buckets.get(self.bucket(hash)).copied().unwrap_or(NONE)
    }

    /// Returns the position of the load of a key that is in flight.
    fn find(&self, hash: KeyHash) -> Option<Position> {
        let packed = PackedHash::from(hash);
        let mut position = self.first_of(hash.slot_hash());
        loop {
            let load = self.loads.get(usize::from(position))?;
            if load.hash == packed {
                return Some(position);
            }
            position = load.next;
        }
    }

    fn unlink(&mut self, bucket: usize, position: Position) {
        let next = self.loads[usize::from(position)].next;
        let mut link = &mut self.buckets[bucket];
        while *link != position {
            link = &mut self.loads[usize::from(*link)].next;
        }
        *link = next;
    }

    // ---- The queue ----

    fn enqueue(&mut self, position: Position) {
        self.loads[usize::from(position)].next = NONE;
        match self.loads.get_mut(usize::from(self.queue_last)) {
            Some(last) => last.next = position,
            None => self.queue_first = position,
        }
        self.queue_last = position;
    }

    fn dequeue(&mut self) -> Option<Position> {
        let position = self.queue_first;
        self.queue_first = self.loads.get(usize::from(position))?.next;
        if self.queue_first == NONE {
            self.queue_last = NONE;
        }
        Some(position)
    }

    /// Returns how many loads it holds, and how many writes its log.
    #[cfg(test)]
    pub(crate) fn room(&self) -> (usize, usize) {
        (self.loads.len(), self.writes.len())
    }

    /// Compares chains, queue and counts.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        let mut seen = vec![false; self.loads.len()];
        let mut walk = |first: Position, is_right: &dyn Fn(&Load) -> bool| {
            let (mut position, mut count, mut last) = (first, 0, NONE);
            while position != NONE {
                let load = &self.loads[usize::from(position)];
                assert!(!std::mem::replace(&mut seen[usize::from(position)], true), "{self:?}");
                assert!(is_right(load), "{position}: {load:?}");
                (position, count, last) = (load.next, count + 1, position);
            }
            (count, last)
        };
        let mut running = 0;
        for (bucket, &first) in self.buckets.iter().enumerate() {
            let is_right = |load: &Load| {
                !matches!(load.state, State::Ended(_))
                    && self.bucket(load.hash.unpack().slot_hash()) == bucket
            };
            running += walk(first, &is_right).0;
        }
        assert_eq!(running, self.running);
        let (_, last) = walk(self.queue_first, &|load| matches!(load.state, State::Ended(_)));
        assert_eq!(last, self.queue_last);
        assert!(seen.into_iter().all(|seen| seen), "{self:?}");
    }
}

/// Returns a number that no other thread has, or none of the last 2^32 - 1. std's thread ids
/// would do, but asking for one may allocate in a thread that Rust has not started.
pub(crate) fn thread_number() -> NonZeroU32 {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::sync::shim::thread_local;

    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: Cell<Option<NonZeroU32>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        let next = || NonZeroU32::new(NEXT.fetch_add(1, Ordering::Relaxed));
        let this = number.get().or_else(next).or_else(next).expect("one of two is not zero");
        number.set(Some(this));
        this
    })
}
