//! What the server says on its own: which keys have changed.
//!
//! # Order
//!
//! The server writes replies and invalidations into one stream, in the order in which it has
//! executed things: the reply to a read first and then the invalidation, if the key has changed
//! after the read. (In broadcast mode the invalidation may come later, never earlier.) Everything
//! rests on keeping that order:
//!
//! 1. One task, the connection's driver, reads the stream. It hands an invalidation to
//!    [`Pushes::send`] by a plain call, and reads the next item when the call has returned. There is
//!    no channel between, so nothing can lag, fill up or be dropped: a reader that is behind is
//!    behind in the socket, with replies and invalidations alike.
//! 2. `send` removes the key before it returns. Hence *whatever reply comes after an invalidation is
//!    handed over after the key was removed*: `ordering::a_reply_comes_after_what_came_before_it`.
//! 3. A reply that comes before an invalidation is handed to another task, which may store it at any
//!    time, even after 2. But that task took its ticket before it sent the request. If it stores
//!    first, the key is removed after; if the key is removed first, the ticket is overruled and
//!    nothing is stored. The lock of the key's shard decides which was first:
//!    `ordering::an_invalidation_right_after_the_reply_wins`.
//! 4. An invalidation that comes before the reply to a load overrules it, although the reply is
//!    current. The caller gets it, it is not stored, and the next call loads again.
//! 5. "Everything" (`FLUSHALL`) is the same with `clear`, which overrules all tickets.
//!
//! However the driver ends, by an error, a panic or the end of its runtime, it drops this value, and
//! that is the loss of the connection.

use std::fmt;
use std::sync::Weak;

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};

use crate::link::Epoch;
use crate::shared::Shared;
use crate::stats::count;

/// Applies what comes over the connection of one epoch.
pub(crate) struct Pushes<V: Clone + Send + Sync + 'static> {
    shared: Weak<Shared<V>>,
    epoch: Epoch,
}

impl<V: Clone + Send + Sync + 'static> Pushes<V> {
    pub(crate) fn new(shared: Weak<Shared<V>>, epoch: Epoch) -> Self {
        Self { shared, epoch }
    }
}

impl<V: Clone + Send + Sync + 'static> AsyncPushSender for Pushes<V> {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        let shared = self.shared.upgrade().ok_or(SendError)?;
        match (&push.kind, &*push.data) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                count(&shared.counters.invalidations, keys.len());
                for key in keys {
                    match key {
                        Value::BulkString(key) => drop(shared.local.remove(key)),
                        // A key, and nobody knows which.
                        _ => shared.local.clear(),
                    }
                }
            }
            // The server has no keys any more, or says what nobody understands.
            (PushKind::Invalidate, _) => {
                count(&shared.counters.flushes, 1);
                shared.local.clear();
            }
            (PushKind::Disconnection, _) => shared.lose(self.epoch),
            _ => {}
        }
        Ok(())
    }
}

impl<V: Clone + Send + Sync + 'static> Drop for Pushes<V> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lose(self.epoch);
        }
    }
}

impl<V: Clone + Send + Sync + 'static> fmt::Debug for Pushes<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
