//! Calls about all entries, a few slots at a time under each shard's lock.

use std::mem::needs_drop;
use std::time::Duration;

use super::inner::Inner;
use super::locked_shard::Held as _;
use super::reap::{Batch, STEPS_PER_LOCK, batched};
use crate::entry::entry_ref::EntryRef;
use crate::entry::removal::RemovalCause;
use crate::panic::FirstPanic;
use crate::shard::Shard;
use crate::shard::slot_id::SlotId;
use crate::stats::Stats;
use crate::sync::shim::Ordering;
use crate::time::tick::Moment;

impl<K, V, S> Inner<K, V, S> {
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let reading = self.now();
        let next = |shard| {
            let state = self.lock_for_read(shard);
            let first = state.shard.next_expiry()?;
            Some(self.timebase.until(first, state.time(reading)))
        };
        (0..self.shards.len()).filter_map(next).min()
    }

    pub(super) fn stats(&self) -> Stats {
        let (hits, misses) = self.accesses.sums();
        let accesses = Stats { hits, misses, ..Stats::default() };
        (0..self.shards.len()).fold(accesses, |sum, shard| {
            let of_entries = self.lock_for_read(shard).shard.stats();
            sum.plus(&of_entries).plus(&self.shards[shard].loads.stats())
        })
    }

    pub(super) fn len(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.lock_for_read(shard).shard.len()).sum()
    }

    pub(super) fn due_len(&self) -> usize {
        let reading = self.now();
        let mut due = 0;
        for shard in 0..self.shards.len() {
            let mut left = 0..self.lock_for_read(shard).shard.capacity();
            while !left.is_empty() {
                let until = (left.start + STEPS_PER_LOCK).min(left.end);
                let state = self.lock_for_read(shard);
                let now = state.tick(reading);
                due += state.shard.count_due(left.start..until, now);
                left.start = until;
            }
        }
        due
    }

    /// Shows each live entry to `visit`.
    pub(super) fn for_each_entry(&self, mut visit: impl FnMut(EntryRef<'_, K, V>)) {
        self.for_each_slot(|shard, id, now| {
            let (key, value) = shard.entry(id);
            let expires_in = self.timebase.ttl_left(shard.deadline_min(id), now);
            let ttl_left = self.timebase.ttl_left(shard.ttl_deadline_min(id), now);
            visit(EntryRef { key, value, expires_in, ttl_left });
        });
    }

    /// Shows the slot of each live entry to `visit`, with the time.
    pub(super) fn for_each_slot(&self, mut visit: impl FnMut(&Shard<K, V>, SlotId, Moment)) {
        let reading = self.now_for_ttl();
        for shard in 0..self.shards.len() {
            let mut left = 0..self.lock_for_read(shard).shard.capacity();
            while !left.is_empty() {
                let until = (left.start + STEPS_PER_LOCK).min(left.end);
                let state = self.lock_for_read(shard);
                let now = state.time(reading);
                let _scope = self.closure_scope();
                for id in state.shard.live_slots(left.start..until, now.tick) {
                    visit(&state.shard, id, now);
                }
                left.start = until;
            }
        }
    }

    /// Removes what is due and, of the rest, what `predicate` asks for. A panic in
    /// `predicate` ends it.
    pub(super) fn remove_where(
        &self,
        cause: RemovalCause,
        predicate: impl FnMut(&Shard<K, V>, SlotId) -> bool,
    ) {
        batched!(self.remove_where_in_batches(cause, predicate));
    }

    fn remove_where_in_batches<const N: usize>(
        &self,
        cause: RemovalCause,
        mut predicate: impl FnMut(&Shard<K, V>, SlotId) -> bool,
    ) {
        let reading = self.now();
        let mut panics = FirstPanic::default();
        for shard in 0..self.shards.len() {
            let mut left = 0..self.lock_for_read(shard).shard.capacity();
            while !left.is_empty() {
                let mut batch = Batch::<K, V, N>::new();
                let looked_at = left.end.saturating_sub(STEPS_PER_LOCK)..left.end;
                let outcome = {
                    let mut state = self.lock(shard);
                    // `clear` under this lock precedes every load that begins after it, and
                    // must not be undone by one that began before.
                    if cause == RemovalCause::Cleared {
                        state.loads().overrule_all();
                    }
                    let now = state.tick(reading);
                    let _scope = self.closure_scope();
                    let loads = state.loads();
                    panics.catch(|| {
                        let overrule = |hash| loads.overrule_slot_hash(hash);
                        state.shard.remove_where(
                            looked_at,
                            now,
                            cause,
                            &mut predicate,
                            overrule,
                            &mut batch,
                        )
                    })
                };
                // The lock is released. What left before a panic is delivered all the same.
                for removed in batch {
                    self.notify_and_drop(removed, &mut panics);
                }
                match outcome {
                    // Also where a full batch ended it early: `end` is where to go on.
                    Some(not_looked_at) => left.end = not_looked_at.end,
                    None => return panics.resume_or(()),
                }
            }
        }
        panics.resume_or(());
    }

    /// Drops every entry once the last handle is gone. No listener is told.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if !needs_drop::<(K, V)>() {
            return;
        }
        let mut panics = FirstPanic::default();
        for shard in 0..self.shards.len() {
            let mut left = 0..self.lock_for_read(shard).shard.capacity();
            while !left.is_empty() {
                let mut batch = Batch::<K, V, 1>::new();
                left = self.lock(shard).shard.remove_where(
                    left,
                    0,
                    RemovalCause::Cleared,
                    |_, _| true,
                    |_| (),
                    &mut batch,
                );
                for removed in batch {
                    panics.drop(removed.value);
                    panics.drop(removed.key);
                }
            }
        }
        panics.resume_unless_unwinding();
    }
}
