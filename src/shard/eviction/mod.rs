//! Eviction policies: which entry makes room when a shard is full.
//!
//! A policy knows slots and how often each was used, not keys, locks or time. On a hit the
//! shard increments the slot's count, and that is all a hit costs; the policy is called when
//! a slot is filled or vacated.

mod adaptive;
mod bit_set;
pub(crate) mod counts;
mod fifo;
mod ghost;
mod queue;
mod s3_clock;
mod s3_fifo;

use std::fmt;

use super::key_hash::{KeyHash, SlotHash};
use super::slot_id::SlotId;
use crate::error::BuildError;

use adaptive::{Adaptive, AdaptiveGroup};
use counts::Counts;
use fifo::Fifo;
use s3_clock::{Parameters, S3Clock};
use s3_fifo::S3Fifo;

pub(crate) use adaptive::{Access, Sampler};

/// The policy that chooses which entry a full cache evicts.
///
/// Entries that are due leave first: a policy is asked only where none is found within the
/// builder's `reap_limit`. With any of them, a hit costs no more than incrementing the
/// entry's count, which saturates at three.
///
/// ```
/// use punctual::{Eviction, unsync::Cache};
///
/// let mut cache = Cache::builder().capacity(2).eviction(Eviction::Fifo).build()?;
/// cache.insert(1, "first");
/// cache.insert(2, "second");
/// cache.get(&1);
/// cache.insert(3, "third");
/// assert_eq!(cache.get(&1), None); // first in, first out, used or not
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eviction {
    /// First in, first out, whatever has been used: the policy of the cache that this crate
    /// replaces. 8 bytes an entry.
    Fifo,
    /// S3-FIFO as published (Yang et al., SOSP 2023): a small queue for new entries, a main
    /// queue for those used again, and a ghost of the keys evicted from the small one. 9.3
    /// bytes an entry.
    S3Fifo,
    /// The segments of S3-FIFO, with two clock hands that sweep the slots instead of linked
    /// queues, a longer ghost, and the main segment filled first. 3.4 bytes an entry.
    S3Clock,
    /// The default: `S3Clock` with the best of four sets of parameters, chosen while the
    /// cache runs by simulating all four on a sample of the keys of one shard. As much
    /// memory as `S3Clock`, and up to 5 kB a cache for the simulations.
    #[default]
    Adaptive,
}

impl fmt::Display for Eviction {
    /// Writes the policy's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fifo => "FIFO",
            Self::S3Fifo => "S3-FIFO",
            Self::S3Clock => "S3-CLOCK",
            Self::Adaptive => "adaptive",
        })
    }
}

/// The policy of one shard.
#[derive(Debug)]
pub(crate) enum Policy {
    Fifo(Fifo),
    S3Fifo(S3Fifo),
    S3Clock(S3Clock),
    Adaptive(Adaptive),
}

/// Calls the same method of whichever policy it is.
macro_rules! each {
    ($policy:expr, $inner:ident => $call:expr) => {
        match $policy {
            Policy::Fifo($inner) => $call,
            Policy::S3Fifo($inner) => $call,
            Policy::S3Clock($inner) => $call,
            Policy::Adaptive($inner) => $call,
        }
    };
}

/// From so many slots on, the choice of parameters is worth its memory: at two slots it gains
/// nothing in the mean of ten made loads, at three 2.7 points, at ten 10.7.
const ADAPTIVE_SLOTS_MIN: usize = 3;

/// Makes the policies of a cache's shards.
#[derive(Debug)]
pub(crate) struct PolicyFactory {
    eviction: Eviction,
    group: AdaptiveGroup,
}

impl PolicyFactory {
    pub(crate) fn new(eviction: Eviction) -> Self {
        Self { eviction, group: AdaptiveGroup::default() }
    }

    /// Allocates the policy of the next shard.
    pub(crate) fn policy(&mut self, slots: usize) -> Result<Policy, BuildError> {
        Ok(match Self::effective(self.eviction, slots) {
            Eviction::Fifo => Policy::Fifo(Fifo::new(slots)?),
            Eviction::S3Fifo => Policy::S3Fifo(S3Fifo::new(slots)?),
            Eviction::S3Clock => Policy::S3Clock(S3Clock::new(slots, Parameters::USUAL)?),
            Eviction::Adaptive => Policy::Adaptive(self.group.policy(slots)?),
        })
    }

    /// Returns the bytes that the policies of `shards` shards request from the allocator.
    pub(crate) fn heap_bytes(eviction: Eviction, shards: usize, slots: usize) -> usize {
        let (each, once) = match Self::effective(eviction, slots) {
            Eviction::Fifo => (Fifo::heap_bytes(slots), 0),
            Eviction::S3Fifo => (S3Fifo::heap_bytes(slots), 0),
            Eviction::S3Clock => (S3Clock::heap_bytes(slots), 0),
            Eviction::Adaptive => (Adaptive::heap_bytes(slots), AdaptiveGroup::heap_bytes(slots)),
        };
        each.saturating_mul(shards).saturating_add(once)
    }

    /// Among one or two slots the candidates differ too little to be simulated.
    fn effective(eviction: Eviction, slots: usize) -> Eviction {
        match eviction {
            Eviction::Adaptive if slots < ADAPTIVE_SLOTS_MIN => Eviction::S3Clock,
            other => other,
        }
    }
}

impl Policy {
    /// Returns what picks the keys to be shown to [`observe`](Self::observe).
    pub(crate) fn sampler(&self, slots: usize) -> Sampler {
        match self {
            Self::Adaptive(policy) => policy.sampler(slots),
            _ => Sampler::NONE,
        }
    }

    /// Shows the policy an access to a sampled key, perhaps beside other threads: then those that
    /// come while another one does so show nothing.
    #[cold]
    pub(crate) fn observe(&self, hash: KeyHash, access: Access) {
        if let Self::Adaptive(policy) = self {
            policy.observe(hash, access);
        }
    }

    /// [`observe`](Self::observe) with the shard held alone.
    #[cold]
    pub(crate) fn observe_mut(&mut self, hash: KeyHash, access: Access) {
        if let Self::Adaptive(policy) = self {
            policy.observe_mut(hash, access);
        }
    }

    /// Returns whether a new key is a ghost hit, that is, was evicted recently; the ghost
    /// forgets it. Called once for each newcomer, before room is made for it; the answer
    /// goes to [`admit`](Self::admit).
    #[inline]
    pub(crate) fn take_ghost(&mut self, slot_hash: SlotHash) -> bool {
        each!(self, policy => policy.take_ghost(slot_hash))
    }

    /// Admits a newcomer, which is in slot `id`.
    #[inline]
    pub(crate) fn admit(&mut self, id: SlotId, is_ghost_hit: bool) {
        each!(self, policy => policy.admit(id, is_ghost_hit));
    }

    /// Evicts an entry of a full shard and returns its slot. The next entry to be
    /// [admitted](Self::admit) is the one that reuses that slot. Visits a bounded number of
    /// slots.
    #[inline]
    pub(crate) fn evict(&mut self, counts: &mut impl Counts) -> SlotId {
        each!(self, policy => policy.evict(counts))
    }

    /// Evicts an entry of a shard that is to hold no more than its `entries` now, although it has
    /// further slots, and returns its slot. Nothing need be admitted afterwards.
    #[inline(never)]
    pub(crate) fn evict_early(&mut self, entries: usize, counts: &mut impl Counts) -> SlotId {
        each!(self, policy => policy.evict_early(entries, counts))
    }

    /// Evicts an entry of a full shard, and admits a newcomer into its slot, which is
    /// returned: [`take_ghost`](Self::take_ghost), [`evict`](Self::evict) and
    /// [`admit`](Self::admit) in one.
    #[inline(always)]
    pub(crate) fn replace(&mut self, slot_hash: SlotHash, counts: &mut impl Counts) -> SlotId {
        each!(self, policy => {
            let is_ghost_hit = policy.take_ghost(slot_hash);
            let id = policy.evict(counts);
            policy.admit(id, is_ghost_hit);
            id
        })
    }

    /// Removes an entry that has expired.
    #[inline]
    pub(crate) fn expire(&mut self, id: SlotId, counts: &impl Counts) {
        match self {
            Self::S3Clock(policy) => policy.expire(id, counts),
            Self::Adaptive(policy) => policy.expire(id, counts),
            _ => self.remove(id),
        }
    }

    /// Removes an entry for any other reason.
    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) {
        each!(self, policy => policy.remove(id));
    }

    /// Compares the policy's structures with the occupied slots: invariant 3 of the shard.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        each!(self, policy => policy.check(occupied));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The use count of each slot. The slot hash is the slot's number.
    pub(super) struct Used(pub(super) Vec<u8>);

    impl Counts for Used {
        fn count(&self, id: SlotId) -> u8 {
            self.0[id.index()]
        }
        fn set_count(&mut self, id: SlotId, count: u8) {
            self.0[id.index()] = count;
        }
        fn slot_hash(&self, id: SlotId) -> SlotHash {
            SlotHash::from_bits(id.index() as u64)
        }
    }

    pub(super) fn id(slot: usize) -> SlotId {
        SlotId::new(slot)
    }
}
