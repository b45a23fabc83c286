//! Loads: single flight, its table, tickets, and the callers that wait.

pub(crate) mod byte_ticket;
mod bytes;
pub(crate) mod error;
#[cfg(feature = "async")]
mod future;
pub(crate) mod in_flight;
#[cfg(test)]
mod in_flight_tests;
pub(crate) mod key;
mod leading;
pub(crate) mod nested;
pub(crate) mod single_flight;
pub(crate) mod table_size;
pub(crate) mod ticket;
pub(crate) mod wait;
pub(crate) mod waiters;
mod wakers;
mod write_log;
