//! Keys that carry something, and hashes that are chosen.

use std::hash::{BuildHasher, Hash, Hasher};

/// A number with something that matters to neither its hash nor its equality.
#[derive(Clone, Debug)]
pub struct Carrying<T>(pub u64, pub T);

impl<T> Hash for Carrying<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> PartialEq for Carrying<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Carrying<T> {}

/// A hasher that makes of each key, which must be a `u64`, what the function says.
#[derive(Clone, Copy, Debug)]
pub struct HashBy(pub fn(u64) -> u64);

/// The hasher of [`HashBy`], and the key that it has seen.
#[derive(Debug)]
pub struct HashByState(fn(u64) -> u64, u64);

impl BuildHasher for HashBy {
    type Hasher = HashByState;

    fn build_hasher(&self) -> HashByState {
        HashByState(self.0, 0)
    }
}

impl Hasher for HashByState {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, number: u64) {
        self.1 = number;
    }

    fn finish(&self) -> u64 {
        (self.0)(self.1)
    }
}
