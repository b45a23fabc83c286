//! How many lookups of a cache were hits and misses.

/// How many lookups were hits, and misses.
#[derive(Default)]
pub(super) struct Accesses {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl Accesses {
    /// Counts a lookup by its result, which is returned.
    #[inline(always)]
    pub(super) fn count<T>(&mut self, found: Option<T>) -> Option<T> {
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }
}
