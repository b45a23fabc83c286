//! What only the inside can show.

mod loads;
mod panics;
mod reaper;
mod threads;
mod visits;
