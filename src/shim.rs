//! What threads share: std's, or loom's in its models. The only file that names loom.

use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

#[cfg(punctual_loom)]
use loom::sync as base;
#[cfg(not(punctual_loom))]
use std::sync as base;

pub(crate) use base::MutexGuard;
pub(crate) use base::atomic::{AtomicBool, AtomicU64, Ordering, fence};

#[cfg(punctual_loom)]
pub(crate) use self::modelled::*;
#[cfg(not(punctual_loom))]
pub(crate) use self::plain::*;

/// A mutex without poisoning: what it protects is consistent even after a panic, since
/// callers' code that runs under it changes nothing of ours.
///
/// std's is a futex on Linux: it allocates nothing, contended or not. loom's inner one does
/// poison: in a model a thread must not panic while another one holds the lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(base::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(base::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks unless it is locked.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(base::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is notified or the time is up, or spuriously.
    ///
    /// In a model no time passes: a wait ends by a notification, unless its time is up from
    /// the start. So a lost one shows as a deadlock.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        if cfg!(not(punctual_loom)) {
            self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
        } else if timeout.is_zero() {
            guard
        } else {
            self.wait(guard)
        }
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(not(punctual_loom))]
mod plain {
    #[cfg(test)]
    pub(crate) use std::thread::spawn;
    pub(crate) use std::thread_local;

    /// Runs a model as it comes, many times.
    #[cfg(test)]
    pub(crate) fn explore(_: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
        (0..200).for_each(|_| model());
    }

    #[cfg(test)]
    pub(crate) fn stop_exploring() {}

    #[cfg(test)]
    pub(crate) fn go_on_exploring() {}
}

#[cfg(punctual_loom)]
mod modelled {
    #[cfg(test)]
    pub(crate) use loom::{explore as go_on_exploring, stop_exploring, thread::spawn};

    /// loom runs a model's threads on one thread of the system, so thread-locals must be
    /// loom's.
    macro_rules! thread_locals {
        ($($(#[$attribute:meta])* static $name:ident: $type:ty = const $initial:block;)+) => {
            loom::thread_local! { $($(#[$attribute])* static $name: $type = $initial;)+ }
        };
    }
    pub(crate) use thread_locals as thread_local;

    /// Runs a model in all interleavings of its threads, or in those where they
    /// interrupt one another at most so many times.
    #[cfg(test)]
    pub(crate) fn explore(
        preemptions_max: Option<usize>,
        model: impl Fn() + Send + Sync + 'static,
    ) {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let start = std::time::Instant::now();
        let count = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&count);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(preemptions_max);
        builder.check(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            model();
        });
        println!("{} interleavings in {:.1?}", count.load(Ordering::Relaxed), start.elapsed());
    }
}
