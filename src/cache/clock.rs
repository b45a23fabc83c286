//! Which clock a cache goes by: one to see what is due, another to count a TTL from.
//!
//! | | while the reaper refreshes them | else |
//! |---|---|---|
//! | what is due | its [cached clock](crate::time::cached_clock) | the system's coarse clock |
//! | a TTL counts from | its [TSC clock](crate::time::tsc_clock) | the system's precise clock |
//!
//! With another clock than the system's, both are that one.

use super::inner::Inner;
use crate::time::tick::Moment;

impl<K, V, S> Inner<K, V, S> {
    /// Returns the time, to see what is due.
    #[inline]
    pub(super) fn now(&self) -> Moment {
        self.reaper.cached_now().unwrap_or_else(|| self.now_slow())
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
