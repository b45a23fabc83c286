//! Where the reaper's thread looks for work, and sleeps; and what a forked child does with its
//! parent's.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crossbeam_utils::atomic::AtomicCell;
use forkguard::Guard;

use super::queue::Queue;
use crate::sync::shim::{Condvar, Mutex, MutexGuard};

pub(super) struct Station {
    pub(super) queue: Mutex<Queue>,
    pub(super) woken: Condvar,
    /// The numbers of sources below are not in the queue.
    pub(super) first_source: usize,
    /// A forked child has begun to replace this station.
    is_being_replaced: AtomicBool,
    /// Detects a forked child. `None` where a fork cannot be detected.
    process: Option<Guard>,
}

impl Station {
    fn new(queue: Queue, first_source: usize) -> &'static Self {
        // Leaked: after a fork, another thread may be about to lock the one it replaces.
        Box::leak(Box::new(Self {
            queue: Mutex::new(queue),
            woken: Condvar::default(),
            first_source,
            is_being_replaced: AtomicBool::new(false),
            process: Guard::try_new().ok(),
        }))
    }

    /// Returns whether this is the station of a parent process: its lock may have been copied
    /// while it was held, and no thread sleeps there.
    pub(super) fn is_inherited(&self) -> bool {
        self.process.as_ref().is_some_and(|guard| guard.clone().detected_fork())
    }
}

/// The present station.
pub(super) struct PresentStation(AtomicCell<&'static Station>);

impl PresentStation {
    pub(super) fn new() -> Self {
        Self(AtomicCell::new(Station::new(Queue::new(0), 0)))
    }

    pub(super) fn get(&self) -> &'static Station {
        self.0.load()
    }

    /// Returns the station if it is this process's.
    pub(super) fn own(&self) -> Option<&'static Station> {
        Some(self.get()).filter(|station| !station.is_inherited())
    }

    /// Locks the queue, a parent's one only if it is not locked.
    pub(super) fn lock_queue(&self) -> Option<MutexGuard<'static, Queue>> {
        loop {
            let station = self.get();
            let queue = if station.is_inherited() {
                station.queue.try_lock()?
            } else {
                station.queue.lock()
            };
            // Unless it was replaced meanwhile.
            if std::ptr::eq(self.get(), station) {
                return Some(queue);
            }
        }
    }

    /// In a forked child, replaces the station of the parent. `next_source` is above all numbers
    /// of sources. Returns whether it did.
    pub(super) fn replace_after_fork(&self, next_source: usize) -> bool {
        const ATTEMPTS: usize = 1_000;

        let inherited = self.get();
        if !inherited.is_inherited() {
            return false;
        }
        if inherited.is_being_replaced.swap(true, Relaxed) {
            // By another thread, within microseconds; or that has been left behind by a fork.
            for _ in 0..ATTEMPTS {
                if !std::ptr::eq(self.get(), inherited) {
                    return false;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        // If a thread that was left behind holds the lock, the caches in that queue are freed by
        // calls alone.
        let queue = match inherited.queue.try_lock() {
            Some(mut queue) => {
                let mut queue = std::mem::replace(&mut *queue, Queue::new(next_source));
                queue.inherit();
                Station::new(queue, inherited.first_source)
            }
            None => Station::new(Queue::new(next_source), next_source),
        };
        self.0.store(queue);
        true
    }
}
