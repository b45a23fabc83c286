//! Statistics.

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
    /// Look-ups that found a live entry. `peek`, `contains_key` and iteration are counted
    /// neither here nor among the misses.
    pub hits: u64,
    /// Look-ups that found no entry, or a due one.
    pub misses: u64,
    /// Entries inserted, those that replaced another included.
    pub inserts: u64,
    /// Entries removed because their TTL had passed.
    pub expired: u64,
    /// Live entries removed to make room for others.
    pub evicted: u64,
    /// Live entries removed by `remove`, `retain` and `clear`.
    pub removed: u64,
    /// Live entries replaced, since their key was inserted again.
    pub replaced: u64,
    /// Entries held now: live ones, and due ones that are not freed yet, which
    /// [`due_len`](crate::Cache::due_len) counts.
    pub held: u64,
    /// The most entries ever held at once.
    ///
    /// Taken after each insertion, which first frees what is due within the
    /// `reap_limit`.
    pub live_peak: u64,
    /// Times that a shard's index was rebuilt, which clears it of tombstones.
    pub rebuilds: u64,
    /// Loads begun: by loaders that ran, and by tickets that were given.
    pub loads: u64,
    /// Times that a caller waited for another caller's load, or was given a
    /// [`LoadWait`](crate::LoadWait). The caller has counted as a miss, once.
    pub loads_joined: u64,
    /// Loads that failed: with an error, a panic, or [`LoadTicket::fail`](crate::LoadTicket::fail).
    pub loads_failed: u64,
    /// Loads that nobody could wait for. Either there was no room: then raise
    /// [`concurrent_loads`](crate::Builder::concurrent_loads). Or the value of the load before had
    /// a TTL of zero, or had left already: then those that waited load side by side.
    pub loads_unshared: u64,
    /// The nanoseconds that the loads took which have ended, in sum, by the cache's clock.
    pub load_nanos: u64,
}

impl Stats {
    /// Returns the capacity that this load needs: `headroom` times the most entries ever held
    /// at once, rounded up. A headroom below 1, or NaN, counts as 1.
    ///
    /// `None` once anything was evicted: with more room, more entries would have been live, and
    /// nobody knows how many. Try a larger capacity.
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

    /// Returns the share of look-ups that were hits, from 0 to 1; `None` before the first.
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

    /// Returns the sums of two shards.
    pub(crate) fn plus(self, other: &Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            inserts: self.inserts + other.inserts,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
            removed: self.removed + other.removed,
            replaced: self.replaced + other.replaced,
            held: self.held + other.held,
            live_peak: self.live_peak + other.live_peak,
            rebuilds: self.rebuilds + other.rebuilds,
            loads: self.loads + other.loads,
            loads_joined: self.loads_joined + other.loads_joined,
            loads_failed: self.loads_failed + other.loads_failed,
            loads_unshared: self.loads_unshared + other.loads_unshared,
            load_nanos: self.load_nanos.saturating_add(other.load_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn shards_add_up_field_by_field() {
        let stats = |step: u64| {
            let of = |number| number + step * number * number;
            Stats {
                hits: of(1),
                misses: of(2),
                inserts: of(3),
                expired: of(4),
                evicted: of(5),
                removed: of(6),
                replaced: of(7),
                held: of(8),
                live_peak: of(9),
                rebuilds: of(10),
                loads: of(11),
                loads_joined: of(12),
                loads_failed: of(13),
                loads_unshared: of(14),
                load_nanos: of(15),
            }
        };
        let sum = Stats {
            hits: 2 + 4,
            misses: 4 + 16,
            inserts: 6 + 36,
            expired: 8 + 64,
            evicted: 10 + 100,
            removed: 12 + 144,
            replaced: 14 + 196,
            held: 16 + 256,
            live_peak: 18 + 324,
            rebuilds: 20 + 400,
            loads: 22 + 484,
            loads_joined: 24 + 576,
            loads_failed: 26 + 676,
            loads_unshared: 28 + 784,
            load_nanos: 30 + 900,
        };
        assert_eq!(stats(1).plus(&stats(3)), sum);
        let stats = Stats { hits: 6, misses: 2, ..Stats::default() };
        assert_eq!(stats.hit_ratio(), Some(0.75));
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
