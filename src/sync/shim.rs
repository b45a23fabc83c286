//! What threads share: std's, or loom's in its models. The only file that names loom.

use std::sync::{PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

#[cfg(punctual_loom)]
use loom::sync as base;
#[cfg(not(punctual_loom))]
use std::sync as base;

pub(crate) use base::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use base::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

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
        unless_locked(self.0.try_lock())
    }
}

fn unless_locked<G>(locked: TryLockResult<G>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A read-write lock without poisoning, as the mutex.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(base::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(base::RwLock::new(value))
    }

    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline(always)]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for a writer unless it is locked.
    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        unless_locked(self.0.try_write())
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
    use std::thread::{sleep, yield_now};
    pub(crate) use std::thread_local;
    use std::time::Duration;

    use crossbeam_utils::Backoff;

    /// Defines a static of the process.
    macro_rules! process_statics {
        (static $name:ident: $type:ty = $initial:expr;) => {
            static $name: $type = $initial;
        };
    }
    pub(crate) use process_statics as process_static;

    /// An array whose elements are made alike.
    macro_rules! arrays_of {
        ($element:expr; $len:expr) => {
            [const { $element }; $len]
        };
    }
    pub(crate) use arrays_of as array_of;

    /// How to wait for a thread that will soon be done, if it has a processor.
    #[derive(Debug, Default)]
    pub(crate) struct Patience {
        backoff: Backoff,
        yields: u32,
        sleep: Duration,
    }

    impl Patience {
        /// Where the other thread has lost its processor, it gets one again by one of the first.
        const YIELDS: u32 = 256;
        const SLEEP_MAX: Duration = Duration::from_millis(1);

        /// Waits, each time for longer: at first it spins, then it gives its processor away, and
        /// then it sleeps.
        pub(crate) fn wait(&mut self) {
            if !self.backoff.is_completed() {
                self.backoff.snooze();
            } else if self.yields < Self::YIELDS {
                self.yields += 1;
                yield_now();
            } else {
                self.sleep = (self.sleep * 2).clamp(Duration::from_micros(50), Self::SLEEP_MAX);
                sleep(self.sleep);
            }
        }
    }

    /// What threads must not read and write at the same time. It is no model: nobody watches.
    #[derive(Debug, Default)]
    pub(crate) struct Watched(());
    #[derive(Debug)]
    pub(crate) struct Reading;
    #[derive(Debug)]
    pub(crate) struct Writing;

    impl Watched {
        #[inline]
        pub(crate) fn read(&self) -> Reading {
            Reading
        }

        #[inline]
        pub(crate) fn write(&self) -> Writing {
            Writing
        }
    }

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

    /// loom's atomics are made anew for each execution of a model.
    macro_rules! process_statics {
        (static $name:ident: $type:ty = $initial:expr;) => {
            loom::lazy_static! { static ref $name: $type = $initial; }
        };
    }
    pub(crate) use process_statics as process_static;

    macro_rules! arrays_of {
        ($element:expr; $len:expr) => {
            std::array::from_fn(|_| $element)
        };
    }
    pub(crate) use arrays_of as array_of;

    /// How to wait for a thread: by letting it run.
    #[derive(Debug, Default)]
    pub(crate) struct Patience;

    impl Patience {
        pub(crate) fn wait(&mut self) {
            loom::thread::yield_now();
        }
    }

    /// What threads must not read and write at the same time: loom sees if they do.
    #[derive(Debug, Default)]
    pub(crate) struct Watched(loom::cell::UnsafeCell<()>);
    pub(crate) type Reading = loom::cell::ConstPtr<()>;
    pub(crate) type Writing = loom::cell::MutPtr<()>;

    impl Watched {
        /// Notes that it is read until what is returned is dropped.
        pub(crate) fn read(&self) -> Reading {
            self.0.get()
        }

        /// Notes that it is written until what is returned is dropped.
        pub(crate) fn write(&self) -> Writing {
            self.0.get_mut()
        }
    }

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
        let model = std::sync::Arc::new(model);
        builder.check(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            // Not in loom's main thread, whose statics end before its thread-locals.
            let model = std::sync::Arc::clone(&model);
            spawn(move || model()).join().unwrap();
        });
        println!("{} interleavings in {:.1?}", count.load(Ordering::Relaxed), start.elapsed());
    }
}
