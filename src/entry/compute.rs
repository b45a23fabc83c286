//! What becomes of an entry that a closure has seen.

use crate::time::ttl::Ttl;

/// What the closure given to [`compute`](crate::Cache::compute) decides, and what the call returns.
///
/// ```
/// use punctual::{Cache, Compute};
///
/// let cache = Cache::new(100);
/// let count = || {
///     cache.compute("hits", |live| match live {
///         Some(count) => {
///             *count += 1;
///             Compute::Keep(*count)
///         }
///         None => Compute::Set(1, 1),
///     })
/// };
/// assert_eq!((count(), count(), count()), (1, 2, 3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compute<V, R> {
    /// The entry stays, with its TTL and with what the closure has changed in place. Where there is
    /// none, there will be none.
    Keep(R),
    /// The entry has this value from now on, and the default TTL, as by `insert`.
    Set(V, R),
    /// The entry has this value and this TTL from now on, as by `insert_with_ttl`.
    SetWithTtl(V, Ttl, R),
    /// The entry is removed, if there is one.
    Remove(R),
}
