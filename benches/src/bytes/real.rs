//! What the allocator really takes for a cache: glibc's blocks, not the bytes asked for.
//!
//! Counted thread by thread, so that replays can run beside each other.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use punctual_testing::alloc::{Counter, Traffic};

/// Counts what another counter counts, and by the size of blocks.
#[derive(Debug)]
pub(crate) struct Blocks<C>(pub(crate) C);

static IS_COUNTING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static KEPT: Cell<isize> = const { Cell::new(0) };
}

/// What glibc takes for a request: eight bytes more, in sixteens, at least 32.
fn block_bytes(requested: isize) -> isize {
    ((requested + 8 + 15) & !15).max(32)
}

impl<C: Counter> Counter for Blocks<C> {
    fn admits(&self, bytes_new: usize, bytes_old: usize) -> bool {
        self.0.admits(bytes_new, bytes_old)
    }

    fn add(&self, traffic: Traffic) {
        self.0.add(traffic);
        if IS_COUNTING.load(Relaxed) {
            // One block at a time is told.
            let sign = if traffic.allocations > 0 { 1 } else { -1 };
            let bytes = sign * block_bytes(traffic.bytes_kept.abs());
            KEPT.with(|kept| kept.set(kept.get() + bytes));
        }
    }
}

/// Has blocks counted from now on.
pub(crate) fn start() {
    IS_COUNTING.store(true, Relaxed);
}

pub(crate) fn stop() {
    IS_COUNTING.store(false, Relaxed);
}

/// Returns the bytes of the blocks that this thread has requested and not given back, while they were
/// counted.
pub(crate) fn kept() -> isize {
    KEPT.with(Cell::get)
}
