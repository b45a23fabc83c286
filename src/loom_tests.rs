//! loom models of everything that threads do concurrently: the reaper's alarm and list, the
//! TSC clock, single flight, and the end of a cache.
//!
//! Under `--cfg punctual_loom` each model runs in every interleaving of its threads and with
//! every value that the memory model lets a load return; where those are too many, in all
//! with a bounded number of preemptions, which the model states. Without that flag it runs a
//! few hundred times as the system schedules it.
//!
//! # Ground rules
//!
//! - A lost wake-up is a deadlock, which loom reports. So most models only have to wait for
//!   what must happen.
//! - The atomics and locks of a protocol are the shim's. Those that a model itself records
//!   with are std's, so that loom does not interleave them.
//! - loom remembers only the last access to each atomic. A thread that reads an atomic
//!   before it writes it hides an earlier read by another thread, and interleavings are left
//!   out. So the writer of the TSC clock does not read what it publishes.
//! - Each model has a reaper of its own, whose rounds run in a thread of the model. It is
//!   leaked, since caches hold a `&'static` reference to it.
//! - By the caches' clock, which stands at zero, no entry is ever due. By the reaper's,
//!   [`SOON`] has passed and [`LATE`] never comes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Note;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::reaper::sleep::Alarm;
use crate::reaper::{Reapable, ReaperThread};
use crate::shim::{
    AtomicBool, AtomicU64, Ordering, explore, go_on_exploring, spawn, stop_exploring,
};
use crate::{Builder, Cache, LoadError, ManualClock, RemovalCause};

const SOON: Duration = Duration::from_millis(1);
/// In nanoseconds.
const AFTER_SOON: u64 = 1_000_000_000;
const LATE: Duration = Duration::from_secs(1_000_000_000);

fn new_reaper() -> &'static ReaperThread {
    Box::leak(Box::new(ReaperThread::new()))
}

/// Runs rounds of the reaper, at least one, until `is_done`. It reaps by one clock, and reads
/// the other before it sleeps.
fn serve(
    reaper: &ReaperThread,
    reaps_at: impl Fn() -> u64,
    sleeps_at: impl Fn() -> u64,
    is_done: impl Fn() -> bool,
) {
    loop {
        let next_event_nanos = reaper.reap_all(&reaps_at);
        let is_last = is_done();
        if is_last {
            reaper.alarm.wake();
        }
        reaper.sleep_until(next_event_nanos, &sleeps_at);
        if is_last {
            return;
        }
    }
}

fn builder<V>(capacity: usize) -> Builder<u64, V, FixedState> {
    Cache::builder()
        .capacity(capacity)
        .shards(1)
        .clock(ManualClock::new())
        .hasher(FixedState::with_seed(1))
}

/// Counts how often it is dropped.
struct Counted(Arc<Note>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

mod reaping {
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
            serve(
                reaper,
                || events.now(),
                || events.advance(1, 10),
                || events.seen() == next.len(),
            );
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
}

mod clocks {
    use super::*;
    use crate::time::tsc_clock::{Sample, TscClock};

    const PERIOD: u64 = 1 << 20;

    /// The counter runs at the rate of the clock.
    fn sample(number: u64) -> Sample {
        let nanos = (10 + number) * PERIOD;
        Sample { nanos, tsc_before: nanos, tsc_after: nanos }
    }

    /// Purpose: the seqlock. Computed from a mix of two samples, the time would be off by a
    /// period.
    #[test]
    fn a_sample_is_read_as_it_was_written_or_not_at_all() {
        explore(None, || {
            let clock = Arc::new(TscClock::new(PERIOD));
            for number in 0..3 {
                clock.calibrate(sample(number));
            }
            let writer = {
                let clock = Arc::clone(&clock);
                spawn(move || {
                    clock.calibrate(sample(3));
                    clock.calibrate(sample(4));
                })
            };
            let tsc = sample(4).nanos;
            if let Some(nanos) = clock.nanos_at(tsc) {
                let behind = tsc - nanos;
                assert!(behind <= 2 * PERIOD / 64, "{behind} of a period of {PERIOD}");
            }
            writer.join().unwrap();
            assert_eq!(clock.nanos_at(tsc), Some(tsc));
        });
    }
}

mod loading {
    use super::*;

    /// How the first load ends.
    #[derive(Clone, Copy, PartialEq)]
    enum First {
        Succeeds,
        SucceedsUnstored,
        Fails,
        Panics,
    }

    /// A loader that must not run twice at the same time.
    struct Source {
        is_busy: AtomicBool,
        loads: Note,
        first: First,
    }

    impl Source {
        fn load(&self, cache: &Cache<u64, u64, FixedState>) -> Result<(u64, Duration), ()> {
            let is_alone = !self.is_busy.swap(true, Relaxed);
            assert!(is_alone || self.first == First::SucceedsUnstored, "two load at once");
            let number = self.loads.fetch_add(1, SeqCst);
            self.is_busy.store(false, Relaxed);
            match self.first {
                First::Fails if number == 0 => Err(()),
                First::Panics if number == 0 => {
                    // loom runs all threads of a model on one thread of the system, so
                    // `std::thread::panicking` is true in all of them, and a lock that
                    // another one held would be poisoned. None is held: this thread has
                    // just had it. The interleavings that follow are those of the model of
                    // an error.
                    stop_exploring();
                    let _ = cache.len();
                    resume_unwind(Box::new(()))
                }
                First::SucceedsUnstored => Ok((7, Duration::ZERO)),
                _ => Ok((7, LATE)),
            }
        }
    }

    /// Three threads ask for one key.
    fn one_loads_at_a_time(first: First, preemptions_max: Option<usize>) {
        explore(preemptions_max, move || {
            let cache = builder(1).build_with_reaper(None).unwrap();
            let source =
                Arc::new(Source { is_busy: AtomicBool::new(false), loads: Note::new(0), first });
            let ask = {
                let (cache, source) = (cache.clone(), source.clone());
                move || {
                    let load = || cache.get_or_load(&1, || source.load(&cache));
                    let loaded = catch_unwind(AssertUnwindSafe(load));
                    if loaded.is_err() {
                        go_on_exploring();
                    }
                    loaded
                }
            };
            let threads = [spawn(ask.clone()), spawn(ask.clone())];
            let mut results = vec![ask()];
            results.extend(threads.map(|thread| thread.join().unwrap()));
            let count = |is: fn(&_) -> bool| results.iter().filter(&is).count();
            let failures = count(|result| matches!(result, Ok(Err(LoadError::Failed(())))));
            let told = count(|result| matches!(result, Ok(Err(LoadError::LeaderFailed))));
            let panics = count(|result| result.is_err());
            assert_eq!(failures, usize::from(first == First::Fails));
            assert_eq!(panics, usize::from(first == First::Panics));
            let values = count(|result| matches!(result, Ok(Ok(7))));
            assert_eq!(values, 3 - failures - panics - told);
            let loads = source.loads.load(SeqCst);
            match first {
                First::Succeeds => assert_eq!(loads, 1),
                // Those that waited load side by side.
                First::SucceedsUnstored => assert_eq!(loads, 3),
                // Those that came while it was in flight fail with it; the first to come
                // later loads.
                First::Fails | First::Panics => {
                    assert_eq!(loads, 1 + usize::from(told < 2));
                }
            }
            let is_stored = first != First::SucceedsUnstored && values > 0;
            assert_eq!(cache.peek(&1), is_stored.then_some(7));
            cache.check_idle();
        });
    }

    /// Purpose: no thread waits for a load that has ended, or loads what another has stored.
    #[test]
    fn one_loads_and_others_wait() {
        one_loads_at_a_time(First::Succeeds, Some(5));
    }

    /// Purpose: an error is told to those that wait, each of them, and to no later caller.
    #[test]
    fn an_error_is_shared() {
        one_loads_at_a_time(First::Fails, Some(5));
    }

    /// Purpose: the same while the leader unwinds.
    #[test]
    fn a_panic_is_shared() {
        one_loads_at_a_time(First::Panics, Some(5));
    }

    /// Purpose: after a TTL of zero, those that waited load, each for itself.
    #[test]
    fn after_a_ttl_of_zero_all_load() {
        one_loads_at_a_time(First::SucceedsUnstored, Some(5));
    }

    /// The origin of the value changes, and then the key is set, removed or cleared by
    /// `invalidate`: from then on, the value loaded before is never found.
    fn a_load_is_invalidated(invalidate: fn(&Cache<u64, u64, FixedState>)) {
        explore(Some(4), move || {
            let cache = builder(1).build_with_reaper(None).unwrap();
            let origin = Arc::new(AtomicU64::new(1));
            let ask = {
                let (cache, origin) = (cache.clone(), origin.clone());
                move || cache.get_or_load(&1, || Ok::<_, ()>((origin.load(Relaxed), LATE))).unwrap()
            };
            let threads = [spawn(ask.clone()), spawn(ask.clone())];
            origin.store(2, Relaxed);
            invalidate(&cache);
            assert_ne!(cache.peek(&1), Some(1));
            assert_eq!(ask(), 2);
            for thread in threads {
                assert!([1, 2].contains(&thread.join().unwrap()));
            }
            assert_eq!(cache.peek(&1), Some(2));
        });
    }

    /// Purpose: the value of a load that began before a `remove` is never stored after it.
    #[test]
    fn a_remove_invalidates_a_load() {
        a_load_is_invalidated(|cache| {
            cache.remove(&1);
        });
    }

    /// Purpose: the same for an `insert`.
    #[test]
    fn an_insert_invalidates_a_load() {
        a_load_is_invalidated(|cache| {
            cache.insert(1, 2);
        });
    }

    /// Purpose: the same for `clear`.
    #[test]
    fn a_clear_invalidates_a_load() {
        a_load_is_invalidated(Cache::clear);
    }
}

#[cfg(feature = "async")]
mod loading_async {
    use std::future::{Future, pending};
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;
    use crate::reaper::sleep::Parker;

    /// Wakes the thread that blocks on a future.
    struct ParkerWaker(Parker);

    impl Wake for ParkerWaker {
        fn wake(self: Arc<Self>) {
            self.0.wake();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let parker = Arc::new(ParkerWaker(Parker::new()));
        let waker = Waker::from(parker.clone());
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => parker.0.park(None),
            }
        }
    }

    /// Purpose: a future and a thread wait for each other's load, and no wake-up is lost.
    #[test]
    fn a_future_and_a_thread_load_once() {
        explore(None, || {
            let cache = builder(1).build_with_reaper(None).unwrap();
            let loads = Arc::new(Note::new(0));
            let load = {
                let loads = loads.clone();
                move || {
                    loads.fetch_add(1, SeqCst);
                    Ok::<_, ()>((7, LATE))
                }
            };
            let thread = {
                let (cache, load) = (cache.clone(), load.clone());
                spawn(move || cache.get_or_load(&1, load))
            };
            assert_eq!(block_on(cache.get_or_load_async(&1, || async { load() })), Ok(7));
            assert_eq!(thread.join().unwrap(), Ok(7));
            assert_eq!(loads.load(SeqCst), 1);
        });
    }

    /// Purpose: where a future is dropped before its load ends, another future or a thread
    /// becomes the leader.
    #[test]
    fn a_dropped_future_hands_over_the_lead() {
        explore(Some(4), || {
            let cache = builder(1).build_with_reaper(None).unwrap();
            let dropped = {
                let cache = cache.clone();
                spawn(move || {
                    let load = pending::<Result<(u64, Duration), ()>>;
                    let mut future = pin!(cache.get_or_load_async(&1, load));
                    let mut context = Context::from_waker(Waker::noop());
                    let _ = future.as_mut().poll(&mut context);
                })
            };
            let thread = {
                let cache = cache.clone();
                spawn(move || cache.get_or_load(&1, || Ok::<_, ()>((7, LATE))))
            };
            let load = || async { Ok::<_, ()>((7, LATE)) };
            assert_eq!(block_on(cache.get_or_load_async(&1, load)), Ok(7));
            assert_eq!(thread.join().unwrap(), Ok(7));
            dropped.join().unwrap();
        });
    }
}

mod closing {
    use super::*;

    /// Purpose: of two handles that are dropped concurrently while the reaper works, one is
    /// the last; it unregisters the cache, and every entry is dropped once.
    #[test]
    fn the_last_handle_drops_each_entry_once() {
        explore(None, || {
            let reaper = new_reaper();
            let notified = Arc::new(Note::new(0));
            let cache = {
                let notified = notified.clone();
                let listener = move |&key: &u64, _: &Counted, cause| {
                    assert_eq!((key, cause), (1, RemovalCause::Expired));
                    notified.fetch_add(1, SeqCst);
                };
                builder(2).on_removal(listener).build_with_reaper(Some(reaper)).unwrap()
            };
            let dropped = [(1, SOON), (2, LATE)].map(|(key, ttl)| {
                let dropped = Arc::new(Note::new(0));
                cache.insert_with_ttl(key, Counted(dropped.clone()), ttl);
                dropped
            });
            let is_over = Arc::new(AtomicBool::new(false));
            let rounds = {
                let is_over = is_over.clone();
                spawn(move || serve(reaper, || AFTER_SOON, || 0, || is_over.load(Relaxed)))
            };
            let other = cache.clone();
            let other = spawn(move || drop(other));
            drop(cache);
            other.join().unwrap();
            assert_eq!(dropped[1].load(SeqCst), 1);
            is_over.store(true, Relaxed);
            reaper.alarm.wake();
            rounds.join().unwrap();
            assert_eq!(dropped[0].load(SeqCst), 1);
            // The listener has been dropped, so the cache has.
            assert_eq!(Arc::strong_count(&notified), 1);
        });
    }

    /// Purpose: entries that need no `Drop` stay until the reaper releases the cache. It
    /// begins no batch after a batch that has seen that the last handle was dropped.
    #[test]
    fn a_closed_cache_is_reaped_no_further() {
        /// One more than a batch of the reaper.
        const ENTRIES: u64 = 9;

        explore(None, || {
            let reaper = new_reaper();
            let is_gone = Arc::new(AtomicBool::new(false));
            let cache = {
                let (is_gone, notified, was_gone) = (is_gone.clone(), Note::new(0), Note::new(0));
                builder(ENTRIES as usize)
                    .on_removal(move |_, (), _| {
                        let number = notified.fetch_add(1, SeqCst) + 1;
                        if number == 1 {
                            was_gone.store(is_gone.load(Ordering::Acquire).into(), SeqCst);
                        }
                        if number == ENTRIES as usize {
                            assert_eq!(was_gone.load(SeqCst), 0, "another batch");
                        }
                    })
                    .build_with_reaper(Some(reaper))
                    .unwrap()
            };
            for key in 0..ENTRIES {
                cache.insert_with_ttl(key, (), SOON);
            }
            let is_over = Arc::new(AtomicBool::new(false));
            let rounds = {
                let is_over = is_over.clone();
                spawn(move || serve(reaper, || AFTER_SOON, || 0, || is_over.load(Relaxed)))
            };
            drop(cache);
            is_gone.store(true, Ordering::Release);
            is_over.store(true, Relaxed);
            reaper.alarm.wake();
            rounds.join().unwrap();
        });
    }

    /// Purpose: the reaper holds no lock while it drops entries. Here one is the last handle
    /// of another cache, which a round drops while the outer cache is dropped.
    #[test]
    fn a_cache_within_a_cache_is_dropped_with_it() {
        explore(Some(5), || {
            let reaper = new_reaper();
            let outer = builder(1).build_with_reaper(Some(reaper)).unwrap();
            let dropped = Arc::new(Note::new(0));
            {
                let inner = builder(1).build_with_reaper(Some(reaper)).unwrap();
                inner.insert_with_ttl(1, Counted(dropped.clone()), LATE);
                outer.insert_with_ttl(1, inner, SOON);
            }
            let is_over = Arc::new(AtomicBool::new(false));
            let rounds = {
                let is_over = is_over.clone();
                spawn(move || serve(reaper, || AFTER_SOON, || 0, || is_over.load(Relaxed)))
            };
            drop(outer);
            is_over.store(true, Relaxed);
            reaper.alarm.wake();
            rounds.join().unwrap();
            assert_eq!(dropped.load(SeqCst), 1);
        });
    }
}
