//! The reaper's queue and its sleep.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::sync::shim::Mutex;
use crate::time::clock::Timescale;

/// Stands for a cache: the next event of each of its shards, and the reaper's clock.
struct Events {
    next: Vec<Mutex<u64>>,
    sources: Vec<AtomicUsize>,
    /// Events that the reaper has handled once they were due.
    seen: Note,
    /// The cache is unregistered, and must not be used any more.
    is_gone: Note,
}

impl Events {
    fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            next: (0..shards).map(|_| Mutex::new(NEVER)).collect(),
            sources: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            seen: Note::new(0),
            is_gone: Note::new(0),
        })
    }

    /// Brings an event, as a shard does: under its lock.
    fn bring(&self, reaper: &ReaperThread, shard: usize, nanos: u64) {
        let mut next = self.next[shard].lock();
        *next = nanos;
        reaper.schedule(self.source(shard), self.timescale(), nanos);
    }

    fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }
}

impl Reapable for Events {
    fn shards(&self) -> usize {
        self.next.len()
    }

    fn timescale(&self) -> Timescale {
        Timescale::Monotonic
    }

    fn set_source(&self, shard: usize, source: usize) {
        self.sources[shard].store(source, SeqCst);
    }

    fn source(&self, shard: usize) -> usize {
        self.sources[shard].load(SeqCst)
    }

    fn visit(&self, shard: usize, visit: &mut dyn Visit) {
        assert_eq!(self.is_gone.load(SeqCst), 0, "used after it was unregistered");
        let mut next = self.next[shard].lock();
        if *next <= visit.now_nanos() {
            *next = NEVER;
            self.seen.fetch_add(1, SeqCst);
        }
        visit.put_back(*next);
    }
}

/// By the reaper's clock.
const NOW: u64 = 10;

/// The reaper sleeps until later, and each other thread brings an event that is due.
fn events_that_are_brought_are_seen(times: &'static [u64], preemptions_max: Option<usize>) {
    explore(preemptions_max, move || {
        let reaper = new_reaper();
        let events = Events::new(1 + times.len());
        let cache: Arc<dyn Reapable> = events.clone();
        reaper.register(&cache);
        events.bring(reaper, 0, 2 * NOW);
        let threads = (1..).zip(times).map(|(shard, &time)| {
            let events = events.clone();
            spawn(move || events.bring(reaper, shard, time))
        });
        let threads: Vec<_> = threads.collect();
        serve(reaper, NOW, || events.seen() == times.len());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Purpose: the reaper decides to sleep and notes it under the queue's lock.
#[test]
fn an_event_is_not_slept_through() {
    events_that_are_brought_are_seen(&[2], None);
}

/// Purpose: the same with two threads that bring events.
#[test]
fn two_events_are_not_slept_through() {
    events_that_are_brought_are_seen(&[2, 3], Some(3));
}

/// Purpose: an event that becomes earlier while the reaper is between taking the shard out of
/// its queue and visiting it, or puts it back for later.
#[test]
fn an_event_that_becomes_earlier_during_a_visit_is_not_lost() {
    explore(None, || {
        let reaper = new_reaper();
        let events = Events::new(1);
        let cache: Arc<dyn Reapable> = events.clone();
        reaper.register(&cache);
        // The reaper comes for an event, and finds that it is later by now.
        reaper.schedule(events.source(0), Timescale::Monotonic, 1);
        *events.next[0].lock() = 2 * NOW;
        let bringer = {
            let events = events.clone();
            spawn(move || events.bring(reaper, 0, 5))
        };
        serve(reaper, NOW, || events.seen() == 1);
        bringer.join().unwrap();
    });
}

/// Purpose: a thread that is replaced clears nothing that its successor has noted. Else the
/// successor would sleep through the event.
#[test]
fn a_thread_that_is_replaced_leaves_its_successor_alone() {
    explore(Some(3), || {
        let reaper = new_reaper();
        let events = Events::new(1);
        let cache: Arc<dyn Reapable> = events.clone();
        reaper.register(&cache);
        let replaced = spawn(move || serve(reaper, NOW, || false));
        let successor = reaper.take_over();
        let bringer = {
            let events = events.clone();
            spawn(move || events.bring(reaper, 0, 1))
        };
        serve_as(successor, reaper, NOW, || events.seen() == 1);
        replaced.join().unwrap();
        bringer.join().unwrap();
    });
}

/// Purpose: a cache that is registered while the reaper sleeps, or is about to.
#[test]
fn a_cache_is_served_once_it_is_registered() {
    explore(None, || {
        let reaper = new_reaper();
        let events = [Events::new(1), Events::new(1)];
        let threads = events.clone().map(|events| {
            spawn(move || {
                let cache: Arc<dyn Reapable> = events.clone();
                reaper.register(&cache);
                events.bring(reaper, 0, 0);
            })
        });
        serve(reaper, NOW, || events.iter().all(|events| events.seen() == 1));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Purpose: a cache may go while the reaper is about to visit it, and another may take over its
/// number. Neither is lost or mistaken for the other, and no later round uses the first.
#[test]
fn a_cache_that_goes_is_not_taken_for_another() {
    explore(Some(3), || {
        let reaper = new_reaper();
        let (going, coming) = (Events::new(1), Events::new(1));
        let cache: Arc<dyn Reapable> = going.clone();
        reaper.register(&cache);
        going.bring(reaper, 0, 0);
        let is_gone = Arc::new(AtomicBool::new(false));
        let leaver = {
            let (coming, is_gone) = (coming.clone(), is_gone.clone());
            spawn(move || {
                reaper.unregister(&cache);
                drop(cache);
                is_gone.store(true, Ordering::Release);
                let cache: Arc<dyn Reapable> = coming.clone();
                reaper.register(&cache);
                coming.bring(reaper, 0, 1);
            })
        };
        serve(reaper, NOW, || {
            going.is_gone.store(is_gone.load(Ordering::Acquire).into(), SeqCst);
            coming.seen() == 1
        });
        leaver.join().unwrap();
        assert_eq!(Arc::strong_count(&going), 1);
    });
}

/// Purpose: before a shard's lock is released, the reaper is told of its first event. Those of
/// two entries come in either order.
#[test]
fn what_a_lock_tells_reaches_the_reaper() {
    explore(Some(3), || {
        let reaper = new_reaper();
        let cache = builder(2).build_with_reaper(Some(reaper)).unwrap();
        let dropped = Arc::new(Note::new(0));
        let threads = [(1, SOON), (2, LATE)].map(|(key, ttl)| {
            let (cache, value) = (cache.clone(), Counted(dropped.clone()));
            spawn(move || {
                cache.insert_with_ttl(key, value, ttl);
            })
        });
        serve(reaper, AFTER_SOON, || dropped.load(SeqCst) == 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!cache.contains_key(&1) && cache.contains_key(&2));
    });
}
