//! The table of loads in flight behind a lock of its own, and the callers that wait.
//!
//! Callers of other keys never meet this lock, and a load can end wherever its future is
//! dropped, even within a closure that runs under the shard's lock.
//!
//! # Ground rules
//!
//! - This lock may be taken while the shard's is held, never the other way round.
//! - No callers' code runs under it, wakers included, and no thread waits for a load while it
//!   holds the shard's lock.
//! - A load begins, and ends if it has a value to store, under the shard's lock, and takes the
//!   table's within it. The entry is inserted before the shard's is released. So a key that is
//!   set or removed under the shard's lock overrules every load that began before.

use std::ops::Deref;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::in_flight::{Claim, End, InFlight, LoadId, Loader, Unshared, thread_number};
use super::table_size::TableSize;
use super::wakers::{WakerId, Wakers};
use crate::error::BuildError;
use crate::panic::FirstPanic;
use crate::shard::key_hash::{KeyHash, SlotHash};
use crate::stats::Stats;
use crate::sync::shim::{AtomicBool, Condvar, Mutex, MutexGuard, Ordering};

/// Threads wait for a load by its position, so that its end wakes few others.
const QUEUES: usize = 8;

#[derive(Debug)]
struct Table {
    loads: InFlight,
    /// Threads in each queue.
    threads: [u32; QUEUES],
    /// Futures that wait. Allocated by the first one that does, freed with the last one.
    wakers: Option<Box<Wakers>>,
    counts: Counts,
}

/// See [`Stats`].
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    loads: u64,
    joined: u64,
    failed: u64,
    unshared: u64,
    nanos: u64,
}

impl Table {
    fn remove_waker(&mut self, id: Option<WakerId>, load: LoadId) -> Removed {
        let waker = id.and_then(|id| self.wakers.as_mut()?.remove(id, load));
        Removed { _waker: waker, _list: self.take_wakers_if_empty() }
    }

    fn take_wakers_if_empty(&mut self) -> Option<Box<Wakers>> {
        self.wakers.take_if(|wakers| wakers.is_empty())
    }
}

/// What is dropped once the lock is released.
struct Removed {
    _waker: Option<Waker>,
    _list: Option<Box<Wakers>>,
}

fn queue_of(load: LoadId) -> usize {
    usize::from(load.position) % QUEUES
}

#[derive(Debug)]
pub(in crate::cache) struct SharedLoads {
    table: Mutex<Table>,
    /// A load that threads of this queue wait for has ended.
    ended: [Condvar; QUEUES],
    /// Whether any is in flight. Written under the table's lock; a thread that holds the
    /// shard's lock sees at least the loads that began under it.
    is_busy: AtomicBool,
}

/// What leads to the table of a key's shard.
pub(in crate::cache) trait HasLoads {
    fn loads_of(&self, hash: KeyHash) -> &SharedLoads;

    /// Returns the time in nanoseconds, by which loads are measured.
    fn nanos(&self) -> u64;

    /// # Panics
    ///
    /// If the thread is in callers' code that runs under a lock of the cache.
    fn begin_call(&self);
}

impl SharedLoads {
    pub(in crate::cache) fn new(size: TableSize) -> Result<Self, BuildError> {
        let loads = InFlight::new(size)?;
        let counts = Counts::default();
        let table = Table { loads, threads: [0; QUEUES], wakers: None, counts };
        Ok(Self {
            table: Mutex::new(table),
            ended: Default::default(),
            is_busy: AtomicBool::new(false),
        })
    }

    /// What tells this table from those of other shards and caches.
    pub(in crate::cache) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Locks the table, to begin, end or wait for a load.
    fn lock(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        table.loads.forget_if_forked();
        table
    }

    /// Claims the load of a key. The caller holds the shard's lock.
    ///
    /// # Panics
    ///
    /// If this thread is loading the key already.
    pub(in crate::cache) fn claim(&self, hash: KeyHash, loader: Loader) -> Claim {
        let mut table = self.lock();
        let claim = table.loads.claim(hash, loader);
        let counts = &mut table.counts;
        match claim {
            Claim::Leader(_) => counts.loads += 1,
            Claim::Unshared(_) => {
                counts.loads += 1;
                counts.unshared += 1;
            }
            Claim::Follower(_) => counts.joined += 1,
        }
        self.is_busy.store(true, Ordering::Relaxed);
        claim
    }

    /// Claims the load of a key that has a value, if there is room for it and nobody else loads
    /// it. The caller holds the shard's lock.
    pub(in crate::cache) fn claim_refresh(&self, hash: KeyHash) -> Option<LoadId> {
        let mut table = self.lock();
        let load = table.loads.claim_refresh(hash)?;
        table.counts.loads += 1;
        self.is_busy.store(true, Ordering::Relaxed);
        Some(load)
    }

    /// Begins a load that nobody waits for. The caller holds the shard's lock.
    pub(in crate::cache) fn begin_unshared(&self) -> Unshared {
        let mut table = self.lock();
        table.counts.loads += 1;
        table.counts.unshared += 1;
        self.is_busy.store(true, Ordering::Relaxed);
        table.loads.begin_unshared()
    }

    /// Overrules the load of a key. The caller holds the shard's lock and sets or removes the
    /// key.
    #[inline]
    pub(in crate::cache) fn overrule(&self, hash: KeyHash) {
        if self.is_busy() {
            self.overrule_busy(hash);
        }
    }

    /// Out of line: keeps insertions free of what only loads need.
    #[cold]
    #[inline(never)]
    fn overrule_busy(&self, hash: KeyHash) {
        self.table.lock().loads.overrule(hash);
    }

    /// The same where only the slot hash is known.
    pub(in crate::cache) fn overrule_slot_hash(&self, hash: SlotHash) {
        if self.is_busy() {
            self.table.lock().loads.overrule_slot_hash(hash);
        }
    }

    /// Overrules all loads. The caller holds the shard's lock.
    pub(in crate::cache) fn overrule_all(&self) {
        if self.is_busy() {
            self.table.lock().loads.overrule_all();
        }
    }

    /// Overrules the shared load of a key if it is older than an unshared one that stores a value.
    /// The caller holds the shard's lock.
    pub(in crate::cache) fn overrule_older(&self, newer: Unshared, hash: KeyHash) {
        self.table.lock().loads.overrule_older(newer, hash);
    }

    /// Returns whether an unshared load is to be stored. The caller holds the shard's lock.
    pub(in crate::cache) fn is_valid(&self, load: Unshared, hash: KeyHash) -> bool {
        self.lock().loads.is_valid(load, hash)
    }

    /// Returns whether a shared load is to be stored. The caller holds the shard's lock.
    pub(in crate::cache) fn is_valid_shared(&self, load: LoadId) -> bool {
        self.lock().loads.is_valid_shared(load)
    }

    #[inline]
    fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Blocks until the load has ended that this caller follows. Returns how; `None` if it has
    /// not within the limit.
    ///
    /// # Panics
    ///
    /// If it would wait for itself.
    pub(in crate::cache) fn wait(&self, load: LoadId, limit: WaitLimit) -> Option<End> {
        let queue = queue_of(load);
        let mut table = self.lock();
        loop {
            if let Some(end) = table.loads.end_of(load) {
                return Some(end);
            }
            let left = limit.left();
            if left == Some(Duration::ZERO) {
                return None;
            }
            assert!(
                !table.loads.is_own(load, thread_number()),
                "punctual: recursive load: a loader waits for its own key (or one of the same \
                 hash), which would deadlock"
            );
            assert!(
                has_threads(),
                "punctual: this waits for a load, which would deadlock: there is no other thread \
                 to end it; await it instead, or wait for no time"
            );
            table.threads[queue] += 1;
            table = match left {
                None => self.ended[queue].wait(table),
                Some(left) => self.ended[queue].wait_timeout(table, left),
            };
            table.threads[queue] -= 1;
        }
    }

    /// Ends a load that took so long, and wakes the threads that wait for it. Futures are woken
    /// by [`wake_futures`](Self::wake_futures). Returns whether its value is to be stored.
    pub(in crate::cache) fn end(&self, load: LoadId, end: End, nanos: u64) -> bool {
        let mut table = self.lock();
        let is_valid = table.loads.end(load, end);
        let has_threads = table.threads[queue_of(load)] > 0;
        self.finish(table, end, nanos);
        if has_threads {
            self.ended[queue_of(load)].notify_all();
        }
        is_valid
    }

    /// Ends an unshared load that took so long.
    pub(in crate::cache) fn end_unshared(&self, load: Unshared, end: End, nanos: u64) {
        let mut table = self.lock();
        table.loads.end_unshared(load);
        self.finish(table, end, nanos);
    }

    fn finish(&self, mut table: MutexGuard<'_, Table>, end: End, nanos: u64) {
        table.counts.failed += u64::from(end == End::Failed);
        table.counts.nanos = table.counts.nanos.saturating_add(nanos);
        self.is_busy.store(!table.loads.is_idle(), Ordering::Relaxed);
    }

    /// Wakes the futures that wait for a load that has ended, and those that wait for a load
    /// that a forked child has abandoned. Wakers are callers' code: no lock of this cache is taken
    /// meanwhile, and one that panics does not keep the others from being woken.
    pub(in crate::cache) fn wake_futures(&self, load: LoadId, panics: &mut FirstPanic) {
        loop {
            let mut table = self.table.lock();
            let Table { loads, wakers, .. } = &mut *table;
            let Some(list) = wakers else { return };
            let which = if *loads.has_abandoned() { None } else { Some(load) };
            let batch = list.take_ended(which, |load| loads.end_of(load).is_some());
            *loads.has_abandoned() &= batch.is_full();
            let emptied = table.take_wakers_if_empty();
            drop(table);
            drop(emptied);
            let is_last = !batch.is_full();
            for waker in batch {
                panics.catch(|| waker.wake());
            }
            if is_last {
                return;
            }
        }
    }

    pub(in crate::cache) fn stats(&self) -> Stats {
        let Counts { loads, joined, failed, unshared, nanos } = self.table.lock().counts;
        Stats {
            loads,
            loads_joined: joined,
            loads_failed: failed,
            loads_unshared: unshared,
            load_nanos: nanos,
            ..Stats::default()
        }
    }

    /// Returns how many loads the table holds, and how many writes its log.
    #[cfg(test)]
    pub(in crate::cache) fn room(&self) -> (usize, usize) {
        self.table.lock().loads.room()
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::cache) fn check(&self) {
        self.table.lock().loads.check();
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::cache) fn assert_idle(&self) {
        let table = self.table.lock();
        assert!(table.loads.is_idle(), "{table:?}");
        assert!(!self.is_busy());
        assert!(table.threads == [0; QUEUES] && table.wakers.is_none(), "{table:?}");
    }
}

/// For how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum WaitLimit {
    Never,
    At(Instant),
    /// Do not wait.
    Now,
}

impl WaitLimit {
    /// Returns the limit of a wait for `at_most` that time, from now.
    pub(in crate::cache) fn after(at_most: Duration, has_system_clock: bool) -> Self {
        match at_most {
            Duration::MAX => Self::Never,
            // Without a clock, nobody could tell when the time is up.
            Duration::ZERO => Self::Now,
            _ if !has_system_clock => Self::Now,
            // One that is too far ahead for the clock never comes.
            _ => Instant::now().checked_add(at_most).map_or(Self::Never, Self::At),
        }
    }

    /// Returns what is left of the time; `None` without a limit.
    fn left(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            Self::Now => Some(Duration::ZERO),
        }
    }
}

/// Returns whether there can be another thread. Where not, std panics if this one is to block.
fn has_threads() -> bool {
    !cfg!(all(target_family = "wasm", target_os = "unknown", not(target_feature = "atomics")))
}

/// One caller's wait for the load that it follows. Drops its waker with it.
#[derive(Debug)]
pub(in crate::cache) struct Waiting<H: Deref<Target: HasLoads>> {
    cache: H,
    hash: KeyHash,
    load: LoadId,
    waker: Option<WakerId>,
}

impl<H: Deref<Target: HasLoads>> Waiting<H> {
    pub(in crate::cache) fn new(cache: H, hash: KeyHash, load: LoadId) -> Self {
        Self { cache, hash, load, waker: None }
    }

    /// Blocks until the load has ended. Returns how; `None` if it has not within the limit.
    ///
    /// # Panics
    ///
    /// If the thread is in callers' code that runs under a lock of the cache.
    pub(in crate::cache) fn wait(self, limit: WaitLimit) -> Option<End> {
        self.cache.begin_call();
        self.cache.loads_of(self.hash).wait(self.load, limit)
    }

    /// Returns how the load ended. If it is in flight, keeps the waker instead of the one
    /// before.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub(in crate::cache) fn poll_end(&mut self, waker: &Waker) -> Option<End> {
        self.cache.begin_call();
        // Callers' code: no lock is held while it runs.
        let waker = waker.clone();
        let mut table = self.cache.loads_of(self.hash).lock();
        let end = table.loads.end_of(self.load);
        if end.is_some() {
            let removed = table.remove_waker(self.waker.take(), self.load);
            drop(table);
            let mut panics = FirstPanic::default();
            panics.drop(waker);
            panics.drop(removed);
            panics.resume_or(());
        } else {
            let list = table.wakers.get_or_insert_default();
            let before = self.waker.and_then(|id| list.remove(id, self.load));
            self.waker = Some(list.insert(self.load, waker));
            drop(table);
            drop(before);
        }
        end
    }
}

impl<H: Deref<Target: HasLoads>> Drop for Waiting<H> {
    fn drop(&mut self) {
        let Some(id) = self.waker else { return };
        let mut table = self.cache.loads_of(self.hash).table.lock();
        let removed = table.remove_waker(Some(id), self.load);
        drop(table);
        // A waker that panics when it is dropped may be why this is.
        let mut panics = FirstPanic::default();
        panics.drop(removed);
        panics.resume_unless_unwinding();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_clock_nobody_waits_for_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(WaitLimit::after(second, false), WaitLimit::Now);
        assert!(matches!(WaitLimit::after(second, true), WaitLimit::At(_)));
        for has_system_clock in [false, true] {
            let after = |at_most| WaitLimit::after(at_most, has_system_clock);
            assert_eq!(after(Duration::MAX), WaitLimit::Never);
            assert_eq!(after(Duration::ZERO), WaitLimit::Now);
        }
        assert_eq!(WaitLimit::Now.left(), Some(Duration::ZERO));
        assert_eq!(WaitLimit::Never.left(), None);
    }
}
