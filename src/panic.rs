//! Panics in callers' code: each is caught where it happens, the first is resumed when the
//! cache is consistent again.

use std::any::Any;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A key or value on its way in. Should a panic in callers' code (`Hash`, `Eq`, a clock)
/// unwind before it is there, a second one in its `Drop` does not end the process.
pub(crate) struct Given<T>(Option<T>);

impl<T> Given<T> {
    #[inline]
    pub(crate) fn new(given: T) -> Self {
        Self(Some(given))
    }

    #[inline]
    pub(crate) fn get(&self) -> &T {
        self.0.as_ref().expect("it is taken at the end")
    }

    #[inline]
    pub(crate) fn take(mut self) -> T {
        self.move_out()
    }

    /// [`take`](Self::take) that leaves room to [put back](Self::put_back) another one.
    #[inline]
    pub(crate) fn move_out(&mut self) -> T {
        self.0.take().expect("it is taken once")
    }

    #[inline]
    pub(crate) fn put_back(&mut self, other: T) {
        let none = self.0.replace(other);
        debug_assert!(none.is_none(), "it has not been moved out");
    }
}

impl<T> Drop for Given<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(given) = self.0.take() else { return };
        let mut panics = FirstPanic::default();
        panics.drop(given);
        if std::thread::panicking() {
            panics.forget();
        } else {
            panics.finish(());
        }
    }
}

/// Runs callers' code that may panic, and keeps the first panic for the end, so
/// that one panic loses nothing of what is still to be handed out.
#[derive(Default)]
pub(crate) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    pub(crate) fn catch<R>(&mut self, code: impl FnOnce() -> R) -> Option<R> {
        // The caller's state is the caller's business; the cache's own is whole
        // whenever this is called.
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.keep(panic);
                None
            }
        }
    }

    fn keep(&mut self, panic: Box<dyn Any + Send>) {
        if self.0.is_none() {
            self.0 = Some(panic);
        } else {
            forget(panic);
        }
    }

    /// Drops what a caller gave or would have got.
    pub(crate) fn drop<T>(&mut self, dropped: T) {
        if needs_drop::<T>() {
            self.catch(|| drop(dropped));
        }
    }

    /// Forgets the panics: the hook has reported them, and nobody is to be told.
    pub(crate) fn forget(mut self) {
        if let Some(panic) = self.0.take() {
            forget(panic);
        }
    }

    /// Goes on with the first panic, if there was any; else gives `result` back.
    #[inline]
    pub(crate) fn finish<R>(mut self, result: R) -> R {
        match self.0.take() {
            None => result,
            Some(panic) => {
                // A second panic while unwinding would abort the process.
                self.drop(result);
                resume_unwind(panic)
            }
        }
    }
}

/// Drops what a panic carried. That may panic in turn, and carry the like: there
/// it ends, with a leak.
pub(crate) fn forget(panic: Box<dyn Any + Send>) {
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
            panic!("as it is dropped");
        }
    }

    #[test]
    fn what_panics_carry_goes_without_another_panic() {
        let mut panics = FirstPanic::default();
        panics.catch(|| panic_any(Bomb));
        panics.catch(|| panic_any(Bomb));
        panics.forget();
    }

    #[test]
    #[should_panic(expected = "the first")]
    fn the_first_panic_goes_on() {
        let mut panics = FirstPanic::default();
        panics.catch(|| panic!("the first"));
        panics.catch(|| panic_any(Bomb));
        panics.finish(());
    }
}
