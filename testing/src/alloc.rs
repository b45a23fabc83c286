//! Global allocators that count what is asked of them: thread by thread, where they
//! can also run short, or for the whole process.

#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// The system's allocator, with every request shown to a counter.
#[derive(Debug)]
pub struct Counting<C>(pub C);

/// Sees the requests to a [`Counting`] allocator. It must not allocate, nor panic.
pub trait Counter {
    /// Returns whether `bytes_new` are granted in place of `bytes_old`.
    fn admits(&self, bytes_new: usize, bytes_old: usize) -> bool;

    /// Adds what was granted, or given back, to the counts.
    fn add(&self, traffic: Traffic);
}

/// What was asked of an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Blocks requested; a block that is resized counts here and below.
    pub allocations: usize,
    /// Blocks given back.
    pub deallocations: usize,
    /// Bytes requested and not given back; below zero: more was given back.
    pub bytes_kept: isize,
}

impl Traffic {
    /// Nothing was asked of the allocator.
    pub const NONE: Self = Self { allocations: 0, deallocations: 0, bytes_kept: 0 };

    /// Blocks of so many bytes requested and given back, none standing for no block.
    fn of(requested: Option<usize>, given_back: Option<usize>) -> Self {
        Self {
            allocations: requested.is_some().into(),
            deallocations: given_back.is_some().into(),
            bytes_kept: 0isize
                .wrapping_add_unsigned(requested.unwrap_or(0))
                .wrapping_sub_unsigned(given_back.unwrap_or(0)),
        }
    }
}

impl<C: Counter> Counting<C> {
    fn request(&self, new: usize, old: Option<usize>, ask: impl FnOnce() -> *mut u8) -> *mut u8 {
        if !self.0.admits(new, old.unwrap_or(0)) {
            return std::ptr::null_mut();
        }
        let block = ask();
        if !block.is_null() {
            // A block that is resized may have to move: then there are both for a while.
            self.0.add(Traffic::of(Some(new), None));
            if old.is_some() {
                self.0.add(Traffic::of(None, old));
            }
        }
        block
    }
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what that
// returns, or null, which stands for "no memory"; so the contract that callers keep
// towards this allocator is the one that `System` asks for. Counters neither allocate
// nor panic.
unsafe impl<C: Counter> GlobalAlloc for Counting<C> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        self.request(layout.size(), None, || unsafe { System.alloc(layout) })
    }

    // Forwarded, and not left to the default, which writes zeros over fresh pages and so
    // makes memory resident that the program never touches.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on as it is.
        self.request(layout.size(), None, || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout, as every block does.
        unsafe { System.dealloc(block, layout) };
        self.0.add(Traffic::of(None, Some(layout.size())));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let old_size = Some(layout.size());
        // SAFETY: as for `dealloc`; the promise about `new_size` is passed on.
        self.request(new_size, old_size, || unsafe { System.realloc(block, layout, new_size) })
    }
}

// ---- The whole process ----

/// Counts for the whole process, while `S` says so.
#[derive(Debug)]
pub struct Process<S>(pub S);

/// Which requests a [`Process`] counts.
pub trait Scope {
    /// Returns whether a request that is made now, by this thread, is counted.
    fn is_counted(&self) -> bool;
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static DEALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES_KEPT: AtomicIsize = AtomicIsize::new(0);
static BYTES_KEPT_MAX: AtomicIsize = AtomicIsize::new(0);

impl<S: Scope> Counter for Process<S> {
    fn admits(&self, _: usize, _: usize) -> bool {
        true
    }

    fn add(&self, traffic: Traffic) {
        if self.0.is_counted() {
            ALLOCATIONS.fetch_add(traffic.allocations, Relaxed);
            DEALLOCATIONS.fetch_add(traffic.deallocations, Relaxed);
            let before = BYTES_KEPT.fetch_add(traffic.bytes_kept, Relaxed);
            BYTES_KEPT_MAX.fetch_max(before.wrapping_add(traffic.bytes_kept), Relaxed);
        }
    }
}

/// Returns what a [`Process`] has counted so far. Elsewhere, that is nothing.
pub fn process_traffic() -> Traffic {
    Traffic {
        allocations: ALLOCATIONS.load(Relaxed),
        deallocations: DEALLOCATIONS.load(Relaxed),
        bytes_kept: BYTES_KEPT.load(Relaxed),
    }
}

/// Every request of the process.
#[derive(Debug)]
pub struct Always;

impl Scope for Always {
    fn is_counted(&self) -> bool {
        true
    }
}

/// Requests during a [`Count`]. At other times they pay for no more than a look at a
/// flag that never changes.
#[derive(Debug)]
pub struct OnDemand;

static COUNTING: AtomicBool = AtomicBool::new(false);

impl Scope for OnDemand {
    #[inline]
    fn is_counted(&self) -> bool {
        COUNTING.load(Relaxed)
    }
}

/// Has [`OnDemand`] count until it is dropped.
#[derive(Debug)]
pub struct Count(());

impl Count {
    /// Starts to count.
    ///
    /// # Panics
    ///
    /// If a count is under way: the counters are the whole process's.
    pub fn start() -> Self {
        assert!(!COUNTING.swap(true, Relaxed), "one count at a time");
        BYTES_KEPT_MAX.store(BYTES_KEPT.load(Relaxed), Relaxed);
        Self(())
    }

    /// Returns what was counted, by this count and those before it.
    pub fn traffic(&self) -> Traffic {
        process_traffic()
    }

    /// Returns the most that [`Traffic::bytes_kept`] has been during this count.
    pub fn bytes_kept_max(&self) -> isize {
        BYTES_KEPT_MAX.load(Relaxed)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        COUNTING.store(false, Relaxed);
    }
}

// ---- Thread by thread ----

/// Counts for each thread by itself: tests run in parallel, each on a thread of its own.
/// What a thread frees is counted there, also if another has allocated it.
#[derive(Debug)]
pub struct PerThread;

/// So many of the requests under a limit are kept for [`requested_bytes`].
pub const REQUESTS_KEPT: usize = 256;

/// The least that is refused: in all, in one request, and by number.
#[derive(Clone, Copy)]
struct Limits {
    bytes_kept_max: isize,
    request_bytes_max: usize,
    number_refused: usize,
}

impl Limits {
    const NONE: Self = Self {
        bytes_kept_max: isize::MAX,
        request_bytes_max: usize::MAX,
        number_refused: usize::MAX,
    };
}

struct ThreadCounters {
    traffic: Cell<Traffic>,
    limits: Cell<Limits>,
    /// The bytes of the last request that was refused.
    refused_bytes: Cell<usize>,
    /// Requests since a limit was set, and the bytes of the first of them.
    request_count: Cell<usize>,
    requested_bytes: [Cell<usize>; REQUESTS_KEPT],
}

thread_local! {
    // Made at compile time and nothing to drop: no access to it allocates, and it
    // is there until the thread's very end.
    static THREAD: ThreadCounters = const {
        ThreadCounters {
            traffic: Cell::new(Traffic::NONE),
            limits: Cell::new(Limits::NONE),
            refused_bytes: Cell::new(0),
            request_count: Cell::new(0),
            requested_bytes: [const { Cell::new(0) }; REQUESTS_KEPT],
        }
    };
}

impl Counter for PerThread {
    fn admits(&self, bytes_new: usize, bytes_old: usize) -> bool {
        THREAD.with(|thread| {
            let number = thread.request_count.replace(thread.request_count.get() + 1);
            if let Some(requested_bytes) = thread.requested_bytes.get(number) {
                requested_bytes.set(bytes_new);
            }
            let more = Traffic::of(Some(bytes_new), Some(bytes_old)).bytes_kept;
            let limits = thread.limits.get();
            let admits = thread.traffic.get().bytes_kept.wrapping_add(more)
                <= limits.bytes_kept_max
                && bytes_new <= limits.request_bytes_max
                && number != limits.number_refused;
            if !admits {
                thread.refused_bytes.set(bytes_new);
            }
            admits
        })
    }

    fn add(&self, traffic: Traffic) {
        THREAD.with(|thread| {
            let before = thread.traffic.get();
            thread.traffic.set(Traffic {
                allocations: before.allocations + traffic.allocations,
                deallocations: before.deallocations + traffic.deallocations,
                bytes_kept: before.bytes_kept + traffic.bytes_kept,
            });
        });
    }
}

/// Runs `call` and counts what it asks of the allocator on this thread.
pub fn measure<R>(call: impl FnOnce() -> R) -> (Traffic, R) {
    let counts = || THREAD.with(|thread| thread.traffic.get());
    let before = counts();
    let result = call();
    let after = counts();
    let traffic = Traffic {
        allocations: after.allocations - before.allocations,
        deallocations: after.deallocations - before.deallocations,
        bytes_kept: after.bytes_kept - before.bytes_kept,
    };
    (traffic, result)
}

/// How little memory there is during a call.
#[derive(Clone, Copy, Debug)]
pub enum Scarcity {
    /// The thread may hold so many bytes more than it does.
    Total(usize),
    /// Each single request may be of so many bytes: as with an operating system
    /// that grants more than it has, as long as no request is absurd by itself.
    Request(usize),
    /// The one request of that number is refused, counted from zero.
    Number(usize),
}

/// Returns the bytes of each request made under the last limit, as far as they are
/// kept. To be read at once, before this thread asks for more.
pub fn requested_bytes() -> Vec<usize> {
    THREAD.with(|thread| {
        let count = thread.request_count.get().min(REQUESTS_KEPT);
        thread.requested_bytes[..count].iter().map(Cell::get).collect()
    })
}

/// Runs `call` with little memory. Returns its result and the bytes of the last request
/// that was refused.
///
/// A panic in `call` aborts the process where there is no memory to report it.
pub fn with_little_memory<R>(scarcity: Scarcity, call: impl FnOnce() -> R) -> (R, Option<usize>) {
    /// Lifts the limits, also if `call` panics.
    struct Lift;
    impl Drop for Lift {
        fn drop(&mut self) {
            THREAD.with(|thread| thread.limits.set(Limits::NONE));
        }
    }

    THREAD.with(|thread| {
        thread.refused_bytes.set(0);
        thread.request_count.set(0);
        let kept = thread.traffic.get().bytes_kept;
        thread.limits.set(match scarcity {
            Scarcity::Total(bytes) => {
                Limits { bytes_kept_max: kept.wrapping_add_unsigned(bytes), ..Limits::NONE }
            }
            Scarcity::Request(bytes) => Limits { request_bytes_max: bytes, ..Limits::NONE },
            Scarcity::Number(number) => Limits { number_refused: number, ..Limits::NONE },
        });
    });
    let lift = Lift;
    let result = call();
    drop(lift);
    let refused_bytes = THREAD.with(|thread| thread.refused_bytes.get());
    (result, (refused_bytes > 0).then_some(refused_bytes))
}
