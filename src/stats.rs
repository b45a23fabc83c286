//! Statistics.

/// What a field of [`Stats`] is, for exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatKind {
    /// A count since the cache was built, which never decreases.
    Counter,
    /// A current amount, or the highest so far.
    Gauge,
}

/// Declares the fields, and what is done for each of them.
macro_rules! stats {
    ($(#[$of_struct:meta])* pub struct Stats {
        $($(#[doc = $doc:literal])+ $kind:ident $field:ident,)+
    }) => {
        $(#[$of_struct])*
        pub struct Stats {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Stats {
            /// Returns name, kind and value of each field, for exporters.
            ///
            /// ```
            /// use punctual::{Cache, StatKind};
            ///
            /// let cache = Cache::new(10);
            /// cache.insert("key", 1);
            /// let stats = cache.stats();
            /// assert!(stats.fields().any(|field| field == ("inserts", StatKind::Counter, 1)));
            /// assert!(stats.fields().any(|field| field == ("held", StatKind::Gauge, 1)));
            /// ```
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, StatKind, u64)> + use<> {
                [$((stringify!($field), StatKind::$kind, self.$field)),+].into_iter()
            }

            /// Returns what has happened since `earlier`: the differences of the counters, and the
            /// gauges as they are now.
            ///
            /// ```
            /// let cache = punctual::Cache::new(10);
            /// cache.insert("key", 1);
            /// let earlier = cache.stats();
            /// cache.get("key");
            /// cache.get("another");
            /// let since = cache.stats().since(&earlier);
            /// assert_eq!((since.hits, since.misses, since.inserts, since.held), (1, 1, 0, 1));
            /// assert_eq!(since.hit_ratio(), Some(0.5));
            /// ```
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($field: stats!(@since $kind, self.$field, earlier.$field)),+ }
            }

            #[cfg(test)]
            fn fields_mut(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$field),+].into_iter()
            }

            /// Returns the sums of two shards.
            pub(crate) fn plus(self, other: &Self) -> Self {
                Self { $($field: self.$field.saturating_add(other.$field)),+ }
            }
        }
    };
    (@since Counter, $now:expr, $earlier:expr) => { $now.saturating_sub($earlier) };
    (@since Gauge, $now:expr, $earlier:expr) => { $now };
}

stats! {
    /// Counts since the cache was built, and how many entries it holds.
    ///
    /// Every entry ever inserted is accounted for:
    /// `inserts = held + expired + evicted + removed + replaced`.
    ///
    /// ```
    /// use punctual::unsync::Cache;
    ///
    /// let mut cache = Cache::new(100);
    /// cache.insert("key", 1);
    /// cache.get("key");
    /// cache.get("no such key");
    /// let stats = cache.stats();
    /// assert_eq!((stats.hits, stats.misses, stats.held), (1, 1, 1));
    /// assert_eq!(stats.hit_ratio(), Some(0.5));
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Stats {
        /// Lookups that found a live entry. Calls that count as no use, such as `peek`, count
        /// neither here nor as misses.
        Counter hits,
        /// Lookups that found no entry, or a due one.
        Counter misses,
        /// Entries inserted, those that replaced another included.
        Counter inserts,
        /// Entries removed because their TTL, or their [time to idle](crate::Builder::time_to_idle),
        /// had passed.
        Counter expired,
        /// Live entries removed to make room for others, or because they were too
        /// [heavy](crate::Builder::max_weight).
        Counter evicted,
        /// Live entries removed by `remove`, `remove_entry`, `remove_if`, `compute`, `retain` and
        /// `clear`.
        Counter removed,
        /// Live entries replaced, since their key was inserted again.
        Counter replaced,
        /// Entries held now: live ones, and due ones that are not freed yet, which
        /// [`due_len`](crate::Cache::due_len) counts.
        Gauge held,
        /// The most entries ever held at once.
        ///
        /// Taken after each insertion, which first frees what is due within the
        /// `reap_limit`.
        Gauge live_peak,
        /// Times that a shard's index was rebuilt, which clears it of tombstones.
        Counter rebuilds,
        /// Loads begun: by loaders that ran, and by tickets that were given.
        Counter loads,
        /// Times that a caller waited for another caller's load, or was given a
        /// [`LoadWait`](crate::LoadWait). The caller has counted as a miss, once.
        Counter loads_joined,
        /// Loads that failed: with an error, a panic, or [`LoadTicket::fail`](crate::LoadTicket::fail).
        Counter loads_failed,
        /// Loads that nobody could wait for. If there was no room, raise
        /// [`concurrent_loads`](crate::Builder::concurrent_loads). The other reason: callers had
        /// waited for a value whose TTL was zero, or that had left already.
        Counter loads_unshared,
        /// The total duration of all ended loads, in nanoseconds of the cache's clock.
        Counter load_nanos,
        /// The sum of the weights of the entries held now; zero without a
        /// [`weigher`](crate::Builder::weigher).
        Gauge weight,
        /// The most that the entries ever weighed: the sum of the shards' own peaks.
        Gauge weight_peak,
        /// The bytes of all keys and values that a [`ByteCache`](crate::ByteCache) holds now; zero for
        /// other caches.
        Gauge live_bytes,
        /// The most that `live_bytes` ever was: the sum of the shards' own peaks.
        Gauge live_bytes_peak,
        /// The bytes that a [`ByteCache`](crate::ByteCache) has moved within its memory, to bring free
        /// room together.
        Counter bytes_moved,
    }
}

impl Stats {
    /// Returns the capacity that this load needs: `headroom` times the most entries ever held
    /// at once, rounded up. A headroom below 1, or NaN, counts as 1.
    ///
    /// Returns `None` once anything was evicted: with more room, an unknown number of entries more
    /// would have been live. Try a larger capacity.
    ///
    /// ```
    /// use punctual::unsync::Cache;
    ///
    /// let mut cache = Cache::new(1_000_000);
    /// for id in 0..50_000 {
    ///     cache.insert(id, id);
    /// }
    /// assert_eq!(cache.stats().recommended_capacity(1.2), Some(60_000));
    /// ```
    #[must_use]
    pub fn recommended_capacity(&self, headroom: f64) -> Option<usize> {
        // `max` takes the number where the other is none.
        let entries = self.live_peak as f64 * headroom.max(1.0);
        // Not negative, and a cast of too large a float saturates.
        (self.evicted == 0).then_some(entries.ceil() as usize)
    }

    /// Returns the [memory budget](crate::ByteBuilder::memory_budget) that this load needs in a
    /// [`ByteCache`](crate::ByteCache): for `headroom` times the most entries and the most bytes ever
    /// held. Give it together with the [`mean_entry`](Self::mean_entry). A headroom below 1, or NaN,
    /// counts as 1.
    ///
    /// It assumes the default share of live memory, and is rather too high: by less than 15 % of it
    /// for 100,000 entries, 30 % for 10,000, and 40 % for 1,000, whose shards are small. `None`
    /// once anything was evicted, and for other caches.
    ///
    /// ```
    /// use punctual::unsync::ByteCache;
    ///
    /// let mut cache = ByteCache::builder().memory_budget(64 << 20).mean_entry(100).build()?;
    /// for id in 0..50_000_u32 {
    ///     cache.insert(id.to_ne_bytes(), &[0; 100])?;
    /// }
    /// let budget = cache.stats().recommended_budget(1.2).unwrap();
    /// assert!((60_000 * 130..60_000 * 180).contains(&budget));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recommended_budget(&self, headroom: f64) -> Option<usize> {
        /// As in `shard::byte_geometry`, which a test compares. Of a record: header and padding. Of a slot: itself, its place, policy and index, for a
        /// quarter more slots than entries. Of a shard: lock, wheel and counters.
        const RECORD_BYTES: f64 = 11.5;
        const SLOT_BYTES: f64 = 1.25 * 31.0;
        const SHARD_BYTES: f64 = 6_000.0;
        const LIVE: f64 = 0.95;
        let entries = self.recommended_capacity(headroom)? as f64;
        if self.live_bytes_peak == 0 {
            return None;
        }
        let bytes = self.live_bytes_peak as f64 * headroom.max(1.0);
        let shards = (entries / 200.0).min(16f64.max(entries / 22_000.0)) + 1.0;
        // The keys do not spread evenly over the shards.
        let spread = 1.0 + 3.0 * (shards / (entries + 1.0)).sqrt();
        let records = (bytes + entries * RECORD_BYTES) / LIVE;
        let budget = (records + entries * SLOT_BYTES) * spread + shards * SHARD_BYTES;
        Some(budget.ceil() as usize)
    }

    /// Returns the mean size of the entries that a [`ByteCache`](crate::ByteCache) holds now, key
    /// and value together, in bytes; `None` if it holds none, and for other caches.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.stats().mean_entry(), Some(8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mean_entry(&self) -> Option<usize> {
        let mean = self.live_bytes.checked_div(self.held)?;
        usize::try_from(mean).ok().filter(|&mean| mean > 0)
    }

    /// Returns the share of lookups that were hits, from 0 to 1; `None` before the first.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// assert_eq!(cache.stats().hit_ratio(), None);
    /// cache.insert("key", 1);
    /// cache.get("key");
    /// cache.get("another");
    /// assert_eq!(cache.stats().hit_ratio(), Some(0.5));
    /// ```
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{StatKind, Stats};

    /// Returns statistics whose fields are `step` times their position, from one on.
    fn numbered(step: u64) -> Stats {
        let mut stats = Stats::default();
        for (position, field) in (1..).zip(stats.fields_mut()) {
            *field = step * position;
        }
        stats
    }

    #[test]
    fn shards_add_up_field_by_field() {
        assert_eq!(numbered(2).plus(&numbered(3)), numbered(5));
        let full = Stats { load_nanos: u64::MAX, ..Stats::default() };
        assert_eq!(full.plus(&numbered(1)).load_nanos, u64::MAX);
        let stats = Stats { hits: 6, misses: 2, ..Stats::default() };
        assert_eq!(stats.hit_ratio(), Some(0.75));
    }

    #[test]
    fn counters_are_subtracted_and_gauges_kept() {
        let since = numbered(5).since(&numbered(2));
        for ((name, kind, value), (_, _, later)) in since.fields().zip(numbered(5).fields()) {
            let difference = later / 5 * 3;
            assert_eq!(value, if kind == StatKind::Gauge { later } else { difference }, "{name}");
        }
        assert_eq!(since.held, numbered(5).held);
        assert_eq!(since.weight_peak, numbered(5).weight_peak);
        // Of another cache, perhaps.
        assert_eq!(numbered(1).since(&numbered(2)).hits, 0);
    }

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Stats::default().fields().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), size_of::<Stats>() / size_of::<u64>());
    }

    #[test]
    fn recommends_at_least_the_peak() {
        let stats = Stats { live_peak: 1_000, ..Stats::default() };
        assert_eq!(stats.recommended_capacity(1.2), Some(1_200));
        assert_eq!(stats.recommended_capacity(1.0001), Some(1_001));
        for headroom in [1.0, 0.5, 0.0, -3.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(stats.recommended_capacity(headroom), Some(1_000));
        }
        assert_eq!(stats.recommended_capacity(f64::INFINITY), Some(usize::MAX));
        let stats = Stats { evicted: 1, ..stats };
        assert_eq!(stats.recommended_capacity(1.2), None);
        assert_eq!(Stats::default().hit_ratio(), None);
    }
}
