//! When the reaper gets up: how a thread that brings an earlier deadline makes
//! sure that the reaper learns of it.
//!
//! # The protocol
//!
//! Somebody who lowers the time of the next event stores it where the reaper
//! looks (`event`), and then calls [`wake_before`](Alarm::wake_before) with it.
//! The reaper calls [`get_up`](Alarm::get_up), looks at all events, and then
//! [`sleep_until`](Alarm::sleep_until) the earliest of them.
//!
//! ```text
//!   who lowers                        the reaper
//!   event ← time                      alarm ← never
//!   ─── fence ───                     ─── fence ───
//!   if time < alarm: wake             look at event
//!                                     alarm ← earliest;  sleep until then
//! ```
//!
//! The fences order the store before the load on either side: at least one of
//! the two sees what the other has written. Either the reaper sees the event, or
//! the other sees an alarm set to never (or to what the reaper made of the rest)
//! and wakes it. A wake-up while the reaper is up is kept, and ends its next
//! sleep at once.

use std::time::Duration;

use crossbeam_utils::atomic::AtomicCell;
use forkguard::Guard;

use crate::shim::{AtomicU64, Condvar, Mutex, Ordering, fence};

/// The reaper's bed, and the time it means to get up.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// In nanoseconds of the system's monotonic clock.
    set_to_nanos: AtomicU64,
    bed: AtomicCell<&'static Bed>,
}

/// Where the reaper sleeps until it is woken, or a time has passed. A wake-up that
/// comes first is kept.
///
/// Not crossbeam's `Parker`: that belongs to one thread, and a forked child has
/// to start another one, in another bed.
#[derive(Debug)]
pub(crate) struct Bed {
    is_woken: Mutex<bool>,
    woken: Condvar,
    /// Tells the process that sleeps in it from a forked child, where nobody does,
    /// and its lock may be held for ever. `None` where that cannot be told.
    process: Option<Guard>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self {
            is_woken: Mutex::default(),
            woken: Condvar::default(),
            process: Guard::try_new().ok(),
        }
    }

    fn is_left_behind(&self) -> bool {
        self.process.as_ref().is_some_and(|guard| guard.clone().detected_fork())
    }

    pub(crate) fn sleep(&self, at_most: Option<Duration>) {
        let mut is_woken = self.is_woken.lock();
        if !*is_woken {
            is_woken = match at_most {
                Some(at_most) => self.woken.wait_at_most(is_woken, at_most),
                None => self.woken.wait(is_woken),
            };
        }
        *is_woken = false;
    }

    pub(crate) fn wake(&self) {
        *self.is_woken.lock() = true;
        self.woken.notify_all();
    }
}

impl Alarm {
    /// No such time.
    pub(crate) const NEVER: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self { set_to_nanos: AtomicU64::new(Self::NEVER), bed: AtomicCell::new(Self::new_bed()) }
    }

    /// Kept for ever: somebody may be about to lock the old one.
    fn new_bed() -> &'static Bed {
        Box::leak(Box::new(Bed::new()))
    }

    /// For a reaper that is started, before it sleeps: the bed of a parent's is left
    /// alone.
    pub(crate) fn make_bed(&self) {
        if self.bed.load().is_left_behind() {
            self.bed.store(Self::new_bed());
        }
    }

    /// Gets the reaper up if it means to sleep beyond `event_nanos`, a time that
    /// has been stored where it looks.
    #[inline]
    pub(crate) fn wake_before(&self, event_nanos: u64) {
        fence(Ordering::SeqCst);
        if event_nanos < self.set_to_nanos.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Gets the reaper up, if this process has one.
    pub(crate) fn wake(&self) {
        let bed = self.bed.load();
        if !bed.is_left_behind() {
            bed.wake();
        }
    }

    /// When the reaper means to get up.
    #[cfg(test)]
    pub(crate) fn set_to_nanos(&self) -> u64 {
        self.set_to_nanos.load(Ordering::Relaxed)
    }

    /// For the reaper, before it looks at the events: from here on, each earlier
    /// one ends its next sleep.
    pub(crate) fn get_up(&self) {
        self.set_to_nanos.store(Self::NEVER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the reaper, once it has looked: sleeps until the earliest event, or
    /// until it is woken.
    pub(crate) fn sleep_until(&self, event_nanos: u64, now_nanos: u64) {
        self.set_to_nanos.store(event_nanos, Ordering::Relaxed);
        let at_most = (event_nanos != Self::NEVER)
            .then(|| Duration::from_nanos(event_nanos.saturating_sub(now_nanos)));
        self.bed.load().sleep(at_most);
    }
}
