//! Calls for many keys at once, whose cache misses overlap: a batch is taken chunk by chunk,
//! and each step is taken for all keys of a chunk before the next. Without locks their order
//! does not matter.

use std::hash::{BuildHasher, Hash};
use std::mem::needs_drop;
use std::time::Duration;

use arrayvec::ArrayVec;
use equivalent::Equivalent;

use super::Cache;
use crate::panic::FirstPanic;
use crate::shard::Shard;
use crate::shard::batch::{
    ENTRIES_PER_CHUNK_LARGE, ENTRIES_PER_CHUNK_SMALL, Entry, KEYS_PER_CHUNK, Keys, next_keys,
};
use crate::shard::slot_id::SlotId;
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Shows `each` the live entries of many keys; every lookup counts as a use.
    #[inline(never)]
    pub(super) fn read_chunks<'a, Q>(
        &mut self,
        mut keys: impl Iterator<Item = &'a Q>,
        mut each: impl FnMut(usize, Option<&V>),
    ) where
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        let mut chunk = Keys::new();
        let mut found = ArrayVec::<Option<SlotId>, KEYS_PER_CHUNK>::new();
        let mut done = 0;
        while next_keys(&mut chunk, &mut keys, &self.hasher) {
            let mut panics = FirstPanic::default();
            let now = self.start_write(&mut panics);
            for &(hash, _) in &chunk {
                self.reap_shard(self.shard_of(hash), now, self.reap_limit, &mut panics);
            }
            panics.resume_or(());

            let hashes = chunk
                .iter()
                .map(|&(hash, _)| (&self.shards[self.shard_of(hash)], hash.slot_hash()));
            Shard::find_candidates(hashes, &mut found);
            for (found, &(hash, key)) in found.iter_mut().zip(&chunk) {
                let shard = &self.shards[self.shard_of(hash)];
                *found = shard.confirm(*found, hash.slot_hash(), key);
            }
            for ((&found, &(hash, _)), position) in found.iter().zip(&chunk).zip(done..) {
                // For each of them: `each` may take long.
                let now = self.read_for_use();
                let shard = self.shard_of(hash);
                let live = found.filter(|&id| !self.shards[shard].is_due(id, now));
                self.renew(shard, live, now);
                let live = self.shards[shard].record_access_mut(live, hash);
                let live = self.accesses.count(live);
                each(position, live.map(|(_, value)| &*value));
            }
            done += chunk.len();
        }
    }

    /// Inserts many entries, one after the other.
    pub(super) fn upsert_many(&mut self, entries: impl IntoIterator<Item = (K, V)>, ttl: Ttl) {
        let entries = entries.into_iter().fuse();
        if Entry::<K, V>::PER_CHUNK == 1 || self.rules.is_some() {
            entries.for_each(|(key, value)| drop(self.upsert(key, value, ttl)));
        } else if Entry::<K, V>::PER_CHUNK == ENTRIES_PER_CHUNK_LARGE {
            self.upsert_chunks::<ENTRIES_PER_CHUNK_LARGE>(entries, ttl.or(self.ttl));
        } else {
            self.upsert_chunks::<ENTRIES_PER_CHUNK_SMALL>(entries, ttl.or(self.ttl));
        }
    }

    #[inline(never)]
    fn upsert_chunks<const N: usize>(
        &mut self,
        mut entries: impl Iterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        let mut chunk = ArrayVec::<Entry<K, V>, N>::new();
        let mut candidates = ArrayVec::<Option<SlotId>, N>::new();
        while Entry::next_chunk(&mut chunk, &mut entries, &self.hasher) {
            let mut panics = FirstPanic::default();
            let now = self.start_write_with_ttl(&mut panics);
            panics.resume_or(());
            let hashes = chunk
                .iter()
                .map(|entry| (&self.shards[self.shard_of(entry.hash)], entry.hash.slot_hash()));
            // For the memory accesses: each insertion looks again, since it may have changed.
            Shard::find_candidates(hashes, &mut candidates);
            for Entry { hash, key, value, .. } in chunk.drain(..) {
                // Listeners and drops may have taken long.
                let has_been_out = needs_drop::<(K, V)>() || self.listener.is_some();
                let now = if has_been_out { self.clock.read_for_ttl() } else { now };
                drop(self.upsert_at(hash, key, value, ttl, now, FirstPanic::default()));
            }
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Extend<(K, V)> for Cache<K, V, S> {
    /// The same as [`insert_many`](Cache::insert_many).
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.insert_many(entries);
    }
}
