//! Removed entries, and how listeners hear of them.

use std::fmt;

use crate::panic::{DropGuard, FirstPanic};

/// Why an entry was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Its TTL, or its [time to idle](crate::Builder::time_to_idle), had passed. The cause of every due entry, whatever removes it.
    Expired,
    /// The cache was full and needed room for another entry, or the entry was too heavy for it, see
    /// [`max_weight`](crate::Builder::max_weight).
    Evicted,
    /// Its key was inserted again.
    Replaced,
    /// `remove`, `remove_entry`, `remove_if`, `compute` or `retain` removed it.
    Removed,
    /// `clear` removed it.
    Cleared,
}

impl RemovalCause {
    /// Returns whether what is removed is the caller's, who has replaced or removed it.
    #[inline(always)]
    fn gives_back(self) -> bool {
        match self {
            Self::Replaced | Self::Removed => true,
            Self::Expired | Self::Evicted | Self::Cleared => false,
        }
    }
}

impl fmt::Display for RemovalCause {
    /// Writes the cause in lower case, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::Cleared => "cleared",
        })
    }
}

/// An entry that has left every structure.
#[derive(Debug)]
pub(crate) struct Removed<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) cause: RemovalCause,
}

impl<K, V> Removed<K, V> {
    /// Tells the listener, then drops the key. Returns the value.
    #[inline(always)]
    pub(crate) fn notify(
        self,
        listener: Option<impl FnOnce(&K, &V, RemovalCause)>,
        panics: &mut FirstPanic,
    ) -> V {
        let Self { key, value, cause } = self;
        if let Some(listener) = listener {
            panics.catch(|| listener(&key, &value, cause));
        }
        panics.drop(key);
        value
    }

    /// [`deliver`](Self::deliver)s the value together with the key. Both are guarded: should either
    /// panic when it is dropped, the other one may as well.
    pub(crate) fn deliver_entry(
        self,
        listener: Option<impl FnOnce(&K, &V, RemovalCause)>,
        panics: &mut FirstPanic,
    ) -> Option<(DropGuard<K>, DropGuard<V>)> {
        let Self { key, value, cause } = self;
        if let Some(listener) = listener {
            panics.catch(|| listener(&key, &value, cause));
        }
        if cause.gives_back() {
            return Some((DropGuard::new(key), DropGuard::new(value)));
        }
        panics.drop(key);
        panics.drop(value);
        None
    }

    /// Tells the listener, then drops the key. Returns the value if it is the caller's,
    /// who replaced or removed it, and drops it otherwise.
    #[inline(always)]
    pub(crate) fn deliver(
        self,
        listener: Option<impl FnOnce(&K, &V, RemovalCause)>,
        panics: &mut FirstPanic,
    ) -> Option<V> {
        let cause = self.cause;
        let value = self.notify(listener, panics);
        if cause.gives_back() {
            return Some(value);
        }
        panics.drop(value);
        None
    }
}
