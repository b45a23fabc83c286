//! A global allocator that counts: the bytes asked of it and not yet given back.
//!
//! It forwards every call to the system's allocator. Counted is what callers asked for; what the
//! system's allocator adds for itself (headers, rounding, free lists) is not seen from here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static BYTES_HELD: AtomicUsize = AtomicUsize::new(0);

/// The bytes that the whole process holds at this moment.
pub(crate) fn bytes_held() -> usize {
    BYTES_HELD.load(Ordering::Relaxed)
}

/// The system's allocator with a counter. Takes effect in the program that installs it as
/// `#[global_allocator]`; elsewhere [`bytes_held`] stays at 0.
pub(crate) struct CountingAllocator;

// SAFETY: every method hands its arguments to `System` unchanged and returns what that returns, so
// the contract that callers keep towards this allocator is the one `System` asks for. Counting
// touches one atomic: it neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            BYTES_HELD.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    // Forwarded rather than left to the default, which would write zeros over fresh pages and so
    // make memory resident that the program never touches.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            BYTES_HELD.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout, since every allocation above did.
        unsafe { System.dealloc(block, layout) };
        BYTES_HELD.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the caller's promise about `new_size` is passed on as it is.
        let moved = unsafe { System.realloc(block, layout, new_size) };
        if !moved.is_null() {
            BYTES_HELD.fetch_add(new_size, Ordering::Relaxed);
            BYTES_HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        moved
    }
}
