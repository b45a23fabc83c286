//! When the reaper gets up: how a thread that brings an earlier deadline makes
//! sure that the reaper learns of it.
//!
//! # The protocol
//!
//! Somebody who lowers the time of the next event stores it where the reaper
//! looks (`event`), and then calls [`wake_before`](Alarm::wake_before) with it.
//! The reaper calls [`disarm`](Alarm::disarm), looks at all events, and then
//! [`arm_and_park`](Alarm::arm_and_park) the earliest of them.
//!
//! ```text
//!   who lowers                        the reaper
//!   event ← time                      alarm ← never
//!   ─── fence ───                     ─── fence ───
//!   if time < alarm: wake             look at event
//!                                     alarm ← earliest;  park until then
//! ```
//!
//! The fences order the store before the load on either side: at least one of
//! the two sees what the other has written. Either the reaper sees the event, or
//! the other sees an alarm set to never (or to what the reaper made of the rest)
//! and wakes it. A wake-up while the reaper is up is kept, and ends its next
//! park at once.

use std::time::Duration;

use crossbeam_utils::atomic::AtomicCell;
use forkguard::Guard;

use crate::shim::{AtomicU64, Condvar, Mutex, Ordering, fence};

/// The reaper's parker, and the time it means to get up.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// In nanoseconds of the system's monotonic clock.
    pub(crate) deadline_nanos: AtomicU64,
    parker: AtomicCell<&'static Parker>,
}

/// Where the reaper sleeps until it is woken, or a time has passed. A wake-up that
/// comes first is kept.
///
/// Not crossbeam's `Parker`: that belongs to one thread, and a forked child has
/// to start another one, in another parker.
#[derive(Debug)]
pub(crate) struct Parker {
    token: Mutex<bool>,
    woken: Condvar,
    /// Tells the process that sleeps in it from a forked child, where nobody does,
    /// and its lock may be held for ever. `None` where that cannot be told.
    process: Option<Guard>,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self { token: Mutex::default(), woken: Condvar::default(), process: Guard::try_new().ok() }
    }

    fn is_inherited(&self) -> bool {
        self.process.as_ref().is_some_and(|guard| guard.clone().detected_fork())
    }

    pub(crate) fn park(&self, timeout: Option<Duration>) {
        let mut token = self.token.lock();
        if !*token {
            token = match timeout {
                Some(timeout) => self.woken.wait_timeout(token, timeout),
                None => self.woken.wait(token),
            };
        }
        *token = false;
    }

    pub(crate) fn wake(&self) {
        *self.token.lock() = true;
        self.woken.notify_all();
    }
}

impl Alarm {
    /// No such time.
    pub(crate) const NEVER: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self {
            deadline_nanos: AtomicU64::new(Self::NEVER),
            parker: AtomicCell::new(Self::new_parker()),
        }
    }

    /// Kept for ever: somebody may be about to lock the old one.
    fn new_parker() -> &'static Parker {
        Box::leak(Box::new(Parker::new()))
    }

    /// For a reaper that is started, before it sleeps: the parker of a parent's is left
    /// alone.
    pub(crate) fn replace_parker_after_fork(&self) {
        if self.parker.load().is_inherited() {
            self.parker.store(Self::new_parker());
        }
    }

    /// Gets the reaper up if it means to park beyond `event_nanos`, a time that
    /// has been stored where it looks.
    #[inline]
    pub(crate) fn wake_before(&self, event_nanos: u64) {
        fence(Ordering::SeqCst);
        if event_nanos < self.deadline_nanos.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Gets the reaper up, if this process has one.
    pub(crate) fn wake(&self) {
        let parker = self.parker.load();
        if !parker.is_inherited() {
            parker.wake();
        }
    }

    /// For the reaper, before it looks at the events: from here on, each earlier
    /// one ends its next park.
    pub(crate) fn disarm(&self) {
        self.deadline_nanos.store(Self::NEVER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the reaper, once it has looked: sleeps until the earliest event, or
    /// until it is woken.
    pub(crate) fn arm_and_park(&self, event_nanos: u64, now_nanos: u64) {
        self.deadline_nanos.store(event_nanos, Ordering::Relaxed);
        let timeout = (event_nanos != Self::NEVER)
            .then(|| Duration::from_nanos(event_nanos.saturating_sub(now_nanos)));
        self.parker.load().park(timeout);
    }
}
