//! Why a loader brought no value.

use std::error::Error;
use std::fmt;

/// Why [`get_or_load`](crate::Cache::get_or_load) and its kind returned no value.
///
/// ```
/// use punctual::{Cache, LoadError};
///
/// let cache = Cache::<String, i32>::new(10);
/// let failed = cache.try_get_or_insert_with("key", || "no number".parse());
/// assert!(matches!(failed, Err(LoadError::Failed(_))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadError<E> {
    /// This caller's own loader returned this error.
    Failed(E),
    /// The load that this call waited for returned an error or panicked. This caller's own
    /// loader did not run. The next caller that asks for the key loads.
    LeaderFailed,
}

impl<E> LoadError<E> {
    /// Returns the error of this caller's own loader, if it ran.
    ///
    /// ```
    /// use punctual::LoadError;
    ///
    /// assert_eq!(LoadError::Failed("timeout").into_failed(), Some("timeout"));
    /// assert_eq!(LoadError::<&str>::LeaderFailed.into_failed(), None);
    /// ```
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::LeaderFailed => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::LeaderFailed => f.write_str("the load of this key by another caller failed"),
        }
    }
}

impl<E: Error + 'static> Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::LeaderFailed => None,
        }
    }
}
