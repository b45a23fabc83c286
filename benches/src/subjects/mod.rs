//! What is compared: one small trait, one file for each subject, and the [`registry`] of all.
//!
//! Each adapter uses its subject as the subject's own documentation recommends, and says where it
//! had to choose. If you maintain one of them and would do it differently, that file is all there
//! is to change.

mod bare_map;
pub(crate) mod boxed;
mod foyer;
mod lru_deadline;
mod mini_moka;
mod moka_expiry;
mod moka_ttl;
pub(crate) mod mutexed;
mod nothing;
mod original;
mod pingora;
mod policies;
pub(crate) mod prompt;
mod punctual_batches;
mod punctual_cache;
mod punctual_unsync;
mod quick_cache;
mod quick_cache_deadline;
mod quick_cache_unsync;
pub(crate) mod registry;
mod scc;
mod sharded_map;
mod stretto;
pub(crate) mod time;
mod tiny_ufo;
mod ttl_cache;

use std::hash::Hash;
use std::hint::black_box;
use std::time::Duration;

/// What every subject's keys have to be.
pub(crate) trait Key: Hash + Eq + Clone + Send + Sync + 'static {}
impl<T: Hash + Eq + Clone + Send + Sync + 'static> Key for T {}

/// What every subject's values have to be.
pub(crate) trait Value: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Value for T {}

/// One cache, as one thread uses it. A subject for several threads is a handle that can be cloned.
pub(crate) trait Subject<K, V> {
    /// Looks a key up the way the subject's users do, and shows the value to `read`: a clone where
    /// the subject gives clones, a reference where it gives references.
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R>;

    /// Puts an entry in. A subject with one TTL for all entries, or with none, ignores `ttl`.
    fn insert(&mut self, key: K, value: V, ttl: Duration);

    fn remove(&mut self, key: &K);

    /// Looks a key up; if it is not there, one caller of many makes its value, and the others wait.
    /// Returns the value. For those whose facts say so.
    fn get_or_insert_with(&mut self, _key: &K, _ttl: Duration, _make: impl FnOnce() -> V) -> V {
        unreachable!("its facts do not say that it makes a value once")
    }

    /// Lets the subject finish what it put off, for those that recommend to.
    fn settle(&mut self) {}

    /// Looks keys up; returns how many were there.
    #[inline]
    fn get_each(&mut self, keys: &[K]) -> usize {
        let mut hits = 0;
        for key in keys {
            hits += usize::from(self.get(key, |value| _ = black_box(value)).is_some());
        }
        hits
    }

    /// Puts entries in, with TTLs by their number.
    #[inline]
    fn insert_each(
        &mut self,
        entries: &mut impl ExactSizeIterator<Item = (K, V)>,
        ttl: impl Fn(usize) -> Duration,
    ) {
        for (number, (key, value)) in entries.enumerate() {
            self.insert(key, value, ttl(number));
        }
    }
}
