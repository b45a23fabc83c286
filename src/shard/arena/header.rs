//! The eight bytes at the start of every block.

use crate::shard::slot_id::SlotId as OwnerId;

/// The unit of the arena: sizes and places are counted in grains.
pub(super) const GRAIN_BYTES: usize = 8;

/// The bits of a hole's or claim's size, and so the most grains of an arena: 4 GiB of them.
const GRAINS_BITS: u32 = 29;
pub(super) const GRAINS_MAX: u32 = (1 << GRAINS_BITS) - 1;

/// The fewest grains of a record: those of a hole that a bin can hold. So room left by any
/// record is found again.
pub(super) const RECORD_GRAINS_MIN: u32 = 2;

const KEY_BITS: u32 = 15;
const VALUE_BITS: u32 = 23;
const KEY_SHIFT: u32 = OwnerId::LINK_BITS;
const VALUE_SHIFT: u32 = KEY_SHIFT + KEY_BITS;

const HOLE: u64 = 1 << 63;
const FOLLOWS_HOLE: u64 = 1 << 62;
const CLAIMED: u64 = 1 << 61;
const GRAINS_SHIFT: u32 = u32::BITS;
const OWNER_MASK: u64 = (1 << OwnerId::LINK_BITS) - 1;

const _: () = assert!(VALUE_SHIFT + VALUE_BITS == FOLLOWS_HOLE.trailing_zeros());
const _: () = assert!(GRAINS_SHIFT + GRAINS_BITS == CLAIMED.trailing_zeros());

/// The lengths of a record's key and value, which a header has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    key: u32,
    value: u32,
}

impl Lengths {
    pub(crate) const KEY_MAX: usize = (1 << KEY_BITS) - 1;
    pub(crate) const VALUE_MAX: usize = (1 << VALUE_BITS) - 1;

    /// Returns `None` if either is above its maximum.
    #[inline]
    pub(crate) fn new(key: usize, value: usize) -> Option<Self> {
        (key <= Self::KEY_MAX && value <= Self::VALUE_MAX)
            .then_some(Self { key: key as u32, value: value as u32 })
    }

    #[inline]
    pub(crate) fn key(self) -> usize {
        self.key as usize
    }

    #[inline]
    pub(crate) fn value(self) -> usize {
        self.value as usize
    }

    /// Returns the bytes that the record takes in the arena, header and padding included.
    #[inline]
    #[cfg(any(test, fuzzing))]
    pub(crate) fn record_bytes(self) -> usize {
        self.grains() as usize * GRAIN_BYTES
    }

    #[inline]
    pub(super) fn grains(self) -> u32 {
        let payload = (self.key + self.value).div_ceil(GRAIN_BYTES as u32);
        (1 + payload).max(RECORD_GRAINS_MIN)
    }
}

/// The header of a block. A hole has the same in its second grain and in its last one, the
/// footer.
///
/// ```text
///          63  62  61                 39 38           24 23            0
///         ┌───┬───┬──────────────────────┬───────────────┬──────────────┐
/// record  │ 0 │ f │     value length     │  key length   │    owner     │
///         └───┴───┴──────────────────────┴───────────────┴──────────────┘
///          63  62  61  60             32 31                            0
///         ┌───┬───┬───┬──────────────────┬──────────────────────────────┐
/// hole    │ 1 │ 0 │ 0 │      grains      │  next; 2nd grain: previous   │
///         ├───┼───┼───┼──────────────────┼──────────────────────────────┤
/// claim   │ 1 │ f │ 1 │      grains      │            owner             │
///         └───┴───┴───┴──────────────────┴──────────────────────────────┘
/// ```
///
/// `f`: the block before is a hole. Its last grain, the footer, then tells where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    /// What stands behind the last block: a claim of no grains, so neither to be joined with
    /// nor to be moved.
    pub(super) const END: Self = Self(HOLE | CLAIMED);

    /// A record which follows no hole.
    #[inline]
    pub(super) fn record(owner: OwnerId, lengths: Lengths) -> Self {
        Self(
            u64::from(lengths.value) << VALUE_SHIFT
                | u64::from(lengths.key) << KEY_SHIFT
                | owner.index() as u64,
        )
    }

    /// A hole, with a link to another one.
    #[inline]
    pub(super) fn hole(grains: u32, link: u32) -> Self {
        debug_assert!(grains <= GRAINS_MAX, "a hole of {grains} grains");
        Self(HOLE | u64::from(grains) << GRAINS_SHIFT | u64::from(link))
    }

    /// A claim which follows no hole.
    #[inline]
    pub(super) fn claim(owner: OwnerId, grains: u32) -> Self {
        debug_assert!(grains <= GRAINS_MAX, "a claim of {grains} grains");
        Self(HOLE | CLAIMED | u64::from(grains) << GRAINS_SHIFT | owner.index() as u64)
    }

    #[inline]
    pub(super) fn from_bytes(bytes: [u8; GRAIN_BYTES]) -> Self {
        Self(u64::from_ne_bytes(bytes))
    }

    #[inline]
    pub(super) fn to_bytes(self) -> [u8; GRAIN_BYTES] {
        self.0.to_ne_bytes()
    }

    #[inline]
    pub(super) fn is_record(self) -> bool {
        self.0 & HOLE == 0
    }

    #[inline]
    pub(super) fn is_hole(self) -> bool {
        self.0 & (HOLE | CLAIMED) == HOLE
    }

    #[inline]
    pub(super) fn is_claim(self) -> bool {
        self.0 & (HOLE | CLAIMED) == HOLE | CLAIMED
    }

    #[inline]
    pub(super) fn follows_hole(self) -> bool {
        self.0 & FOLLOWS_HOLE != 0
    }

    #[inline]
    pub(super) fn with_follows_hole(self, follows_hole: bool) -> Self {
        Self(if follows_hole { self.0 | FOLLOWS_HOLE } else { self.0 & !FOLLOWS_HOLE })
    }

    /// Returns the size of the block.
    #[inline]
    pub(super) fn grains(self) -> u32 {
        if self.is_record() {
            self.lengths().grains()
        } else {
            (self.0 >> GRAINS_SHIFT) as u32 & GRAINS_MAX
        }
    }

    /// Returns the owner of a record or claim.
    #[inline]
    pub(super) fn owner(self) -> OwnerId {
        OwnerId::new((self.0 & OWNER_MASK) as usize)
    }

    /// Returns the lengths of a record.
    #[inline]
    pub(super) fn lengths(self) -> Lengths {
        Lengths {
            key: (self.0 >> KEY_SHIFT) as u32 & Lengths::KEY_MAX as u32,
            value: (self.0 >> VALUE_SHIFT) as u32 & Lengths::VALUE_MAX as u32,
        }
    }

    #[inline]
    pub(super) fn with_link(self, link: u32) -> Self {
        debug_assert!(self.is_hole(), "{self:?} is no hole");
        Self(self.0 & !u64::from(u32::MAX) | u64::from(link))
    }

    /// Returns the link of a hole.
    #[inline]
    pub(super) fn link(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_disturb_each_other() {
        let owners = [0, 1, OwnerId::COUNT_MAX - 1].map(OwnerId::new);
        for owner in owners {
            for key in [0, 1, 0x5555, Lengths::KEY_MAX] {
                for value in [0, 1, 0x2a_aaaa, Lengths::VALUE_MAX] {
                    let lengths = Lengths::new(key, value).unwrap();
                    for follows_hole in [true, false] {
                        let header = Header::record(owner, lengths).with_follows_hole(follows_hole);
                        assert!(header.is_record() && !header.is_hole() && !header.is_claim());
                        assert_eq!((header.owner(), header.lengths()), (owner, lengths));
                        assert_eq!((lengths.key(), lengths.value()), (key, value));
                        assert_eq!(header.follows_hole(), follows_hole);
                        assert_eq!(Header::from_bytes(header.to_bytes()), header);
                    }
                }
            }
            for grains in [1, 2, GRAINS_MAX] {
                let claim = Header::claim(owner, grains);
                assert!(claim.is_claim() && !claim.is_record() && !claim.is_hole());
                assert_eq!((claim.owner(), claim.grains()), (owner, grains));
                assert_eq!(claim.with_follows_hole(true).grains(), grains);
                assert!(claim.with_follows_hole(true).follows_hole() && !claim.follows_hole());
            }
        }
        for (grains, link) in [(1, 0), (2, u32::MAX), (GRAINS_MAX, 1)] {
            let hole = Header::hole(grains, link);
            assert!(hole.is_hole() && !hole.is_record() && !hole.is_claim());
            assert_eq!((hole.grains(), hole.link()), (grains, link));
        }
    }

    #[test]
    fn a_record_takes_a_header_and_whole_grains() {
        for (key, value, bytes) in [
            (0, 0, 16),
            (1, 0, 16),
            (4, 4, 16),
            (4, 5, 24),
            (20, 19, 48),
            (Lengths::KEY_MAX, Lengths::VALUE_MAX, 8 + (8 << 20) + (32 << 10)),
        ] {
            assert_eq!(Lengths::new(key, value).unwrap().record_bytes(), bytes, "{key} + {value}");
        }
        assert_eq!(Lengths::new(Lengths::KEY_MAX + 1, 0), None);
        assert_eq!(Lengths::new(0, Lengths::VALUE_MAX + 1), None);
    }
}
