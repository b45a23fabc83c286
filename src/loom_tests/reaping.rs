//! The reaper's alarm and its list of caches.

use super::*;

/// Stands for a cache: the next event of each of its shards, and the reaper's clock.
struct Events {
    next: Vec<AtomicU64>,
    now: Note,
    /// Events that the reaper has handled once they were due.
    seen: Note,
    /// The cache is unregistered, and must not be used any more.
    is_gone: Note,
}

impl Events {
    fn new(next: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            next: next.iter().copied().map(AtomicU64::new).collect(),
            now: Note::new(0),
            seen: Note::new(0),
            is_gone: Note::new(0),
        })
    }

    fn now(&self) -> u64 {
        self.now.load(SeqCst) as u64
    }

    fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }

    /// Advances the clock to the first of two times, from then on to the second.
    fn advance(&self, first: usize, second: usize) -> u64 {
        let now = if self.now.load(SeqCst) == 0 { first } else { second };
        self.now.store(now, SeqCst);
        now as u64
    }
}

impl Reapable for Events {
    fn shards(&self) -> usize {
        self.next.len()
    }

    fn next_event(&self, shard: usize) -> u64 {
        assert_eq!(self.is_gone.load(SeqCst), 0, "used after it was unregistered");
        self.next[shard].load(Relaxed)
    }

    fn reap_batch(&self, shard: usize, _: u64) {
        self.next[shard].store(Alarm::NEVER, Relaxed);
        self.seen.fetch_add(1, SeqCst);
    }
}

/// The alarm is armed for time 1 and goes off. Each other thread brings an event at a
/// later time: while the reaper parks, it need not be woken for that; once it is awake,
/// it must be.
fn events_that_are_brought_are_seen(times: &'static [u64], preemptions_max: Option<usize>) {
    explore(preemptions_max, move || {
        let reaper = new_reaper();
        let mut next = vec![1];
        next.resize(1 + times.len(), Alarm::NEVER);
        let events = Events::new(&next);
        reaper.register(events.clone());
        let threads = (1..).zip(times).map(|(shard, &time)| {
            let events = events.clone();
            spawn(move || {
                events.next[shard].store(time, Relaxed);
                reaper.alarm.wake_before(time);
            })
        });
        let threads: Vec<_> = threads.collect();
        serve(reaper, || events.now(), || events.advance(1, 10), || events.seen() == next.len());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Purpose: the fences of [`Alarm`], and that the reaper disarms it before it looks.
#[test]
fn an_event_is_not_slept_through() {
    events_that_are_brought_are_seen(&[2], None);
}

/// Purpose: the same with two threads that bring events.
#[test]
fn two_events_are_not_slept_through() {
    events_that_are_brought_are_seen(&[2, 3], Some(3));
}

/// Purpose: a cache that is registered while the reaper parks, or is about to.
#[test]
fn a_cache_is_served_once_it_is_registered() {
    explore(None, || {
        let reaper = new_reaper();
        let events = [Events::new(&[0]), Events::new(&[0])];
        let threads = events.clone().map(|events| {
            spawn(move || {
                reaper.register(events);
            })
        });
        serve(reaper, || 0, || 1, || events.iter().all(|events| events.seen() == 1));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Purpose: unregistering a cache moves those behind it forward in the list, so that a
/// round in progress may skip one; and no later round uses the cache.
#[test]
fn unregistering_a_cache_skips_no_other() {
    explore(None, || {
        let reaper = new_reaper();
        let (going, staying) = (Events::new(&[Alarm::NEVER]), Events::new(&[1]));
        reaper.register(going.clone());
        reaper.register(staying.clone());
        let is_gone = Arc::new(AtomicBool::new(false));
        let leaver = {
            let (going, is_gone) = (going.clone(), is_gone.clone());
            spawn(move || {
                let going: Arc<dyn Reapable> = going;
                reaper.unregister(&going);
                is_gone.store(true, Ordering::Release);
            })
        };
        serve(
            reaper,
            || staying.now(),
            || {
                going.is_gone.store(is_gone.load(Ordering::Acquire).into(), SeqCst);
                staying.advance(1, 1)
            },
            || staying.seen() == 1,
        );
        leaver.join().unwrap();
        assert_eq!(Arc::strong_count(&going), 1);
    });
}

/// Purpose: releasing a shard's lock publishes its earliest event, and wakes the reaper
/// if that is earlier than before. The events of two entries are published in either
/// order.
#[test]
fn what_a_lock_publishes_reaches_the_reaper() {
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
        serve(reaper, || AFTER_SOON, || 0, || dropped.load(SeqCst) == 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!cache.contains_key(&1) && cache.contains_key(&2));
    });
}
