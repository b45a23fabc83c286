//! What can go wrong.

use std::fmt;

use punctual::BuildError;
use redis::{ErrorKind, ParsingError, RedisError, ServerErrorKind};

/// Why a call of a [`NearCache`](crate::NearCache) has no answer.
///
/// ```
/// use punctual_redis::{Error, NearCache};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let built = NearCache::<String>::builder().capacity(10).build().await;
/// assert!(matches!(built, Err(Error::NoServer)));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The builder was told neither a URL nor a client.
    NoServer,
    /// A setting of the builder is senseless: which, and what to change.
    Setting(&'static str),
    /// The memory of the cache cannot be had, or its capacity is impossible.
    Local(BuildError),
    /// The server or the connection to it has failed, a reply took too long, or a value is not of
    /// the type that was asked for.
    Redis(RedisError),
    /// The connection is lost, and the cache is connecting anew. Nothing was asked of the server.
    Away,
    /// The load of the same key that this call waited for has failed. It asked for nothing itself.
    LeaderFailed,
    /// The cache was [closed](crate::NearCache::close).
    Closed,
}

impl Error {
    /// Whether the server has said that another one has the keys, or that it cannot answer for
    /// them: what it has sent before must not be trusted any longer.
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::ReadOnly
            )
        )
    }

    /// Whether nothing will come over the connection any more.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_connection_dropped())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("no server: give the builder a URL or a client"),
            Self::Setting(what) => f.write_str(what),
            Self::Local(error) => write!(f, "the cache cannot be built: {error}"),
            Self::Redis(error) => write!(f, "the server or the connection to it: {error}"),
            Self::Away => f.write_str("the connection to the server is lost, connecting anew"),
            Self::LeaderFailed => f.write_str("the load that this call waited for has failed"),
            Self::Closed => f.write_str("the cache is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Local(error) => Some(error),
            Self::Redis(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<ParsingError> for Error {
    fn from(error: ParsingError) -> Self {
        Self::Redis(error.into())
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::Local(error)
    }
}
