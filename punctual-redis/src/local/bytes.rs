//! Values held as the bytes that the server has sent, keys and all else in one block of memory.
//!
//! That the server does not have a key is held, too: the last byte of what is stored tells. It is the
//! last so that a hit takes it off without moving the others.

use std::time::Duration;

use punctual::{BuildError, ByteBuilder, ByteCache, ByteLookup, ByteTicket};

use super::{Found, Stored, Ticket};

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// The limits of a [`ByteCache`], besides that on both together.
const KEY_BYTES_MAX: usize = 32_767;
const VALUE_BYTES_MAX: usize = (8 << 20) - 1;

/// What is held of a key, if anything is; with the last byte.
type Held = Option<Box<[u8]>>;

/// How a `V` that is bytes is taken for them. For another `V` there is none, and so no such form; but
/// all that is generic can be written for both.
pub(crate) struct AsIs<V> {
    /// The inner `None`: the server does not have the key.
    value: fn(Held) -> Option<Option<V>>,
    bytes: fn(&V) -> &[u8],
}

impl AsIs<Vec<u8>> {
    pub(crate) const BYTES: Self = Self { value: without_tag, bytes: |value| value };
}

fn without_tag(held: Held) -> Option<Option<Vec<u8>>> {
    let mut bytes = held?.into_vec();
    Some((bytes.pop() == Some(PRESENT)).then_some(bytes))
}

impl<V> Clone for AsIs<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for AsIs<V> {}

pub(crate) struct Bytes<V> {
    cache: ByteCache,
    as_is: AsIs<V>,
}

pub(crate) struct BytesTicket<V> {
    ticket: ByteTicket,
    as_is: AsIs<V>,
    entry_bytes_max: usize,
}

impl<V> Bytes<V> {
    /// `mean_entry` is of keys and values as the server has them.
    pub(super) fn new(
        builder: ByteBuilder,
        mean_entry: usize,
        as_is: AsIs<V>,
    ) -> Result<Self, BuildError> {
        // Zero is an error of the builder's.
        let mean_entry = mean_entry.saturating_add(usize::from(mean_entry > 0));
        Ok(Self { cache: builder.mean_entry(mean_entry).build()?, as_is })
    }

    pub(super) fn cache(&self) -> &ByteCache {
        &self.cache
    }

    pub(super) fn takes(&self, key: &[u8]) -> bool {
        fits(self.cache.entry_bytes_max(), key, &[])
    }

    #[inline(always)]
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<V>> {
        // A box comes in two registers, where a `Vec` would be written to memory and read again.
        (self.as_is.value)(self.cache.read(key, |held| Box::<[u8]>::from(held)))
    }

    pub(super) fn lookup(&self, key: &[u8]) -> Found<V> {
        match self.cache.lookup(key, Duration::ZERO) {
            ByteLookup::Hit(held) | ByteLookup::Refresh(held, _) => {
                Found::Hit((self.as_is.value)(Some(held.into())).flatten())
            }
            ByteLookup::Miss(ticket) => {
                let entry_bytes_max = self.cache.entry_bytes_max();
                let ticket = BytesTicket { ticket, as_is: self.as_is, entry_bytes_max };
                Found::Miss(Ticket::Bytes(ticket))
            }
            ByteLookup::Loading(load) => Found::Loading(load),
        }
    }
}

/// Whether there can be room for an entry.
fn fits(entry_bytes_max: usize, key: &[u8], value: &[u8]) -> bool {
    let held = value.len() + 1;
    key.len() <= KEY_BYTES_MAX && held <= VALUE_BYTES_MAX && key.len() + held <= entry_bytes_max
}

impl<V> BytesTicket<V> {
    pub(super) fn key(&self) -> &[u8] {
        self.ticket.key()
    }

    pub(super) fn store(self, value: Option<&V>, ttl: Duration) -> Stored {
        let (bytes, tag) = match value {
            Some(value) => ((self.as_is.bytes)(value), PRESENT),
            None => (&[][..], ABSENT),
        };
        if !fits(self.entry_bytes_max, self.ticket.key(), bytes) {
            // Not a failure, of which those that wait would be told: each of them loads it then.
            let _ = self.ticket.store(&[], Duration::ZERO);
            return Stored::TooLarge;
        }
        let mut held = Vec::with_capacity(bytes.len() + 1);
        held.extend_from_slice(bytes);
        held.push(tag);
        match self.ticket.store(&held, ttl) {
            Ok(true) => Stored::Yes,
            Ok(false) => Stored::Overruled,
            Err(_) => Stored::TooLarge,
        }
    }

    pub(super) fn fail(self) {
        self.ticket.fail();
    }
}

#[cfg(test)]
mod tests {
    use punctual::LoadEnd;

    use super::*;

    fn bytes(budget: usize, mean_entry: usize, shards: usize) -> Bytes<Vec<u8>> {
        let builder = ByteCache::builder().memory_budget(budget).shards(shards);
        Bytes::new(builder, mean_entry, AsIs::BYTES).expect("it fits")
    }

    /// Stores a value, and returns what came of it for the loader and for one that waits.
    fn store(bytes: &Bytes<Vec<u8>>, key: &[u8], value: Option<Vec<u8>>) -> (Stored, LoadEnd) {
        let Found::Miss(ticket) = bytes.lookup(key) else { panic!("it is held") };
        let Found::Loading(load) = bytes.lookup(key) else { panic!("it is loading") };
        let stored = ticket.store(&value, Duration::from_secs(60));
        (stored, load.wait(Duration::ZERO))
    }

    #[test]
    fn any_bytes_are_a_value_and_none_is_another() {
        let bytes = bytes(1 << 20, 100, 1);
        let all: Vec<u8> = (0..=255).collect();
        for value in [None, Some(vec![]), Some(vec![ABSENT]), Some(vec![PRESENT]), Some(all)] {
            assert_eq!(bytes.get(b"key"), None);
            assert_eq!(store(&bytes, b"key", value.clone()), (Stored::Yes, LoadEnd::Stored));
            assert_eq!(bytes.get(b"key"), Some(value));
            bytes.cache.remove(b"key");
        }
    }

    /// The limits here are those of the `ByteCache`: up to each it stores, and beyond nobody hears of
    /// a failure.
    #[test]
    fn what_is_too_large_is_known_before() {
        let small = bytes(1 << 20, 100, 4);
        let large = bytes(64 << 20, 1 << 20, 1);
        let both = small.cache.entry_bytes_max() - "key".len() - 1;
        for (bytes, value_max) in [(&small, both), (&large, VALUE_BYTES_MAX - 1)] {
            let value = |length| Some(vec![7; length]);
            assert_eq!(
                store(bytes, b"key", value(value_max + 1)),
                (Stored::TooLarge, LoadEnd::NotStored)
            );
            assert_eq!(bytes.get(b"key"), None);
            assert_eq!(store(bytes, b"key", value(value_max)), (Stored::Yes, LoadEnd::Stored));
            assert_eq!(bytes.get(b"key"), Some(value(value_max)));
        }
        assert!(!large.takes(&[7; KEY_BYTES_MAX + 1]));
        let longest = [7; KEY_BYTES_MAX];
        assert!(large.takes(&longest));
        assert_eq!(store(&large, &longest, None), (Stored::Yes, LoadEnd::Stored));
    }
}
