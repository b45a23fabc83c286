//! How an entry of bytes gets into the cache.
//!
//! As a rule under one hold of its shard's lock. If much has to be moved or evicted for it, or its
//! value is large, it takes several holds, so that others wait for none of them for long. Meanwhile
//! its key has its old value or none; the new one appears as a whole. One insertion of that kind at
//! a time goes on in each shard: another one waits for its turn, and holds no lock meanwhile.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::inner::Inner;
use super::locked_shard::{Guard, Held as _};
use crate::entry::removal::RemovalCause;
use crate::error::TooLarge;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::arena::header::Lengths;
use crate::shard::bytes::{NewRecord, Work};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::ByteKey;
use crate::shard::records::lengths_within;
use crate::shard::slot_id::SlotId;
use crate::sync::shim::Mutex;
use crate::time::tick::{Deadline, Moment};
use crate::time::ttl::Ttl;

/// What the insertions of a cache share.
#[derive(Clone, Debug)]
pub(super) struct Insertions {
    /// For each shard, whose turn it is to insert in several holds of its lock. Taken before that,
    /// and held meanwhile.
    turns: Arc<[Mutex<()>]>,
    /// The most bytes of key and value.
    entry_bytes_max: usize,
}

impl Insertions {
    pub(super) fn new(shards: usize, entry_bytes_max: usize) -> Self {
        Self { turns: (0..shards).map(|_| Mutex::new(())).collect(), entry_bytes_max }
    }

    pub(super) fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// Has others wait for their turn.
    #[cfg(test)]
    pub(super) fn hold_turn(&self, shard: usize) -> impl Sized {
        self.turns[shard].lock()
    }

    /// Returns the lengths of an entry that fits.
    pub(super) fn lengths(&self, key: &[u8], value: &[u8]) -> Result<Lengths, TooLarge> {
        lengths_within(self.entry_bytes_max, key, value)
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(super) fn heap_bytes(shards: usize) -> usize {
        2 * size_of::<usize>() + shards.saturating_mul(size_of::<Mutex<()>>())
    }
}

/// The most bytes of a value that are written under one hold of the lock. In the models it is few,
/// so that they are short.
pub(crate) const PART_BYTES: usize = if cfg!(punctual_loom) { 8 } else { 64 << 10 };

/// Decides, under the lock, whether an entry is put in.
pub(super) trait Gate {
    /// Returns whether it is, given whether its key has a live entry. May be asked several times.
    fn admits(&self, state: &Guard<'_, (), ()>, has_live: bool) -> bool;

    /// Hears that it has been, before the lock is released.
    fn passed(&mut self, state: &Guard<'_, (), ()>);
}

/// The gate of a caller that sets a key.
struct Set {
    hash: KeyHash,
    only_if_absent: bool,
}

impl Gate for Set {
    fn admits(&self, _: &Guard<'_, (), ()>, has_live: bool) -> bool {
        !(self.only_if_absent && has_live)
    }

    fn passed(&mut self, state: &Guard<'_, (), ()>) {
        state.loads().overrule(self.hash);
    }
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Refused,
    /// It is in. Why the entry left that its key had.
    In(Option<RemovalCause>),
}

impl<S: BuildHasher> Inner<(), (), S> {
    /// Inserts an entry; with `only_if_absent`, unless its key has a live one. Returns what has
    /// become of it.
    pub(super) fn insert_bytes(
        &self,
        insertions: &Insertions,
        (key, value): (&[u8], &[u8]),
        ttl: Ttl,
        only_if_absent: bool,
    ) -> Result<Stored, TooLarge> {
        self.begin_call();
        let lengths = insertions.lengths(key, value)?;
        let hash = KeyHash::new(&self.hasher, &ByteKey(key));
        let ttl = self.ttl_of_bytes(ttl, hash);
        let reading = self.now_for_ttl();
        let new = NewRecord { hash, key, value, lengths };
        let mut gate = Set { hash, only_if_absent };
        let mut panics = FirstPanic::default();
        let stored = self.store_bytes(insertions, new, ttl, reading, &mut gate, &mut panics);
        Ok(panics.resume_or(stored))
    }

    pub(super) fn ttl_of_bytes(&self, ttl: Ttl, hash: KeyHash) -> Option<Duration> {
        self.ttl_of(ttl, hash, &DropGuard::new(()), &DropGuard::new(()))
    }

    /// Puts an entry in if the gate admits it; then frees what is due.
    pub(super) fn store_bytes(
        &self,
        insertions: &Insertions,
        new: NewRecord<'_>,
        ttl: Option<Duration>,
        reading: Moment,
        gate: &mut impl Gate,
        panics: &mut FirstPanic,
    ) -> Stored {
        let mut work = Work::in_steps(new.lengths, self.reap_limit);
        let (stored, has_work) = match self.put_at_once(new, ttl, reading, gate, &mut work) {
            Some(done) => done,
            None => self.put_in_steps(insertions, new, ttl, reading, gate, &mut work, panics),
        };
        if has_work {
            self.reap_shard(self.shard_of(new.hash), reading, work.reap_budget, panics);
        }
        stored
    }

    /// Puts an entry in under one hold of the lock. Also returns whether more is due; `None` if that
    /// takes several.
    fn put_at_once(
        &self,
        new: NewRecord<'_>,
        ttl: Option<Duration>,
        reading: Moment,
        gate: &mut impl Gate,
        work: &mut Work,
    ) -> Option<(Stored, bool)> {
        let mut state = self.lock(self.shard_of(new.hash));
        let time = state.time(reading);
        let found = state.shard.find(new.hash.slot_hash(), &ByteKey(new.key));
        let live = found.filter(|&id| !state.shard.is_due(id, time.tick));
        if !gate.admits(&state, live.is_some()) {
            return Some((Stored::Refused, state.shard.has_work(time.tick)));
        }
        let deadline = self.timebase.deadline(time, ttl);
        if deadline == Deadline::Now {
            let replaced = state.shard.pass_through(found, time.tick, RemovalCause::Expired);
            gate.passed(&state);
            let has_work = state.shard.has_work(time.tick);
            return Some((Stored::In(replaced.map(|removed| removed.cause)), has_work));
        }
        if new.value.len() > PART_BYTES {
            return None;
        }
        let id = state.shard.put(found, new, deadline, time.tick, work)?;
        Some(self.finish_put(state, id, deadline, time, gate, work))
    }

    /// Puts an entry in under several holds of the lock.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "all that one insertion knows")]
    fn put_in_steps(
        &self,
        insertions: &Insertions,
        new: NewRecord<'_>,
        ttl: Option<Duration>,
        reading: Moment,
        gate: &mut impl Gate,
        work: &mut Work,
        panics: &mut FirstPanic,
    ) -> (Stored, bool) {
        let shard = self.shard_of(new.hash);
        let _turn = insertions.turns[shard].lock();
        // Of callers' code, only a clock's runs until the turn ends. A panic would leave the room
        // claimed, so it is caught.
        let mut reading = self.now_again(reading, panics);
        let mut state = self.lock(shard);
        work.begin_hold();
        let mut claim = state.shard.begin_record(new.lengths, work);
        loop {
            let now = state.tick(reading);
            if state.shard.go_on(&mut claim, now, work) {
                break;
            }
            (state, reading) = self.lock_again(shard, state, reading, panics);
            work.begin_hold();
        }
        state.shard.fill_record(0, new.key);
        for (part, bytes) in new.value.chunks(PART_BYTES).enumerate() {
            if part > 0 {
                (state, reading) = self.lock_again(shard, state, reading, panics);
            }
            state.shard.fill_record(new.key.len() + part * PART_BYTES, bytes);
        }
        let time = state.time(reading);
        let found = state.shard.find(new.hash.slot_hash(), &ByteKey(new.key));
        let live = found.filter(|&id| !state.shard.is_due(id, time.tick));
        if !gate.admits(&state, live.is_some()) {
            state.shard.drop_record();
            return (Stored::Refused, state.shard.has_work(time.tick));
        }
        let deadline = self.timebase.deadline(time, ttl);
        let id = state.shard.put_record(found, new.hash, deadline, time.tick, work);
        self.finish_put(state, id, deadline, time, gate, work)
    }

    /// Gives the lock of a shard away, and takes it again. Also returns the time.
    fn lock_again<'a>(
        &'a self,
        shard: usize,
        state: Guard<'a, (), ()>,
        reading: Moment,
        panics: &mut FirstPanic,
    ) -> (Guard<'a, (), ()>, Moment) {
        drop(state);
        thread::yield_now();
        let reading = self.now_again(reading, panics);
        (self.lock(shard), reading)
    }

    /// Returns the time that a TTL counts from, or the last reading if the clock panics.
    fn now_again(&self, reading: Moment, panics: &mut FirstPanic) -> Moment {
        panics.catch(|| self.now_for_ttl()).unwrap_or(reading)
    }

    /// The last steps under the lock.
    fn finish_put(
        &self,
        mut state: Guard<'_, (), ()>,
        id: SlotId,
        deadline: Deadline,
        time: Moment,
        gate: &mut impl Gate,
        work: &Work,
    ) -> (Stored, bool) {
        self.finish_insertion(&mut state, id, deadline, time, 0);
        gate.passed(&state);
        let has_work = Self::unlock(state, time, work.reap_budget, true);
        (Stored::In(work.displaced), has_work)
    }
}
