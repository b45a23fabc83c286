//! What threads share, and how they wait for one another.

pub(crate) mod barrier;
pub(crate) mod readers;
pub(crate) mod shared_lock;
pub(crate) mod shim;
