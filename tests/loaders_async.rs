//! Loaders of futures: one runs for a key, others wait, threads among them; and
//! whoever is dropped on the way passes the turn on.

#![cfg(feature = "async")]
#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/loading.rs"]
mod loading;

use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use loading::{LOADS_MAX, MEANWHILE, Turns, in_one_shard, in_shards};
use punctual::{Cache, LoadError, ManualClock};
use punctual_testing::panics::{catch, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};

const SECOND: Duration = Duration::from_secs(1);

/// On both kinds of runtime.
fn on_runtimes<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let _watchdog = Watchdog::start();
    for runtime in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        runtime_of(runtime).block_on(test());
    }
}

fn runtime_of(mut builder: Builder) -> Runtime {
    builder.worker_threads(4).enable_time().build().unwrap()
}

/// Loads a value that stays, without ado.
async fn load(cache: &Cache<u64, u64>, key: u64, value: u64) -> u64 {
    cache.get_or_load_async(&key, || ready(Ok::<_, ()>((value, Duration::MAX)))).await.unwrap()
}

/// Lets other tasks run until so many lookups have found nothing: those are
/// waiting for the load, or just about to.
async fn await_misses<K, V>(cache: &Cache<K, V>, misses: u64) {
    while cache.stats().misses < misses {
        tokio::task::yield_now().await;
    }
}

// ---- Polled by hand ----

/// Counts how often it is woken; alive as long as somebody means to wake it.
#[derive(Default)]
struct Sleeper(AtomicUsize);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

type Loaded = Result<u64, LoadError<()>>;
type Loading<'a> = Pin<Box<dyn Future<Output = Loaded> + 'a>>;

/// What a load is told to bring, once it is told to.
type Brings = Arc<Mutex<Option<Result<u64, ()>>>>;

fn brings(result: Result<u64, ()>) -> Brings {
    Arc::new(Mutex::new(Some(result)))
}

/// A future that is polled by hand, and the task that polls it.
struct Task<'a> {
    future: Loading<'a>,
    sleeper: Arc<Sleeper>,
}

impl<'a> Task<'a> {
    /// A load of key 1 that brings what it is told to.
    fn told(cache: &'a Cache<u64, u64>, brings: &Brings) -> Self {
        let brings = brings.clone();
        Self::of(Box::pin(cache.get_or_load_async(&1, move || {
            poll_fn(move |_| match brings.lock().unwrap().take() {
                Some(result) => Poll::Ready(result.map(|value| (value, Duration::MAX))),
                None => Poll::Pending,
            })
        })))
    }

    /// One that must not run.
    fn idle(cache: &'a Cache<u64, u64>) -> Self {
        Self::of(Box::pin(cache.get_or_load_async(&1, || {
            poll_fn(|_| -> Poll<Result<(u64, Duration), ()>> { panic!("a second load") })
        })))
    }

    /// An idle one that waits already.
    fn waiting(cache: &'a Cache<u64, u64>) -> Self {
        let mut task = Self::idle(cache);
        task.assert_pending();
        task
    }

    fn of(future: Loading<'a>) -> Self {
        Self { future, sleeper: Arc::default() }
    }

    fn poll(&mut self) -> Poll<Loaded> {
        poll(self.future.as_mut(), &self.sleeper)
    }

    fn assert_pending(&mut self) {
        assert_eq!(self.poll(), Poll::Pending);
    }

    fn wakes(&self) -> usize {
        self.sleeper.0.load(SeqCst)
    }
}

/// A load of key 1 that has begun and is pending.
struct Load<'a> {
    task: Task<'a>,
    brings: Brings,
}

impl<'a> Load<'a> {
    fn begin(cache: &'a Cache<u64, u64>) -> Self {
        let brings = Brings::default();
        let mut task = Task::told(cache, &brings);
        task.assert_pending();
        Self { task, brings }
    }

    fn end(&mut self, result: Result<u64, ()>) {
        *self.brings.lock().unwrap() = Some(result);
        assert_eq!(self.task.poll(), Poll::Ready(result.map_err(LoadError::Failed)));
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, sleeper: &Arc<Sleeper>) -> Poll<F::Output> {
    let waker = Waker::from(sleeper.clone());
    future.poll(&mut Context::from_waker(&waker))
}

fn sleepers(count: usize) -> Vec<Arc<Sleeper>> {
    (0..count).map(|_| Arc::default()).collect()
}

/// So many sleepers somebody means to wake.
fn kept(sleepers: &[Arc<Sleeper>]) -> usize {
    sleepers.iter().filter(|sleeper| Arc::strong_count(sleeper) > 1).count()
}

#[test]
fn those_that_wait_are_woken_when_the_load_ends() {
    let _watchdog = Watchdog::start();
    for result in [Ok(7), Err(())] {
        let cache = in_one_shard();
        let mut load = Load::begin(&cache);
        let second = brings(Ok(8));
        let mut waiting: Vec<_> = (0..10).map(|_| Task::told(&cache, &second)).collect();
        for task in &mut waiting {
            for _ in 0..3 {
                task.assert_pending();
            }
        }
        assert!(waiting.iter().all(|task| task.wakes() == 0), "woken for nothing");
        load.end(result);
        // A failure is shared: no second load runs.
        let expected = result.map_err(|()| LoadError::LeaderFailed);
        for task in &mut waiting {
            assert_eq!(task.wakes(), 1);
            assert_eq!(task.poll(), Poll::Ready(expected));
        }
        assert!(second.lock().unwrap().is_some(), "a second load has run");
        // Nobody keeps a waker of theirs.
        let sleepers: Vec<_> = waiting.into_iter().map(|task| task.sleeper).collect();
        assert_eq!(kept(&sleepers), 0);
    }
}

/// A future may be polled by one task first and by another later: the last one
/// that has polled it is to be woken.
#[test]
fn the_task_that_has_polled_last_is_woken() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let mut waiting = Task::idle(&cache);
    for sleeper in sleepers(5) {
        waiting.sleeper = sleeper;
        waiting.assert_pending();
    }
    load.end(Ok(7));
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.poll(), Poll::Ready(Ok(7)));
}

/// Two futures of one task wait for the same load: `join!` of them.
#[test]
fn one_task_may_wait_twice() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let [mut one, mut other] = [Task::idle(&cache), Task::idle(&cache)];
    one.sleeper = other.sleeper.clone();
    one.assert_pending();
    other.assert_pending();
    // One of them gives up; the other still waits.
    drop(one);
    load.end(Ok(7));
    assert!(other.wakes() >= 1);
    assert_eq!(other.poll(), Poll::Ready(Ok(7)));
}

#[test]
fn a_load_that_is_dropped_passes_the_turn_on() {
    let _watchdog = Watchdog::start();
    // Dropped before its first poll, and after some.
    for polls in [0, 1, 2] {
        let cache = in_one_shard();
        let mut loading = Task::told(&cache, &Brings::default());
        for _ in 0..polls {
            loading.assert_pending();
        }
        let second = Brings::default();
        let mut waiting = Task::told(&cache, &second);
        if polls > 0 {
            waiting.assert_pending();
        }
        *second.lock().unwrap() = Some(Ok(7));
        drop(loading);
        assert_eq!(waiting.wakes(), usize::from(polls > 0));
        assert_eq!(waiting.poll(), Poll::Ready(Ok(7)));
        assert_eq!(cache.get(&1), Some(7));
    }
}

/// Whoever is woken first may be dropped before it looks: others must know.
#[test]
fn a_turn_is_not_lost_with_whoever_was_woken() {
    let _watchdog = Watchdog::start();
    for gone in 0..4 {
        let cache = in_one_shard();
        let load = Load::begin(&cache);
        let second = brings(Ok(7));
        let mut waiting: Vec<_> = (0..5).map(|_| Some(Task::told(&cache, &second))).collect();
        for task in waiting.iter_mut().flatten() {
            task.assert_pending();
        }
        drop(load);
        // All that were woken give up, but for one that may not have been.
        for dropped in (0..5).filter(|&number| number != gone) {
            waiting[dropped] = None;
        }
        let left = waiting[gone].as_mut().unwrap();
        assert_eq!(left.wakes(), 1, "nobody wakes the one that is left");
        assert_eq!(left.poll(), Poll::Ready(Ok(7)));
    }
}

/// A waker is kept for each future that waits, and for no other: waiters that
/// give up while a load takes its time must not pile up.
#[test]
fn no_waker_is_kept_of_a_waiter_that_is_gone() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let gone: Vec<_> = (0..1_000).map(|_| Task::waiting(&cache).sleeper).collect();
    let kept_meanwhile = kept(&gone);
    load.end(Ok(7));
    assert_eq!(kept(&gone), 0, "kept for ever");
    assert_eq!(kept_meanwhile, 0, "wakers kept of 1,000 waiters that are gone");
}

/// Nor is more than one kept of a waiter that is polled by many tasks.
#[test]
fn no_waker_is_kept_but_the_last() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let _load = Load::begin(&cache);
    let mut waiting = Task::idle(&cache);
    let tasks = sleepers(1_000);
    for task in &tasks {
        assert_eq!(poll(waiting.future.as_mut(), task), Poll::Pending);
    }
    assert_eq!(kept(&tasks), 1, "wakers kept of one waiter");
}

#[test]
fn nothing_happens_before_the_first_poll() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    drop(Task::idle(&cache));
    let unpolled = Task::idle(&cache);
    assert_eq!(cache.stats().misses, 0);
    // So nobody waits for it either.
    assert_eq!(cache.get_or_insert_with(&1, || 5), 5);
    drop(unpolled);
    // A hit is ready at once.
    assert_eq!(Task::idle(&cache).poll(), Poll::Ready(Ok(5)));
}

/// A future that waits is polled from within a closure of the cache: a panic, as
/// for every other call, and no deadlock.
#[test]
fn a_waiter_that_is_polled_within_a_closure_panics() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    cache.insert(2, 2);
    let mut load = Load::begin(&cache);
    let mut waiting = Task::waiting(&cache);
    cache.read(&2, |_| assert!(catch(|| waiting.poll()).is_err()));
    load.end(Ok(7));
    assert_eq!(cache.get(&1), Some(7));
}

/// The same of one that loads, which ends its load there.
#[test]
fn a_load_that_ends_within_a_closure_does_not_wait_for_itself() {
    let _watchdog = Watchdog::start();
    for is_dropped in [false, true] {
        let cache = in_one_shard();
        cache.insert(2, 2);
        let mut load = Some(Load::begin(&cache));
        cache.read(&2, |_| {
            let _ = catch(|| match &mut load {
                Some(load) if !is_dropped => {
                    *load.brings.lock().unwrap() = Some(Ok(7));
                    _ = load.task.poll();
                }
                load => *load = None,
            });
        });
        drop(load);
        // And the turn is not lost.
        assert_eq!(cache.get_or_insert_with(&1, || 8), 8);
    }
}

/// Wakers are callers' code: one that panics must not keep the others asleep.
#[test]
fn a_waker_that_panics_keeps_nobody_asleep() {
    struct Panics(AtomicBool);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            if !self.0.swap(true, SeqCst) {
                panic_silently("a waker's own");
            }
        }
    }
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let mut first = Task::idle(&cache);
    let waker = Waker::from(Arc::new(Panics(AtomicBool::new(false))));
    assert!(first.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = Task::waiting(&cache);
    let _ = catch(|| load.end(Ok(7)));
    assert_eq!(cache.get(&1), Some(7));
    assert_eq!(second.wakes(), 1, "left asleep");
    assert_eq!(second.poll(), Poll::Ready(Ok(7)));
}

// ---- On runtimes ----

#[test]
fn a_thousand_tasks_and_one_load() {
    on_runtimes(|| async {
        for cache in [1, 8].map(in_shards) {
            let runs = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..1_000)
                .map(|number| {
                    let (cache, runs) = (cache.clone(), runs.clone());
                    tokio::spawn(async move {
                        let load = || async {
                            runs.fetch_add(1, SeqCst);
                            await_misses(&cache, 1_000).await;
                            Ok::<_, ()>((number, Duration::MAX))
                        };
                        cache.get_or_load_async(&1, load).await.unwrap()
                    })
                })
                .collect();
            let mut seen = Vec::new();
            for task in tasks {
                seen.push(task.await.unwrap());
            }
            assert_eq!(runs.load(SeqCst), 1);
            assert!(seen.iter().all(|&value| value == seen[0]));
            assert_eq!(cache.get(&1), Some(seen[0]));
        }
    });
}

/// Whatever comes of a load whose key is set meanwhile, those that waited get what was set.
#[test]
fn waiters_of_a_load_that_is_overruled_and_fails_look_again() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let mut waiting = Task::waiting(&cache);
    cache.insert(1, 2);
    load.end(Err(()));
    assert_eq!(waiting.poll(), Poll::Ready(Ok(2)));
}

/// Whoever waited for what was not stored looks once more before it loads.
#[test]
fn what_was_set_before_a_waiter_loads_is_returned() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut is_done = false;
    let mut leader = pin!(cache.get_or_load_async(&1, || poll_fn(|_| {
        match std::mem::replace(&mut is_done, true) {
            true => Poll::Ready(Ok::<_, ()>((9, Duration::ZERO))),
            false => Poll::Pending,
        }
    })));
    let sleeper = Arc::default();
    assert_eq!(poll(leader.as_mut(), &sleeper), Poll::Pending);
    let mut waiting = Task::waiting(&cache);
    assert_eq!(poll(leader, &sleeper), Poll::Ready(Ok(9)));
    cache.insert(1, 2);
    assert_eq!(waiting.poll(), Poll::Ready(Ok(2)));
}

/// A pending load that another panic drops has not failed.
#[test]
fn a_load_that_is_dropped_while_unwinding_passes_the_turn_on() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let load = Load::begin(&cache);
    let mut next = Task::told(&cache, &brings(Ok(8)));
    next.assert_pending();
    let dropped = catch(move || {
        let _load = load;
        panic_silently("elsewhere");
    });
    assert!(dropped.is_err());
    assert_eq!(next.poll(), Poll::Ready(Ok(8)));
}

/// After a TTL of zero those that waited load side by side.
#[test]
fn those_that_wait_for_what_is_not_stored_load_side_by_side() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let leader = oneshot::channel();
    let load = |told: oneshot::Receiver<u64>| {
        let cache = cache.clone();
        let loading = async move {
            let load = || async { Ok::<_, ()>((told.await.unwrap(), Duration::ZERO)) };
            cache.get_or_load_async(&1, load).await
        };
        Task::of(Box::pin(loading))
    };
    let mut first = load(leader.1);
    first.assert_pending();
    let channels: Vec<_> = (0..5).map(|_| oneshot::channel()).collect();
    let (tell, told): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    let mut waiting: Vec<_> = told.into_iter().map(load).collect();
    waiting.iter_mut().for_each(Task::assert_pending);
    leader.0.send(0).unwrap();
    assert_eq!(first.poll(), Poll::Ready(Ok(0)));
    // All of them begin before the first is done, and the last is done first.
    waiting.iter_mut().for_each(Task::assert_pending);
    for (number, (tell, task)) in tell.into_iter().zip(&mut waiting).enumerate().rev() {
        tell.send(number as u64).unwrap();
        assert_eq!(task.poll(), Poll::Ready(Ok(number as u64)));
    }
    assert!(cache.is_empty());
}

/// Its value has left before they look: they have waited for a load, and wait for no other.
#[test]
fn those_that_find_no_value_after_a_load_load_side_by_side() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let (tell, told) = oneshot::channel::<u64>();
    let task = |told: oneshot::Receiver<u64>| {
        let cache = cache.clone();
        let loading = async move {
            cache
                .get_or_load_async(&1, || async { Ok::<_, ()>((told.await.unwrap(), SECOND)) })
                .await
        };
        Task::of(Box::pin(loading))
    };
    let mut leader = task(told);
    leader.assert_pending();
    let (tell_all, told): (Vec<_>, Vec<_>) = (0..5).map(|_| oneshot::channel()).unzip();
    let mut waiting: Vec<_> = told.into_iter().map(task).collect();
    waiting.iter_mut().for_each(Task::assert_pending);
    tell.send(7).unwrap();
    assert_eq!(leader.poll(), Poll::Ready(Ok(7)));
    cache.remove(&1);
    // All of them begin before the first is done.
    waiting.iter_mut().for_each(Task::assert_pending);
    assert_eq!(cache.stats().loads_unshared, 5);
    for (number, (tell, task)) in tell_all.into_iter().zip(&mut waiting).enumerate() {
        tell.send(number as u64).unwrap();
        assert_eq!(task.poll(), Poll::Ready(Ok(number as u64)));
    }
}

/// Errors and panics are shared, cancellations pass the turn on; one load runs at a time, and
/// each task ends as its own load does or as that of the leader that it waited for.
#[test]
fn errors_panics_and_cancellations_end_a_load_each() {
    const TASKS: usize = 30;
    on_runtimes(|| async {
        for round in 0..20 {
            let cache = in_one_shard();
            let turns = Arc::new(Turns::default());
            // The one whose turn it is, to be cancelled.
            let (cancel, mut cancelled) = mpsc::unbounded_channel();
            let tasks: Vec<_> = (0..TASKS)
                .map(|number| {
                    let (cache, turns, cancel) = (cache.clone(), turns.clone(), cancel.clone());
                    tokio::spawn(async move {
                        let load = || async {
                            let (turn, _turn) = turns.take();
                            if turn == 0 {
                                await_misses(&cache, TASKS as u64).await;
                            }
                            tokio::task::yield_now().await;
                            match (turn < round, turn % 3) {
                                (false, _) => return Ok((7, Duration::MAX)),
                                (true, 0) => _ = cancel.send(number),
                                (true, 1) => return Err(()),
                                (true, _) => panic_silently("a loader"),
                            }
                            pending().await
                        };
                        cache.get_or_load_async(&1, load).await
                    })
                })
                .collect();
            let aborts: Vec<_> = tasks.iter().map(|task| task.abort_handle()).collect();
            let canceller = tokio::spawn(async move {
                while let Some(number) = cancelled.recv().await {
                    let number: usize = number;
                    aborts[number].abort();
                }
            });
            let (mut values, mut loads) = (0, 0);
            for task in tasks {
                match task.await {
                    Ok(Ok(value)) => {
                        assert_eq!(value, 7);
                        values += 1;
                    }
                    Ok(Err(LoadError::LeaderFailed)) => {}
                    Ok(Err(LoadError::Failed(()))) | Err(_) => loads += 1,
                }
            }
            drop(cancel);
            canceller.await.unwrap();
            assert_eq!(turns.runs(), loads + u64::from(values > 0), "round {round}");
            assert_eq!(cache.get(&1), (values > 0).then_some(7));
        }
    });
}

#[test]
fn a_timeout_passes_the_turn_on() {
    on_runtimes(|| async {
        let cache = in_one_shard();
        let (begun, has_begun) = oneshot::channel();
        let hangs = {
            let cache = cache.clone();
            tokio::spawn(async move {
                let hang = || async {
                    begun.send(()).unwrap();
                    pending::<Result<(u64, Duration), ()>>().await
                };
                let loading = cache.get_or_load_async(&1, hang);
                tokio::time::timeout(Duration::from_millis(20), loading).await
            })
        };
        has_begun.await.unwrap();
        assert_eq!(load(&cache, 1, 7).await, 7);
        assert!(hangs.await.unwrap().is_err());
        assert_eq!(load(&cache, 1, 8).await, 7);
    });
}

/// Many tasks, keys, errors and cancellations at random: each task that is not cancelled ends,
/// and two loads of a key never run at once, unless some have a TTL of zero.
#[test]
fn cancellations_at_random_lose_no_turn() {
    const KEYS: u64 = 8;
    on_runtimes(|| async {
        for seed in 0..20 {
            let has_zero_ttls = seed % 2 == 1;
            let cache = in_one_shard();
            let turns: Arc<Vec<Turns>> = Arc::new((0..KEYS).map(|_| Turns::default()).collect());
            let mut random = fastrand::Rng::with_seed(seed);
            let mut tasks = Vec::new();
            for _ in 0..600 {
                let (cache, turns) = (cache.clone(), turns.clone());
                let key = random.u64(..KEYS);
                let (yields, ends) = (random.usize(..20), random.u8(..8));
                let task = tokio::spawn(async move {
                    let load = || async {
                        let _turn = (!has_zero_ttls).then(|| turns[key as usize].take());
                        for _ in 0..yields {
                            tokio::task::yield_now().await;
                        }
                        match ends {
                            2..=4 if has_zero_ttls => Ok((key, Duration::ZERO)),
                            2..=7 if has_zero_ttls => Ok((key, Duration::from_nanos(1))),
                            // What has left before those that wait look, they load side by side.
                            7 => Ok((key, Duration::MAX)),
                            _ => Err(()),
                        }
                    };
                    if let Ok(value) = cache.get_or_load_async(&key, load).await {
                        assert_eq!(value, key);
                    }
                });
                tasks.push((task, random.u8(..3) == 0));
                if random.u8(..4) == 0 {
                    tokio::task::yield_now().await;
                }
                if random.u8(..2) == 0 {
                    let some = random.usize(..tasks.len());
                    let (task, is_cancelled) = &tasks[some];
                    if *is_cancelled {
                        task.abort();
                    }
                }
            }
            for (task, is_cancelled) in tasks {
                match task.await {
                    Ok(()) => {}
                    Err(error) => assert!(is_cancelled && error.is_cancelled(), "{error}"),
                }
            }
            for key in 0..KEYS {
                cache.remove(&key);
                assert_eq!(load(&cache, key, 9).await, 9);
            }
        }
    });
}

/// Threads and tasks wait for each other's loads.
#[test]
fn threads_and_tasks_wait_for_each_other() {
    let _watchdog = Watchdog::start();
    let runtime = runtime_of(Builder::new_multi_thread());
    for round in 0..200 {
        let cache = in_one_shard();
        let runs = AtomicUsize::new(0);
        // The load fails so often, by whomever, before it brings something.
        let fails = round % 6;
        let turn = || {
            let turn = runs.fetch_add(1, SeqCst);
            if turn < fails { Err(()) } else { Ok((7, Duration::MAX)) }
        };
        let seen = in_threads(8, |number| {
            if number < 4 {
                return cache.get_or_load(&1, || {
                    let all_ask = || runs.load(SeqCst) > 0 || cache.stats().misses >= 8;
                    wait_until("all ask", all_ask);
                    turn()
                });
            }
            runtime.block_on(cache.get_or_load_async(&1, || async {
                if runs.load(SeqCst) == 0 {
                    await_misses(&cache, 8).await;
                }
                turn()
            }))
        });
        // Each load that fails fails for its own caller, and for those that waited for it.
        let failed = seen.iter().filter(|seen| **seen == Err(LoadError::Failed(()))).count();
        let values: Vec<_> = seen.iter().flatten().collect();
        assert!(values.iter().all(|value| **value == 7));
        assert_eq!(failed, runs.load(SeqCst).min(fails));
        assert_eq!(runs.load(SeqCst), failed + usize::from(!values.is_empty()));
    }
}

/// A thread waits for a task that is cancelled, and a task for a thread whose
/// loader panics.
#[test]
fn the_turn_passes_between_threads_and_tasks() {
    let _watchdog = Watchdog::start();
    let runtime = runtime_of(Builder::new_multi_thread());
    for _ in 0..50 {
        let cache = in_one_shard();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let task = runtime.spawn({
            let cache = cache.clone();
            async move {
                let hang = || async move {
                    begun.send(()).unwrap();
                    pending::<Result<(u64, Duration), ()>>().await
                };
                cache.get_or_load_async(&1, hang).await
            }
        });
        has_begun.recv().unwrap();
        let waits = thread::spawn({
            let cache = cache.clone();
            move || cache.get_or_insert_with(&1, || 7)
        });
        wait_until("both have asked", || cache.stats().misses >= 2);
        task.abort();
        assert_eq!(waits.join().unwrap(), 7);

        let (begun, has_begun) = std::sync::mpsc::channel();
        let panics = thread::spawn({
            let cache = cache.clone();
            move || {
                cache.get_or_insert_with(&2, || {
                    begun.send(()).unwrap();
                    wait_until("both have asked", || cache.stats().misses >= 4);
                    panic_silently("a loader");
                })
            }
        });
        has_begun.recv().unwrap();
        // It cannot fail, so it takes over.
        let makes = cache.get_or_insert_with_async(&2, || ready(8));
        assert_eq!(runtime.block_on(makes), 8);
        assert!(panics.join().is_err());
    }
}

#[test]
fn loads_within_loads() {
    on_runtimes(|| async {
        let cache = in_one_shard();
        let sum = cache
            .get_or_load_async(&1, || async {
                let (two, three) = tokio::join!(load(&cache, 2, 2), load(&cache, 3, 3));
                // Threads' calls too, where they need not wait.
                cache.insert(4, 4);
                let four = cache.get_or_insert_with(&4, || 5);
                let five = cache.get_or_insert_with(&5, || 5);
                Ok::<_, ()>((two + three + four + five, Duration::MAX))
            })
            .await;
        assert_eq!(sum, Ok(14));
        assert_eq!(cache.len(), 5);
    });
}

/// Far more loads at once than a shard keeps track of.
#[test]
fn more_loads_than_there_is_room_for_run_unshared() {
    on_runtimes(|| async {
        let cache = in_one_shard();
        let all_load = Arc::new(tokio::sync::Barrier::new(3 * LOADS_MAX as usize));
        let tasks: Vec<_> = (0..3 * LOADS_MAX)
            .map(|key| {
                let (cache, all_load) = (cache.clone(), all_load.clone());
                tokio::spawn(async move {
                    let load = || async {
                        all_load.wait().await;
                        Ok::<_, ()>((key, Duration::MAX))
                    };
                    cache.get_or_load_async(&key, load).await
                })
            })
            .collect();
        for (key, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), Ok(key));
            assert_eq!(cache.get(&key), Some(key));
        }
    });
}

// ---- Overruled, and TTLs ----

#[test]
fn what_happens_meanwhile_overrules_a_load() {
    on_runtimes(|| async {
        for (name, meanwhile, left) in MEANWHILE {
            let cache = in_one_shard();
            let notify = Notify::new();
            let load = async {
                let load = || async {
                    notify.notified().await;
                    Ok::<_, ()>((1, Duration::MAX))
                };
                cache.get_or_load_async(&1, load).await
            };
            let happen = async {
                await_misses(&cache, 1).await;
                meanwhile(&cache);
                notify.notify_one();
            };
            let (loaded, ()) = tokio::join!(load, happen);
            assert_eq!(loaded, Ok(1), "{name}: the loader's caller gets its value");
            assert_eq!(cache.get(&1), left, "{name}");
        }
    });
}

/// Who waits gets what was put in meanwhile, without waiting for more than the
/// load.
#[test]
fn waiters_of_an_overruled_load_look_again() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let mut load = Load::begin(&cache);
    let mut waiting = Task::waiting(&cache);
    cache.insert(1, 2);
    // Whoever comes now finds it.
    assert_eq!(Task::idle(&cache).poll(), Poll::Ready(Ok(2)));
    load.end(Ok(1));
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.poll(), Poll::Ready(Ok(2)));
}

#[test]
fn ttls_are_those_that_the_loader_says() {
    on_runtimes(|| async {
        let clock = ManualClock::new();
        let cache: Cache<u64, u64> =
            Cache::builder().capacity(10).clock(clock.clone()).build().unwrap();
        for value in 1..4 {
            let zero = || ready(Ok::<_, ()>((value, Duration::ZERO)));
            assert_eq!(cache.get_or_load_async(&1, zero).await, Ok(value));
            assert!(cache.is_empty());
        }
        let at_once = || ready(Ok::<_, ()>((5, Duration::from_nanos(1))));
        assert_eq!(cache.get_or_load_async(&1, at_once).await, Ok(5));
        clock.advance(SECOND);
        assert_eq!(cache.get(&1), None);
        let late = || async {
            tokio::task::yield_now().await;
            // The TTL counts from when the value is stored.
            clock.advance(100 * SECOND);
            Ok::<_, ()>((6, 5 * SECOND))
        };
        assert_eq!(cache.get_or_load_async(&1, late).await, Ok(6));
        assert_eq!(cache.get(&1), Some(6));
        clock.advance(6 * SECOND);
        assert_eq!(cache.get(&1), None);
        // An error puts nothing in.
        let none = || ready(Err::<(_, Duration), _>("none"));
        assert_eq!(cache.get_or_load_async(&1, none).await, Err(LoadError::Failed("none")));
        assert!(cache.is_empty());
    });
}

/// A key of any form that is equivalent, and a future that borrows.
#[test]
fn keys_are_asked_for_in_any_form() {
    on_runtimes(|| async {
        let cache: Cache<String, String> = Cache::new(10);
        let text = "value".to_owned();
        let load = || async { Ok::<_, ()>((text.clone(), Duration::MAX)) };
        assert_eq!(cache.get_or_load_async("key", load).await.as_deref(), Ok("value"));
        let again = pin!(cache.get_or_load_async("key", || async { Err::<(_, Duration), _>(()) }));
        assert_eq!(again.await.as_deref(), Ok("value"));
    });
}

/// Called within a closure of the cache: a panic that says so.
#[test]
fn a_call_from_within_a_closure_panics() {
    let _watchdog = Watchdog::start();
    for cache in [1, 8].map(in_shards) {
        cache.insert(2, 2);
        for key in 0..10 {
            let call = || ready(Ok::<_, ()>((0, Duration::MAX)));
            cache.read(&2, |_| {
                let mut loading = Box::pin(cache.get_or_load_async(&key, call));
                assert!(catch(|| poll(loading.as_mut(), &Arc::default())).is_err());
            });
        }
        assert_eq!((cache.len(), cache.get(&2)), (1, Some(2)));
    }
}
