//! A lock that readers share without writing to the same memory.
//!
//! Beneath is the standard library's `RwLock`, and a *mode*. While readers prevail, the lock is
//! biased towards them: a reader notes in its own thread's [record](readers::Record) that it is
//! there, and touches nothing that others write. A writer withdraws that first.
//!
//! ```text
//!                     12 reads, no write between          nothing written for 16 periods
//!           ┌───────┐ ────────────────────────▷ ┌────────┐ ──────────────────────▷ ┌────────────┐
//!           │ PLAIN │                           │ FENCED │                         │ ASYMMETRIC │
//!           └───────┘ ◁──────────────────────── └────────┘ ◁────────────────────── └────────────┘
//!                       writes have cost too much                  a write
//!
//!  a reader  base.read()     record = lock; full fence            record = lock
//!                            mode still biased? else PLAIN        mode still ASYMMETRIC? else PLAIN
//!                            …                                    …
//!                            record = none                        record = none
//!
//!  a writer  base.write()    base.write(); mode = PLAIN           base.write(); mode = PLAIN
//!                            full fence                           full fence in every thread
//!                            wait for each record = lock          wait for each record = lock
//!                            …                                    …
//!                            mode = FENCED, or PLAIN              mode = FENCED
//! ```
//!
//! After BRAVO (Dice and Kogan, USENIX ATC 2019), with three differences: each thread has a record
//! of its own; a writer gives the bias back when it is done, until writes have cost too much, instead
//! of going by the time; and the third mode, whose reads need no fence.
//!
//! # Ground rules
//!
//! - A reader's note, then its second look at the mode; a writer's change of the mode, then its
//!   look at the notes. Fences make each an order that the other side sees: either the reader sees
//!   that the bias is withdrawn, or the writer sees the note.
//! - The mode leaves [`PLAIN`] with a shared hold of `base`, so no writer is there. It becomes
//!   [`ASYMMETRIC`] from [`FENCED`] by a compare-exchange, which fails where a writer was faster.
//! - A writer that waits does not spin on a reader which has lost its processor: it sleeps after
//!   some hundred rounds.
//! - A thread that reads under one lock already, or has no record, reads under another one's
//!   `base`: it shares that, too.

#![allow(unsafe_code, reason = "the value is not in a lock of std's: readers go past that")]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU8 as Hint;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};

use crate::sync::barrier;
use crate::sync::readers::{self, Record};
use crate::sync::shim::{
    AtomicU8, Reading, RwLock, RwLockReadGuard, RwLockWriteGuard, Watched, Writing, fence,
};

/// Readers and writers go by the `RwLock`.
const PLAIN: u8 = 0;
/// Readers note themselves and pass a fence.
const FENCED: u8 = 1;
/// Readers note themselves, and a writer has them pass the fence.
const ASYMMETRIC: u8 = 2;

/// Reads in a row, without a write between, after which the lock is biased. With four, a cache of
/// which half the calls were writes was slower than with a mutex by a quarter (8 threads on 2
/// processors): they come too often by chance.
const READS_BEFORE_BIAS: u8 = 12;

/// What writes to a biased lock cost in all, after which it is plain, until there are so many reads
/// in a row again: each costs one, and so much more for each other thread that reads somewhere, from
/// whose processor the writer has to fetch the note, and whose next note has to fetch it back.
const COST_BEFORE_PLAIN: u8 = 250;
const COST_OF_READER: u8 = 16;

/// [Periods](BiasedGuard::note_period) without a write after which the lock is asymmetric: a writer's
/// barrier costs some microseconds.
const QUIET_PERIODS: u8 = 16;

#[repr(C)]
pub(crate) struct SharedLock<T> {
    base: RwLock<()>,
    mode: AtomicU8,
    /// Reads since the last write, while the lock is plain; else periods. Some may be lost.
    since_write: Hint,
    /// What writes have cost since the lock became biased.
    cost: Hint,
    watched: Watched,
    /// Only in its own models is it ever biased: those of others would have too many steps.
    #[cfg(punctual_loom)]
    is_modelled: bool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock owns the value.
unsafe impl<T: Send> Send for SharedLock<T> {}
// SAFETY: as of std's `RwLock`. Several threads have `&T` at a time, and one at a time has `&mut T`,
// while no other has either.
unsafe impl<T: Send + Sync> Sync for SharedLock<T> {}

/// The lock, held together with other readers, by a note. What was read is over before that is
/// cleared: the order of the fields. Not `Send`, since the record is the thread's.
pub(crate) struct BiasedGuard<'a, T> {
    lock: &'a SharedLock<T>,
    _reading: Reading,
    note: Note,
    _not_send: PhantomData<*const ()>,
}

/// A reader's note, which is cleared when this is dropped.
struct Note(&'static Record);

/// The lock, held together with other readers, by a note or by `base`.
pub(crate) enum ReadGuard<'a, T> {
    Biased(BiasedGuard<'a, T>),
    Plain { lock: &'a SharedLock<T>, _reading: Reading, _base: RwLockReadGuard<'a, ()> },
}

/// The lock, held alone. What was written is over before others can see that: the order of the
/// fields.
pub(crate) struct WriteGuard<'a, T> {
    _writing: Writing,
    held: HeldAlone<'a, T>,
    _base: RwLockWriteGuard<'a, ()>,
}

/// Biases the lock again, if it was before.
struct HeldAlone<'a, T> {
    lock: &'a SharedLock<T>,
    was_biased: bool,
}

impl<T> SharedLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            base: RwLock::new(()),
            mode: AtomicU8::new(PLAIN),
            since_write: Hint::new(0),
            cost: Hint::new(0),
            watched: Watched::default(),
            #[cfg(punctual_loom)]
            is_modelled: false,
            value: UnsafeCell::new(value),
        }
    }

    /// Returns the mode, which may have changed.
    #[inline]
    fn latest_mode(&self) -> u8 {
        #[cfg(punctual_loom)]
        if !self.is_modelled {
            return PLAIN;
        }
        self.mode.load(Relaxed)
    }

    /// By which readers' notes name the lock.
    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Locks together with other readers. Blocks while a writer holds the lock or waits for it.
    #[inline]
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        match self.read_biased() {
            Some(guard) => ReadGuard::Biased(guard),
            None => self.read_plain(),
        }
    }

    /// [`read`](Self::read)s by the `RwLock`.
    #[inline]
    pub(crate) fn read_plain(&self) -> ReadGuard<'_, T> {
        let base = self.read_base();
        ReadGuard::Plain { lock: self, _reading: self.watched.read(), _base: base }
    }

    /// [`read`](Self::read)s if the lock is biased. Does not block.
    #[inline]
    pub(crate) fn read_biased(&self) -> Option<BiasedGuard<'_, T>> {
        let mode = self.latest_mode();
        if mode == PLAIN {
            return None;
        }
        let record = readers::own_record().filter(|record| !record.is_in_use())?;
        let is_biased = if mode == ASYMMETRIC {
            record.note(self.address());
            // Not by a fenced note's mode: its writer would not have this thread pass the barrier.
            self.mode.load(SeqCst) == ASYMMETRIC
        } else {
            record.note_fenced(self.address());
            self.mode.load(SeqCst) != PLAIN
        };
        if !is_biased {
            record.clear();
            return None;
        }
        let reading = self.watched.read();
        Some(BiasedGuard {
            lock: self,
            _reading: reading,
            note: Note(record),
            _not_send: PhantomData,
        })
    }

    #[inline]
    fn read_base(&self) -> RwLockReadGuard<'_, ()> {
        let base = self.base.read();
        // One that is biased has readers here, too: those without a record, or with one in use.
        if self.latest_mode() != PLAIN {
            return base;
        }
        let reads = self.since_write.load(Relaxed);
        if reads + 1 < READS_BEFORE_BIAS {
            self.since_write.store(reads + 1, Relaxed);
        } else {
            self.bias();
        }
        base
    }

    /// With a shared hold of `base`. Those that are noted from now on have seen the last write.
    #[cold]
    fn bias(&self) {
        #[cfg(punctual_loom)]
        if !self.is_modelled {
            return;
        }
        // Not a store: another reader may have been here, and the mode be asymmetric by now.
        if self.mode.compare_exchange(PLAIN, FENCED, Release, Relaxed).is_ok() {
            self.since_write.store(0, Relaxed);
            self.cost.store(0, Relaxed);
        }
    }

    /// Locks alone. Blocks while anyone else holds the lock.
    // A call would pass the guard through memory.
    #[inline(always)]
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        let base = self.base.write();
        let was_biased = self.latest_mode() != PLAIN;
        if was_biased {
            self.withdraw_and_wait();
        }
        // Once there are no readers, who would count on.
        self.since_write.store(0, Relaxed);
        self.held_alone(was_biased, base)
    }

    /// [`write`](Self::write)s unless anyone else holds the lock.
    pub(crate) fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        let base = self.base.try_write()?;
        let was_biased = self.latest_mode() != PLAIN;
        if was_biased {
            self.withdraw();
            if readers::any_under(self.address()) {
                // A fence is enough for those that begin from now on.
                self.mode.store(FENCED, Release);
                return None;
            }
        }
        self.since_write.store(0, Relaxed);
        Some(self.held_alone(was_biased, base))
    }

    #[inline(always)]
    fn held_alone<'a>(
        &'a self,
        was_biased: bool,
        base: RwLockWriteGuard<'a, ()>,
    ) -> WriteGuard<'a, T> {
        let held = HeldAlone { lock: self, was_biased };
        WriteGuard { _writing: self.watched.write(), held, _base: base }
    }

    #[inline(never)]
    fn withdraw_and_wait(&self) {
        self.withdraw();
        let readers = readers::wait_for_all_under(self.address());
        let cost = usize::from(self.cost.load(Relaxed)) + 1 + readers * usize::from(COST_OF_READER);
        self.cost.store(cost.min(u8::MAX.into()) as u8, Relaxed);
    }

    /// Has new readers go by the `RwLock`, which the caller holds. Afterwards the caller sees
    /// the notes of those that do not.
    #[inline]
    fn withdraw(&self) {
        // As with the readers' notes, the exchange is the fence.
        if self.mode.swap(PLAIN, SeqCst) == ASYMMETRIC {
            barrier::heavy();
        } else if cfg!(punctual_loom) {
            fence(SeqCst);
        }
    }

    /// The end of a write to a lock that was biased.
    #[cold]
    #[inline(never)]
    fn bias_again(&self) {
        if self.cost.load(Relaxed) < COST_BEFORE_PLAIN {
            // Those that see it see what was written.
            self.mode.store(FENCED, Release);
        }
    }
}

impl<T> Drop for HeldAlone<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.was_biased {
            self.lock.bias_again();
        }
    }
}

impl<T> BiasedGuard<'_, T> {
    /// Returns this thread's [number](readers::number).
    #[inline]
    pub(crate) fn reader_number(&self) -> usize {
        self.note.0.number()
    }

    /// To be called once in some milliseconds, if there are readers at all: a lock under which
    /// nothing is written for long becomes cheaper to read under.
    #[cold]
    pub(crate) fn note_period(&self) {
        let periods = self.lock.since_write.load(Relaxed);
        if periods < QUIET_PERIODS {
            self.lock.since_write.store(periods + 1, Relaxed);
        } else if barrier::is_available() {
            // Releases what `bias` has released, too: it is a modification of the same.
            _ = self.lock.mode.compare_exchange(FENCED, ASYMMETRIC, AcqRel, Relaxed);
        }
    }
}

impl Drop for Note {
    #[inline]
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl<T> Deref for BiasedGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: writers wait for the note, so nobody has `&mut T` while the guard lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Biased(guard) => guard,
            // SAFETY: writers hold `base` alone, so nobody has `&mut T` while the guard lives.
            Self::Plain { lock, .. } => unsafe { &*lock.value.get() },
        }
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds `base` alone and has waited for the readers that were noted, so
        // nobody else has a reference to the value.
        unsafe { &*self.held.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; and the guard is borrowed alone.
        unsafe { &mut *self.held.lock.value.get() }
    }
}

/// What the tests have need of.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The modes that there are on this platform.
    pub(crate) fn modes() -> impl Iterator<Item = u8> {
        barrier::register();
        [PLAIN, FENCED, ASYMMETRIC]
            .into_iter()
            .filter(|&mode| mode != ASYMMETRIC || barrier::is_available())
    }

    impl<T> SharedLock<T> {
        pub(crate) fn in_mode(mode: u8, value: T) -> Self {
            Self {
                mode: AtomicU8::new(mode),
                #[cfg(punctual_loom)]
                is_modelled: true,
                ..Self::new(value)
            }
        }

        /// The next read by `base` biases the lock.
        pub(crate) fn has_been_read(&self) {
            self.since_write.store(READS_BEFORE_BIAS - 1, Relaxed);
        }
    }

    impl<T> BiasedGuard<'_, T> {
        /// The lock has not been written for long.
        pub(crate) fn note_long_period(&self) {
            self.lock.since_write.store(QUIET_PERIODS, Relaxed);
            self.note_period();
        }
    }

    fn mode(lock: &SharedLock<u64>) -> u8 {
        lock.mode.load(SeqCst)
    }

    #[test]
    fn reads_bias_it_and_writes_make_it_plain() {
        let lock = SharedLock::new(0u64);
        for _ in 1..READS_BEFORE_BIAS {
            assert_eq!((*lock.read(), mode(&lock)), (0, PLAIN));
        }
        *lock.write() += 1;
        for _ in 1..READS_BEFORE_BIAS {
            assert_eq!((*lock.read(), mode(&lock)), (1, PLAIN));
        }
        assert_eq!((*lock.read(), mode(&lock)), (1, FENCED));
        assert!(lock.read_biased().is_some());
        // Where other threads read meanwhile, each costs more.
        let mut writes = 0;
        while mode(&lock) == FENCED {
            writes += 1;
            *lock.write() += 1;
            assert!(writes <= COST_BEFORE_PLAIN, "{writes} writes");
        }
        assert_eq!((writes > 0, mode(&lock)), (true, PLAIN));
        assert!(lock.read_biased().is_none());
    }

    #[test]
    fn a_quiet_lock_becomes_asymmetric() {
        if modes().count() < 3 {
            return;
        }
        let lock = SharedLock::in_mode(FENCED, 0u64);
        let note_period = || lock.read_biased().expect("it is biased").note_period();
        for _ in 0..QUIET_PERIODS {
            note_period();
            assert_eq!(mode(&lock), FENCED);
        }
        note_period();
        assert_eq!(mode(&lock), ASYMMETRIC);
        assert_eq!(*lock.read(), 0);
        *lock.write() = 1;
        assert_eq!((*lock.read(), mode(&lock)), (1, FENCED));
    }

    /// One note a thread: a second lock is shared by its `RwLock`.
    #[test]
    fn a_thread_reads_under_several_locks() {
        for mode in modes() {
            let [one, other] = [1u64, 2].map(|value| SharedLock::in_mode(mode, value));
            let (first, second) = (one.read(), other.read());
            assert!(matches!(second, ReadGuard::Plain { .. }));
            assert!(other.try_write().is_none() && one.try_write().is_none());
            drop(first);
            assert_eq!((*second, *other.read()), (2, 2));
            drop(second);
            *one.try_write().expect("nobody is there") += 1;
            *other.try_write().expect("nobody is there") += 1;
            assert_eq!((*one.read(), *other.read()), (2, 3));
        }
    }

    #[test]
    fn a_panic_of_a_reader_or_writer_releases_it() {
        for mode in modes() {
            let lock = SharedLock::in_mode(mode, 1u64);
            let panics: [&dyn Fn(); 2] = [
                &|| {
                    let _guard = lock.read();
                    panic!("a reader's");
                },
                &|| {
                    let _guard = lock.write();
                    panic!("a writer's");
                },
            ];
            for panic in panics {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic));
                assert!(outcome.is_err());
                *lock.try_write().expect("it is released") += 1;
            }
            assert_eq!(*lock.read(), 3);
        }
    }

    /// Those whose notes there is no room for share it, too; as do those that are about to end.
    #[test]
    fn writers_wait_for_every_reader() {
        use std::sync::Barrier;
        use std::sync::atomic::AtomicBool;

        for mode in modes() {
            let lock = SharedLock::in_mode(mode, 0u64);
            let are_there = Barrier::new(5);
            let may_go = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let guard = lock.read();
                        are_there.wait();
                        while !may_go.load(SeqCst) {
                            std::thread::yield_now();
                        }
                        assert_eq!(*guard, 0);
                    });
                }
                are_there.wait();
                assert!(lock.try_write().is_none());
                let writer = scope.spawn(|| *lock.write() = 1);
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert!(!writer.is_finished());
                may_go.store(true, SeqCst);
            });
            assert_eq!(*lock.read(), 1);
        }
    }

    /// Many threads, all modes in turn; for Miri and ThreadSanitizer, too.
    #[test]
    fn readers_see_writes_as_a_whole() {
        const ROUNDS: u64 = if cfg!(miri) { 100 } else { 20_000 };
        for mode in modes() {
            let lock = SharedLock::in_mode(mode, [0u64; 4]);
            std::thread::scope(|scope| {
                for reader in 0..3 {
                    let lock = &lock;
                    scope.spawn(move || {
                        let mut latest = 0;
                        for round in 0..ROUNDS {
                            let guard = lock.read();
                            assert!(
                                guard.iter().all(|&part| part == guard[0]),
                                "{guard:?}",
                                guard = *guard
                            );
                            assert!(guard[0] >= latest);
                            latest = guard[0];
                            if let ReadGuard::Biased(guard) = &guard {
                                if (round + reader) % 100 == 0 {
                                    guard.note_long_period();
                                }
                            }
                        }
                    });
                }
                scope.spawn(|| {
                    for round in 0..ROUNDS / 20 {
                        for part in &mut *lock.write() {
                            *part += 1;
                        }
                        if round % 3 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            });
            assert_eq!(*lock.read(), [ROUNDS / 20; 4]);
        }
    }
}
