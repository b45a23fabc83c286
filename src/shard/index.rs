//! The hash table from keys to slots, which never grows.
//!
//! hashbrown leaves a tombstone for most removals, and a table with no room left doubles
//! unless its entries fill at most half of it. Here the table is emptied and filled again
//! from the slots instead: no allocation, no call of the key's `Hash`, and a pause bounded
//! by the size of one shard. Entries take at most [`LOAD_PERCENT_MAX`] percent of the room,
//! so that a rebuild is rare: between two of them lie as many insertions as a hundredth to
//! a fifth of the shard's capacity.

use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;

use super::key_hash::SlotHash;
use super::slot_id::SlotId;
use crate::error::BuildError;

/// The highest load factor of a table, in percent of the entries that hashbrown lets it
/// hold.
pub(crate) const LOAD_PERCENT_MAX: usize = 97;

/// A slot's number and, above it, an 8-bit fingerprint of the slot hash.
///
/// hashbrown compares seven bits by itself. By those alone, one in ten lookups of an absent
/// key would fetch a slot only to see that its key is another (of the sixteen buckets of a
/// probe group, twelve are taken as a rule). The fingerprint rules out nearly all of them
/// without leaving the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket(u32);

impl Bucket {
    #[inline]
    fn new(id: SlotId, slot_hash: SlotHash) -> Self {
        Self(SlotId::link(Some(id)) as u32 | Self::fingerprint(slot_hash))
    }

    /// Returns the slot if its fingerprint is that of `slot_hash`.
    #[inline]
    fn slot_if_matches(self, slot_hash: SlotHash) -> Option<SlotId> {
        let number = self.0 ^ Self::fingerprint(slot_hash);
        // A fingerprint that differs leaves bits above the number, and no number is zero:
        // one comparison covers both.
        let index = number.wrapping_sub(1) as usize;
        (index < SlotId::COUNT_MAX).then(|| SlotId::new(index))
    }

    #[inline]
    fn fingerprint(slot_hash: SlotHash) -> u32 {
        u32::from(slot_hash.fingerprint()) << SlotId::LINK_BITS
    }
}

const _: () = assert!(SlotId::LINK_BITS + u8::BITS == u32::BITS);

/// The slots of a shard, by slot hash.
#[derive(Debug)]
pub(crate) struct Index {
    table: HashTable<Bucket>,
    /// See [`SlotHash::bucket_shift`].
    bucket_shift: u32,
}

impl Index {
    /// Allocates a table of 2^`buckets_log2` buckets.
    pub(crate) fn new(buckets_log2: u32) -> Result<Self, BuildError> {
        let buckets = 1usize << buckets_log2;
        let mut table = HashTable::new();
        table.try_reserve(entries_max(buckets), |_| unreachable!("the table is empty")).map_err(
            |_| BuildError::OutOfMemory {
                requested_bytes: buckets.saturating_mul(size_of::<Bucket>() + 1),
            },
        )?;
        debug_assert_eq!(table.num_buckets(), buckets, "hashbrown chose another size");
        Ok(Self { table, bucket_shift: SlotHash::bucket_shift(buckets_log2) })
    }

    /// Returns the bytes that a table of 2^`buckets_log2` buckets requests from the
    /// allocator. Builds one to ask it, once for each size: a formula would have to repeat
    /// hashbrown's.
    pub(crate) fn heap_bytes(buckets_log2: u32) -> Result<usize, BuildError> {
        static BYTES: [AtomicUsize; u32::BITS as usize] =
            [const { AtomicUsize::new(0) }; u32::BITS as usize];
        let cached = &BYTES[buckets_log2 as usize];
        if cached.load(Ordering::Relaxed) == 0 {
            let bytes = Self::new(buckets_log2)?.table.allocation_size();
            cached.store(bytes, Ordering::Relaxed);
        }
        Ok(cached.load(Ordering::Relaxed))
    }

    /// Returns whether the table may have to grow at the next insertion. Tombstones count.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.table.capacity() == self.table.len()
    }

    /// Returns the first slot with this slot hash, by its bits, that `is_match` accepts.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        slot_hash: SlotHash,
        mut is_match: impl FnMut(SlotId) -> bool,
    ) -> Option<SlotId> {
        self.table
            .find(slot_hash.table_hash(self.bucket_shift), |bucket| {
                bucket.slot_if_matches(slot_hash).is_some_and(&mut is_match)
            })
            .and_then(|bucket| bucket.slot_if_matches(slot_hash))
    }

    /// Returns the first bucket that [`find`](Self::find) would look at, by the tags alone.
    #[inline]
    pub(crate) fn first_bucket(&self, slot_hash: SlotHash) -> Option<usize> {
        self.table.find_bucket_index(slot_hash.table_hash(self.bucket_shift), |_| true)
    }

    /// Loads a bucket into the processor's cache. The result means nothing: it depends on
    /// the load, which the caller must not let the compiler drop.
    #[inline]
    pub(crate) fn prefetch(&self, bucket: usize) -> u32 {
        self.table.get_bucket(bucket).map_or(0, |bucket| bucket.0)
    }

    /// Adds a slot that is not in the table, which is not full.
    #[inline(always)]
    pub(crate) fn insert(&mut self, id: SlotId, slot_hash: SlotHash) {
        self.table.insert_unique(
            slot_hash.table_hash(self.bucket_shift),
            Bucket::new(id, slot_hash),
            |_| unreachable!("the table would grow"),
        );
    }

    /// Removes a slot, without looking at any key.
    #[inline(always)]
    pub(crate) fn remove(&mut self, id: SlotId, slot_hash: SlotHash) {
        let bucket = Bucket::new(id, slot_hash);
        match self
            .table
            .find_entry(slot_hash.table_hash(self.bucket_shift), |&other| other == bucket)
        {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("{id:?} is not in the index"),
        }
    }

    /// Empties the table and fills it again, which removes all tombstones.
    #[cold]
    pub(crate) fn rebuild(&mut self, slots: impl Iterator<Item = (SlotId, SlotHash)>) {
        // Not `clear`, which leaves a table without entries as it is, tombstones
        // and all.
        drop(self.table.drain());
        for (id, slot_hash) in slots {
            self.insert(id, slot_hash);
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Returns the entries that hashbrown puts into a table of `buckets` before it grows: 7/8
/// of them, and all but one in the smallest tables.
fn entries_max(buckets: usize) -> usize {
    if buckets < 8 { buckets - 1 } else { buckets / 8 * 7 }
}

/// Returns the logarithm of the buckets of the smallest table of which `entries` take at
/// most `load_percent` percent of the room.
pub(crate) fn buckets_log2_for(entries: usize, load_percent: usize) -> u32 {
    (2..u32::BITS)
        .find(|&log2| entries_max(1 << log2) as u64 * load_percent as u64 / 100 >= entries as u64)
        .expect("slots are numbered with 24 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_of_the_size_asked_for() {
        for buckets_log2 in 2..20 {
            let index = Index::new(buckets_log2).unwrap();
            assert_eq!(index.table.num_buckets(), 1 << buckets_log2);
            assert_eq!(index.table.capacity(), entries_max(1 << buckets_log2));
        }
    }

    /// Tombstones alone can fill a table. `HashTable::clear` would leave them, since
    /// nothing is in it, and the next insertion would find no room.
    #[test]
    fn a_table_full_of_tombstones_is_cleared() {
        let mut index = Index::new(5).unwrap();
        // In neighbouring buckets, so that each leaves a tombstone.
        let entries = (0..entries_max(32)).map(|i| (SlotId::new(i), SlotHash::from_bits(i as u64)));
        for (id, slot_hash) in entries.clone() {
            index.insert(id, slot_hash);
        }
        for (id, slot_hash) in entries.clone() {
            index.remove(id, slot_hash);
        }
        assert_eq!(index.len(), 0);
        assert!(index.is_full());
        index.rebuild(std::iter::empty());
        assert_eq!(index.table.capacity(), entries_max(32));
    }

    /// So that its key is not fetched.
    #[test]
    fn a_slot_of_another_fingerprint_does_not_match() {
        for number in [0, 1, SlotId::COUNT_MAX - 1] {
            for bits in [0, 1, 0x80, 0x1_ff00, 0xff_ffff] {
                let slot_hash = SlotHash::from_bits(bits);
                let bucket = Bucket::new(SlotId::new(number), slot_hash);
                assert_eq!(bucket.slot_if_matches(slot_hash), Some(SlotId::new(number)));
                for other in 1..256 {
                    assert_eq!(bucket.slot_if_matches(SlotHash::from_bits(bits ^ other)), None);
                }
            }
        }
    }

    #[test]
    fn the_load_is_kept() {
        for entries in (1..5_000).chain([1 << 20, SlotId::COUNT_MAX]) {
            let log2 = buckets_log2_for(entries, 96);
            assert!(entries * 100 <= entries_max(1 << log2) * 96, "{entries} in 2^{log2}");
            assert!(log2 == 2 || entries * 100 > entries_max(1 << (log2 - 1)) * 96 - 100);
        }
    }
}
