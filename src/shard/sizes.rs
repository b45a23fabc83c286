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
