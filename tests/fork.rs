//! A child that is forked without `exec`: its parent's caches go on there, without
//! their reaper, until the child builds a cache of its own.
//!
//! One test at a time: what is forked is a process with as few threads as can be. And
//! only while the reaper sleeps: the child would wait for ever for what the reaper has
//! locked just then, as the docs say.

#![cfg(target_os = "linux")]
#![cfg(not(any(punctual_loom, miri)))]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual::{Cache, Clock, LoadEnd, LoadTicket, LoadWait, Lookup, SystemClock};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::panics::catch;
use punctual_testing::proc::threads_named;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The functions of POSIX, as the C library has them on every Linux.
mod posix {
    unsafe extern "C" {
        pub(super) safe fn fork() -> i32;
        pub(super) safe fn _exit(code: i32) -> !;
        pub(super) safe fn alarm(seconds: u32) -> u32;
        pub(super) fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    }
}

/// Ends the child with a message that no test harness holds back.
fn fail(what: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "in the forked child: {what}");
    posix::_exit(1)
}

/// As `assert!`, in the child.
macro_rules! must {
    ($condition:expr) => {
        if !$condition {
            fail(concat!(file!(), ":", line!(), ": ", stringify!($condition)));
        }
    };
}

/// Ends the process, or the child, should it hang.
const SECONDS_MAX: u32 = 900;

/// Runs `child` in a forked process; returns once that has ended well.
fn in_child(child: impl FnOnce()) {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let process = loop {
        let asleep = sleep_of_the_reaper();
        let process = posix::fork();
        assert!(process >= 0, "no process could be forked");
        if process == 0 {
            drop(here);
            posix::alarm(SECONDS_MAX);
            // Nothing comes, but the end of the other side, if this one is not used.
            if there.read_exact(&mut [0]).is_err() {
                posix::_exit(0);
            }
            match catch(child) {
                Ok(()) => posix::_exit(0),
                Err(panic) => fail(panic.downcast_ref().map_or("a panic", String::as_str)),
            }
        }
        if asleep.is_some() && sleep_of_the_reaper() == asleep {
            break process;
        }
        // The reaper was up, for all that is known.
        drop(here);
        assert_eq!(wait_for(process), 0);
        (here, there) = UnixStream::pair().unwrap();
        thread::sleep(MILLISECOND);
    };
    here.write_all(&[1]).unwrap();
    let status = wait_for(process);
    // The lowest seven bits are the signal that has ended it, the next eight its
    // exit code; the alarm's is signal 14.
    assert_eq!(status, 0, "the child ended with status {status:#x}");
}

fn wait_for(process: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a place for one `int`, for the time of the call.
    let ended = unsafe { posix::waitpid(process, &raw mut status, 0) };
    assert_eq!(ended, process);
    status
}

/// A value that counts its end.
type Counted = (u64, Instance);

/// Waits for so many ends, and touches nothing meanwhile.
fn await_ends(values: &Instances, count: usize) {
    await_that(|| values.dropped() >= count);
    assert_eq!(values.dropped(), count);
}

/// Waits until something is true; a child's alarm, or the test's, ends it.
fn await_that(mut is_true: impl FnMut() -> bool) {
    while !is_true() {
        thread::sleep(MILLISECOND);
    }
}

/// The folders of this process's threads that are named as the reaper is.
fn reapers() -> Vec<PathBuf> {
    threads_named("punctual-reaper")
}

/// How often the reapers have gone to sleep so far, if all of them sleep. Where that
/// is the same later, they have slept all the while.
fn sleep_of_the_reaper() -> Option<Vec<String>> {
    let sleeps = reapers().into_iter().map(|task| {
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        let is_asleep = status.lines().any(|line| line.starts_with("State:\tS"));
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        is_asleep.then(|| switches.collect::<String>())
    });
    sleeps.collect()
}

/// The coarse clock once it has moved: no longer behind what was before this call.
fn up_to_date_now() -> Duration {
    let behind = SystemClock.now();
    loop {
        let now = SystemClock.now();
        if now > behind {
            return now;
        }
    }
}

fn fill(cache: &Cache<u64, Counted>, keys: std::ops::Range<u64>, ttl: Duration) -> Instances {
    let values = Instances::default();
    for key in keys {
        cache.insert_with_ttl(key, (key, values.make()), ttl);
    }
    values
}

/// What the parent has put in goes on, by the calls alone.
fn an_inherited_cache_goes_on(
    cache: &Cache<u64, Counted>,
    filled_at: Duration,
    there_until: Duration,
    due_at: Duration,
) {
    must!(reapers().is_empty());
    must!(cache.read(&0, |value| value.0) == Some(0));
    let left = cache.expires_in(&0).unwrap_or_default();
    // Less than is left by a resolution at most.
    let least = 3_600 * SECOND - 10 * MILLISECOND;
    must!(left <= 3_600 * SECOND && SystemClock.now() - filled_at + left >= least);
    // By the time that the parent has said, nobody keeping the time here.
    while SystemClock.now() <= due_at {
        must!(cache.contains_key(&500) || SystemClock.now() >= there_until);
        thread::sleep(MILLISECOND);
    }
    for key in 100..600 {
        must!(!cache.contains_key(&key));
    }
    cache.reap(usize::MAX);
    must!(cache.len() == 1);
    // What the child puts in is there until its time is up, and then the calls
    // free it: some of it each, and `reap` the rest.
    let kept = fill(cache, 2_000..2_100, 3_600 * SECOND);
    let ends = fill(cache, 1_000..1_200, 30 * MILLISECOND);
    // That frees nothing, so at least the last one waits.
    await_that(|| !cache.contains_key(&1_199));
    let freed = ends.dropped();
    must!(freed < 200);
    await_that(|| {
        must!(cache.read(&0, |_| ()).is_some());
        ends.dropped() > freed
    });
    for key in 1_000..1_200 {
        must!(!cache.contains_key(&key));
    }
    cache.reap(usize::MAX);
    must!(ends.dropped() == 200 && kept.dropped() == 0);
    must!(cache.remove(&2_000).is_some() && kept.dropped() == 1);
    must!(cache.len() == 100);
}

/// A cache that the child builds brings a reaper, which also serves the others.
fn a_cache_of_the_child_s_own_is_served(inherited: &Cache<u64, Counted>) {
    let own: Cache<u64, Counted> = Cache::new(1_000);
    await_that(|| reapers().len() == 1);
    // Several times over: the reaper has to wake up, and to go to sleep again.
    for _ in 0..5 {
        let ends = fill(&own, 0..200, 20 * MILLISECOND);
        let inherited_ends = fill(inherited, 5_000..5_200, 25 * MILLISECOND);
        await_ends(&ends, 200);
        await_ends(&inherited_ends, 200);
        thread::sleep(20 * MILLISECOND);
    }
    // It is one for all of the child's.
    let other: Cache<u64, Counted> = Cache::new(1_000);
    must!(reapers().len() == 1);
    let ends = fill(&other, 0..200, 20 * MILLISECOND);
    await_ends(&ends, 200);
    // A loader's turn passes on here too.
    let shared: Cache<u64, u64> = Cache::new(10);
    let waits = thread::spawn({
        let shared = shared.clone();
        move || shared.get_or_insert_with(&1, || 1)
    });
    must!(shared.get_or_insert_with(&1, || 1) == 1);
    must!(waits.join().is_ok_and(|value| value == 1));
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_forked_child_goes_on() {
    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let cache: Cache<u64, Counted> = Cache::builder().capacity(5_000).shards(1).build().unwrap();
    let filled_at = SystemClock.now();
    fill(&cache, 0..1, 3_600 * SECOND);
    // Another one, which the child drops untouched.
    let mut other = Some(Cache::new(100));
    let other_ends = fill(other.as_ref().unwrap(), 0..50, 3_600 * SECOND);
    await_that(|| reapers().len() == 1);
    let there_until = SystemClock.now() + 300 * MILLISECOND;
    let ends = fill(&cache, 100..600, 300 * MILLISECOND);
    // A resolution later at most, by the coarse clock.
    let due_at = up_to_date_now() + 310 * MILLISECOND;
    in_child(|| {
        an_inherited_cache_goes_on(&cache, filled_at, there_until, due_at);
        a_cache_of_the_child_s_own_is_served(&cache);
        // And once more, where the reaper is the child's own.
        in_child(|| {
            must!(reapers().is_empty());
            must!(cache.read(&0, |value| value.0) == Some(0));
            a_cache_of_the_child_s_own_is_served(&cache);
        });
        must!(reapers().len() == 1);
        drop(other.take());
        must!(other_ends.dropped() == 50);
    });
    // Nothing of that is the parent's.
    await_ends(&ends, 500);
    assert_eq!(other_ends.dropped(), 0);
    assert!(other.is_some_and(|other| other.len() == 50));
    assert_eq!(cache.len(), 1);
    assert_eq!(reapers().len(), 1);
    let own: Cache<u64, Counted> = Cache::new(1_000);
    let ends = fill(&own, 0..200, 20 * MILLISECOND);
    await_ends(&ends, 200);
    the_time_that_a_parent_keeps_is_not_trusted();
}

/// While calls come in thick and fast the reaper keeps the time for them. A child
/// has that time too, and nobody who would go on with it.
fn the_time_that_a_parent_keeps_is_not_trusted() {
    let cache: Cache<u64, u64> = Cache::new(10);
    for _ in 0..5 {
        cache.insert_with_ttl(1, 1, 500 * MILLISECOND);
        for _ in 0..400_000 {
            std::hint::black_box(cache.get(&1));
        }
        in_child(|| {
            await_that(|| cache.get(&1).is_none());
            // Nor by a child with a reaper of its own.
            let own: Cache<u64, u64> = Cache::new(10);
            own.insert_with_ttl(1, 1, 50 * MILLISECOND);
            await_that(|| own.get(&1).is_none());
        });
    }
}

/// A load that another thread of the parent was at: nobody will end it in the
/// child, so whoever asks there loads anew.
/// A shard that is locked at the fork stays so in the child. Its reaper serves the others.
#[test]
fn a_shard_that_stays_locked_does_not_stop_the_reaper() {
    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let held: Cache<u64, u64> = Cache::builder().capacity(10).shards(1).build().unwrap();
    held.insert_with_ttl(1, 1, 3_600 * SECOND);
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (release, is_released) = std::sync::mpsc::channel::<()>();
    let holder = thread::spawn(move || {
        held.read(&1, |_| {
            entered.send(()).unwrap();
            let _ = is_released.recv();
        });
    });
    has_entered.recv().unwrap();
    in_child(|| {
        let own: Cache<u64, Counted> = Cache::new(100);
        let ends = fill(&own, 0..50, 20 * MILLISECOND);
        await_ends(&ends, 50);
    });
    drop(release);
    holder.join().unwrap();
}

#[test]
fn a_load_that_stays_behind_is_not_waited_for() {
    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let cache: Cache<u64, u64> = Cache::new(10);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (ends, may_end) = std::sync::mpsc::channel::<()>();
    let loads = thread::spawn({
        let cache = cache.clone();
        move || {
            cache.get_or_insert_with(&1, || {
                begun.send(()).unwrap();
                let _ = may_end.recv();
                1
            })
        }
    });
    has_begun.recv().unwrap();
    in_child(|| {
        // In the child of a child, too, and whoever forks within a loader goes on.
        let value = cache.get_or_insert_with(&2, || {
            in_child(|| {
                must!(cache.get_or_insert_with(&1, || 4) == 4);
                let asks = thread::spawn({
                    let cache = cache.clone();
                    move || cache.get_or_insert_with(&2, || 5)
                });
                must!(asks.join().is_ok_and(|value| value == 5));
            });
            2
        });
        must!(value == 2);
        must!(cache.get_or_insert_with(&1, || 3) == 3);
        must!((cache.get(&1), cache.get(&2)) == (Some(3), Some(2)));
        // And they are loads like any other: one runs.
        let (cache, runs) = (&cache, &AtomicUsize::new(0));
        thread::scope(|scope| {
            let misses = cache.stats().misses;
            for _ in 0..4 {
                scope.spawn(move || {
                    cache.get_or_insert_with(&3, || {
                        await_that(|| cache.stats().misses == misses + 4);
                        runs.fetch_add(1, SeqCst) as u64
                    })
                });
            }
        });
        must!(runs.load(SeqCst) == 1);
    });
    drop(ends);
    assert_eq!(loads.join().unwrap(), 1);
    assert_eq!(cache.get(&1), Some(1));
    assert_eq!(cache.get(&2), None);
}

/// Tickets that the parent gave, to the forking thread and to another: the child's are of loads
/// that it has given up once it claims one, and store nothing. The parent's go on.
#[test]
fn tickets_of_the_parent_store_nothing_in_the_child() {
    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let builder = Cache::<u64, u64>::builder().capacity(100).shards(1);
    let cache = builder.concurrent_loads(16).build().unwrap();
    cache.insert_with_ttl(3, 3, 3_600 * SECOND);
    let (gives, of_another) = std::sync::mpsc::channel();
    thread::spawn({
        let cache = cache.clone();
        move || (1..3).for_each(|key| gives.send(miss(&cache, key)).unwrap())
    })
    .join()
    .unwrap();
    let mut tickets: Vec<_> = of_another.iter().collect();
    let Lookup::Refresh(3, refresh) = cache.lookup(&3, Duration::MAX) else { panic!() };
    tickets.extend([refresh, miss(&cache, 4)]);
    let mut waits = Some((1..3).map(|key| loading(&cache, key)).collect::<Vec<_>>());
    let mut tickets = Some(tickets);
    in_child(|| {
        // Whoever waits looks again, and one of them might have the next ticket.
        let mut waits = waits.take().unwrap().into_iter();
        must!(waits.all(|load| load.wait(Duration::MAX) == LoadEnd::Abandoned));
        let own = miss(&cache, 1);
        for (ticket, key) in tickets.take().unwrap().into_iter().zip(1..) {
            must!(*ticket.key() == key);
            must!(!ticket.store(10, SECOND));
        }
        must!((cache.get(&1), cache.get(&3), cache.get(&4)) == (None, Some(3), None));
        // And they have ended no load but their own.
        let load = loading(&cache, 1);
        must!(own.store(11, 3_600 * SECOND));
        must!(load.wait(Duration::MAX) == LoadEnd::Stored && cache.get(&1) == Some(11));
        must!(matches!(cache.lookup(&3, Duration::MAX), Lookup::Refresh(3, _)));
    });
    let waits = waits.unwrap().into_iter();
    for (ticket, key) in tickets.unwrap().into_iter().zip(1..) {
        assert!(ticket.store(key + 20, 3_600 * SECOND));
        assert_eq!(cache.get(&key), Some(key + 20));
    }
    assert!(waits.map(|load| load.wait(Duration::MAX)).all(|end| end == LoadEnd::Stored));
}

/// The same without room in the table: what was written before the fork and since is one.
#[test]
fn unshared_tickets_of_the_parent_store_nothing_in_the_child() {
    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let builder = Cache::<u64, u64>::builder().capacity(100).shards(1);
    let cache = builder.concurrent_loads(0).build().unwrap();
    let mut tickets = Some([miss(&cache, 1), miss(&cache, 2)]);
    in_child(|| {
        let own = miss(&cache, 1);
        must!(tickets.take().unwrap().map(|ticket| ticket.store(10, SECOND)) == [false, false]);
        must!(own.store(11, 3_600 * SECOND) && cache.get(&1) == Some(11));
        must!(miss(&cache, 2).store(12, 3_600 * SECOND));
    });
    assert_eq!(tickets.unwrap().map(|ticket| ticket.store(20, 3_600 * SECOND)), [true, true]);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(20), Some(20)));
}

fn miss(cache: &Cache<u64, u64>, key: u64) -> LoadTicket<u64, u64> {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn loading(cache: &Cache<u64, u64>, key: u64) -> LoadWait {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Loading(load) => load,
        other => panic!("{other:?}"),
    }
}

/// What a child knows of the order of locks is its own: its parent's may be locked by a thread
/// that the child lacks. Here one of the parent's is at it all the time.
#[cfg(debug_assertions)]
#[test]
fn a_child_begins_with_no_order_of_locks() {
    use std::sync::atomic::AtomicBool;

    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let [a, b, c, d] = std::array::from_fn(|_| {
        let cache: Cache<u64, u64> = Cache::new(10);
        cache.insert(1, 1);
        cache
    });
    let nest = |outer: &Cache<u64, u64>, inner: &Cache<u64, u64>| {
        catch(|| outer.read(&1, |_| _ = inner.get(&1))).is_ok()
    };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                assert!(nest(&c, &d));
            }
        });
        assert!(nest(&a, &b) && !nest(&b, &a));
        for _ in 0..20 {
            in_child(|| {
                must!(nest(&b, &a) && !nest(&a, &b) && nest(&b, &a));
                in_child(|| must!(nest(&a, &b) && !nest(&b, &a)));
                // Of what is dropped nothing is left, here either.
                let own: Cache<u64, u64> = Cache::new(10);
                must!(nest(&a, &own));
                drop(own);
                must!(!nest(&a, &b));
            });
        }
        assert!(nest(&a, &b) && !nest(&b, &a));
        is_over.store(true, SeqCst);
    });
}

/// Loads of futures go on in the child, and end no load but their own.
#[cfg(feature = "async")]
#[test]
fn futures_of_the_forking_thread_go_on() {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Wakes(AtomicUsize);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    let _alone = ONE_AT_A_TIME.lock();
    posix::alarm(2 * SECONDS_MAX);
    let cache: Cache<u64, u64> = Cache::new(10);
    let is_done = AtomicUsize::new(0);
    let load = |value| {
        let is_done = &is_done;
        let load = move || {
            std::future::poll_fn(move |_| match is_done.load(SeqCst) {
                0 => Poll::Pending,
                _ => Poll::Ready(value),
            })
        };
        Box::pin(cache.get_or_insert_with_async(&1, load))
    };
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = Waker::from(wakes.clone());
    let poll =
        |future: Pin<&mut dyn Future<Output = u64>>| future.poll(&mut Context::from_waker(&waker));
    await_that(|| reapers().len() == 1);
    let mut leader = load(1);
    let mut follower = load(2);
    assert!(poll(leader.as_mut()).is_pending() && poll(follower.as_mut()).is_pending());
    // What it brings is out of date.
    cache.remove(&1);
    in_child(|| {
        let mut next = load(3);
        must!(poll(next.as_mut()).is_pending());
        is_done.store(1, SeqCst);
        must!(poll(leader.as_mut()) == Poll::Ready(1));
        must!(cache.get(&1).is_none() && wakes.0.load(SeqCst) == 1);
        must!(poll(next.as_mut()) == Poll::Ready(3));
        must!(poll(follower.as_mut()) == Poll::Ready(3));
    });
    is_done.store(1, SeqCst);
    assert_eq!(poll(leader.as_mut()), Poll::Ready(1));
    assert_eq!(poll(follower.as_mut()), Poll::Ready(2));
}
