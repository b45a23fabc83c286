//! Whether the server can be asked, and over which connection.
//!
//! # Ground rules
//!
//! The link is *live* or *away*, and each change has a number, the *epoch*. It is odd while the
//! link is live.
//!
//! - A load takes its ticket first, then the connection. It may use no other one.
//! - When a connection is lost, the epoch changes first. Then the entries are cleared, unless they
//!   may be served stale.
//! - Before the link is live again, tracking is on and everything is cleared, which overrules all
//!   loads whose tickets were taken before.
//!
//! So what a lost connection has brought is never stored in the next epoch: a load that uses it took
//! it before the loss, and its ticket before that, hence before the clearing, by which it is
//! overruled. And a ticket that is taken after the clearing finds no connection, or the new one.
//!
//! - Who serves an entry reads the epoch before and after the lookup; both times it must be the
//!   same, and live. So an entry that is kept to be served stale is never taken for a current one.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

/// A number of the changes between live and away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    const CLOSED: Self = Self(u64::MAX);

    #[inline]
    pub(crate) fn is_live(self) -> bool {
        self.0 % 2 == 1 && self != Self::CLOSED
    }

    pub(crate) fn is_closed(self) -> bool {
        self == Self::CLOSED
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A connection, and the epoch in which it is the one to use.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) epoch: Epoch,
    pub(crate) connection: MultiplexedConnection,
}

#[derive(Debug)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// All that the server had changed until then is known here.
    verified: Instant,
}

#[derive(Debug)]
pub(crate) struct Link {
    /// Written under the lock of `state` only.
    epoch: AtomicU64,
    state: RwLock<State>,
    changed: Notify,
}

impl Link {
    /// One that is away.
    pub(crate) fn new() -> Self {
        let state = State { connection: None, verified: Instant::now() };
        Self { epoch: AtomicU64::new(0), state: RwLock::new(state), changed: Notify::new() }
    }

    #[inline]
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Acquire))
    }

    /// Whether the link was live all the time since it had that epoch.
    #[inline]
    pub(crate) fn is_still(&self, epoch: Epoch) -> bool {
        // What was read before stays before.
        fence(Acquire);
        epoch.is_live() && epoch.0 == self.epoch.load(Relaxed)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if the link is live.
    pub(crate) fn line(&self) -> Option<Line> {
        let state = self.read();
        let connection = state.connection.clone()?;
        Some(Line { epoch: self.epoch(), connection })
    }

    /// Until when all changes are known.
    pub(crate) fn verified(&self) -> Instant {
        self.read().verified
    }

    /// Notes that in that epoch all changes before `at` are known.
    pub(crate) fn verify(&self, epoch: Epoch, at: Instant) {
        let mut state = self.write();
        if self.epoch() == epoch {
            state.verified = at;
        }
    }

    /// Makes the link live, if it is still away as in the epoch before.
    pub(crate) fn publish(&self, line: Line, at: Instant) -> bool {
        let mut state = self.write();
        let is_due = self.epoch().next() == line.epoch;
        if is_due {
            *state = State { connection: Some(line.connection), verified: at };
            self.epoch.store(line.epoch.0, Release);
        }
        is_due
    }

    /// Notes that an attempt to connect has failed, so that the next one is for another epoch: what
    /// is left of a failed one may come to its end late, and must not end a good connection.
    pub(crate) fn skip(&self, epoch: Epoch) {
        let _state = self.write();
        if self.epoch().next() == epoch {
            self.epoch.store(epoch.next().0, Release);
        }
    }

    /// Notes that the connection of that epoch is lost. Returns whether that is new.
    pub(crate) fn lose(&self, epoch: Epoch) -> bool {
        self.leave(|now| now == epoch && now.is_live(), epoch.next())
    }

    /// Closes the link for good. Returns whether that is new.
    pub(crate) fn close(&self) -> bool {
        self.leave(|now| !now.is_closed(), Epoch::CLOSED)
    }

    fn leave(&self, is_due: impl FnOnce(Epoch) -> bool, next: Epoch) -> bool {
        let mut state = self.write();
        if !is_due(self.epoch()) {
            return false;
        }
        self.epoch.store(next.0, Release);
        let connection = state.connection.take();
        drop(state);
        // The last one that drops it ends the connection's task.
        drop(connection);
        self.changed.notify_one();
        true
    }

    /// Returns when the link has left that epoch.
    pub(crate) async fn left(&self, epoch: Epoch) {
        while self.epoch() == epoch {
            self.changed.notified().await;
        }
    }
}
