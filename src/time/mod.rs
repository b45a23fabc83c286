//! What time it is, as a tick.

pub(crate) mod cached_clock;
pub(crate) mod clock;
pub(crate) mod tick;
pub(crate) mod tsc;
pub(crate) mod tsc_clock;
