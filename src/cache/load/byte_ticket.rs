//! Tickets of a cache of bytes.

use std::fmt;
use std::hash::BuildHasher;
use std::time::Duration;

use super::in_flight::End;
use super::leading::{Claimed, IfDropped, Leading};
use super::wait::LoadWait;
use crate::cache::inner::Handle;
use crate::cache::insert_bytes::Insertions;
use crate::error::TooLarge;
use crate::hasher::RandomState;
use crate::panic::FirstPanic;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::ByteKey;
use crate::time::ttl::Ttl;

/// What [`ByteCache::lookup`](crate::ByteCache::lookup) has found.
#[must_use = "a ticket that is dropped abandons the load"]
#[derive(Debug)]
pub enum ByteLookup<S = RandomState> {
    /// A live value.
    Hit(Vec<u8>),
    /// A live value that expires soon. This caller is to refresh it; meanwhile the others get `Hit`.
    Refresh(Vec<u8>, ByteTicket<S>),
    /// No value. This caller is to load it; until it has, the others get `Loading`.
    Miss(ByteTicket<S>),
    /// No value. Another caller loads it.
    Loading(LoadWait),
}

/// The right to load a key of a [`ByteCache`](crate::ByteCache): a
/// [`LoadTicket`](crate::LoadTicket) for bytes.
///
/// ```
/// use std::time::Duration;
/// use punctual::{ByteCache, ByteLookup, Ttl};
///
/// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
/// if let ByteLookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) {
///     assert_eq!(ticket.key(), b"key");
///     ticket.store(b"value", Ttl::Default)?;
/// }
/// assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a ticket abandons the load"]
pub struct ByteTicket<S = RandomState> {
    /// Dropped first: it may be the last handle, and the load must end before.
    leading: Leading<Handle<(), (), S>>,
    insertions: Insertions,
    key: Box<[u8]>,
}

impl<S> ByteTicket<S> {
    /// Returns the key to load.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Ends the load: it failed. Those that wait are told at once. A value that was to be refreshed
    /// stays until its TTL has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{ByteCache, ByteLookup, LoadEnd};
    ///
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// let ByteLookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// let ByteLookup::Loading(load) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// ticket.fail();
    /// assert_eq!(load.wait(Duration::MAX), LoadEnd::Failed);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn fail(mut self) {
        let mut panics = FirstPanic::default();
        self.leading.end(End::Failed, &mut panics);
        panics.drop(self);
        panics.resume_or(());
    }
}

impl<S: BuildHasher> ByteTicket<S> {
    /// Ends the load: stores the value with that TTL. Returns `false` if it was discarded, since the
    /// key was set, removed or cleared after the lookup; see
    /// [`LoadTicket::store`](crate::LoadTicket::store).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{ByteCache, ByteLookup};
    ///
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// let ByteLookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// assert!(ticket.store(b"value", Duration::from_secs(60))?);
    /// assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large. The load has failed then: those that wait are told, and a
    /// value that was to be refreshed stays.
    ///
    /// # Panics
    ///
    /// In a closure that runs under one of the cache's locks.
    pub fn store(self, value: &[u8], ttl: impl Into<Ttl>) -> Result<bool, TooLarge> {
        let Self { mut leading, insertions, key } = self;
        // A clock or waker that panics from here on: the load has failed.
        leading.if_dropped = IfDropped::Fail;
        insertions.lengths(&key, value)?;
        let ttl = leading.cache.ttl_of_bytes(ttl.into(), leading.hash);
        let mut panics = FirstPanic::default();
        let is_stored = if ttl.is_some_and(|ttl| ttl.is_zero()) {
            Ok(leading.store_expired(&ByteKey(&key), &mut panics))
        } else {
            leading.store_bytes(&insertions, &key, value, ttl, &mut panics)
        };
        // The last handle, perhaps.
        panics.drop(leading);
        panics.resume_or(is_stored)
    }
}

impl<S> fmt::Debug for ByteTicket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteTicket").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<S: BuildHasher + Send + Sync + 'static> Handle<(), (), S> {
    /// Looks a key up. Gives a ticket if there is no live value, or one that has less than
    /// `refresh_before` of its TTL left, and nobody else loads it.
    pub(in crate::cache) fn lookup_bytes(
        &self,
        insertions: &Insertions,
        key: &[u8],
        refresh_before: Duration,
    ) -> ByteLookup<S> {
        self.begin_call();
        let query = &ByteKey(key);
        let hash = KeyHash::new(&self.hasher, query);
        let (value, claimed) =
            self.look_up_to_load(hash, query, refresh_before, |found| found.bytes().to_vec());
        let ticket = |mut leading: Leading<_>| {
            leading.if_dropped = IfDropped::FailIfUnwinding;
            ByteTicket { leading, insertions: insertions.clone(), key: key.into() }
        };
        match (value, claimed) {
            (Some(value), Some(Claimed::Leader(leading))) => {
                ByteLookup::Refresh(value, ticket(leading))
            }
            (Some(value), _) => ByteLookup::Hit(value),
            (None, Some(Claimed::Leader(leading))) => ByteLookup::Miss(ticket(leading)),
            (None, Some(Claimed::Follower(load))) => {
                ByteLookup::Loading(LoadWait::new(self.inner(), hash, load))
            }
            (None, None) => unreachable!("without a value there is a load"),
        }
    }
}
