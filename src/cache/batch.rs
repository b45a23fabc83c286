//! Calls for many keys at once, whose cache misses overlap.
//!
//! A look-up waits for three cache misses, one after the other. To wait for those of
//! several keys at the same time, a batch is taken chunk by chunk, each in order of
//! the shards, and of one shard's keys each step is taken for all before the next.
//!
//! # Ground rules
//!
//! - The iterator's code and keys' `Hash` run first, with no lock held. The clock is
//!   read before each lock, so that no TTL counts from before its entry came.
//! - The rest is as with the single calls: see [`locked_shard`](super::locked_shard).
//!   Keys that are alike keep their order.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use arrayvec::ArrayVec;
use hashbrown::Equivalent;

use super::inner::{Inner, STEPS_PER_LOCK};
use crate::panic::{FirstPanic, Given};
use crate::removal::Removed;
use crate::shard::Shard;
use crate::shard::batch::{Entry, KEYS, LARGE_ENTRIES, SMALL_ENTRIES};
use crate::shard::key_hash::KeyHash;
use crate::shard::slot_id::SlotId;

/// With fewer keys a shard than this, there is nothing to be gained by their order.
const KEYS_PER_SHARD_MIN: usize = 2;

/// Of so few keys in one shard the processor sees all at once, without further ado.
const RUN_MIN: usize = 4;

/// More shards are sorted by groups.
const GROUPS_LOG2: u32 = 8;
const GROUPS: usize = 1 << GROUPS_LOG2;

/// The entries of a chunk by shard, and as they came within a shard.
struct Order<const N: usize>(ArrayVec<u16, N>);

impl<const N: usize> Order<N> {
    fn new() -> Self {
        const { assert!(N <= 1 << u16::BITS) };
        Self(ArrayVec::new())
    }

    /// Counts, then deals out. Where there are more shards than groups, those of one
    /// group are mixed: that costs some locks, and no more.
    #[inline(never)]
    fn sort(&mut self, hashes: impl ExactSizeIterator<Item = KeyHash> + Clone, shards: usize) {
        let shards_log2 = usize::BITS - (shards - 1).leading_zeros();
        let shift = shards_log2.saturating_sub(GROUPS_LOG2);
        // Less than that anyway; so the compiler sees it too.
        let group = |hash: KeyHash| (hash.shard(shards) >> shift) % GROUPS;
        let mut starts = [0_u16; GROUPS];
        for hash in hashes.clone() {
            starts[group(hash)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts[..((shards - 1) >> shift) + 1] {
            sum += std::mem::replace(start, sum);
        }
        self.0.clear();
        self.0.extend(std::iter::repeat_n(0, hashes.len()));
        for (position, hash) in hashes.enumerate() {
            let start = &mut starts[group(hash)];
            self.0[usize::from(*start)] = position as u16;
            *start += 1;
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Shows `each` the live entries of many keys; every look-up counts as a use.
    pub(super) fn look_up_many<'a, Q, I>(&self, keys: I, mut each: impl FnMut(usize, Option<&V>))
    where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        self.assert_unlocked();
        let keys = keys.into_iter().fuse();
        let least = self.shards.len() * KEYS_PER_SHARD_MIN;
        if keys.size_hint().1.is_some_and(|most| most < least.min(KEYS)) {
            for (position, key) in keys.enumerate() {
                let found = self.look_up(key, |inner, value| {
                    let _mark = inner.mark();
                    each(position, Some(value));
                });
                if found.is_none() {
                    let _mark = self.mark();
                    each(position, None);
                }
            }
        } else {
            self.look_up_chunks(keys, each);
        }
    }

    /// Out of line: it takes much of the stack, which few keys need not pay for.
    #[inline(never)]
    fn look_up_chunks<'a, Q>(
        &self,
        mut keys: impl Iterator<Item = &'a Q>,
        mut each: impl FnMut(usize, Option<&V>),
    ) where
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        let shards = self.shards.len();
        let mut chunk = ArrayVec::<(KeyHash, &Q), KEYS>::new();
        let mut order = Order::<KEYS>::new();
        let mut found = ArrayVec::<Option<SlotId>, KEYS>::new();
        let mut done = 0;
        loop {
            chunk.clear();
            for key in keys.by_ref().take(KEYS) {
                chunk.push((KeyHash::new(&self.hasher, key), key));
            }
            if chunk.is_empty() {
                return;
            }
            order.sort(chunk.iter().map(|&(hash, _)| hash), shards);
            let shard_of = |&position: &u16| chunk[usize::from(position)].0.shard(shards);
            for run in order.0.chunk_by(|one, other| shard_of(one) == shard_of(other)) {
                let number = shard_of(&run[0]);
                let keys = run.iter().map(|&position| chunk[usize::from(position)]);
                let positions = run.iter().map(|&position| done + usize::from(position));
                // Each time: `each` may have taken long. Not under the lock, since a
                // clock may be the caller's.
                let reading = self.read_clock();
                let mut state = self.shards[number].lock_to_look();
                let now = state.tick(reading);
                let mark = self.mark();
                if run.len() < RUN_MIN {
                    for ((hash, key), position) in keys.zip(positions) {
                        let live = state.shard.look_up(hash, key, now);
                        each(position, live.map(|(_, value)| &*value));
                    }
                } else {
                    let slot_hashes =
                        keys.clone().map(|(hash, _)| (&state.shard, hash.slot_hash()));
                    Shard::find_candidates(slot_hashes, &mut found);
                    for (found, (hash, key)) in found.iter_mut().zip(keys.clone()) {
                        *found = state.shard.confirm(*found, hash.slot_hash(), key);
                    }
                    for ((&found, (hash, _)), position) in found.iter().zip(keys).zip(positions) {
                        let live = state.shard.record_access(found, hash, now);
                        each(position, live.map(|(_, value)| &*value));
                    }
                }
                drop(mark);
                let has_work = state.shard.has_work(now);
                drop(state);
                if has_work {
                    self.reap_after(number, reading, ());
                }
            }
            done += chunk.len();
        }
    }

    /// Puts many entries in, as if one after the other.
    pub(super) fn put_many(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        self.assert_unlocked();
        let entries = entries.into_iter().fuse();
        if Entry::<K, V>::PER_CHUNK == 1 || ttl == Some(Duration::ZERO) {
            entries.for_each(|(key, value)| drop(self.put(key, value, ttl)));
        } else if Entry::<K, V>::PER_CHUNK == LARGE_ENTRIES {
            self.put_chunks::<LARGE_ENTRIES>(entries, ttl);
        } else {
            self.put_chunks::<SMALL_ENTRIES>(entries, ttl);
        }
    }

    #[inline(never)]
    fn put_chunks<const N: usize>(
        &self,
        mut entries: impl Iterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        let shards = self.shards.len();
        let mut chunk = ArrayVec::<Entry<K, V>, N>::new();
        let mut order = Order::<N>::new();
        loop {
            chunk.clear();
            for (key, value) in entries.by_ref().take(N) {
                let (key, value) = (Given::new(key), Given::new(value));
                let hash = KeyHash::new(&self.hasher, key.get());
                chunk.push(Entry { hash, key, value, left: None });
            }
            if chunk.is_empty() {
                return;
            }
            order.sort(chunk.iter().map(|entry| entry.hash), shards);
            let mut rest = &*order.0;
            while !rest.is_empty() {
                let put = self.put_run(&mut chunk, rest, ttl);
                rest = &rest[put..];
            }
        }
    }

    /// Puts in those entries at the front that belong into one shard, unless the
    /// wheel keeps its lock for too long; then hands out what has left, and frees
    /// what is due. Returns how many were put in.
    fn put_run<const N: usize>(
        &self,
        chunk: &mut ArrayVec<Entry<K, V>, N>,
        order: &[u16],
        ttl: Option<Duration>,
    ) -> usize {
        let shards = self.shards.len();
        let shard_of = |&position: &u16| chunk[usize::from(position)].hash.shard(shards);
        let number = shard_of(&order[0]);
        let length = order.iter().take_while(|position| shard_of(position) == number).count();
        let run = &order[..length];

        let mut panics = FirstPanic::default();
        let mut put = 0;
        // Each time: the listener may have taken long.
        let reading = self.read_clock_for_deadline();
        let mut state = self.lock(number);
        let time = state.time(reading);
        let deadline = ttl.and_then(|ttl| self.base.deadline(time, ttl));
        let mut budget = self.reap_limit;
        if length >= RUN_MIN {
            let slot_hashes =
                run.iter().map(|&position| chunk[usize::from(position)].hash.slot_hash());
            let mut candidates = ArrayVec::<Option<SlotId>, N>::new();
            // What they are is found out anew: each insertion may change it.
            Shard::find_candidates(
                slot_hashes.map(|slot_hash| (&state.shard, slot_hash)),
                &mut candidates,
            );
        }
        let mut steps = 0;
        // Should `Eq` panic, what has left before is handed out nevertheless.
        panics.catch(|| {
            let _mark = self.mark_in_debug_builds();
            for &position in run {
                let Entry { hash, key, value, left } = &mut chunk[usize::from(position)];
                let hash = *hash;
                state.overrule(hash);
                let found = state.shard.find(hash.slot_hash(), key.get());
                let (new_key, new_value) = (key.move_out(), value.move_out());
                budget = self.reap_limit;
                let removed = if let Some(id) = found {
                    Some(state.shard.replace(hash, id, new_key, new_value, deadline, time.tick))
                } else {
                    let tick = time.tick;
                    state.shard.insert(hash, new_key, new_value, deadline, tick, &mut budget).1
                };
                if let Some(removed) = removed {
                    key.put_back(removed.key);
                    value.put_back(removed.value);
                    *left = Some(removed.cause);
                }
                put += 1;
                steps += self.reap_limit - budget;
                if steps >= STEPS_PER_LOCK {
                    break;
                }
            }
        });
        let has_work = state.shard.has_work(time.tick) && budget > 0;
        if !has_work {
            state.shard.record_peak();
        }
        drop(state);
        for &position in &run[..put] {
            let Entry { key, value, left, .. } = &mut chunk[usize::from(position)];
            if let Some(cause) = left.take() {
                let (key, value) = (key.move_out(), value.move_out());
                self.notify_and_drop(Removed { key, value, cause }, &mut panics);
            }
        }
        if has_work {
            self.reap_shard(number, time, budget, &mut panics);
        }
        panics.finish(put)
    }
}
