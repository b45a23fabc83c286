//! Counts of what the cache has done.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts since the cache was built, see [`NearCache::stats`](crate::NearCache::stats).
///
/// Of the keys that calls ask for while there is a connection, each counts as one of `hits`, `misses`
/// and `bypassed`.
///
/// ```no_run
/// # async fn example() -> Result<(), punctual_redis::Error> {
/// let users = punctual_redis::NearCache::<String>::builder()
///     .url("redis://[::1]:6379")
///     .capacity(10_000)
///     .build()
///     .await?;
/// users.get("user:7").await?;
/// users.get("user:7").await?;
/// let stats = users.stats();
/// assert_eq!((stats.hits, stats.misses, stats.loads), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys that were answered from memory at once.
    pub hits: u64,
    /// Keys that were not in memory: loaded, or waited for.
    pub misses: u64,
    /// Keys that the server was asked for, by `GET` or `MGET`.
    pub loads: u64,
    /// Times that a call waited for another call's load.
    pub loads_joined: u64,
    /// Loads that have failed.
    pub loads_failed: u64,
    /// Loads whose value was returned but not stored, since the key was invalidated meanwhile, or
    /// had (almost) no time left to live.
    pub loads_not_stored: u64,
    /// Loads whose value was returned but not stored, since it was too large for the
    /// [memory budget](crate::NearCacheBuilder::memory_budget).
    pub too_large: u64,
    /// Keys outside the [broadcast prefixes](crate::NearCacheBuilder::broadcast), or too long for the
    /// memory budget, which are read from the server each time.
    pub bypassed: u64,
    /// Keys that were written.
    pub writes: u64,
    /// Keys that the server has invalidated, whether or not they were in memory.
    pub invalidations: u64,
    /// Times that the server has invalidated everything, `FLUSHALL` for example.
    pub flushes: u64,
    /// Connections lost.
    pub losses: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Attempts to connect that have failed.
    pub failed_connects: u64,
    /// Calls that have returned an error.
    pub errors: u64,
    /// Values served while the server was away, as
    /// [`WhileAway::Stale`](crate::WhileAway::Stale) allows.
    pub stale_served: u64,
    /// Entries held now, those of absent keys included.
    pub held: u64,
    /// The bytes of keys and values held now, and one more for each entry; zero where there is no
    /// memory budget.
    pub live_bytes: u64,
    /// Entries that have left because their TTL had passed.
    pub expired: u64,
    /// Entries that have left to make room for others.
    pub evicted: u64,
    /// Whether there is a connection now.
    pub is_connected: bool,
}

/// What the cache of `punctual` does not count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) misses: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) loads_joined: AtomicU64,
    pub(crate) loads_failed: AtomicU64,
    pub(crate) loads_not_stored: AtomicU64,
    pub(crate) too_large: AtomicU64,
    pub(crate) bypassed: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) invalidations: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) losses: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) failed_connects: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) stale_served: AtomicU64,
    /// Hits in the cache of `punctual` that were none of a caller: found by one that had waited,
    /// served while the server was away, or not served at all.
    pub(crate) other_hits: AtomicU64,
}

/// Adds to one of them.
pub(crate) fn count(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Relaxed);
}

impl Counters {
    pub(crate) fn with(&self, local: punctual::Stats, is_connected: bool) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            hits: local.hits.saturating_sub(of(&self.other_hits)),
            misses: of(&self.misses),
            loads: of(&self.loads),
            loads_joined: of(&self.loads_joined),
            loads_failed: of(&self.loads_failed),
            loads_not_stored: of(&self.loads_not_stored),
            too_large: of(&self.too_large),
            bypassed: of(&self.bypassed),
            writes: of(&self.writes),
            invalidations: of(&self.invalidations),
            flushes: of(&self.flushes),
            losses: of(&self.losses),
            reconnects: of(&self.reconnects),
            failed_connects: of(&self.failed_connects),
            errors: of(&self.errors),
            stale_served: of(&self.stale_served),
            held: local.held,
            live_bytes: local.live_bytes,
            expired: local.expired,
            evicted: local.evicted,
            is_connected,
        }
    }
}
