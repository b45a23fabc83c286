//! Numbered sources of events, in the order of their next events: a binary heap that knows
//! where each source is.

/// A place that stands for none.
const ABSENT: u32 = u32::MAX;

/// At most one event of each source. Finding the first is O(1), all else O(log sources).
#[derive(Debug, Default)]
pub(super) struct EventHeap {
    /// Each event is no later than its two children, which are at twice its place, plus one and
    /// plus two.
    events: Vec<Event>,
    /// Where in `events` each source is, or [`ABSENT`].
    places: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    nanos: u64,
    source: u32,
}

impl EventHeap {
    /// Makes room for sources with numbers below `sources`: no other method allocates.
    pub(super) fn reserve(&mut self, sources: usize) {
        self.events.reserve(sources.saturating_sub(self.events.len()));
        if self.places.len() < sources {
            self.places.resize(sources, ABSENT);
        }
    }

    /// Returns the first event: its time and its source.
    pub(super) fn first(&self) -> Option<(u64, usize)> {
        self.events.first().map(|event| (event.nanos, event.source as usize))
    }

    /// Sets the time of a source's event, whether it has one already or not.
    pub(super) fn schedule(&mut self, source: usize, nanos: u64) {
        let event = Event { nanos, source: source as u32 };
        let mut place = self.places[source];
        if place == ABSENT {
            place = self.events.len() as u32;
            self.events.push(event);
        }
        self.settle(place as usize, event);
    }

    /// Returns whether a source has an event.
    pub(super) fn has_event(&self, source: usize) -> bool {
        self.places[source] != ABSENT
    }

    /// Removes a source's event, if it has one.
    pub(super) fn cancel(&mut self, source: usize) {
        let place = std::mem::replace(&mut self.places[source], ABSENT);
        if place == ABSENT {
            return;
        }
        let last = self.events.pop().expect("the source has an event");
        if last.source as usize != source {
            self.settle(place as usize, last);
        }
    }

    /// Puts an event at a place, or as far up or down from there as its time asks for.
    fn settle(&mut self, mut place: usize, event: Event) {
        while place > 0 && event.nanos < self.events[(place - 1) / 2].nanos {
            let parent = (place - 1) / 2;
            self.put(place, self.events[parent]);
            place = parent;
        }
        while let Some(child) = self.earlier_child(place, event.nanos) {
            self.put(place, self.events[child]);
            place = child;
        }
        self.put(place, event);
    }

    /// Returns the earlier of two children, if that is before a time.
    fn earlier_child(&self, place: usize, nanos: u64) -> Option<usize> {
        let children = 2 * place + 1..(2 * place + 3).min(self.events.len());
        let earlier = children.min_by_key(|&child| self.events[child].nanos)?;
        (self.events[earlier].nanos < nanos).then_some(earlier)
    }

    fn put(&mut self, place: usize, event: Event) {
        self.events[place] = event;
        self.places[event.source as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl EventHeap {
        fn check(&self, expected: &BTreeMap<usize, u64>) {
            assert_eq!(self.events.len(), expected.len());
            for (place, event) in self.events.iter().enumerate() {
                assert_eq!(expected[&(event.source as usize)], event.nanos);
                assert_eq!(self.places[event.source as usize] as usize, place);
                assert!(place == 0 || self.events[(place - 1) / 2].nanos <= event.nanos);
            }
            let places = self.places.iter().filter(|&&place| place != ABSENT);
            assert_eq!(places.count(), expected.len());
            assert_eq!(self.first().map(|(nanos, _)| nanos), expected.values().min().copied());
        }
    }

    #[test]
    fn it_agrees_with_a_sorted_map() {
        for sources in [1, 2, 3, 7, 64] {
            let mut random = fastrand::Rng::with_seed(sources as u64);
            let (mut heap, mut expected) = (EventHeap::default(), BTreeMap::new());
            heap.reserve(sources);
            for _ in 0..5_000 {
                let source = random.usize(..sources);
                if random.u8(..3) > 0 {
                    let nanos = random.u64(..100);
                    heap.schedule(source, nanos);
                    expected.insert(source, nanos);
                } else {
                    heap.cancel(source);
                    expected.remove(&source);
                }
                assert_eq!(heap.has_event(source), expected.contains_key(&source));
                heap.check(&expected);
            }
        }
    }
}
