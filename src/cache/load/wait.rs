//! Waiting for another caller's load: the public types.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::in_flight::{End, LoadId};
use super::waiters::{HasLoads, WaitLimit, Waiting};
use crate::shard::key_hash::KeyHash;
use crate::time::HAS_SYSTEM_CLOCK;

/// How a load ended that a [`LoadWait`] waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadEnd {
    /// Its value was stored.
    Stored,
    /// Nothing was stored: its TTL was zero, or the key was set, removed or cleared meanwhile
    /// (however it ended then).
    NotStored,
    /// It failed: [`LoadTicket::fail`](crate::LoadTicket::fail), an error, or a panic.
    Failed,
    /// Its ticket or future was dropped. Also if it ended so long ago that nobody knows how.
    Abandoned,
    /// The time to wait was up. The load goes on.
    TimedOut,
}

impl LoadEnd {
    fn new(end: End) -> Self {
        match end {
            End::Stored => Self::Stored,
            End::NotStored | End::Overruled => Self::NotStored,
            End::Failed => Self::Failed,
            End::Abandoned | End::Unknown => Self::Abandoned,
        }
    }
}

/// Waits for a load of another caller, with [`wait`](Self::wait) or as a [`Future`]; returned by
/// [`lookup`](crate::Cache::lookup).
///
/// Then look again: there is a value, or this caller may get the ticket. But after `Failed`, a
/// caller that may fail should do so at once: if all look again, they fail one after the other.
/// Nor should those wait a second time whose values have a TTL of zero: where they find none after
/// `NotStored`, they load without a ticket.
///
/// It does not keep the cache's entries alive, and may be dropped at any time.
///
/// As a future it depends on no runtime. It allocates when it is first polled: a list of wakers
/// takes 32 to 64 bytes for each future that waits.
///
/// ```
/// use std::thread;
/// use std::time::Duration;
/// use punctual::{Cache, LoadEnd, Lookup};
///
/// let cache = Cache::<String, u64>::new(10);
/// let Lookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
/// let Lookup::Loading(load) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
/// thread::spawn(|| ticket.store(7, Duration::from_secs(60)));
/// assert_eq!(load.wait(Duration::from_secs(10)), LoadEnd::Stored);
/// assert_eq!(cache.get("key"), Some(7));
/// ```
#[must_use = "the load goes on whether or not anybody waits for it"]
pub struct LoadWait {
    waiting: Waiting<Arc<dyn HasLoads + Send + Sync>>,
}

impl LoadWait {
    pub(super) fn new(cache: Arc<dyn HasLoads + Send + Sync>, hash: KeyHash, load: LoadId) -> Self {
        Self { waiting: Waiting::new(cache, hash, load) }
    }

    /// Blocks the thread until the load has ended, or for `at_most` that time. Returns at once if
    /// it has ended already. [`Duration::MAX`] waits without a limit. Where there is no clock to
    /// wait by, on wasm32-unknown-unknown, any less does not wait.
    ///
    /// # Panics
    ///
    /// In a closure that runs under one of the cache's locks, where it would deadlock; and if it
    /// would have to wait without a limit where there are no threads.
    pub fn wait(self, at_most: Duration) -> LoadEnd {
        let limit = WaitLimit::after(at_most, HAS_SYSTEM_CLOCK);
        self.waiting.wait(limit).map_or(LoadEnd::TimedOut, LoadEnd::new)
    }
}

impl Future for LoadWait {
    type Output = LoadEnd;

    /// # Panics
    ///
    /// As [`wait`](LoadWait::wait).
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<LoadEnd> {
        match self.waiting.poll_end(context.waker()) {
            Some(end) => Poll::Ready(LoadEnd::new(end)),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for LoadWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadWait").finish_non_exhaustive()
    }
}
