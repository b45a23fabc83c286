//! What a cache does for each entry only if its builder was asked for it: TTLs by entry, jitter,
//! idle time, weights. A cache without all of that has no rules, which costs its calls one
//! comparison.

use std::time::Duration;

use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

/// The rules of a cache; `T` and `W` are the types of its closures.
pub(crate) struct Rules<T: ?Sized, W: ?Sized> {
    /// Gives a TTL to an entry that comes without one.
    pub(crate) ttl_by: Option<Box<T>>,
    pub(crate) jitter: Jitter,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) weigher: Option<Box<W>>,
}

impl<T: ?Sized, W: ?Sized> Default for Rules<T, W> {
    fn default() -> Self {
        Self { ttl_by: None, jitter: Jitter::default(), time_to_idle: None, weigher: None }
    }
}

impl<T: ?Sized, W: ?Sized> Rules<T, W> {
    /// Returns the rules with the times set, on the heap; if there are any.
    pub(crate) fn boxed(self, jitter: Jitter, time_to_idle: Option<Duration>) -> Option<Box<Self>> {
        let rules = Self { jitter, time_to_idle, ..self };
        rules.are_any().then(|| Box::new(rules))
    }

    fn are_any(&self) -> bool {
        let Self { ttl_by, jitter, time_to_idle, weigher } = self;
        let are_times = *jitter != Jitter::default() || time_to_idle.is_some();
        are_times || ttl_by.is_some() || weigher.is_some()
    }

    /// Returns the bytes on the heap that the closures take, and the rules themselves once they are
    /// [boxed](Self::boxed) with these times.
    pub(crate) fn heap_bytes(&self, jitter: Jitter, time_to_idle: Option<Duration>) -> usize {
        let ttl_by_bytes = self.ttl_by.as_deref().map_or(0, size_of_val);
        let weigher_bytes = self.weigher.as_deref().map_or(0, size_of_val);
        let are_times = jitter != Jitter::default() || time_to_idle.is_some();
        let own_bytes = if are_times || self.are_any() { size_of::<Self>() } else { 0 };
        ttl_by_bytes + weigher_bytes + own_bytes
    }

    /// Returns the TTL of an entry; `None` for never. May call the caller's closure.
    pub(crate) fn ttl<K, V>(
        &self,
        ttl: Ttl,
        default: Option<Duration>,
        hash: KeyHash,
        (key, value): (&K, &V),
    ) -> Option<Duration>
    where
        T: Fn(&K, &V) -> Ttl,
    {
        let by_entry = match (ttl, &self.ttl_by) {
            (Ttl::Default, Some(ttl_by)) => ttl_by(key, value),
            (Ttl::Default, None) => Ttl::Default,
            (explicit, _) => return explicit.or(default),
        };
        by_entry.or(default).map(|ttl| self.jitter.shorten(ttl, hash))
    }
}

/// By how much TTLs are shortened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Jitter {
    /// The most, as a fraction of 2^32.
    most: u32,
}

impl Jitter {
    /// The most that can be asked for.
    pub(crate) const FRACTION_MAX: f64 = 0.5;

    /// Returns the jitter of up to a fraction of at most [`FRACTION_MAX`](Self::FRACTION_MAX).
    pub(crate) fn new(fraction: f64) -> Self {
        Self { most: (fraction * (1u64 << u32::BITS) as f64) as u32 }
    }

    /// Returns the TTL, shortened by a part of the fraction that depends on the key alone. Not to
    /// zero.
    fn shorten(self, ttl: Duration, hash: KeyHash) -> Duration {
        // The upper half of a product depends on all bits of the hash: neither the keys of one shard
        // nor those of one bucket are shortened alike.
        const ODD: u64 = 0xd6e8_feb8_6659_fd93;
        let part = u128::from(hash.bits().wrapping_mul(ODD) >> u32::BITS);
        let nanos = ttl.as_nanos();
        let cut = (nanos * ((part * u128::from(self.most)) >> u32::BITS)) >> u32::BITS;
        let nanos = nanos - cut;
        let seconds = (nanos / 1_000_000_000) as u64;
        Duration::new(seconds, (nanos % 1_000_000_000) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_shortens_evenly_and_never_lengthens() {
        let ttl = Duration::from_secs(60);
        let jitter = Jitter::new(0.1);
        let mut random = fastrand::Rng::with_seed(17);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let shortened = jitter.shorten(ttl, KeyHash::from_bits(random.u64(..)));
            assert!((Duration::from_secs(54)..=ttl).contains(&shortened), "{shortened:?}");
            let cut = (ttl - shortened).as_secs_f64() / 6.0;
            tenths[((cut * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn jitter_leaves_something_of_any_ttl() {
        for fraction in [0.0, 1e-12, 0.1, 0.5] {
            for bits in [0, 1, u64::MAX, u64::MAX / 3, 0x9e37_79b9_7f4a_7c15] {
                for ttl in [Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX] {
                    let shortened = Jitter::new(fraction).shorten(ttl, KeyHash::from_bits(bits));
                    assert!(shortened <= ttl && shortened >= ttl / 2 && !shortened.is_zero());
                    assert!(fraction > 0.0 || shortened == ttl);
                }
            }
        }
    }
}
