//! What only the inside can show.

mod panics;
mod reaper;
mod threads;
