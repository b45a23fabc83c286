//! Loads: single flight, its table, and the callers that wait.

pub(crate) mod error;
#[cfg(feature = "async")]
mod future;
pub(crate) mod in_flight;
pub(crate) mod nested;
pub(crate) mod single_flight;
pub(crate) mod waiters;
