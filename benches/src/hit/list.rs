//! A doubly linked list of small numbers, which are their own places in memory.

const NONE: u32 = u32::MAX;

/// Newest first. A number is in the list at most once.
#[derive(Default)]
pub(crate) struct List {
    links: Vec<Link>,
    newest: Option<u32>,
    oldest: Option<u32>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    listed: bool,
}

const UNLISTED: Link = Link { newer: NONE, older: NONE, listed: false };

fn some(key: u32) -> Option<u32> {
    (key != NONE).then_some(key)
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.oldest
    }

    /// The one that came right after `key`.
    pub(crate) fn newer(&self, key: u32) -> Option<u32> {
        some(self.links[key as usize].newer)
    }

    pub(crate) fn contains(&self, key: u32) -> bool {
        self.links.get(key as usize).is_some_and(|link| link.listed)
    }

    pub(crate) fn push(&mut self, key: u32) {
        debug_assert!(!self.contains(key), "{key} is listed already");
        if self.links.len() <= key as usize {
            self.links.resize(key as usize + 1, UNLISTED);
        }
        self.links[key as usize] =
            Link { newer: NONE, older: self.newest.unwrap_or(NONE), listed: true };
        match self.newest {
            Some(newest) => self.links[newest as usize].newer = key,
            None => self.oldest = Some(key),
        }
        self.newest = Some(key);
        self.len += 1;
    }

    /// Takes a number out, and says whether it was in.
    pub(crate) fn remove(&mut self, key: u32) -> bool {
        if !self.contains(key) {
            return false;
        }
        let Link { newer, older, .. } = self.links[key as usize];
        match some(newer) {
            Some(newer) => self.links[newer as usize].older = older,
            None => self.newest = some(older),
        }
        match some(older) {
            Some(older) => self.links[older as usize].newer = newer,
            None => self.oldest = some(newer),
        }
        self.links[key as usize] = UNLISTED;
        self.len -= 1;
        true
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<u32> {
        let oldest = self.oldest?;
        self.remove(oldest);
        Some(oldest)
    }
}
