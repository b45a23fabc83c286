//! What listeners were told.

use std::sync::{Arc, Mutex, PoisonError};

/// A list that many may write to.
#[derive(Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    /// Appends an entry.
    pub fn push(&self, entry: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Returns all entries, and forgets them.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Copy, V: Copy, C> Log<(K, V, C)> {
    /// Returns a listener that notes key, value and cause.
    pub fn listener(&self) -> impl Fn(&K, &V, C) + use<K, V, C> {
        let log = self.clone();
        move |&key, &value, cause| log.push((key, value, cause))
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
