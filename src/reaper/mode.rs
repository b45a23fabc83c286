//! What frees expired entries: the public choice.

/// What frees due entries while no call touches the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reaper {
    /// A thread named `punctual-reaper`, which all caches of the process share.
    /// It sleeps until the earliest deadline of any of them, and caches the time
    /// for them under load. The default with the system's clock, and possible only
    /// with that one.
    Thread,
    /// The calls alone: each frees due entries of its shard, up to the `reap_limit`, and
    /// [`Cache::reap`](crate::Cache::reap) those of all shards.
    /// [`Cache::next_expiry`](crate::Cache::next_expiry) returns when to call it. The default
    /// with any other clock.
    Manual,
}
