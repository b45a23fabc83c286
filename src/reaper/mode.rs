//! What frees expired entries: the public choice.

/// What frees due entries while no call touches the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reaper {
    /// A thread named `punctual-reaper`, which all caches of the process share.
    /// It sleeps until something falls due in any of them, and caches the time
    /// for them under load. The default with [`SystemClock`](crate::SystemClock) and
    /// [`BootClock`](crate::BootClock), and possible only with these.
    ///
    /// While a listener or a `Drop` runs there, nothing else is freed there. If one has not returned
    /// within 100 ms, one of the next 33 calls of any thread, of any cache, starts another thread
    /// that takes over, which that call allocates for. There are four
    /// such threads at most, and one again once the others have returned.
    Thread,
    /// The calls alone: those of one key free due entries of their shard, up to the `reap_limit`,
    /// and [`Cache::reap`](crate::Cache::reap) those of all shards.
    /// [`Cache::next_expiry`](crate::Cache::next_expiry) returns when to call it. The default
    /// with any other clock.
    Manual,
}
