//! A memory barrier whose whole price is paid by one side (an asymmetric fence).
//!
//! [`light`] costs nothing, and [`heavy`] some microseconds: it has every other thread of the
//! process execute a barrier, by Linux's `membarrier` system call. Together they order what two
//! sequentially consistent fences would: of two threads that each store, pass their barrier and
//! load what the other has stored, one at least sees the other's store.

use crate::sync::shim;

/// Prepares the process for [`heavy`]. May take some milliseconds, the first time.
pub(crate) fn register() {
    system::register();
}

/// Returns whether [`heavy`] can be used.
#[inline]
pub(crate) fn is_available() -> bool {
    cfg!(punctual_loom) || system::is_available()
}

/// The barrier of the side that passes it often. In a model, which has no system calls, it is a
/// fence like the other.
#[inline]
pub(crate) fn light() {
    if cfg!(punctual_loom) {
        shim::fence(shim::Ordering::SeqCst);
    } else {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    }
}

/// The barrier of the side that passes it seldom.
pub(crate) fn heavy() {
    if !cfg!(punctual_loom) {
        system::heavy();
    }
    shim::fence(shim::Ordering::SeqCst);
}

#[cfg(all(target_os = "linux", not(miri), not(punctual_loom)))]
mod system {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread::sleep;
    use std::time::Duration;

    use rustix::thread::{MembarrierCommand, membarrier};

    /// No store waits in a processor for so long: any interrupt has it written.
    const STORES_DRAINED_AFTER: Duration = Duration::from_millis(20);

    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);

    pub(super) fn register() {
        if membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() {
            IS_REGISTERED.store(true, Relaxed);
        }
    }

    #[inline]
    pub(super) fn is_available() -> bool {
        IS_REGISTERED.load(Relaxed)
    }

    pub(super) fn heavy() {
        if membarrier(MembarrierCommand::PrivateExpedited).is_err() {
            heavy_otherwise();
        }
    }

    /// Where the system has no memory for it, or a filter of system calls that came later
    /// forbids it.
    #[cold]
    fn heavy_otherwise() {
        IS_REGISTERED.store(false, Relaxed);
        if membarrier(MembarrierCommand::Global).is_err() {
            sleep(STORES_DRAINED_AFTER);
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri), not(punctual_loom))))]
mod system {
    pub(super) fn register() {}

    pub(super) fn is_available() -> bool {
        false
    }

    pub(super) fn heavy() {
        unreachable!("it is not available");
    }
}
