//! `punctual::Cache` as one thread calls it for many keys at once.

use std::hint::black_box;
use std::time::Duration;

use punctual::{Cache, Reaper};

use super::keys::Material;
use super::work::{Contestant, Round, Work, summary, ttl};
use crate::by::By;

pub(crate) struct Batches<M> {
    cache: Cache<M, M>,
    /// Keys of a call.
    size: usize,
}

impl<M: Material> Batches<M> {
    pub(crate) fn new(capacity: usize, size: usize) -> Self {
        let builder = Cache::builder().capacity(capacity).reaper(Reaper::Thread);
        Self { cache: builder.build().expect("the capacity is possible"), size }
    }

    /// Clones each value, as `get` does. Time, and keys that were there.
    #[inline(never)]
    fn get(&self, keys: &[M]) -> (Duration, usize) {
        let start = By::Processor.now();
        let mut hits = 0;
        for batch in keys.chunks(self.size) {
            self.cache.read_many(batch, |_, value| {
                hits += usize::from(black_box(value.cloned()).is_some());
            });
        }
        (By::Processor.now() - start, hits)
    }

    #[inline(never)]
    fn insert(&self, entries: Vec<(M, M)>) -> Duration {
        let mut entries = entries.into_iter();
        let start = By::Processor.now();
        for number in 0.. {
            if entries.len() == 0 {
                break;
            }
            self.cache.insert_many_with_ttl(entries.by_ref().take(self.size), ttl(number));
        }
        By::Processor.now() - start
    }
}

impl<M: Material> Contestant<M> for Batches<M> {
    fn fill(&mut self, entries: &mut dyn Iterator<Item = (M, M)>) {
        for (number, (key, value)) in entries.enumerate() {
            self.cache.insert_with_ttl(key, value, ttl(number));
        }
    }

    fn round(&mut self, works: Vec<Work<M>>) -> Round {
        let [work] = <[Work<M>; 1]>::try_from(works).ok().expect("one thread, one piece of work");
        match work {
            Work::Get(keys) => {
                let (time, hits) = self.get(&keys);
                summary(time, keys.len(), hits, keys.len())
            }
            Work::Insert(entries) => {
                let calls = entries.len();
                summary(self.insert(entries), calls, 0, 0)
            }
            _ => unreachable!("there are no batches of that"),
        }
    }
}
