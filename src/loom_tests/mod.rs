//! loom models of everything that threads do concurrently: the lock that readers share, the
//! reaper's queue and sleep, the TSC clock, single flight, insertions in several holds of a lock, and
//! the end of a cache.
//!
//! Under `--cfg punctual_loom` each model runs in every interleaving of its threads and with
//! every value that the memory model lets a load return; where those are too many, in all
//! with a bounded number of preemptions, which the model states. Without that flag it runs a
//! few hundred times as the system schedules it.
//!
//! # Ground rules
//!
//! - A lost wake-up is a deadlock, which loom reports. So most models only have to wait for
//!   what must happen.
//! - The atomics and locks of a protocol are the shim's. Those that a model itself records
//!   with are std's, so that loom does not interleave them.
//! - loom remembers only the last access to each atomic. A thread that reads an atomic
//!   before it writes it hides an earlier read by another thread, and interleavings are left
//!   out. So the writer of the TSC clock does not read what it publishes.
//! - Each model has a reaper of its own, whose rounds run in a thread of the model. It is
//!   leaked, since caches hold a `&'static` reference to it.
//! - By the caches' clock, which stands at zero, no entry is ever due. By the reaper's,
//!   [`SOON`] has passed and [`LATE`] never comes.

mod bytes;
mod clocks;
mod closing;
mod loading;
#[cfg(feature = "async")]
mod loading_async;
mod reaping;
mod sharing;
mod tickets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Note;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::reaper::{NEVER, Reapable, ReaperThread, Visit};
use crate::sync::shim::{
    AtomicBool, AtomicU64, Ordering, explore, go_on_exploring, spawn, stop_exploring,
};
use crate::{Builder, Cache, LoadError, ManualClock, RemovalCause};

const SOON: Duration = Duration::from_millis(1);
/// In nanoseconds.
const AFTER_SOON: u64 = 1_000_000_000;
const LATE: Duration = Duration::from_secs(1_000_000_000);

fn new_reaper() -> &'static ReaperThread {
    Box::leak(Box::new(ReaperThread::new()))
}

/// Runs rounds of the reaper at one time until `is_done`. What is due then it does not sleep for;
/// and no time passes, so that for what comes later it sleeps until it is woken.
fn serve(reaper: &ReaperThread, now_nanos: u64, is_done: impl Fn() -> bool) {
    serve_as(0, reaper, now_nanos, is_done);
}

/// The same by the thread of this number, until another takes its place.
fn serve_as(thread: u64, reaper: &ReaperThread, now_nanos: u64, is_done: impl Fn() -> bool) {
    loop {
        while reaper.visit_next(thread, |_| now_nanos) {}
        if is_done() || !reaper.sleep(thread, |_| now_nanos) {
            return;
        }
    }
}

fn builder<V>(capacity: usize) -> Builder<u64, V, FixedState> {
    Cache::builder()
        .capacity(capacity)
        .shards(1)
        .clock(ManualClock::new())
        .hasher(FixedState::with_seed(1))
}

/// Counts how often it is dropped.
struct Counted(Arc<Note>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
