//! Calls for many keys at once, whose cache misses overlap: a batch is taken chunk
//! by chunk, and each step is taken for all keys of a chunk before the next. Without
//! locks their order does not matter.

use std::hash::{BuildHasher, Hash};
use std::mem::needs_drop;
use std::time::Duration;

use arrayvec::ArrayVec;
use hashbrown::Equivalent;

use super::Cache;
use crate::panic::{FirstPanic, Given};
use crate::shard::Shard;
use crate::shard::batch::{Entry, KEYS, LARGE_ENTRIES, SMALL_ENTRIES};
use crate::shard::key_hash::KeyHash;
use crate::shard::slot_id::SlotId;

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Shows `each` the live entries of many keys; every look-up counts as a use.
    #[inline(never)]
    pub(super) fn look_up_many<'a, Q, I>(
        &mut self,
        keys: I,
        mut each: impl FnMut(usize, Option<&V>),
    ) where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        let mut keys = keys.into_iter().fuse();
        let shards = self.shards.len();
        let mut chunk = ArrayVec::<(KeyHash, &Q), KEYS>::new();
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
            let mut panics = FirstPanic::default();
            let now = self.begin(&mut panics);
            for (hash, _) in &chunk {
                self.reap_shard(hash.shard(shards), now, self.reap_limit, &mut panics);
            }
            panics.finish(());

            let slot_hashes =
                chunk.iter().map(|(hash, _)| (self.shard_of(*hash), hash.slot_hash()));
            Shard::find_candidates(slot_hashes, &mut found);
            for (found, (hash, key)) in found.iter_mut().zip(&chunk) {
                *found = self.shard_of(*hash).confirm(*found, hash.slot_hash(), *key);
            }
            for ((&found, &(hash, _)), position) in found.iter().zip(&chunk).zip(done..) {
                // For each of them: `each` may take long.
                let now = self.time.read();
                let live = self.shards[hash.shard(shards)].record_access(found, hash, now);
                each(position, live.map(|(_, value)| &*value));
            }
            done += chunk.len();
        }
    }

    #[inline]
    fn shard_of(&self, hash: KeyHash) -> &Shard<K, V> {
        &self.shards[hash.shard(self.shards.len())]
    }

    /// Puts many entries in, one after the other.
    pub(super) fn put_many(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        let entries = entries.into_iter().fuse();
        if Entry::<K, V>::PER_CHUNK == 1 {
            entries.for_each(|(key, value)| drop(self.put(key, value, ttl)));
        } else if Entry::<K, V>::PER_CHUNK == LARGE_ENTRIES {
            self.put_chunks::<LARGE_ENTRIES>(entries, ttl);
        } else {
            self.put_chunks::<SMALL_ENTRIES>(entries, ttl);
        }
    }

    #[inline(never)]
    fn put_chunks<const N: usize>(
        &mut self,
        mut entries: impl Iterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) {
        let mut chunk = ArrayVec::<Entry<K, V>, N>::new();
        let mut candidates = ArrayVec::<Option<SlotId>, N>::new();
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
            let mut panics = FirstPanic::default();
            let now = self.begin_ttl(&mut panics);
            panics.finish(());
            let slot_hashes =
                chunk.iter().map(|entry| (self.shard_of(entry.hash), entry.hash.slot_hash()));
            // What they are is found out anew: each insertion may change it.
            Shard::find_candidates(slot_hashes, &mut candidates);
            for Entry { hash, key, value, .. } in chunk.drain(..) {
                // Listeners and drops may have taken long.
                let has_been_out = needs_drop::<(K, V)>() || self.listener.is_some();
                let now = if has_been_out { self.time.read_for_deadline() } else { now };
                drop(self.put_at(hash, key, value, ttl, now, FirstPanic::default()));
            }
        }
    }
}
