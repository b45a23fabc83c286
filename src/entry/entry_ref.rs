//! An entry that is looked at in place.

use std::time::Duration;

/// A live entry, as [`for_each_entry`](crate::Cache::for_each_entry) shows it.
///
/// ```
/// use std::time::Duration;
/// use punctual::Cache;
///
/// let cache = Cache::new(100);
/// cache.insert_with_ttl("key", 1, Duration::from_secs(60));
/// cache.for_each_entry(|entry| {
///     assert_eq!((entry.key(), entry.value()), (&"key", &1));
///     assert!(entry.expires_in() <= Duration::from_secs(60));
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a, K, V> {
    pub(crate) key: &'a K,
    pub(crate) value: &'a V,
    pub(crate) expires_in: Duration,
    pub(crate) ttl_left: Duration,
}

impl<'a, K, V> EntryRef<'a, K, V> {
    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &'a K {
        self.key
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> &'a V {
        self.value
    }

    /// Returns the time that is left until the entry expires, as
    /// [`expires_in`](crate::Cache::expires_in) does; [`Duration::MAX`] if it never does.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// Returns what is left of the entry's TTL, even if its
    /// [time to idle](crate::Builder::time_to_idle) ends earlier: what to insert it with into another
    /// cache. [`Duration::MAX`] without a TTL.
    #[must_use]
    pub fn ttl_left(&self) -> Duration {
        self.ttl_left
    }
}
