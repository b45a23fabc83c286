//! Speed: all subjects of a comparison take turns, round by round, so that a noisy machine is
//! noisy for all of them alike.

pub(crate) mod contest;
pub(crate) mod entrants;
pub(crate) mod keys;
pub(crate) mod matrix;
pub(crate) mod profile;
pub(crate) mod work;
