//! A load by a future, which depends on no runtime.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::pin::pin;
use std::task::Poll;

use super::error::LoadError;
use super::in_flight::Loader;
use super::key::LoadKey;
use super::leading::IfDropped;
use super::single_flight::{Found, IfLeaderFails, Then};
use super::waiters::Waiting;
use crate::cache::inner::Inner;
use crate::panic::DropGuard;
use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    /// [`load_with`](Self::load_with) a future. If it is dropped before it is done, the load is
    /// abandoned, and a follower takes over.
    pub(in crate::cache) async fn load_async<E, F>(
        &self,
        key: impl LoadKey<K>,
        if_leader_fails: IfLeaderFails,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        F: Future<Output = Result<(V, Ttl), E>>,
    {
        if let Some(value) = self.get_to_load(key.query(), |_, value| value.clone()) {
            return Ok(key.discard(value));
        }
        let hash = KeyHash::new(&self.hasher, key.query());
        let mut loader = Some(Loader::Anywhere);
        let mut leading = loop {
            let mut waiting = match self.get_or_claim(hash, key.query(), loader) {
                Found::Hit(value) => return Ok(key.discard(value)),
                Found::Leader(leading) => break leading,
                Found::Follower(load) => Waiting::new(self, hash, load),
            };
            let end = poll_fn(|context| {
                waiting.poll_end(context.waker()).map_or(Poll::Pending, Poll::Ready)
            });
            match if_leader_fails.then(end.await) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LoadError::LeaderFailed),
            }
        };
        leading.if_dropped = IfDropped::Fail;
        // Out here, so that it is dropped even if the future's `Drop` panics.
        let loaded;
        {
            let mut loading = pin!(load());
            let poll = poll_fn(|context| {
                leading.if_dropped = IfDropped::Fail;
                let poll = loading.as_mut().poll(context);
                if poll.is_pending() {
                    leading.if_dropped = IfDropped::Abandon;
                }
                poll
            });
            loaded = DropGuard::new(poll.await);
        }
        leading.finish(key, loaded)
    }
}
