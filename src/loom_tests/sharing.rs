//! The lock that readers share. That nobody reads beside a writer, loom sees by itself.

use super::*;
use crate::sync::readers;
use crate::sync::shared_lock::SharedLock;
use crate::sync::shared_lock::tests::modes;
use crate::sync::shim::Watched;

fn lock(mode: u8) -> Arc<SharedLock<u64>> {
    Arc::new(SharedLock::in_mode(mode, 1))
}

fn biased_modes() -> impl Iterator<Item = u8> {
    modes().skip(1)
}

/// Purpose: a reader is not there together with a writer, and sees what was written before,
/// whatever the mode was. Without the barrier on either side there are executions in which neither
/// sees the other.
#[test]
fn a_reader_and_a_writer_exclude_each_other() {
    for mode in modes() {
        explore(None, move || {
            let lock = lock(mode);
            let writer = {
                let lock = Arc::clone(&lock);
                spawn(move || *lock.write() = 2)
            };
            let first = *lock.read();
            let second = *lock.read();
            assert!(first <= second, "{second} after {first}");
            writer.join().unwrap();
            assert_eq!(*lock.read(), 2);
        });
    }
}

/// Purpose: of two writers, each waits for the reader that was there first.
#[test]
fn two_writers_wait_for_a_reader() {
    for mode in biased_modes() {
        explore(Some(2), move || {
            let lock = lock(mode);
            let threads = [2, 3].map(|value| {
                let lock = Arc::clone(&lock);
                spawn(move || *lock.write() = value)
            });
            assert!(*lock.read() <= 3);
            threads.into_iter().for_each(|thread| thread.join().map(drop).unwrap());
            assert!(*lock.read() > 1);
        });
    }
}

/// Purpose: a reader makes the lock asymmetric just as a writer withdraws the bias. By a store,
/// it would be asymmetric beside that writer.
#[test]
fn a_lock_becomes_asymmetric_beside_a_writer() {
    for mode in biased_modes() {
        explore(Some(3), move || {
            let lock = lock(mode);
            let writer = {
                let lock = Arc::clone(&lock);
                spawn(move || *lock.write() = 2)
            };
            if let Some(guard) = lock.read_biased() {
                guard.note_long_period();
            }
            // The next reader writes a note without a fence, if that has come to be.
            let third = {
                let lock = Arc::clone(&lock);
                spawn(move || *lock.read())
            };
            assert!(*lock.read() <= 2);
            third.join().unwrap();
            writer.join().unwrap();
        });
    }
}

/// Purpose: who reads by a note sees what was written before a reader, or the writer itself, has
/// biased the lock.
#[test]
fn a_note_comes_after_what_was_written() {
    for mode in modes() {
        explore(Some(3), move || {
            let lock = lock(mode);
            let writer = {
                let lock = Arc::clone(&lock);
                spawn(move || *lock.write() = 2)
            };
            let reader = {
                let lock = Arc::clone(&lock);
                spawn(move || {
                    lock.has_been_read();
                    *lock.read_plain()
                })
            };
            let seen = lock.read_biased().map(|guard| *guard);
            assert!(seen.is_none_or(|value| value <= 2));
            assert!(reader.join().unwrap() <= 2);
            writer.join().unwrap();
        });
    }
}

/// Purpose: a writer that must not wait leaves the lock to the readers that are there.
#[test]
fn a_writer_that_must_not_wait_excludes_readers() {
    for mode in modes() {
        explore(Some(3), move || {
            let lock = lock(mode);
            let writer = {
                let lock = Arc::clone(&lock);
                spawn(move || {
                    if let Some(mut guard) = lock.try_write() {
                        *guard = 2;
                    }
                    *lock.write() += 2;
                })
            };
            assert!(*lock.read() <= 4);
            assert!(*lock.read() <= 4);
            writer.join().unwrap();
            assert!(*lock.read() >= 3);
        });
    }
}

/// Purpose: a thread that gets the number of one that has ended goes on where that has stopped.
#[test]
fn a_number_comes_with_what_its_last_thread_did() {
    explore(Some(3), || {
        let lines = Arc::new([(); readers::THREADS_MAX].map(|()| Watched::default()));
        let threads = [(); 2].map(|()| {
            let lines = Arc::clone(&lines);
            spawn(move || {
                if let Some(record) = readers::own_record() {
                    let _writing = lines[record.number()].write();
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().map(drop).unwrap());
    });
}
