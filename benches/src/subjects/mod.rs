//! What is compared: one small trait, and one file for each subject.
//!
//! Each adapter uses its subject as the subject's own documentation recommends, and says where it
//! had to choose. If you maintain one of them and would do it differently, that file is all there
//! is to change.

pub(crate) mod bare_map;
pub(crate) mod lru_deadline;
pub(crate) mod mini_moka;
pub(crate) mod moka_expiry;
pub(crate) mod moka_ttl;
pub(crate) mod mutexed;
pub(crate) mod original;
pub(crate) mod prompt;
pub(crate) mod punctual_cache;
pub(crate) mod punctual_unsync;
pub(crate) mod quick_cache;
pub(crate) mod quick_cache_deadline;
pub(crate) mod quick_cache_unsync;
pub(crate) mod sharded_map;
pub(crate) mod stretto;
pub(crate) mod time;
pub(crate) mod ttl_cache;

use std::hash::Hash;
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

    /// Lets the subject finish what it put off, for those that recommend to.
    fn settle(&mut self) {}
}
