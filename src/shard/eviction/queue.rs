//! FIFO queues over slots, doubly linked so that any member can be removed.

use super::bit_set::zeroed;
use crate::error::BuildError;
use crate::shard::slot_id::SlotId;

/// A slot's neighbours in its queue.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    older: Option<SlotId>,
    newer: Option<SlotId>,
}

/// The links of all slots, shared by any number of queues: a slot is in one queue at most.
#[derive(Debug)]
pub(crate) struct Links(Box<[Link]>);

impl Links {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        Ok(Self(zeroed(slots)?))
    }

    pub(crate) fn heap_bytes(slots: usize) -> usize {
        slots * size_of::<Link>()
    }
}

/// The ends of a queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    oldest: Option<SlotId>,
    newest: Option<SlotId>,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, links: &mut Links, id: SlotId) {
        links.0[id.index()] = Link { older: self.newest, newer: None };
        match self.newest {
            Some(newest) => links.0[newest.index()].newer = Some(id),
            None => self.oldest = Some(id),
        }
        self.newest = Some(id);
        self.len += 1;
    }

    pub(crate) fn oldest(&self) -> Option<SlotId> {
        self.oldest
    }

    /// Removes a member.
    pub(crate) fn remove(&mut self, links: &mut Links, id: SlotId) {
        let Link { older, newer } = links.0[id.index()];
        match older {
            Some(older) => links.0[older.index()].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => links.0[newer.index()].older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }

    /// Returns the members' slot numbers, oldest first.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn members(&self, links: &Links) -> Vec<usize> {
        let members: Vec<_> =
            std::iter::successors(self.oldest, |id| links.0[id.index()].newer).collect();
        assert_eq!(members.len(), self.len);
        assert_eq!(members.last().copied(), self.newest);
        members.into_iter().map(SlotId::index).collect()
    }
}
