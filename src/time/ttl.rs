//! How long an entry may live: the public type.

use std::time::Duration;

/// The TTL (time to live) of an entry. A [`Duration`] converts into one.
///
/// ```
/// use std::time::Duration;
/// use punctual::Ttl;
///
/// assert_eq!(Ttl::from(Duration::from_secs(60)), Ttl::After(Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// What the builder says: its [`ttl_by`](crate::Builder::ttl_by), or its
    /// [`ttl`](crate::Builder::ttl), or never if it has neither.
    #[default]
    Default,
    /// The entry never expires.
    Never,
    /// The entry expires once this has passed; zero: at once.
    After(Duration),
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Self {
        Self::After(ttl)
    }
}

impl Ttl {
    /// Returns the duration, given the builder's; `None` for never.
    pub(crate) fn or(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Default => default,
            Self::Never => None,
            Self::After(ttl) => Some(ttl),
        }
    }
}
