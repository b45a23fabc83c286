//! In which form a loader's caller gives the key.

use std::hash::Hash;

use equivalent::Equivalent;

use crate::panic::DropGuard;

/// A key to look up, which becomes one to store.
pub(in crate::cache) trait LoadKey<K>: Sized {
    type Query: Hash + Equivalent<K> + ?Sized;

    fn query(&self) -> &Self::Query;

    fn into_key(self) -> K;

    /// Drops the key, for a call that returns `result`, which is dropped if that panics.
    fn discard<R>(self, result: R) -> R {
        let result = DropGuard::new(result);
        drop(self);
        result.into_inner()
    }
}

/// A borrowed form: a key is made where it is stored.
pub(in crate::cache) struct Borrowed<'a, Q: ?Sized>(pub(in crate::cache) &'a Q);

impl<K, Q> LoadKey<K> for Borrowed<'_, Q>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
{
    type Query = Q;

    fn query(&self) -> &Q {
        self.0
    }

    fn into_key(self) -> K {
        self.0.to_owned().into()
    }
}

/// The key itself.
pub(in crate::cache) struct Owned<K>(DropGuard<K>);

impl<K> Owned<K> {
    pub(in crate::cache) fn new(key: K) -> Self {
        Self(DropGuard::new(key))
    }
}

impl<K: Hash + Eq> LoadKey<K> for Owned<K> {
    type Query = K;

    fn query(&self) -> &K {
        self.0.get()
    }

    fn into_key(self) -> K {
        self.0.into_inner()
    }
}
