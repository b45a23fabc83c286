//! Speed: all subjects of a comparison take turns, round by round, so that a noisy machine is
//! noisy for all of them alike.

pub(crate) mod alone;
pub(crate) mod batches;
pub(crate) mod contest;
pub(crate) mod field;
pub(crate) mod keys;
pub(crate) mod matrix;
pub(crate) mod work;
