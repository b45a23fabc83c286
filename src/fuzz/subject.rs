//! Both caches behind one trait, so that one test covers them both.
//!
//! The tests in the folder `tests` compile this file, too: in another crate, neither the
//! trait nor the cache would be theirs, and the one could not be implemented for the other.

#![allow(dead_code, reason = "each of its users calls only some of the methods")]

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::{Cache, Compute, EntryRef, LoadError, Stats, Ttl, unsync};

/// What a loader returned. One thread waits for no other's load.
trait OwnError<E> {
    fn own_error(self) -> E;
}

impl<E> OwnError<E> for E {
    fn own_error(self) -> E {
        self
    }
}

impl<E> OwnError<E> for LoadError<E> {
    fn own_error(self) -> E {
        self.into_failed().expect("no other thread loads")
    }
}

macro_rules! subject {
    ($(fn $name:ident$(<$($generic:tt),+>)?(
        $this:ident: $receiver:ty $(, $argument:ident: $type:ty)* $(,)?
    ) $(-> $returned:ty)?;)+) => {
        /// The methods of a cache. Where one returns a reference, the other returns a clone.
        pub(crate) trait Subject<K: 'static, V: 'static> {
            $(fn $name$(<$($generic),+>)?($this: $receiver $(, $argument: $type)*)
                $(-> $returned)?;)+

            fn try_get_or_insert_with<E>(
                &mut self,
                key: &K,
                make: impl FnOnce() -> Result<V, E>,
            ) -> Result<impl Borrow<V>, E>;

            fn get_or_load<T: Into<Ttl>, E>(
                &mut self,
                key: &K,
                load: impl FnOnce() -> Result<(V, T), E>,
            ) -> Result<impl Borrow<V>, E>;
        }

        subject!(@for Cache: $(fn $name$(<$($generic),+>)?(
            $this: $receiver $(, $argument: $type)*) $(-> $returned)?;)+);
        subject!(@for UnsyncCache: $(fn $name$(<$($generic),+>)?(
            $this: $receiver $(, $argument: $type)*) $(-> $returned)?;)+);
    };
    (@for $cache:ident: $(fn $name:ident$(<$($generic:tt),+>)?(
        $this:ident: $receiver:ty $(, $argument:ident: $type:ty)*
    ) $(-> $returned:ty)?;)+) => {
        impl<K, V, S> Subject<K, V> for $cache<K, V, S>
        where
            K: Hash + Eq + Clone + Send + 'static,
            V: Clone + Send + 'static,
            S: BuildHasher + Send + Sync + 'static,
        {
            $(fn $name$(<$($generic),+>)?($this: $receiver $(, $argument: $type)*)
                $(-> $returned)?
            {
                $cache::$name($this $(, $argument)*)
            })+

            fn try_get_or_insert_with<E>(
                &mut self,
                key: &K,
                make: impl FnOnce() -> Result<V, E>,
            ) -> Result<impl Borrow<V>, E> {
                $cache::try_get_or_insert_with(self, key, make).map_err(OwnError::own_error)
            }

            fn get_or_load<T: Into<Ttl>, E>(
                &mut self,
                key: &K,
                load: impl FnOnce() -> Result<(V, T), E>,
            ) -> Result<impl Borrow<V>, E> {
                $cache::get_or_load(self, key, load).map_err(OwnError::own_error)
            }
        }
    };
}

use unsync::Cache as UnsyncCache;
subject! {
    fn capacity(self: &Self) -> usize;
    fn len(self: &Self) -> usize;
    fn stats(self: &Self) -> Stats;
    fn next_expiry(self: &Self) -> Option<Duration>;
    fn for_each(self: &Self, visit: impl FnMut(&K, &V));
    fn for_each_entry(self: &Self, visit: impl FnMut(EntryRef<'_, K, V>));
    fn peek(self: &Self, key: &K) -> Option<impl Borrow<V>>;
    fn contains_key(self: &Self, key: &K) -> bool;
    fn expires_in(self: &Self, key: &K) -> Option<Duration>;
    fn due_len(self: &Self) -> usize;

    fn insert(self: &mut Self, key: K, value: V) -> Option<V>;
    fn insert_with_ttl(self: &mut Self, key: K, value: V, ttl: impl Into<Ttl>) -> Option<V>;
    fn insert_if_absent(self: &mut Self, key: K, value: V) -> Result<(), (K, V)>;
    fn insert_if_absent_with_ttl(
        self: &mut Self,
        key: K,
        value: V,
        ttl: impl Into<Ttl>,
    ) -> Result<(), (K, V)>;
    fn compute<R>(
        self: &mut Self,
        key: K,
        decide: impl FnOnce(Option<&mut V>) -> Compute<V, R>,
    ) -> R;
    fn insert_many(self: &mut Self, entries: impl IntoIterator<Item = (K, V)>);
    fn insert_many_with_ttl(
        self: &mut Self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: impl Into<Ttl>,
    );
    fn get(self: &mut Self, key: &K) -> Option<impl Borrow<V>>;
    fn read_many<'a>(
        self: &mut Self,
        keys: impl IntoIterator<Item = &'a K>,
        each: impl FnMut(usize, Option<&V>),
    );
    fn read<R>(self: &mut Self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R>;
    fn update<R>(self: &mut Self, key: &K, update: impl FnOnce(&mut V) -> R) -> Option<R>;
    fn remove(self: &mut Self, key: &K) -> Option<V>;
    fn remove_if(self: &mut Self, key: &K, condition: impl FnOnce(&V) -> bool) -> Option<V>;
    fn remove_entry(self: &mut Self, key: &K) -> Option<(K, V)>;
    fn get_or_insert_with(self: &mut Self, key: &K, make: impl FnOnce() -> V) -> impl Borrow<V>;
    fn set_ttl(self: &mut Self, key: &K, ttl: impl Into<Ttl>) -> bool;
    fn get_and_set_ttl(self: &mut Self, key: &K, ttl: impl Into<Ttl>)
        -> Option<impl Borrow<V>>;
    fn retain(self: &mut Self, keep: impl FnMut(&K, &V) -> bool);
    fn clear(self: &mut Self);
    fn reap(self: &mut Self, limit: usize) -> usize;
}
