//! A load by a future, which depends on no runtime.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::task::Poll;
use std::time::Duration;

use equivalent::Equivalent;

use super::Lookup;
use super::in_flight::Loader;
use super::waiters::Waiting;
use crate::cache::inner::Inner;
use crate::shard::key_hash::KeyHash;

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    /// [`load_with`](Self::load_with) a future. If it is dropped before it is done, its ticket
    /// is, and a follower takes over.
    pub(in crate::cache) async fn load_async<E, F>(
        &self,
        key: &(impl Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized),
        load: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        F: Future<Output = Result<(V, Duration), E>>,
    {
        if let Some(value) = self.get_with(key, |_, value| value.clone()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, key);
        let ticket = loop {
            match self.get_or_claim(hash, key, Loader::Future) {
                Lookup::Hit(value) => return Ok(value),
                Lookup::Miss(ticket) => break ticket,
                Lookup::Pending => {}
            }
            let mut waiting = Waiting::new(self.loads_of(hash), hash);
            poll_fn(|context| {
                self.assert_not_reentrant();
                if waiting.poll_ended(context.waker()) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        let (value, ttl) = load().await?;
        Ok(ticket.store(key, value, Some(ttl)))
    }
}
