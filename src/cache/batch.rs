//! Calls for many keys at once, whose cache misses overlap.
//!
//! A lookup waits for three cache misses, one after the other. To wait for those of
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
use equivalent::Equivalent;

use super::Cache;
use super::inner::Inner;
use super::locked_shard::Held as _;
use super::reap::STEPS_PER_LOCK;
use super::reentrancy::LockedScope;
use crate::panic::FirstPanic;
use crate::shard::Shard;
use crate::shard::batch::{
    ENTRIES_PER_CHUNK_LARGE, ENTRIES_PER_CHUNK_SMALL, Entry, KEYS_PER_CHUNK, Keys, next_keys,
};
use crate::shard::key_hash::KeyHash;
use crate::shard::slot_id::SlotId;
use crate::time::ttl::Ttl;

/// With fewer keys a shard than this, there is nothing to be gained by their order.
const KEYS_PER_SHARD_MIN: usize = 2;

/// Below this run length out-of-order execution overlaps the misses by itself; looking for
/// candidates first would only cost.
const RUN_MIN: usize = 4;

/// Buckets of the counting sort. Where there are more shards, those of one bucket are mixed:
/// that costs some locks, and no more.
const SORT_BUCKETS_LOG2: u32 = 8;
const SORT_BUCKETS: usize = 1 << SORT_BUCKETS_LOG2;

/// Orders the entries of a chunk by shard, and as they came within a shard: a counting sort.
#[inline(never)]
fn sort_by_shard<const N: usize>(
    order: &mut ArrayVec<u16, N>,
    hashes: impl ExactSizeIterator<Item = KeyHash> + Clone,
    shards: usize,
) {
    const { assert!(N <= 1 << u16::BITS) };
    let shards_log2 = usize::BITS - (shards - 1).leading_zeros();
    let shift = shards_log2.saturating_sub(SORT_BUCKETS_LOG2);
    // Less than that anyway; so the compiler sees it too.
    let bucket = |hash: KeyHash| (hash.shard(shards) >> shift) % SORT_BUCKETS;
    let mut starts = [0_u16; SORT_BUCKETS];
    for hash in hashes.clone() {
        starts[bucket(hash)] += 1;
    }
    let mut sum = 0;
    for start in &mut starts[..((shards - 1) >> shift) + 1] {
        sum += std::mem::replace(start, sum);
    }
    order.clear();
    order.extend(std::iter::repeat_n(0, hashes.len()));
    for (position, hash) in hashes.enumerate() {
        let start = &mut starts[bucket(hash)];
        order[usize::from(*start)] = position as u16;
        *start += 1;
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Shows `each` the live entries of many keys; every lookup counts as a use.
    pub(super) fn read_many<
        'a,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
        I: IntoIterator<Item = &'a Q>,
    >(
        &self,
        keys: I,
        mut each: impl FnMut(usize, Option<&V>),
    ) {
        self.begin_call();
        let keys = keys.into_iter().fuse();
        let least = self.shards.len() * KEYS_PER_SHARD_MIN;
        if keys.size_hint().1.is_some_and(|most| most < least.min(KEYS_PER_CHUNK)) {
            for (position, key) in keys.enumerate() {
                let found = self.get_with(key, |inner, found| {
                    let _scope = inner.closure_scope();
                    each(position, Some(found.value));
                });
                if found.is_none() {
                    // No lock is held, but the other keys' closures run under one.
                    let _scope = LockedScope::new(self.address());
                    each(position, None);
                }
            }
        } else {
            self.read_chunks(keys, each);
        }
    }

    /// Out of line: it takes much of the stack, which few keys need not pay for.
    #[inline(never)]
    fn read_chunks<'a, Q>(
        &self,
        mut keys: impl Iterator<Item = &'a Q>,
        mut each: impl FnMut(usize, Option<&V>),
    ) where
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        let mut chunk = Keys::new();
        let mut order = ArrayVec::<u16, KEYS_PER_CHUNK>::new();
        let mut found = ArrayVec::<Option<SlotId>, KEYS_PER_CHUNK>::new();
        let mut done = 0;
        while next_keys(&mut chunk, &mut keys, &self.hasher) {
            let hashes = chunk.iter().map(|&(hash, _)| hash);
            sort_by_shard(&mut order, hashes, self.shards.len());
            let shard_of = |&position: &u16| self.shard_of(chunk[usize::from(position)].0);
            for run in order.chunk_by(|one, other| shard_of(one) == shard_of(other)) {
                let number = shard_of(&run[0]);
                let keys = run.iter().map(|&position| chunk[usize::from(position)]);
                let positions = run.iter().map(|&position| done + usize::from(position));
                // Each time: `each` may have taken long. Not under the lock, since a
                // clock may be the caller's.
                let now = self.now_for_use(self.estimate());
                let state = self.lock_for_read(number);
                let tick = state.tick(now);
                {
                    let _scope = self.closure_scope();
                    if run.len() < RUN_MIN {
                        for ((hash, key), position) in keys.zip(positions) {
                            let found = state.shard.find(hash.slot_hash(), key);
                            let live = found.filter(|&id| !self.is_due(&state, id, now));
                            let found = self.record_access(&state, live, hash, now);
                            each(position, found.map(|found| found.value));
                        }
                    } else {
                        let hashes = keys.clone().map(|(hash, _)| (&state.shard, hash.slot_hash()));
                        Shard::find_candidates(hashes, &mut found);
                        for (found, (hash, key)) in found.iter_mut().zip(keys.clone()) {
                            *found = state.shard.confirm(*found, hash.slot_hash(), key);
                        }
                        for ((&found, (hash, _)), position) in found.iter().zip(keys).zip(positions)
                        {
                            let live = found.filter(|&id| !self.is_due(&state, id, now));
                            let found = self.record_access(&state, live, hash, now);
                            each(position, found.map(|found| found.value));
                        }
                    }
                }
                let has_work = state.shard.has_work(tick);
                drop(state);
                if has_work {
                    self.reap_after_look(number, now, ());
                }
            }
            done += chunk.len();
        }
    }

    /// Inserts many entries, as if one after the other.
    pub(super) fn insert_many(&self, entries: impl IntoIterator<Item = (K, V)>, ttl: Ttl) {
        self.begin_call();
        let entries = entries.into_iter().fuse();
        if self.rules.is_some() {
            return entries.for_each(|(key, value)| drop(self.insert(key, value, ttl)));
        }
        let ttl = ttl.or(self.ttl);
        if Entry::<K, V>::PER_CHUNK == 1 || ttl == Some(Duration::ZERO) {
            entries.for_each(|(key, value)| drop(self.upsert(key, value, ttl)));
        } else if Entry::<K, V>::PER_CHUNK == ENTRIES_PER_CHUNK_LARGE {
            self.insert_chunks::<ENTRIES_PER_CHUNK_LARGE>(entries, ttl);
        } else {
            self.insert_chunks::<ENTRIES_PER_CHUNK_SMALL>(entries, ttl);
        }
    }

    #[inline(never)]
    fn insert_chunks<const N: usize>(
        &self,
        mut entries: impl Iterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        let mut chunk = ArrayVec::<Entry<K, V>, N>::new();
        let mut order = ArrayVec::<u16, N>::new();
        while Entry::next_chunk(&mut chunk, &mut entries, &self.hasher) {
            let hashes = chunk.iter().map(|entry| entry.hash);
            sort_by_shard(&mut order, hashes, self.shards.len());
            let mut left = &*order;
            while !left.is_empty() {
                let inserted = self.insert_run(&mut chunk, left, ttl);
                left = &left[inserted..];
            }
        }
    }

    /// Inserts those entries at the front of `order` that belong into one shard, fewer if
    /// the wheel keeps its lock for too long; then delivers what left, and frees what is
    /// due. Returns how many were inserted. The TTL is above zero.
    fn insert_run<const N: usize>(
        &self,
        chunk: &mut ArrayVec<Entry<K, V>, N>,
        order: &[u16],
        ttl: Option<Duration>,
    ) -> usize {
        let shard_of = |&position: &u16| self.shard_of(chunk[usize::from(position)].hash);
        let number = shard_of(&order[0]);
        let length = order.iter().take_while(|position| shard_of(position) == number).count();
        let run = &order[..length];

        let mut panics = FirstPanic::default();
        let mut inserted = 0;
        // Each time: the listener may have taken long.
        let reading = self.now_for_ttl();
        let mut state = self.lock(number);
        let time = state.time(reading);
        let deadline = self.timebase.deadline(time, ttl);
        let mut budget = self.reap_limit;
        if length >= RUN_MIN {
            let hashes = run.iter().map(|&position| chunk[usize::from(position)].hash.slot_hash());
            // For the memory accesses: each insertion looks again, since it may have changed.
            let mut candidates = ArrayVec::<Option<SlotId>, N>::new();
            Shard::find_candidates(hashes.map(|hash| (&state.shard, hash)), &mut candidates);
        }
        let mut steps = 0;
        // Should `Eq` panic, what left before is delivered nevertheless.
        panics.catch(|| {
            for &position in run {
                let entry = &mut chunk[usize::from(position)];
                let Entry { hash, key, value, .. } = entry;
                state.loads().overrule(*hash);
                budget = self.reap_limit;
                let (_, displaced) =
                    state.shard.upsert(*hash, key, value, deadline, time.tick, &mut budget);
                if let Some(displaced) = displaced {
                    entry.keep_displaced(displaced);
                }
                inserted += 1;
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
        for &position in &run[..inserted] {
            if let Some(displaced) = chunk[usize::from(position)].take_displaced() {
                self.notify_and_drop(displaced, &mut panics);
            }
        }
        if has_work {
            self.reap_shard(number, time, budget, &mut panics);
        }
        panics.resume_or(inserted)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Extend<(K, V)> for Cache<K, V, S> {
    /// The same as [`insert_many`](Cache::insert_many).
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.insert_many(entries);
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Extend<(K, V)> for &Cache<K, V, S> {
    /// The same as [`insert_many`](Cache::insert_many).
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.insert_many(entries);
    }
}
