//! Panics in callers' code: each is caught where it happens, the first is resumed when the
//! cache is consistent again.

#[cfg(test)]
mod cache_tests;

use std::any::Any;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Owns a key or value on its way into the cache. Should a panic in callers' code (`Hash`,
/// `Eq`, a clock) unwind before it is there, a second panic in its `Drop` does not abort the
/// process.
pub(crate) struct DropGuard<T>(Option<T>);

impl<T> DropGuard<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> &T {
        self.0.as_ref().expect("it is taken at the end")
    }

    #[inline]
    pub(crate) fn take(&mut self) -> T {
        self.0.take().expect("it is taken once")
    }

    #[inline]
    pub(crate) fn into_inner(mut self) -> T {
        self.take()
    }

    /// Guards another value once the first has been taken.
    #[inline]
    pub(crate) fn refill(&mut self, other: T) {
        let none = self.0.replace(other);
        debug_assert!(none.is_none(), "it has not been taken");
    }
}

impl<T> Drop for DropGuard<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        let mut panics = FirstPanic::default();
        panics.drop(value);
        panics.resume_unless_unwinding();
    }
}

/// Runs callers' code that may panic, and keeps the first panic for the end, so that
/// every listener and `Drop` that is still to run does run.
#[derive(Default)]
pub(crate) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    pub(crate) fn catch<R>(&mut self, code: impl FnOnce() -> R) -> Option<R> {
        // Unwind safety: callers' code runs only while the cache is consistent and changes
        // nothing of it. What it leaves half done is its own.
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(result) => Some(result),
            Err(panic) => {
                if self.0.is_none() {
                    self.0 = Some(panic);
                } else {
                    drop_payload(panic);
                }
                None
            }
        }
    }

    /// Runs callers' code that the call cannot go on without: if it panics, the first panic is
    /// resumed at once.
    pub(crate) fn require<R>(&mut self, code: impl FnOnce() -> R) -> R {
        match self.catch(code) {
            Some(result) => result,
            None => resume_unwind(self.0.take().expect("it has been caught")),
        }
    }

    /// Drops what a caller gave or would have got.
    pub(crate) fn drop<T>(&mut self, dropped: T) {
        if needs_drop::<T>() {
            self.catch(|| drop(dropped));
        }
    }

    /// Drops the panic: the hook has reported it, and there is no caller to tell.
    pub(crate) fn discard(mut self) {
        if let Some(panic) = self.0.take() {
            drop_payload(panic);
        }
    }

    /// Returns `result`, or resumes the first panic if there was any.
    #[inline]
    pub(crate) fn resume_or<R>(mut self, result: R) -> R {
        match self.0.take() {
            None => result,
            Some(panic) => {
                // A second panic while unwinding would abort the process.
                self.drop(result);
                resume_unwind(panic)
            }
        }
    }

    /// Resumes the first panic, for a `Drop`: not where the thread is unwinding already.
    pub(crate) fn resume_unless_unwinding(self) {
        if std::thread::panicking() {
            self.discard();
        } else {
            self.resume_or(());
        }
    }
}

/// Drops what a panic carried. That may panic in turn, and carry the like: such a payload
/// is leaked.
pub(crate) fn drop_payload(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// What a panic carries, and panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it is dropped");
        }
    }

    #[test]
    fn what_panics_carry_goes_without_another_panic() {
        let mut panics = FirstPanic::default();
        panics.catch(|| panic_any(Bomb));
        panics.catch(|| panic_any(Bomb));
        panics.discard();
    }

    #[test]
    #[should_panic(expected = "the first")]
    fn the_first_panic_goes_on() {
        let mut panics = FirstPanic::default();
        panics.catch(|| panic!("the first"));
        panics.catch(|| panic_any(Bomb));
        panics.resume_or(());
    }
}
