//! The Python cache that this crate replaces, with its fault.
//!
//! [`LocalCache`] answers every call as the original does and frees every value
//! when the original does; `tests/original.rs` replays thousands of calls recorded
//! from it. It is here for comparison, so that you can see the difference on your
//! own workload. For anything else use [`unsync::Cache`](crate::unsync::Cache).
//!
//! # What it is
//!
//! ```text
//!   weak: the keys that can be found       strong: what is kept, oldest first
//!
//!     "a" ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌▷ value and deadline
//!     "b" ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┐      value and deadline  (b's, superseded)
//!                                    └╌╌╌▷ value and deadline
//! ```
//!
//! A map leads from each key to its entry, but does not keep the entry alive. A
//! queue of at most `max_len` entries does. [`set_ex`](LocalCache::set_ex) points
//! the key at a new entry and appends it to the queue; when that makes the queue
//! too long, the oldest entry is dropped, and the map forgets its key.
//!
//! # Why nothing dead is freed
//!
//! An entry leaves memory in one way only: `max_len` newer ones push it out.
//! [`get_ex`](LocalCache::get_ex) compares the deadline with the time, answers
//! "not found", and leaves the entry where it is. Nothing else looks at deadlines.
//! So the life of an entry is
//!
//! ```text
//!   set_ex                       the deadline                  max_len more set_ex
//!     │                               │                                 │
//!     ├── found ──────────────────────┼── not found, still in memory ───┤
//!     │                               │                                 └ freed
//! ```
//!
//! However short the time to live, the cache grows to `max_len` entries and stays
//! there. Setting a key again makes it worse: the entry that it had can no longer
//! be found, and still takes one of the `max_len` places.
//!
//! `punctual` frees an entry when its time comes, whether or not anyone touches the
//! cache, replaces an entry where it stands, and allocates all of its memory when
//! it is built.
//!
//! # What is as in Python, and what is not
//!
//! | CPython | here |
//! |---|---|
//! | `WeakValueDictionary`, which holds the key | [`HashTable`] of the key and a [`Weak`] |
//! | `deque(maxlen)` of the entries | [`VecDeque`] of [`Arc`], never more than `max_len + 1` places |
//! | entry: a `dict` of `result` and `expire`, without the key | one allocation of the value and the deadline, without the key |
//! | a string caches its hash, and so do `dict`s | the hash stands beside the strong reference |
//! | a weak reference's callback forgets the key, if it still leads to the dying entry | `set_ex` does the same before it drops the entry |
//! | both grow as they fill | both grow as they fill, by doubling |
//!
//! The shape is Python's, the price is not. Full with 500,000 entries of `u64 → u64`,
//! it has requested 92 bytes an entry from the allocator: 40 for the entry itself, 16
//! for its place in the queue, 36 for its share of the map. The original takes 474 to
//! 576 bytes of resident memory, with short strings.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use equivalent::Equivalent;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::time::clock::{Clock, SystemClock};

/// A bounded cache that stops serving an entry at its deadline, and keeps it in
/// memory until `max_len` newer ones have come.
///
/// See the [module's documentation](self) for what that leads to, and use
/// [`punctual::Cache`](crate::Cache) instead.
///
/// A panic in a key's `Hash` or `Eq`, in a value's `Clone`, or in the clock reaches
/// the caller and leaves the cache as it was before the call. A panic in `Drop`
/// reaches the caller when the call has done all else that it does.
///
/// Setting takes `&mut self`: put it behind a mutex to share it between threads, as
/// the interpreter's lock did.
///
/// Dropping the cache drops the values oldest first.
///
/// ```
/// use std::time::Duration;
/// use punctual::ManualClock;
/// use punctual::original::LocalCache;
///
/// let clock = ManualClock::new();
/// let mut cache = LocalCache::with_clock(2, clock.clone());
/// cache.set_ex("user_1", "Ada", Duration::from_secs(1800));
/// assert_eq!(cache.get_ex("user_1"), Some("Ada"));
///
/// // A day later the entry is dead, and still there.
/// clock.advance(Duration::from_secs(86_400));
/// assert_eq!(cache.get_ex("user_1"), None);
/// assert_eq!(cache.strong_len(), 1);
///
/// // Only newer entries free it.
/// cache.set_ex("user_2", "Grace", Duration::from_secs(1800));
/// cache.set_ex("user_3", "Edsger", Duration::from_secs(1800));
/// assert_eq!(cache.strong_len(), 2);
/// ```
pub struct LocalCache<K, V> {
    // Invariants, whenever no method runs, also after a panic:
    //
    // - strong.len() <= max_len.
    // - No two slots of `weak` have equal keys, and each slot's entry is in
    //   `strong`, under the hash of the slot's key. So no weak reference is dead.
    weak: HashTable<Slot<K, V>>,
    strong: VecDeque<Held<V>>,
    max_len: usize,
    hash_builder: RandomState,
    clock: Box<dyn Clock + Send + Sync>,
}

/// A key that can be found.
struct Slot<K, V> {
    key: K,
    entry: Weak<Entry<V>>,
}

/// A strong reference, and what finds its slot, if it still has one, without
/// calling the key's `Hash` or `Eq` and without reading the entry.
struct Held<V> {
    /// Kept here rather than in the entry, where it would cost a second 8 bytes
    /// with allocators that round up to 16.
    hash: u64,
    /// `Arc` rather than `Rc`, so that the cache may be shared behind a mutex. Its
    /// atomic instructions could not be measured beside the cache misses.
    entry: Arc<Entry<V>>,
}

/// What the original keeps in a `dict`: `result` and `expire`.
struct Entry<V> {
    deadline: Duration,
    value: V,
}

impl<K, V> LocalCache<K, V> {
    /// An empty cache for at most `max_len` entries, the dead and the superseded
    /// included, with the [`SystemClock`].
    ///
    /// Allocates nothing for entries: the cache grows as it fills. With a `max_len`
    /// of 0 a value is freed by the very call that sets it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let mut cache = LocalCache::new(500_000);
    /// cache.set_ex(1, "one", Duration::from_secs(1800));
    /// assert_eq!(cache.get_ex(&1), Some("one"));
    /// ```
    #[must_use]
    pub fn new(max_len: usize) -> Self {
        Self::with_clock(max_len, SystemClock)
    }

    /// As [`new`](Self::new), with another clock.
    ///
    /// The clock is read once by each [`set_ex`](Self::set_ex) and by each
    /// [`get_ex`](Self::get_ex) that finds its key. Its [`lag`](Clock::lag) is not
    /// asked for: like the original, this cache believes its clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::ManualClock;
    /// use punctual::original::LocalCache;
    ///
    /// let clock = ManualClock::new();
    /// let mut cache = LocalCache::with_clock(10, clock.clone());
    /// cache.set_ex("key", 1, Duration::from_secs(5));
    ///
    /// clock.set(Duration::from_secs(5));
    /// assert_eq!(cache.get_ex("key"), Some(1));
    /// clock.set(Duration::from_secs(6));
    /// assert_eq!(cache.get_ex("key"), None);
    /// ```
    #[must_use]
    pub fn with_clock(max_len: usize, clock: impl Clock + Send + Sync + 'static) -> Self {
        Self {
            weak: HashTable::new(),
            strong: VecDeque::new(),
            max_len,
            hash_builder: RandomState::default(),
            clock: Box::new(clock),
        }
    }

    /// The number of different keys among the entries in memory, dead ones
    /// included. Constant time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let mut cache = LocalCache::new(10);
    /// cache.set_ex("key", 1, Duration::from_secs(60));
    /// cache.set_ex("key", 2, Duration::from_secs(60));
    /// assert_eq!((cache.weak_len(), cache.strong_len()), (1, 2));
    /// ```
    #[must_use]
    pub fn weak_len(&self) -> usize {
        self.weak.len()
    }

    /// The number of entries in memory, dead and superseded ones included; never
    /// more than `max_len`. Constant time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let mut cache = LocalCache::new(3);
    /// for key in 0..10 {
    ///     cache.set_ex(key, "dead on arrival", Duration::ZERO);
    /// }
    /// assert_eq!(cache.strong_len(), 3);
    /// ```
    #[must_use]
    pub fn strong_len(&self) -> usize {
        self.strong.len()
    }

    /// Makes the map forget the key that leads to `held`, if one still does. Runs
    /// none of the key's code: the caller drops what it is given.
    fn take_slot(&mut self, held: &Held<V>) -> Option<Slot<K, V>> {
        // A key that was set again leads to a newer entry, and stays. The address
        // tells which: as long as an entry is referred to, no other one gets it.
        let leads_here = |slot: &Slot<K, V>| ptr::eq(slot.entry.as_ptr(), Arc::as_ptr(&held.entry));
        match self.weak.find_entry(held.hash, leads_here) {
            Ok(occupied) => Some(occupied.remove().0),
            Err(_superseded) => None,
        }
    }
}

impl<K: Hash + Eq, V> LocalCache<K, V> {
    /// Points `key` at a new entry, to be found for as long as the clock says at
    /// most the time of now plus `ttl`. A sum that no `Duration` can hold becomes
    /// [`Duration::MAX`], which is never passed.
    ///
    /// If `key` had an entry, that one can no longer be found, but keeps its memory
    /// and its place. The cache keeps the key it had and drops the one given.
    ///
    /// If the cache now holds more than `max_len` entries, the oldest is dropped
    /// before the call returns, dead or not.
    ///
    /// Constant time on average, with one call of `Hash` and one allocation; now and
    /// then the cache doubles, which moves all of it and calls `Hash` for each key.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let first = Rc::new("a large page");
    /// let mut cache = LocalCache::new(2);
    /// cache.set_ex("/", Rc::clone(&first), Duration::from_secs(60));
    ///
    /// // Superseded, and still in memory.
    /// cache.set_ex("/", Rc::new("its next version"), Duration::from_secs(60));
    /// assert_eq!(Rc::strong_count(&first), 2);
    ///
    /// // Pushed out; the next version stays reachable.
    /// cache.set_ex("/help", Rc::new("another page"), Duration::from_secs(60));
    /// assert_eq!(Rc::strong_count(&first), 1);
    /// assert_eq!(cache.get_ex("/").as_deref(), Some(&"its next version"));
    /// ```
    pub fn set_ex(&mut self, key: K, value: V, ttl: Duration) {
        self.reserve_strong();
        // Callers' code that may panic comes before the first change.
        let deadline = self.clock.now().saturating_add(ttl);
        let hash = self.hash_builder.hash_one(&key);
        let existing = self.weak.find_entry(hash, |slot| slot.key == key);

        let entry = Arc::new(Entry { deadline, value });
        let weak_entry = Arc::downgrade(&entry);
        match existing {
            Ok(mut occupied) => occupied.get_mut().entry = weak_entry,
            Err(_absent) => {
                if self.weak.len() == self.weak.capacity() {
                    self.grow_weak();
                }
                let slot = Slot { key, entry: weak_entry };
                self.weak.insert_unique(hash, slot, |_| {
                    unreachable!("grow_weak has made room for one more slot")
                });
            }
        }
        // Appended before the oldest goes, as Python's deque does: that is why a
        // `max_len` of 0 needs no case of its own.
        self.strong.push_back(Held { hash, entry });
        if self.strong.len() > self.max_len {
            let oldest = self.strong.pop_front();
            let slot = oldest.as_ref().and_then(|held| self.take_slot(held));
            // Only now that all is in order again: a panic in the `Drop` of a key or
            // a value finds nothing half done.
            drop((slot, oldest));
        }
    }

    /// A clone of the value of `key`, or `None` if the key is not in the cache or
    /// its deadline has passed. At the deadline itself the value is still served.
    ///
    /// Frees nothing and changes no order: being read does not protect an entry from
    /// being dropped. Constant time on average, with one call of `Hash`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let mut cache = LocalCache::new(2);
    /// for key in ["a", "b", "c"] {
    ///     cache.set_ex(key.to_owned(), key.len(), Duration::from_secs(60));
    ///     assert_eq!(cache.get_ex(key), Some(1));
    /// }
    /// assert_eq!(cache.get_ex("a"), None);
    /// ```
    #[must_use]
    pub fn get_ex<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        let hash = self.hash_builder.hash_one(key);
        let slot = self.weak.find(hash, |slot| key.equivalent(&slot.key))?;
        let entry = slot.entry.upgrade()?;
        if self.clock.now() > entry.deadline {
            return None;
        }
        Some(entry.value.clone())
    }

    /// Makes room for as many slots again as `weak` has.
    ///
    /// `HashTable::reserve` would do, were it not for a `Hash` that panics: where
    /// it reorders the table in place, that loses the slots not yet placed. So all
    /// the hashes come first, and then everything moves.
    #[cold]
    fn grow_weak(&mut self) {
        let hash_of = |slot: &Slot<K, V>| self.hash_builder.hash_one(&slot.key);
        let hashes: Vec<u64> = self.weak.iter().map(hash_of).collect();
        let mut grown = HashTable::with_capacity((2 * self.weak.len()).max(1));
        // `drain` goes through the slots in the order of `iter`.
        for (hash, slot) in hashes.into_iter().zip(self.weak.drain()) {
            grown.insert_unique(hash, slot, |_| {
                unreachable!("a table with room for twice the slots does not grow")
            });
        }
        self.weak = grown;
    }

    /// Makes room in `strong` for one more entry: by doubling, but never for more
    /// than will be needed, which is one above `max_len`.
    #[inline]
    fn reserve_strong(&mut self) {
        let len = self.strong.len();
        if len == self.strong.capacity() {
            let places_at_most = self.max_len.saturating_add(1);
            let additional = len.max(4).min(places_at_most - len);
            self.strong.reserve_exact(additional);
        }
    }
}

/// Shows the sizes, not the entries.
impl<K, V> fmt::Debug for LocalCache<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalCache")
            .field("max_len", &self.max_len)
            .field("weak_len", &self.weak_len())
            .field("strong_len", &self.strong_len())
            .finish_non_exhaustive()
    }
}
