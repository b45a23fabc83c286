//! The threads that read: each has a number, and a line of memory where it notes the lock that it
//! reads under, for writers to see.
//!
//! A thread gets the lowest free number at its first read by a note, and gives it back when it ends.
//! Those beyond [`THREADS_MAX`] at once have none, nor have those that are about to end.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize as Number;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crossbeam_utils::CachePadded;

use crate::sync::barrier;
use crate::sync::shim::{
    AtomicU64, AtomicUsize, Patience, array_of, fence, process_static, thread_local,
};

/// The threads that can have a number at the same time.
pub(crate) const THREADS_MAX: usize = if cfg!(punctual_loom) { 3 } else { 1_024 };

const WORD_BITS: usize = u64::BITS as usize;

/// Where one thread notes what it reads.
#[derive(Debug)]
pub(crate) struct Record {
    /// The address of a lock, or zero.
    lock: AtomicUsize,
    /// The thread's number, for itself.
    number: Number,
}

struct Table {
    /// A bit for each number that a thread has.
    taken: [AtomicU64; THREADS_MAX.div_ceil(WORD_BITS)],
    /// No number from here on has ever been taken.
    end: AtomicUsize,
    records: [CachePadded<Record>; THREADS_MAX],
}

process_static! {
    static TABLE: Table = Table {
        taken: array_of![AtomicU64::new(0); THREADS_MAX.div_ceil(WORD_BITS)],
        end: AtomicUsize::new(0),
        records: array_of![
            CachePadded::new(Record { lock: AtomicUsize::new(0), number: Number::new(0) });
            THREADS_MAX
        ],
    };
}

thread_local! {
    // Without destructors and constant from the start: a plain load to read.
    static OWN: Cell<Option<&'static Record>> = const { Cell::new(None) };
    static HAS_ASKED: Cell<bool> = const { Cell::new(false) };
    /// Has a destructor, which gives the number back.
    static CLAIM: Claim = const { Claim(Cell::new(None)) };
}

/// Returns this thread's record, if it has one.
#[inline]
pub(crate) fn own_record() -> Option<&'static Record> {
    OWN.with(Cell::get).or_else(claim)
}

/// Returns this thread's number, if it has one already.
#[inline]
pub(crate) fn number() -> Option<usize> {
    OWN.with(Cell::get).map(Record::number)
}

/// Takes a record for this thread, unless it has asked before.
#[cold]
#[inline(never)]
fn claim() -> Option<&'static Record> {
    if HAS_ASKED.with(|has_asked| has_asked.replace(true)) {
        return None;
    }
    // Where its destructor has run already, there is none that would give the number back.
    let claimed = CLAIM.try_with(|claim| {
        let number = TABLE.take_number();
        claim.0.set(number);
        number
    });
    let number = claimed.ok().flatten()?;
    let record = &*TABLE.records[number];
    record.number.store(number, Relaxed);
    OWN.with(|own| own.set(Some(record)));
    Some(record)
}

struct Claim(Cell<Option<usize>>);

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(number) = self.0.take() {
            // Destructors that run later may read, too.
            _ = OWN.try_with(|own| own.set(None));
            TABLE.give_back(number);
        }
    }
}

impl Table {
    fn take_number(&self) -> Option<usize> {
        for (position, word) in self.taken.iter().enumerate() {
            let mut taken = word.load(Relaxed);
            while taken != u64::MAX {
                let free = taken.trailing_ones() as usize;
                let number = position * WORD_BITS + free;
                if number >= THREADS_MAX {
                    return None;
                }
                // Acquires what the thread that had it before has done with it.
                match word.compare_exchange(taken, taken | 1 << free, Acquire, Relaxed) {
                    Ok(_) => {
                        // Before the thread's first note: who sees that sees this.
                        self.end.fetch_max(number + 1, SeqCst);
                        return Some(number);
                    }
                    Err(other) => taken = other,
                }
            }
        }
        None
    }

    fn give_back(&self, number: usize) {
        self.taken[number / WORD_BITS].fetch_and(!(1 << (number % WORD_BITS)), Release);
    }
}

impl Record {
    #[inline]
    pub(crate) fn number(&self) -> usize {
        self.number.load(Relaxed)
    }

    /// Returns whether the thread reads already.
    #[inline]
    pub(crate) fn is_in_use(&self) -> bool {
        self.lock.load(Relaxed) != 0
    }

    /// Notes that the thread reads under a lock. What it loads then, it loads later than others
    /// can see the note.
    #[inline]
    pub(crate) fn note_fenced(&self, lock: usize) {
        // One instruction that is a barrier, too, where a fence would be another. In a model no
        // access is sequentially consistent, but fences are.
        self.lock.swap(lock, SeqCst);
        if cfg!(punctual_loom) {
            fence(SeqCst);
        }
    }

    /// The same; but others can see it only once they have passed a [heavy
    /// barrier](barrier::heavy).
    #[inline]
    pub(crate) fn note(&self, lock: usize) {
        self.lock.store(lock, Relaxed);
        barrier::light();
    }

    #[cold]
    #[inline(never)]
    fn wait_while_under(&self, lock: usize) {
        let mut patience = Patience::default();
        while self.lock.load(Acquire) == lock {
            patience.wait();
        }
    }

    #[inline]
    pub(crate) fn clear(&self) {
        self.lock.store(0, Release);
    }
}

/// Returns whether any thread reads under a lock. The caller has passed a barrier.
pub(crate) fn any_under(lock: usize) -> bool {
    records().any(|record| record.lock.load(SeqCst) == lock)
}

/// Waits for each thread that reads under a lock. The caller has passed a barrier since it has
/// made sure that no other begins to. Returns how many threads read at all, under any lock.
#[inline]
pub(crate) fn wait_for_all_under(lock: usize) -> usize {
    let mut readers = 0;
    for record in records() {
        let noted = record.lock.load(SeqCst);
        readers += usize::from(noted != 0);
        if noted == lock {
            record.wait_while_under(lock);
        }
    }
    readers
}

/// The records of all threads that have had one. The loads of those that do not read are acquiring,
/// too: what they read before is over.
#[inline]
fn records() -> impl Iterator<Item = &'static Record> {
    let end = TABLE.end.load(SeqCst);
    TABLE.records[..end].iter().map(|record| &**record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_number() -> Option<usize> {
        own_record().map(Record::number)
    }

    #[test]
    fn a_thread_that_ends_gives_its_number_back() {
        let number_of_thread = || std::thread::spawn(own_number).join().unwrap();
        // Other tests run beside, and take numbers, too: over so many threads, one comes again.
        let numbers: std::collections::HashSet<_> =
            (0..3_000).map(|_| number_of_thread()).collect();
        assert!(numbers.len() < THREADS_MAX, "{numbers:?}");
        assert!(numbers.iter().all(Option::is_some));
    }

    #[test]
    fn threads_at_the_same_time_have_different_numbers() {
        let barrier = std::sync::Barrier::new(100);
        let numbers: Vec<_> = std::thread::scope(|scope| {
            let spawn = |_| {
                scope.spawn(|| {
                    let number = own_number();
                    barrier.wait();
                    number
                })
            };
            let threads: Vec<_> = (0..100).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let different: std::collections::HashSet<_> = numbers.iter().collect();
        assert_eq!(different.len(), numbers.len());
    }

    #[test]
    fn there_are_as_many_numbers_as_records() {
        let table = Table {
            taken: array_of![AtomicU64::new(0); THREADS_MAX.div_ceil(WORD_BITS)],
            end: AtomicUsize::new(0),
            records: array_of![
                CachePadded::new(Record { lock: AtomicUsize::new(0), number: Number::new(0) });
                THREADS_MAX
            ],
        };
        let taken: Vec<_> = (0..=THREADS_MAX).map(|_| table.take_number()).collect();
        assert!(taken[..THREADS_MAX].iter().copied().eq((0..THREADS_MAX).map(Some)));
        assert_eq!(taken[THREADS_MAX], None);
        assert_eq!(table.end.load(Relaxed), THREADS_MAX);
        table.give_back(THREADS_MAX / 2);
        assert_eq!(table.take_number(), Some(THREADS_MAX / 2));
        assert_eq!(table.records.len(), THREADS_MAX);
    }

    /// Another thread-local's destructor, which runs after the number was given back, may read.
    #[test]
    fn a_thread_that_is_about_to_end_has_no_number() {
        struct Late(std::sync::mpsc::Sender<Option<usize>>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.send(own_number()).unwrap();
            }
        }
        std::thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Destructors run in the reverse order of their first uses on some platforms, and in
            // order on others: so it is used both before and after.
            LATE.with(|late| late.set(Some(Late(sender.clone()))));
            own_number();
            LATE.with(|late| late.set(Some(Late(sender))));
        });
        thread.join().unwrap();
        let numbers: Vec<_> = receiver.iter().collect();
        assert_eq!(numbers.len(), 2);
        assert!(numbers[1].is_none_or(|number| number < THREADS_MAX));
    }
}
