//! The memory of a cache, by what it is for.

/// The bytes that building a cache requests from the allocator. It requests no
/// more for as long as it lives; what keys and values themselves keep on the
/// heap is theirs and not counted here.
///
/// ```
/// use punctual::unsync::Cache;
///
/// let builder = Cache::<u64, u64>::builder().capacity(100_000);
/// let footprint = builder.footprint()?;
/// let entries = footprint.slots() + footprint.index();
/// let rest = footprint.wheel() + footprint.eviction() + footprint.locks();
/// assert_eq!(entries + rest, footprint.total());
/// assert!(footprint.total() < 48 * 100_000);
/// assert_eq!(builder.build()?.footprint(), footprint);
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    pub(crate) slots_bytes: usize,
    pub(crate) index_bytes: usize,
    pub(crate) wheel_bytes: usize,
    pub(crate) eviction_bytes: usize,
    pub(crate) locks_bytes: usize,
}

impl Footprint {
    /// Bytes of the slab: keys and values as they lie in memory, and 16 bytes of
    /// bookkeeping for each.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots_bytes
    }

    /// Bytes of the hash tables that find the slots.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index_bytes
    }

    /// Bytes of the timing wheels' list heads.
    #[must_use]
    pub fn wheel(&self) -> usize {
        self.wheel_bytes
    }

    /// Bytes of the eviction policy.
    #[must_use]
    pub fn eviction(&self) -> usize {
        self.eviction_bytes
    }

    /// Bytes of the rest: the shards themselves with their locks and counters,
    /// and the listener and the clock of the caller.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.locks_bytes
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> usize {
        [self.index_bytes, self.wheel_bytes, self.eviction_bytes, self.locks_bytes]
            .into_iter()
            .fold(self.slots_bytes, usize::saturating_add)
    }
}
