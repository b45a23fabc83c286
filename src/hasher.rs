//! The default hasher.

use std::hash::{BuildHasher, Hasher};

/// The default hasher of every cache: fast, and randomly seeded for each cache, so that
/// colliding keys cannot be chosen in advance.
///
/// The algorithm is foldhash, which is not cryptographic: where attackers choose the keys
/// and can time many calls, give the builder a keyed hasher such as
/// [`std::hash::RandomState`](std::collections::hash_map::RandomState).
///
/// On wasm32-unknown-unknown there is nothing random to make a seed of: every run has the same
/// ones.
///
/// ```
/// use std::hash::BuildHasher;
/// use punctual::RandomState;
///
/// let (one, other) = (RandomState::default(), RandomState::default());
/// assert_eq!(one.hash_one("key"), one.hash_one("key"));
/// assert_ne!(one.hash_one("key"), other.hash_one("key"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RandomState(foldhash::fast::RandomState);

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    #[inline]
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher(self.0.build_hasher())
    }
}

/// The [`Hasher`] that [`RandomState`] builds.
#[derive(Clone)]
pub struct DefaultHasher(foldhash::fast::FoldHasher<'static>);

impl std::fmt::Debug for DefaultHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultHasher").finish_non_exhaustive()
    }
}

/// Forwards integers as integers: the trait's default methods would hash their bytes.
macro_rules! forward {
    ($($method:ident: $int:ty),*) => {
        $(
            #[inline]
            fn $method(&mut self, value: $int) {
                self.0.$method(value);
            }
        )*
    };
}

impl Hasher for DefaultHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
    forward!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);
    forward!(write_u128: u128, write_usize: usize);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    /// Returns the number of different hashes of these values.
    fn distinct<T: Hash>(values: impl Iterator<Item = T>) -> usize {
        let state = RandomState::default();
        values.map(|value| state.hash_one(value)).collect::<HashSet<_>>().len()
    }

    #[test]
    fn keys_of_any_type_have_different_hashes() {
        assert_eq!(distinct(0..=u8::MAX), 256);
        assert_eq!(distinct(0..=u16::MAX), 65_536);
        assert_eq!(distinct((0..1_000_u32).map(|number| number << 20)), 1_000);
        assert_eq!(distinct((0..1_000_u64).map(|number| number << 50)), 1_000);
        assert_eq!(distinct((0..1_000_u128).map(|number| number << 110)), 1_000);
        assert_eq!(distinct((0..1_000_usize).map(|number| number << (usize::BITS - 24))), 1_000);
        assert_eq!(distinct((0..1_000).map(|number| format!("key {number}"))), 1_000);
        assert_eq!(distinct((0..1_000).map(|number| [number; 9])), 1_000);
    }
}
