//! A global allocator that can count: bytes asked of it and not given back, and calls.
//!
//! It counts only while asked to, so that timings pay no more than a test of a flag that never
//! changes while they run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES_HELD: AtomicIsize = AtomicIsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Counts from here on, until dropped.
pub(crate) struct Counting(());

impl Counting {
    pub(crate) fn start() -> Self {
        let was_counting = COUNTING.swap(true, Ordering::SeqCst);
        assert!(!was_counting, "one count at a time: the allocator is the whole process's");
        Self(())
    }

    /// Bytes that the process holds more than at some moment before: only differences mean
    /// anything.
    pub(crate) fn bytes_held(&self) -> isize {
        BYTES_HELD.load(Ordering::SeqCst)
    }

    /// Calls that asked for memory, so far.
    pub(crate) fn allocations(&self) -> usize {
        ALLOCATIONS.load(Ordering::SeqCst)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::SeqCst);
    }
}

#[inline]
fn count(bytes_more: isize, allocations: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        BYTES_HELD.fetch_add(bytes_more, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    }
}

/// The system's allocator, with the counters.
pub(crate) struct CountingAllocator;

// SAFETY: every method hands its arguments to `System` unchanged and returns what that returns, so
// the contract that callers keep towards this allocator is the one `System` asks for. Counting
// touches atomics only: it neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        unsafe { System.alloc(layout) }
    }

    // Forwarded rather than left to the default, which would write zeros over fresh pages and so
    // make memory resident that the program never touches.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), 0);
        // SAFETY: `block` came from `System` with this layout, since every allocation above did.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize, 1);
        // SAFETY: as for `dealloc`; the caller's promise about `new_size` is passed on as it is.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
