//! What is kept of the entries' sizes, where not their number alone is bounded.

use super::records::Records;
use super::slot_id::SlotId;
use super::weights::Weights;

#[derive(Debug)]
pub(crate) enum Sizes {
    /// Their weights, by the caller's measure.
    Weights(Weights),
    /// Keys and values themselves.
    Records(Records),
}

impl Sizes {
    #[inline]
    pub(super) fn weights(&self) -> Option<&Weights> {
        match self {
            Self::Weights(weights) => Some(weights),
            Self::Records(_) => None,
        }
    }

    #[inline]
    pub(super) fn records(&self) -> Option<&Records> {
        match self {
            Self::Records(records) => Some(records),
            Self::Weights(_) => None,
        }
    }

    /// Returns by how many bits the count of an entry's uses is to be shifted: one for each time that
    /// it is twice as large as the mean of `entries`. A large entry keeps out several others, so it has
    /// to be used more often than they are.
    pub(super) fn handicap(&self, id: SlotId, entries: usize) -> u32 {
        let (size, sum) = match self {
            Self::Weights(weights) => (weights.get(id), weights.sum_and_peak().0),
            Self::Records(records) => (records.payload_bytes(id), records.live_bytes()),
        };
        let mean = (sum / entries.max(1) as u64).max(1);
        (size / mean).checked_ilog2().unwrap_or(0)
    }

    /// Forgets the entry in a slot, which leaves.
    #[cold]
    pub(super) fn forget(&mut self, id: SlotId) {
        match self {
            Self::Weights(weights) => weights.set(id, 0),
            Self::Records(records) => records.free(id),
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        match self {
            Self::Weights(weights) => weights.check(occupied),
            Self::Records(records) => records.check(occupied),
        }
    }
}
