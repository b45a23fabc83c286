//! Which clock a cache goes by.
//!
//! | | while the reaper refreshes them | else |
//! |---|---|---|
//! | a lookup, to begin with | its [cached clock](crate::time::cached_clock) | the system's coarse clock |
//! | a lookup, if the entry may be due within a second by that | its [TSC clock](crate::time::tsc_clock) | the system's precise clock |
//! | a TTL counts from | its TSC clock | the system's precise clock |
//! | calls about many entries, but iteration | its TSC clock | the system's coarse clock |
//! | iteration, which shows what is left of a TTL | its TSC clock | the system's precise clock |
//!
//! With another clock than the system's, or without the reaper, it is one clock for all but
//! TTLs.

use super::inner::Inner;
use super::locked_shard::{Held, State};
use crate::shard::slot_id::SlotId;
use crate::time::tick::Moment;

impl<K, V, S> Inner<K, V, S> {
    /// Returns the time, which may be behind, to ask whether an entry [is due](Self::is_due).
    #[inline]
    pub(super) fn estimate(&self) -> Moment {
        self.reaper.cached_now().unwrap_or_else(|| self.now_slow())
    }

    /// Returns whether any entry may be due, where the time is estimated at a tick. Always true
    /// where a use postpones an entry's end, so that every lookup goes on to do that.
    #[inline]
    pub(super) fn may_have_due(&self, state: &State<K, V>, tick: u64) -> bool {
        state.shard.has_work(tick + self.look_ahead_ticks)
    }

    /// Returns whether an entry is due: by the estimated time where that is certain, else by
    /// another clock.
    #[inline]
    pub(super) fn is_due(&self, state: &impl Held<K, V>, id: SlotId, estimate: Moment) -> bool {
        let lag_ticks = self.reaper.lag_ticks();
        let tick = state.tick(estimate);
        if !state.shard.may_be_due_by(id, tick, tick + lag_ticks) {
            return false;
        }
        if lag_ticks == 0 {
            return state.shard.is_due(id, tick);
        }
        self.is_due_exactly(state, id, tick)
    }

    #[cold]
    #[inline(never)]
    fn is_due_exactly(&self, state: &impl Held<K, V>, id: SlotId, tick: u64) -> bool {
        if !state.shard.is_due(id, tick + self.reaper.lag_ticks()) {
            return false;
        }
        let tick = state.tick(self.now_for_ttl());
        state.shard.is_due(id, tick)
    }

    /// Returns the time, to see what is due.
    #[inline]
    pub(super) fn now(&self) -> Moment {
        self.reaper.tsc_now().unwrap_or_else(|| self.now_slow())
    }

    /// Returns the time that a TTL counts from.
    #[inline]
    pub(super) fn now_for_ttl(&self) -> Moment {
        self.reaper.tsc_now().unwrap_or_else(|| self.now_for_ttl_slow())
    }

    /// Out of line, so that callers which need not read a clock make no room for it.
    #[inline(never)]
    fn now_slow(&self) -> Moment {
        if self.reaper.has_clocks() {
            return self.reaper.read(false);
        }
        self.source.now(&self.timebase)
    }

    #[inline(never)]
    fn now_for_ttl_slow(&self) -> Moment {
        if self.reaper.has_clocks() {
            return self.reaper.read(true);
        }
        self.source.now_precise(&self.timebase)
    }
}
