//! The Python cache that this crate replaces, with its fault.
//!
//! [`LocalCache`] answers every call as the original does and frees every value
//! when the original does; `tests/original.rs` replays thousands of calls recorded
//! from it. It is here for comparison, so that you can see the difference on your
//! own workload. For anything else use [`unsync::Cache`](crate::unsync::Cache).
//!
//! # How it works
//!
//! ```text
//!   weak: the keys that can be found       strong: entries in memory, oldest first
//!
//!     "a" ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌▷ value and deadline
//!     "b" ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┐      value and deadline  (b's, superseded)
//!                                    └╌╌╌▷ value and deadline
//! ```
//!
//! A map holds a weak reference to the entry of each key. A queue of at most `max_len`
//! entries holds the strong ones. [`set_ex`](LocalCache::set_ex) makes a new entry for the
//! key and appends it to the queue; when that makes the queue too long, the oldest entry is
//! dropped, and its key is removed from the map.
//!
//! # Why expired entries are not freed
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
//! However short the TTL, the cache grows to `max_len` entries and stays there. Setting a
//! key again makes it worse: the entry that it had can no longer be found, and still counts
//! as one of the `max_len`.
//!
//! `punctual` frees an entry soon after its deadline, whether or not the cache is used,
//! replaces an entry in place, and allocates all of its memory when it is built.
//!
//! # Differences from the Python code
//!
//! | CPython | here |
//! |---|---|
//! | `WeakValueDictionary`, which holds the key | [`HashTable`] of the key and a [`Weak`] |
//! | `deque(maxlen)` of the entries | [`VecDeque`] of [`Arc`], with a capacity of at most `max_len + 1` |
//! | entry: a `dict` of `result` and `expire`, without the key | one allocation of the value and the deadline, without the key |
//! | a string caches its hash, and so do `dict`s | the hash is stored beside the strong reference |
//! | a weak reference's callback removes the key if it still refers to the dropped entry | `set_ex` does the same before it drops the entry |
//! | both grow as they fill | both grow as they fill, by doubling |
//!
//! The structure is Python's, the cost is not. Full of 500,000 entries of `u64 → u64`, it
//! has requested 92 bytes an entry from the allocator: 40 for the entry itself, 16 for its
//! element of the queue, 36 for its share of the map. The original takes 474 to 576 bytes of
//! resident memory, with short strings.

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

/// A bounded cache that stops returning an entry at its deadline, and keeps it in memory
/// until `max_len` newer ones have been set.
///
/// See the [module's documentation](self) for the consequences, and use
/// [`punctual::Cache`](crate::Cache) instead.
///
/// Setting takes `&mut self`: to share the cache between threads, put it behind a mutex, as
/// the interpreter's lock did for the original. Dropping the cache drops the values oldest
/// first.
///
/// # Panics
///
/// A panic in a key's `Hash` or `Eq`, in a value's `Clone`, or in the clock reaches the
/// caller and leaves the cache as it was before the call. A panic in the `Drop` of a key or a
/// value reaches the caller after the call has done everything else.
///
/// # Examples
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
/// // A day later the entry has expired, and is still in memory.
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
    // Invariants between calls, even after a panic:
    //
    // - strong.len() <= max_len.
    // - No two slots of `weak` have equal keys, and each slot's entry is in `strong`, with
    //   the hash of the slot's key. So every weak reference can be upgraded.
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

/// A strong reference, and the hash by which its slot is found, if it still has one, without
/// calling the key's `Hash` or `Eq` and without reading the entry.
struct Held<V> {
    /// Here rather than in the entry, where it would cost 16 bytes with allocators that round
    /// up to 16.
    hash: u64,
    /// `Arc` rather than `Rc`, so that the cache may be shared behind a mutex. Beside the
    /// cache misses, its atomic instructions made no measurable difference.
    entry: Arc<Entry<V>>,
}

/// The original has a `dict` of `result` and `expire`.
struct Entry<V> {
    deadline: Duration,
    value: V,
}

impl<K, V> LocalCache<K, V> {
    /// Returns an empty cache for at most `max_len` entries, expired and superseded ones
    /// included, with the [`SystemClock`].
    ///
    /// Allocates nothing for entries: the cache grows as it fills. With a `max_len` of 0,
    /// each value is freed by the call that sets it.
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

    /// Returns an empty cache as [`new`](Self::new) does, with another clock.
    ///
    /// The clock is read once by each [`set_ex`](Self::set_ex), and by each
    /// [`get_ex`](Self::get_ex) that finds its key. Its [`lag`](Clock::lag) is ignored: like
    /// the original, this cache takes its clock to be exact.
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

    /// Returns the number of different keys among the entries in memory, expired ones
    /// included. O(1).
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

    /// Returns the number of entries in memory, expired and superseded ones included; never
    /// more than `max_len`. O(1).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::original::LocalCache;
    ///
    /// let mut cache = LocalCache::new(3);
    /// for key in 0..10 {
    ///     cache.set_ex(key, "expires at once", Duration::ZERO);
    /// }
    /// assert_eq!(cache.strong_len(), 3);
    /// ```
    #[must_use]
    pub fn strong_len(&self) -> usize {
        self.strong.len()
    }

    /// Removes the key whose entry is `held` from the map, if there still is one. Runs none
    /// of the key's code: the caller drops the slot.
    fn take_slot(&mut self, held: &Held<V>) -> Option<Slot<K, V>> {
        // A key that was set again has a newer entry, and stays. Addresses identify entries:
        // as long as there is a reference to one, no other can have its address.
        let is_its_slot =
            |slot: &Slot<K, V>| ptr::eq(slot.entry.as_ptr(), Arc::as_ptr(&held.entry));
        match self.weak.find_entry(held.hash, is_its_slot) {
            Ok(occupied) => Some(occupied.remove().0),
            Err(_superseded) => None,
        }
    }
}

impl<K: Hash + Eq, V> LocalCache<K, V> {
    /// Sets the value of a key.
    ///
    /// The entry can be found until the clock is past the present time plus `ttl`. If that
    /// sum overflows, the entry never expires.
    ///
    /// If the key had an entry, that one can no longer be found, but stays in memory and in
    /// the queue. The map keeps the key that it had and drops the one given.
    ///
    /// If there are now more than `max_len` entries, the oldest is dropped before the call
    /// returns, expired or not.
    ///
    /// O(1) amortized, with one call of `Hash` and one allocation. When the cache doubles,
    /// all of it is moved and `Hash` is called for each key.
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
    /// // The first version is superseded, and still in memory.
    /// cache.set_ex("/", Rc::new("its next version"), Duration::from_secs(60));
    /// assert_eq!(Rc::strong_count(&first), 2);
    ///
    /// // Now it is pushed out; the next version can still be found.
    /// cache.set_ex("/help", Rc::new("another page"), Duration::from_secs(60));
    /// assert_eq!(Rc::strong_count(&first), 1);
    /// assert_eq!(cache.get_ex("/").as_deref(), Some(&"its next version"));
    /// ```
    pub fn set_ex(&mut self, key: K, value: V, ttl: Duration) {
        self.reserve_strong();
        // Callers' code may panic, so it runs before anything is changed.
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
        // Appended before the oldest is removed, as by Python's deque, so that a `max_len` of
        // 0 is no special case.
        self.strong.push_back(Held { hash, entry });
        if self.strong.len() > self.max_len {
            let oldest = self.strong.pop_front();
            let slot = oldest.as_ref().and_then(|held| self.take_slot(held));
            // Not before the cache is consistent again: `Drop` may panic.
            drop((slot, oldest));
        }
    }

    /// Returns a clone of the value of `key`, or `None` if the key is not in the cache or
    /// the time is past its deadline. At the deadline itself, the value is still returned.
    ///
    /// Frees nothing and changes no order: reading an entry does not keep it from being
    /// dropped. O(1) on average, with one call of `Hash`.
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

    /// Doubles the capacity of `weak`.
    ///
    /// Not by `HashTable::reserve`: where that rehashes in place and a key's `Hash` panics,
    /// it loses slots. Here all hashes are computed before any slot is moved.
    #[cold]
    fn grow_weak(&mut self) {
        let hash_of = |slot: &Slot<K, V>| self.hash_builder.hash_one(&slot.key);
        let hashes: Vec<u64> = self.weak.iter().map(hash_of).collect();
        let mut grown = HashTable::with_capacity((2 * self.weak.len()).max(1));
        // `drain` visits the slots in the same order as `iter`.
        for (hash, slot) in hashes.into_iter().zip(self.weak.drain()) {
            grown.insert_unique(hash, slot, |_| {
                unreachable!("a table with room for twice the slots does not grow")
            });
        }
        self.weak = grown;
    }

    /// Reserves room in `strong` for one more entry: by doubling, but for no more than will
    /// be needed, which is `max_len + 1`.
    #[inline]
    fn reserve_strong(&mut self) {
        let len = self.strong.len();
        if len == self.strong.capacity() {
            let capacity_max = self.max_len.saturating_add(1);
            let additional = len.max(4).min(capacity_max - len);
            self.strong.reserve_exact(additional);
        }
    }
}

/// Prints the sizes, not the entries.
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
