//! First in, first out.

use super::counts::Counts;
use super::queue::{Links, Queue};
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// The exact order of insertion. An entry that is overwritten keeps its position.
#[derive(Debug)]
pub(crate) struct Fifo {
    queue: Queue,
    links: Links,
}

impl Fifo {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        Ok(Self { queue: Queue::default(), links: Links::new(slots)? })
    }

    pub(crate) fn heap_bytes(slots: usize) -> usize {
        Links::heap_bytes(slots)
    }

    #[expect(clippy::unused_self, reason = "the policies' common shape")]
    pub(crate) fn take_ghost(&self, _: SlotHash) -> bool {
        false
    }

    pub(crate) fn admit(&mut self, id: SlotId, _: bool) {
        self.queue.push(&mut self.links, id);
    }

    pub(crate) fn evict(&mut self, _: &mut impl Counts) -> SlotId {
        let victim = self.queue.oldest().expect("a full shard has an oldest entry");
        self.remove(victim);
        victim
    }

    pub(crate) fn evict_early(&mut self, _: usize, counts: &mut impl Counts) -> SlotId {
        self.evict(counts)
    }

    pub(crate) fn remove(&mut self, id: SlotId) {
        self.queue.remove(&mut self.links, id);
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        let members = self.queue.members(&self.links);
        assert_eq!(members.len(), occupied.len());
        assert!(members.iter().all(|member| occupied.contains(member)));
    }
}
