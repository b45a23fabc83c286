//! A load by a future, which depends on no runtime.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::pin::pin;
use std::task::Poll;

use equivalent::Equivalent;

use super::error::LoadError;
use super::in_flight::Loader;
use super::single_flight::{IfLeaderFails, Lookup, Then};
use super::waiters::Waiting;
use crate::cache::inner::Inner;
use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    /// [`load_with`](Self::load_with) a future. If it is dropped before it is done, its ticket
    /// is, and a follower takes over.
    pub(in crate::cache) async fn load_async<E, F>(
        &self,
        key: &(impl Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized),
        if_leader_fails: IfLeaderFails,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        F: Future<Output = Result<(V, Ttl), E>>,
    {
        if let Some(value) = self.get_with(key, |_, value| value.clone()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, key);
        let mut loader = Some(Loader::Future);
        let mut ticket = loop {
            let mut waiting = match self.get_or_claim(hash, key, loader) {
                Lookup::Hit(value) => return Ok(value),
                Lookup::Miss(ticket) => break ticket,
                Lookup::Loading(load) => Waiting::new(self.loads_of(hash), load),
            };
            let end = poll_fn(|context| {
                self.assert_not_reentrant();
                waiting.poll_end(context.waker()).map_or(Poll::Pending, Poll::Ready)
            });
            match if_leader_fails.then(end.await) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LoadError::LeaderFailed),
            }
        };
        ticket.is_running = true;
        let mut loading = pin!(load());
        let loaded = poll_fn(|context| {
            ticket.is_running = true;
            let poll = loading.as_mut().poll(context);
            ticket.is_running = poll.is_ready();
            poll
        })
        .await;
        ticket.finish(key, loaded)
    }
}
