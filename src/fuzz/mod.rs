//! The bodies of the fuzz targets in the folder `fuzz`. On stable they run as property
//! tests: see the end of this file.

use std::ops::{Bound, RangeBounds, RangeTo};

use arbitrary::{Arbitrary, Unstructured};

use crate::{Cache, Compute, EntryRef, LoadError, Stats, Ttl, unsync};

mod bytes;
pub(crate) mod model;
pub(crate) mod subject;

/// A source of a random run's choices: a seeded generator, or a fuzzer's bytes.
pub(crate) trait Choose {
    /// Returns a number below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64;

    /// Returns whether the choices have run out: then all numbers are zero.
    fn is_exhausted(&self) -> bool {
        false
    }

    fn bool(&mut self) -> bool {
        self.below(2) == 1
    }
    fn u8(&mut self, range: RangeTo<u8>) -> u8 {
        self.below(range.end.into()) as u8
    }
    fn u16(&mut self, range: RangeTo<u16>) -> u16 {
        self.below(range.end.into()) as u16
    }
    fn u64(&mut self, range: RangeTo<u64>) -> u64 {
        self.below(range.end)
    }
    fn usize(&mut self, range: RangeTo<usize>) -> usize {
        self.below(range.end as u64) as usize
    }
    /// Returns a number from a range with an exclusive end.
    fn u32(&mut self, range: impl RangeBounds<u32>) -> u32 {
        let start = if let Bound::Included(&start) = range.start_bound() { start } else { 0 };
        let Bound::Excluded(&end) = range.end_bound() else { unreachable!("no end is excluded") };
        start + self.below((end - start).into()) as u32
    }
}

impl Choose for Unstructured<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.int_in_range(0..=bound - 1).unwrap_or_default()
    }
    fn is_exhausted(&self) -> bool {
        self.is_empty()
    }
}

/// Compares the wheel with a sorted set of deadlines.
pub fn wheel(bytes: &[u8]) {
    if let Ok(script) = Arbitrary::arbitrary_take_rest(Unstructured::new(bytes)) {
        crate::shard::wheel::fuzz::run(script);
    }
}

/// Compares the arena with a map of records.
pub fn arena(bytes: &[u8]) {
    const STEPS_MAX: usize = 2_000;

    crate::shard::arena::fuzz::play(Unstructured::new(bytes), STEPS_MAX);
}

/// Compares the caches of bytes, or a shard of theirs hold by hold of its lock, with a map.
pub fn bytes(bytes: &[u8]) {
    const HOLDS_MAX: usize = 2_000;

    let mut choices = Unstructured::new(bytes);
    if Choose::bool(&mut choices) {
        crate::shard::fuzz::play(choices, HOLDS_MAX);
    } else {
        bytes::play(choices);
    }
}

/// Compares `unsync::Cache` with the model.
pub fn unsync(bytes: &[u8]) {
    model::play_input::<unsync::Cache<u32, u64>>(Unstructured::new(bytes));
}

/// Compares `Cache`, on one thread, with the model.
pub fn shared(bytes: &[u8]) {
    model::play_input::<Cache<u32, u64>>(Unstructured::new(bytes));
}

/// Runs the scripts of two threads on a `Cache`.
pub fn threads(bytes: &[u8]) {
    if let Ok(scene) = Arbitrary::arbitrary_take_rest(Unstructured::new(bytes)) {
        crate::cache::fuzz::run(scene);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Choose for fastrand::Rng {
        fn below(&mut self, bound: u64) -> u64 {
            self.u64(..bound)
        }
    }

    /// Runs a body on random inputs of random length.
    fn property(body: fn(&[u8]), inputs: u64, bytes_max: usize) {
        for seed in 0..inputs {
            let mut random = fastrand::Rng::with_seed(seed);
            let length = random.usize(..=bytes_max);
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            body(&bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_run_of_the_wheel() {
        property(wheel, 3_000, 1_024);
    }

    #[test]
    fn any_bytes_are_a_run_of_the_arena() {
        property(arena, if cfg!(miri) { 10 } else { 3_000 }, 1_024);
    }

    #[test]
    fn any_bytes_are_a_run_of_the_caches_of_bytes() {
        let (inputs, bytes_max) = if cfg!(miri) { (2, 64) } else { (800, 2_048) };
        property(bytes, inputs, bytes_max);
    }

    #[test]
    fn any_bytes_are_a_run_of_the_cache_for_one_thread() {
        property(unsync, 1_000, 1_024);
    }

    #[test]
    fn any_bytes_are_a_run_of_the_cache_for_many_threads() {
        property(shared, 1_000, 1_024);
    }

    #[test]
    fn any_bytes_are_a_scene_of_two_threads() {
        property(threads, 1_000, 256);
    }
}
