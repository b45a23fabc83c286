//! The wakers of the futures that wait for a load of one shard, in lists by the position of
//! their load.

use std::task::Waker;

use arrayvec::ArrayVec;
use slab::Slab;

use super::in_flight::LoadId;

/// Lists, so that the end of a load looks at few wakers of other loads.
const LISTS: usize = 64;

/// Wakers that are taken out under one hold of the lock.
const BATCH: usize = 64;
pub(super) type Batch = ArrayVec<Waker, BATCH>;

/// The number of a waker in the slab.
pub(super) type WakerId = u32;
const NONE: WakerId = WakerId::MAX;

#[derive(Debug)]
struct Entry {
    waker: Waker,
    load: LoadId,
    previous: WakerId,
    next: WakerId,
}

#[derive(Debug)]
pub(super) struct Wakers {
    entries: Slab<Entry>,
    first: [WakerId; LISTS],
}

impl Default for Wakers {
    fn default() -> Self {
        Self { entries: Slab::new(), first: [NONE; LISTS] }
    }
}

fn list_of(load: LoadId) -> usize {
    usize::from(load.position) % LISTS
}

impl Wakers {
    pub(super) fn insert(&mut self, load: LoadId, waker: Waker) -> WakerId {
        let next = self.first[list_of(load)];
        let id = self.entries.insert(Entry { waker, load, previous: NONE, next }) as WakerId;
        self.first[list_of(load)] = id;
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = id;
        }
        id
    }

    /// Removes the waker of a future that waits for that load, if it has not been taken.
    pub(super) fn remove(&mut self, id: WakerId, load: LoadId) -> Option<Waker> {
        if self.entries.get(id as usize)?.load != load {
            return None;
        }
        Some(self.unlink(id))
    }

    /// Takes wakers out whose load has ended: those of `load`, or of all loads if none is given.
    /// A full batch says that there may be more.
    pub(super) fn take_ended(
        &mut self,
        load: Option<LoadId>,
        has_ended: impl Fn(LoadId) -> bool,
    ) -> Batch {
        let mut batch = Batch::new();
        let lists = load.map_or(0..LISTS, |load| list_of(load)..list_of(load) + 1);
        for list in lists {
            let mut id = self.first[list];
            while let Some(entry) = self.entries.get(id as usize) {
                if batch.is_full() {
                    return batch;
                }
                let next = entry.next;
                if has_ended(entry.load) {
                    batch.push(self.unlink(id));
                }
                id = next;
            }
        }
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn unlink(&mut self, id: WakerId) -> Waker {
        let Entry { waker, load, previous, next } = self.entries.remove(id as usize);
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.first[list_of(load)] = next,
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        waker
    }
}
