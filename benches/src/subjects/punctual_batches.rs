//! `punctual::Cache` as one thread calls it for many keys at once.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::Duration;

use punctual::{Cache, Reaper};

use super::time::Time;
use super::{Key, Subject, Value};

pub(crate) struct PunctualBatches<K, V, S> {
    cache: Cache<K, V, S>,
    /// Keys of a call.
    size: usize,
}

impl<K: Key, V: Value, S: BuildHasher + Send + Sync + 'static> PunctualBatches<K, V, S> {
    pub(crate) fn new(capacity: usize, size: usize, time: &impl Time<Hasher = S>) -> Self {
        let builder = Cache::builder().capacity(capacity).hasher(time.hasher());
        let cache = builder.reaper(Reaper::Thread).build().expect("the capacity is possible");
        Self { cache, size }
    }
}

impl<K: Key, V: Value, S: BuildHasher> Subject<K, V> for PunctualBatches<K, V, S> {
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.cache.read(key, read)
    }

    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.cache.insert_with_ttl(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.cache.remove(key);
    }

    /// Clones each value, as `get` does.
    #[inline]
    fn get_each(&mut self, keys: &[K]) -> usize {
        let mut hits = 0;
        for batch in keys.chunks(self.size) {
            self.cache.read_many(batch, |_, value| {
                hits += usize::from(black_box(value.cloned()).is_some());
            });
        }
        hits
    }

    /// The entries of a batch have one TTL.
    #[inline]
    fn insert_each(
        &mut self,
        entries: &mut impl ExactSizeIterator<Item = (K, V)>,
        ttl: impl Fn(usize) -> Duration,
    ) {
        for number in 0.. {
            if entries.len() == 0 {
                break;
            }
            self.cache.insert_many_with_ttl(entries.by_ref().take(self.size), ttl(number));
        }
    }
}
