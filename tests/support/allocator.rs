//! A global allocator that counts, thread by thread, and can run short.
//!
//! Tests run in parallel, each on a thread of its own. The counters are of the
//! thread, so none disturbs another; what a thread frees is counted there, also
//! if another has allocated it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What one thread has asked of the allocator, and when it is refused.
struct Counters {
    allocations: Cell<usize>,
    deallocations: Cell<usize>,
    /// Below zero where this thread has freed what another allocated.
    bytes_held: Cell<isize>,
    /// The bytes held beyond which a request is refused.
    bytes_held_max: Cell<isize>,
    /// A single request above this many bytes is refused.
    request_bytes_max: Cell<usize>,
    /// The last request that was refused.
    refused_bytes: Cell<usize>,
    /// Requests of this thread since a limit was set.
    request_count: Cell<usize>,
    /// The number of the one request that is refused, counted from zero.
    request_refused: Cell<usize>,
    /// The bytes of the first of those requests.
    requested_bytes: [Cell<usize>; REQUESTS_KEPT],
}

/// Of so many requests the sizes are kept.
pub(crate) const REQUESTS_KEPT: usize = 256;

thread_local! {
    // Made at compile time and nothing to drop: no access to it allocates, and it
    // is there until the thread's very end.
    static COUNTERS: Counters = const {
        Counters {
            allocations: Cell::new(0),
            deallocations: Cell::new(0),
            bytes_held: Cell::new(0),
            bytes_held_max: Cell::new(isize::MAX),
            request_bytes_max: Cell::new(usize::MAX),
            refused_bytes: Cell::new(0),
            request_count: Cell::new(0),
            request_refused: Cell::new(usize::MAX),
            requested_bytes: [const { Cell::new(0) }; REQUESTS_KEPT],
        }
    };
}

/// The system's allocator behind the counters.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

impl Counters {
    /// The bytes held once `bytes_new` have come in place of `bytes_old`.
    fn held_with(&self, bytes_new: usize, bytes_old: usize) -> isize {
        self.bytes_held.get().wrapping_add_unsigned(bytes_new).wrapping_sub_unsigned(bytes_old)
    }

    /// Whether this thread may have `bytes_new` in place of `bytes_old`.
    fn admits(&self, bytes_new: usize, bytes_old: usize) -> bool {
        let number = self.request_count.replace(self.request_count.get() + 1);
        if let Some(requested_bytes) = self.requested_bytes.get(number) {
            requested_bytes.set(bytes_new);
        }
        let admits = self.held_with(bytes_new, bytes_old) <= self.bytes_held_max.get()
            && bytes_new <= self.request_bytes_max.get()
            && number != self.request_refused.get();
        if !admits {
            self.refused_bytes.set(bytes_new);
        }
        admits
    }

    fn count_allocation(&self, bytes_new: usize, bytes_old: usize) {
        self.allocations.set(self.allocations.get() + 1);
        self.bytes_held.set(self.held_with(bytes_new, bytes_old));
    }

    fn count_deallocation(&self, bytes: usize) {
        self.deallocations.set(self.deallocations.get() + 1);
        self.bytes_held.set(self.held_with(0, bytes));
    }
}

/// Lets `request` ask the system for `bytes_new` in place of `bytes_old`, if this
/// thread may have them, and counts them if there is a block.
fn counted(bytes_new: usize, bytes_old: usize, request: impl FnOnce() -> *mut u8) -> *mut u8 {
    COUNTERS.with(|counters| {
        if !counters.admits(bytes_new, bytes_old) {
            return std::ptr::null_mut();
        }
        let block = request();
        if !block.is_null() {
            counters.count_allocation(bytes_new, bytes_old);
        }
        block
    })
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what
// that returns, or null, which stands for "no memory"; so the contract that
// callers keep towards this allocator is the one that `System` asks for. Counting
// touches cells of the thread: it neither allocates nor panics nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        counted(layout.size(), 0, || unsafe { System.alloc(layout) })
    }

    // Forwarded, and not left to the default, which writes zeros over fresh pages.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        counted(layout.size(), 0, || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout, as every block does.
        unsafe { System.dealloc(block, layout) };
        COUNTERS.with(|counters| counters.count_deallocation(layout.size()));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the promise about `new_size` is passed on.
        let moved =
            counted(new_size, layout.size(), || unsafe { System.realloc(block, layout, new_size) });
        if !moved.is_null() {
            COUNTERS.with(|counters| counters.count_deallocation(0));
        }
        moved
    }
}

/// What this thread asked of the allocator during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Blocks requested; a block that is resized counts here and below.
    pub(crate) allocations: usize,
    /// Blocks given back.
    pub(crate) deallocations: usize,
    /// Bytes requested and not given back; below zero: more was given back.
    pub(crate) bytes_kept: isize,
}

impl Traffic {
    /// Nothing was asked of the allocator.
    pub(crate) const NONE: Self = Self { allocations: 0, deallocations: 0, bytes_kept: 0 };
}

/// Runs `call` and counts what it asks of the allocator on this thread.
pub(crate) fn measure<R>(call: impl FnOnce() -> R) -> (Traffic, R) {
    let counts = || {
        COUNTERS.with(|counters| {
            (counters.allocations.get(), counters.deallocations.get(), counters.bytes_held.get())
        })
    };
    let before = counts();
    let result = call();
    let after = counts();
    let traffic = Traffic {
        allocations: after.0 - before.0,
        deallocations: after.1 - before.1,
        bytes_kept: after.2 - before.2,
    };
    (traffic, result)
}

/// How little memory there is during a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scarcity {
    /// The thread may hold so many bytes more than it does.
    Total(usize),
    /// Each single request may be of so many bytes: as with an operating system
    /// that grants more than it has, as long as no request is absurd by itself.
    Request(usize),
    /// The one request of that number is refused, counted from zero.
    Number(usize),
}

/// The bytes of each request that was made under the last limit, as far as they
/// are kept; read at once, before this thread asks for more.
pub(crate) fn requested_bytes() -> Vec<usize> {
    COUNTERS.with(|counters| {
        let count = counters.request_count.get().min(REQUESTS_KEPT);
        counters.requested_bytes[..count].iter().map(Cell::get).collect()
    })
}

/// Runs `call` with little memory, and tells the last request that was refused.
///
/// A panic in `call` aborts the process where there is no memory to report it.
pub(crate) fn with_little_memory<R>(
    scarcity: Scarcity,
    call: impl FnOnce() -> R,
) -> (R, Option<usize>) {
    /// Lifts the limits, also if `call` panics.
    struct Limits;
    impl Drop for Limits {
        fn drop(&mut self) {
            COUNTERS.with(|counters| {
                counters.bytes_held_max.set(isize::MAX);
                counters.request_bytes_max.set(usize::MAX);
                counters.request_refused.set(usize::MAX);
            });
        }
    }

    COUNTERS.with(|counters| {
        counters.refused_bytes.set(0);
        counters.request_count.set(0);
        match scarcity {
            Scarcity::Total(bytes) => {
                counters.bytes_held_max.set(counters.held_with(bytes, 0));
            }
            Scarcity::Request(bytes) => counters.request_bytes_max.set(bytes),
            Scarcity::Number(number) => counters.request_refused.set(number),
        }
    });
    let limits = Limits;
    let result = call();
    drop(limits);
    let refused_bytes = COUNTERS.with(|counters| counters.refused_bytes.get());
    (result, (refused_bytes > 0).then_some(refused_bytes))
}
