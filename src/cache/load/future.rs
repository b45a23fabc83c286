//! A load by a future, which depends on no runtime.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::pin::pin;
use std::task::Poll;

use super::error::LoadError;
use super::in_flight::Loader;
use super::key::LoadKey;
use super::leading::{IfDropped, Leading};
use super::single_flight::{IfLeaderFails, LeaderFailed, LookedUp, Then, Turn};
use super::waiters::Waiting;
use crate::cache::inner::Inner;
use crate::panic::DropGuard;
use crate::shard::Found;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
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
        if let Some(value) = self.get_to_load(key.query(), |_, found| found.value.clone()) {
            return Ok(key.discard(value));
        }
        let hash = KeyHash::new(&self.hasher, key.query());
        let copy = |found: Found<'_, K, V>| found.value.clone();
        let leading = match self.await_turn(hash, key.query(), if_leader_fails, copy).await {
            Ok(Turn::Hit(value)) => return Ok(key.discard(value)),
            Ok(Turn::Lead(leading)) => leading,
            Err(LeaderFailed) => return Err(LoadError::LeaderFailed),
        };
        let (leading, loaded) = leading.run_async(load).await;
        leading.finish(key, loaded)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Looks once more, and waits while another caller loads the key.
    pub(super) async fn await_turn<R>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        if_leader_fails: IfLeaderFails,
        copy: impl Fn(Found<'_, K, V>) -> R,
    ) -> Result<Turn<'_, R, K, V, S>, LeaderFailed> {
        let mut loader = Some(Loader::Anywhere);
        loop {
            let mut waiting = match self.get_or_claim(hash, key, loader, &copy) {
                LookedUp::Hit(value) => return Ok(Turn::Hit(value)),
                LookedUp::Leader(leading) => return Ok(Turn::Lead(leading)),
                LookedUp::Follower(load) => Waiting::new(self, hash, load),
            };
            let end = poll_fn(|context| {
                waiting.poll_end(context.waker()).map_or(Poll::Pending, Poll::Ready)
            });
            match if_leader_fails.then(end.await) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LeaderFailed),
            }
        }
    }
}

impl<K, V, S> Leading<&Inner<K, V, S>> {
    /// Runs a loader that returns a future. If that is dropped before it is done, the load is
    /// abandoned.
    pub(super) async fn run_async<R, F: Future<Output = R>>(
        self,
        load: impl FnOnce() -> F,
    ) -> (Self, DropGuard<R>) {
        let mut leading = self;
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
        (leading, loaded)
    }
}
