//! The memory of a cache, part by part.

/// The memory of a cache, in bytes requested from the allocator.
///
/// It is exact, and known before the cache is built. Building the cache requests these
/// bytes, and the cache requests no more as long as it lives. What keys and values own on
/// the heap is not included; those of a [`ByteCache`](crate::ByteCache) own nothing there.
///
/// ```
/// use punctual::unsync::Cache;
///
/// let builder = Cache::<u64, u64>::builder().capacity(100_000);
/// let footprint = builder.footprint()?;
/// let entries = footprint.slots() + footprint.index();
/// let rest = footprint.wheel() + footprint.eviction() + footprint.locks() + footprint.loads();
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
    pub(crate) loads_bytes: usize,
    pub(crate) data_bytes: usize,
}

impl Footprint {
    /// Returns the bytes of the slots: for each its key and value, 16 bytes of bookkeeping,
    /// and padding.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots_bytes
    }

    /// Returns the bytes of the hash tables from keys to slots.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index_bytes
    }

    /// Returns the bytes of the timing wheels.
    #[must_use]
    pub fn wheel(&self) -> usize {
        self.wheel_bytes
    }

    /// Returns the bytes of the eviction policy.
    #[must_use]
    pub fn eviction(&self) -> usize {
        self.eviction_bytes
    }

    /// Returns the bytes of the tables of loads in flight, for as many as
    /// [`concurrent_loads`](crate::Builder::concurrent_loads); zero for an
    /// [`unsync::Cache`](crate::unsync::Cache).
    #[must_use]
    pub fn loads(&self) -> usize {
        self.loads_bytes
    }

    /// Returns the bytes of all else: the shards with their locks and counters, the listener, and
    /// a clock of the caller's.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.locks_bytes
    }

    /// Returns the bytes in which a [`ByteCache`](crate::ByteCache) holds keys and values, with
    /// their headers, the table of their places and what must stay free; zero for other caches.
    #[must_use]
    pub fn data(&self) -> usize {
        self.data_bytes
    }

    /// Returns the sum of all parts.
    #[must_use]
    pub fn total(&self) -> usize {
        let Self {
            slots_bytes,
            index_bytes,
            wheel_bytes,
            eviction_bytes,
            locks_bytes,
            loads_bytes,
            data_bytes,
        } = *self;
        [
            slots_bytes,
            index_bytes,
            wheel_bytes,
            eviction_bytes,
            locks_bytes,
            loads_bytes,
            data_bytes,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}
