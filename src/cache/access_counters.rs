//! How many lookups of a cache were hits and misses, counted by threads beside one another.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{BuildError, allocate_with};
use crate::sync::readers;

/// A cache line of its own for each of the first threads; before them, one for all others.
pub(super) struct AccessCounters(Box<[Counts]>);

#[derive(Default)]
#[repr(align(64))]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Entries for each thread's line: small caches are not to be large for the number of processors.
const ENTRIES_PER_LINE: usize = 16;

impl AccessCounters {
    /// Returns the number of lines of a cache of so many entries, for so many threads that run at
    /// once: twice as many, since threads come and go, and a thread has the number that was free.
    fn lines(capacity: usize, threads: usize) -> usize {
        1 + threads.saturating_mul(2).min(capacity / ENTRIES_PER_LINE)
    }

    pub(super) fn heap_bytes(capacity: usize, threads: usize) -> usize {
        Self::lines(capacity, threads).saturating_mul(size_of::<Counts>())
    }

    pub(super) fn new(capacity: usize, threads: usize) -> Result<Self, BuildError> {
        Ok(Self(allocate_with(Self::lines(capacity, threads), Counts::default)?))
    }

    /// Counts a lookup of the thread with that [number](readers::number), by its result, which is
    /// returned.
    #[inline(always)]
    pub(super) fn count_of<T>(&self, thread: usize, found: Option<T>) -> Option<T> {
        match found {
            Some(_) => self.increment(thread, |counts| &counts.hits),
            None => self.increment(thread, |counts| &counts.misses),
        }
        found
    }

    /// [`count_of`](Self::count_of) this thread.
    pub(super) fn count<T>(&self, found: Option<T>) -> Option<T> {
        self.count_of(readers::number().unwrap_or(readers::THREADS_MAX), found)
    }

    #[inline(always)]
    fn increment(&self, thread: usize, counter: impl Fn(&Counts) -> &AtomicU64) {
        match self.0.get(1 + thread) {
            // No other thread writes it, until this one ends and its number is taken again.
            Some(counts) => {
                let counter = counter(counts);
                counter.store(counter.load(Relaxed) + 1, Relaxed);
            }
            None => _ = counter(&self.0[0]).fetch_add(1, Relaxed),
        }
    }

    /// Returns the sums of hits and misses.
    pub(super) fn sums(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(hits, misses), counts| {
            (hits + counts.hits.load(Relaxed), misses + counts.misses.load(Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Beside one another: threads with a line of their own, with a number beyond the lines, and
    /// without a number.
    #[test]
    fn every_look_up_is_counted_once() {
        const CALLS: u64 = 10_000;
        for (capacity, threads, lines) in [(1, 64, 1), (100, 2, 5), (100, 64, 7), (10_000, 8, 17)] {
            assert_eq!(AccessCounters::lines(capacity, threads), lines);
            let counters = AccessCounters::new(capacity, threads).unwrap();
            thread::scope(|scope| {
                for number in 0..12 {
                    let counters = &counters;
                    scope.spawn(move || {
                        if number % 4 > 0 {
                            readers::own_record();
                        }
                        for call in 0..CALLS {
                            counters.count((call % 5 > 0).then_some(()));
                        }
                    });
                }
            });
            assert_eq!(counters.sums(), (12 * CALLS / 5 * 4, 12 * CALLS / 5));
        }
    }
}
