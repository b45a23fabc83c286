//! Freeing what is due, a batch at a time: by the calls, by `reap`, and by the reaper's
//! thread.

use arrayvec::ArrayVec;

use super::inner::Inner;
use super::locked_shard::{Held as _, State};
use crate::entry::removal::Removed;
use crate::panic::FirstPanic;
use crate::reaper::{NEVER, Reapable, Visit};
use crate::shard::key_hash::KeyHash;
use crate::sync::shim::Ordering;
use crate::time::clock::Timescale;
use crate::time::tick::Moment;

/// Removed entries that are delivered together: they lie on the stack meanwhile.
pub(super) const DELIVERY_BATCH: usize = 8;

/// Entries that are larger are delivered one by one.
const DELIVERY_BATCH_BYTES_MAX: usize = 1 << 12;

/// Slots looked at, and timers moved within the wheel, before the lock is released.
pub(super) const STEPS_PER_LOCK: usize = 64;

pub(super) type Batch<K, V, const N: usize> = ArrayVec<Removed<K, V>, N>;

/// Calls a method with the size of its batches.
macro_rules! batched {
    ($self:ident.$method:ident($($argument:expr),+)) => {
        if Self::IS_BATCHED {
            $self.$method::<{ crate::cache::reap::DELIVERY_BATCH }>($($argument),+)
        } else {
            $self.$method::<1>($($argument),+)
        }
    };
}
pub(super) use batched;

/// What a batch came to.
struct ReapOutcome {
    removed: usize,
    has_more: bool,
}

impl<K, V, S> Inner<K, V, S> {
    /// Whether entries are small enough for the stack to take several.
    pub(super) const IS_BATCHED: bool = size_of::<Removed<K, V>>() <= DELIVERY_BATCH_BYTES_MAX;

    /// Frees what is due in a shard, batch by batch, until the budget is used up.
    #[cold]
    pub(super) fn reap_shard(
        &self,
        shard: usize,
        reading: Moment,
        mut budget: usize,
        panics: &mut FirstPanic,
    ) {
        while budget > 0
            && batched!(self.reap_batch(shard, reading, &mut budget, usize::MAX, panics)).has_more
        {
        }
    }

    /// Frees what is due in a shard, for a call that only looks and is done but for that; if the
    /// reaper does not.
    #[cold]
    #[inline(never)]
    pub(super) fn reap_after_look<R>(&self, shard: usize, reading: Moment, result: R) -> R {
        if self.reaper.serves(self.shards[shard].source()) {
            return result;
        }
        let mut panics = FirstPanic::default();
        self.reap_shard(shard, reading, self.reap_limit, &mut panics);
        panics.resume_or(result)
    }

    /// Frees what is due in the shard of a key that was to be loaded, and is not inserted, which
    /// would have freed it; if the reaper does not.
    pub(super) fn reap_after_load(&self, hash: KeyHash, panics: &mut FirstPanic) {
        let shard = self.shard_of(hash);
        if self.reaper.serves(self.shards[shard].source()) {
            return;
        }
        if let Some(reading) = panics.catch(|| self.now()) {
            self.reap_shard(shard, reading, self.reap_limit, panics);
        }
    }

    /// Frees at most `limit` due entries in all shards. Returns how many.
    pub(super) fn reap(&self, limit: usize) -> usize {
        let reading = self.now();
        let mut panics = FirstPanic::default();
        let mut removed = 0;
        for shard in 0..self.shards.len() {
            while removed < limit {
                let mut unbounded = usize::MAX;
                let left = limit - removed;
                let outcome =
                    batched!(self.reap_batch(shard, reading, &mut unbounded, left, &mut panics));
                removed += outcome.removed;
                if !outcome.has_more {
                    break;
                }
            }
        }
        panics.resume_or(removed)
    }

    /// Frees up to `limit` entries that are due, or one batch if that is less.
    fn reap_batch<const N: usize>(
        &self,
        shard: usize,
        reading: Moment,
        budget: &mut usize,
        limit: usize,
        panics: &mut FirstPanic,
    ) -> ReapOutcome {
        let mut steps = STEPS_PER_LOCK.min(*budget);
        *budget -= steps;
        let (batch, has_more) = {
            let mut state = self.lock(shard);
            let now = state.tick(reading);
            let batch = take_due::<K, V, N>(&mut state, now, limit, &mut steps);
            (batch, state.shard.has_work(now))
        };
        // What was not used of this lock's share goes back.
        *budget += steps;
        let removed = batch.len();
        for expired in batch {
            self.notify_and_drop(expired, panics);
        }
        ReapOutcome { removed, has_more }
    }

    /// Frees one batch, for the reaper.
    fn visit_shard<const N: usize>(&self, shard: usize, visit: &mut dyn Visit) {
        let batch = {
            let locked = &self.shards[shard];
            let guard = if visit.may_wait() {
                Some(locked.lock(&self.reaper))
            } else {
                locked.try_lock(&self.reaper)
            };
            let Some(mut state) = guard else { return };
            let now = state.tick(self.timebase.moment_of_nanos(visit.now_nanos()));
            let batch = take_due::<K, V, N>(&mut state, now, N, &mut STEPS_PER_LOCK.clone());
            visit.put_back(match state.next_visit() {
                u64::MAX => NEVER,
                tick => self.timebase.nanos(tick),
            });
            batch
        };
        let mut panics = FirstPanic::default();
        for expired in batch {
            visit.goes_on();
            self.notify_and_drop(expired, &mut panics);
        }
        panics.discard();
    }
}

/// Removes up to `limit` entries that are due, if that takes so few steps.
fn take_due<K, V, const N: usize>(
    state: &mut State<K, V>,
    now: u64,
    limit: usize,
    steps: &mut usize,
) -> Batch<K, V, N> {
    let mut batch = Batch::new();
    while batch.len() < N.min(limit) {
        let Some(expired) = state.shard.reap_one(now, steps) else { break };
        batch.push(expired);
    }
    state.shard.record_peak();
    batch
}

impl<K: Send + Sync, V: Send + Sync, S: Send + Sync> Reapable for Inner<K, V, S> {
    fn shards(&self) -> usize {
        self.shards.len()
    }

    fn timescale(&self) -> Timescale {
        self.reaper.timescale
    }

    fn set_source(&self, shard: usize, source: usize) {
        self.shards[shard].set_source(source);
    }

    fn source(&self, shard: usize) -> usize {
        self.shards[shard].source()
    }

    fn visit(&self, shard: usize, visit: &mut dyn Visit) {
        if !self.is_closed.load(Ordering::Relaxed) {
            batched!(self.visit_shard(shard, visit));
        }
    }
}
