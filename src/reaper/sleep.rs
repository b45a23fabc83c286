//! How the reaper sleeps until the next event, and how a thread that brings an earlier one
//! wakes it.
//!
//! # The protocol
//!
//! A thread that lowers the time of the next event stores it where the reaper looks
//! (`event`), and then calls [`wake_before`](Alarm::wake_before) with it. The reaper calls
//! [`disarm`](Alarm::disarm), looks at all events, and then
//! [`arm_and_park`](Alarm::arm_and_park) until the earliest of them.
//!
//! ```text
//!   the lowering thread               the reaper
//!   event ← time                      alarm ← never
//!   ─── fence ───                     ─── fence ───
//!   if time < alarm: wake             look at event
//!                                     alarm ← earliest;  park until then
//! ```
//!
//! The fences order the store before the load on either side: at least one of the two sees
//! what the other has stored. Either the reaper sees the event, or the other thread sees an
//! alarm of never (or of the earliest other event) and wakes it. If the reaper is awake,
//! that stores a token, which ends its next park at once.

use std::time::Duration;

use crossbeam_utils::atomic::AtomicCell;
use forkguard::Guard;

use crate::shim::{AtomicU64, Condvar, Mutex, Ordering, fence};

/// The reaper's parker, and the time until which the reaper parks.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// In nanoseconds of the system's precise clock; [`NEVER`](Self::NEVER) while disarmed.
    pub(crate) deadline_nanos: AtomicU64,
    parker: AtomicCell<&'static Parker>,
}

/// Parks a thread until it is woken or a timeout has passed. A wake-up that comes first is
/// stored as a token.
///
/// Not crossbeam's `Parker`: that belongs to one thread, and a forked child has to start
/// another one, with another parker.
#[derive(Debug)]
pub(crate) struct Parker {
    token: Mutex<bool>,
    woken: Condvar,
    /// Detects a forked child, where no thread parks here, and where the lock may have been
    /// copied while it was held. `None` where a fork cannot be detected.
    process: Option<Guard>,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self { token: Mutex::default(), woken: Condvar::default(), process: Guard::try_new().ok() }
    }

    /// Returns whether this is the parker of a parent process.
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
    /// Later than any time.
    pub(crate) const NEVER: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self {
            deadline_nanos: AtomicU64::new(Self::NEVER),
            parker: AtomicCell::new(Self::new_parker()),
        }
    }

    fn new_parker() -> &'static Parker {
        // Leaked: after a fork, another thread may be about to lock the one it replaces.
        Box::leak(Box::new(Parker::new()))
    }

    /// Replaces the parker of a parent process. For a new reaper, before it parks.
    pub(crate) fn replace_parker_after_fork(&self) {
        if self.parker.load().is_inherited() {
            self.parker.store(Self::new_parker());
        }
    }

    /// Wakes the reaper if it parks beyond `event_nanos`, which has been stored where it
    /// looks.
    #[inline]
    pub(crate) fn wake_before(&self, event_nanos: u64) {
        fence(Ordering::SeqCst);
        if event_nanos < self.deadline_nanos.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Wakes the reaper if this process has one.
    pub(crate) fn wake(&self) {
        let parker = self.parker.load();
        if !parker.is_inherited() {
            parker.wake();
        }
    }

    /// For the reaper, before it looks at the events: each one that is lowered from here on
    /// ends its next park.
    pub(crate) fn disarm(&self) {
        self.deadline_nanos.store(Self::NEVER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the reaper, once it has looked: parks until the earliest event, or until it is
    /// woken.
    pub(crate) fn arm_and_park(&self, event_nanos: u64, now_nanos: u64) {
        self.deadline_nanos.store(event_nanos, Ordering::Relaxed);
        let timeout = (event_nanos != Self::NEVER)
            .then(|| Duration::from_nanos(event_nanos.saturating_sub(now_nanos)));
        self.parker.load().park(timeout);
    }
}
