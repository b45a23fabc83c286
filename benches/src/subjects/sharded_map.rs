//! hashbrown maps behind reader-writer locks: no bound, no expiry, no eviction. A
//! baseline: sixteen of them where few threads are measured, 64 where there are many.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{Key, Subject, Value};

/// One shard: a table rather than a map, so that a key is hashed once, as caches do it.
type Shard<K, V> = RwLock<HashTable<(K, V)>>;

#[derive(Clone)]
pub(crate) struct ShardedMap<const SHARDS: usize, K, V> {
    shards: Arc<[Shard<K, V>; SHARDS]>,
    hasher: RandomState,
}

impl<const SHARDS: usize, K: Key, V: Value> ShardedMap<SHARDS, K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        // An equal part each, and some more for those that get more than their share.
        let each = capacity / SHARDS + capacity / (SHARDS * 16);
        let shards = std::array::from_fn(|_| RwLock::new(HashTable::with_capacity(each)));
        Self { shards: Arc::new(shards), hasher: RandomState::default() }
    }

    /// The hash, and the shard by bits of it that the table does not use: those tell the bucket by
    /// the lowest bits and the tag by the highest seven.
    #[inline]
    fn place(&self, key: &K) -> (u64, &Shard<K, V>) {
        let hash = self.hasher.hash_one(key);
        (hash, &self.shards[(hash >> 50) as usize % SHARDS])
    }
}

impl<const SHARDS: usize, K: Key, V: Value> Subject<K, V> for ShardedMap<SHARDS, K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (hash, shard) = self.place(key);
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let value = shard.find(hash, |entry| entry.0 == *key).map(|entry| entry.1.clone());
        drop(shard);
        value.map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        let (hash, shard) = self.place(&key);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = match shard.find_mut(hash, |entry| entry.0 == key) {
            Some(entry) => Some(std::mem::replace(&mut entry.1, value)),
            None => {
                shard.insert_unique(hash, (key, value), |entry| self.hasher.hash_one(&entry.0));
                None
            }
        };
        drop(shard);
        drop(replaced);
    }

    fn remove(&mut self, key: &K) {
        let (hash, shard) = self.place(key);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(entry) = shard.find_entry(hash, |entry| entry.0 == *key) {
            entry.remove();
        }
    }
}
