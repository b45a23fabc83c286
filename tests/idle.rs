//! Entries that expire if nobody uses them: what counts as a use, and which end comes first.

#![cfg(not(any(punctual_loom, miri)))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/setup.rs"]
mod setup;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, Compute, Lookup, ManualClock, Reaper, RemovalCause, Ttl};
use punctual_testing::log::Log;
use punctual_testing::watchdog::{Watchdog, wait_until};

use crate::setup::{Family, Setup, Shared, Subject, Unsync};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const RESOLUTION: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);

struct Stage<C> {
    clock: ManualClock,
    heard: Log<(u64, u64, RemovalCause)>,
    cache: C,
}

type StageOf<F> = Stage<<F as Family>::Cache<u64, u64>>;

fn stage<F: Family>(change: impl FnOnce(Setup<u64, u64>) -> Setup<u64, u64>) -> StageOf<F> {
    let heard = Log::default();
    let setup =
        Setup { time_to_idle: Some(IDLE), resolution: Some(RESOLUTION), ..Setup::of_capacity(100) };
    let setup = change(setup.on_removal(heard.listener()));
    Stage { clock: setup.clock.clone(), heard, cache: F::build(&setup) }
}

/// Whether an entry is there, and that all lookups that are no use agree.
fn is_there<C: Subject<u64, u64>>(cache: &C, key: u64) -> bool {
    let is_there = cache.contains_key(&key);
    assert_eq!(cache.peek(&key).is_some(), is_there);
    assert_eq!(cache.expires_in(&key).is_some(), is_there);
    let mut visited = false;
    cache.for_each(|&other, _| visited |= other == key);
    assert_eq!(visited, is_there);
    let mut shown = false;
    cache.for_each_entry(|entry| shown |= *entry.key() == key);
    assert_eq!(shown, is_there);
    is_there
}

// ---- What is a use ----

type Call<C> = (&'static str, fn(&mut C));

/// The calls about key 1 that count as a use where it is there.
fn uses<C: Subject<u64, u64>>() -> Vec<Call<C>> {
    vec![
        ("get", |cache| assert!(cache.get(&1).is_some())),
        ("read", |cache| assert!(cache.read(&1, |_| ()).is_some())),
        ("update", |cache| assert!(cache.update(&1, |_| ()).is_some())),
        ("compute", |cache| {
            assert!(cache.compute(1, |live| Compute::Keep(live.is_some())));
        }),
        ("compute that sets", |cache| {
            assert!(cache.compute(1, |live| Compute::Set(1, live.is_some())));
        }),
        ("read_many", |cache| cache.read_many(&[1], |_, value| assert!(value.is_some()))),
        ("read_many, in chunks", |cache| {
            let mut found = 0;
            cache.read_many(&[1; 20], |_, value| found += usize::from(value.is_some()));
            assert_eq!(found, 20);
        }),
        ("get_and_set_ttl", |cache| assert!(cache.get_and_set_ttl(&1, Ttl::Never).is_some())),
        ("get_or_insert_with", |cache| {
            cache.get_or_insert_with(&1, || unreachable!("it is there"));
        }),
        ("try_get_or_insert_with", |cache| {
            assert!(cache.try_get_or_insert_with(&1, || Err(())).is_ok());
        }),
        ("get_or_load", |cache| {
            let load = || -> Result<(u64, Ttl), ()> { Err(()) };
            assert!(cache.get_or_load(&1, load).is_ok());
        }),
        ("insert", |cache| assert_eq!(cache.insert(1, 1), Some(1))),
        ("insert_with_ttl", |cache| {
            assert_eq!(cache.insert_with_ttl(1, 1, Ttl::Never), Some(1));
        }),
        ("insert_many", |cache| cache.insert_many([(1, 1)])),
    ]
}

/// The calls about key 1 that are none.
fn no_uses<C: Subject<u64, u64>>() -> Vec<Call<C>> {
    vec![
        ("peek", |cache| assert!(cache.peek(&1).is_some())),
        ("contains_key", |cache| assert!(cache.contains_key(&1))),
        ("expires_in", |cache| assert!(cache.expires_in(&1).is_some())),
        ("set_ttl", |cache| assert!(cache.set_ttl(&1, Ttl::Never))),
        ("set_ttl, default", |cache| assert!(cache.set_ttl(&1, Ttl::Default))),
        ("for_each", |cache| cache.for_each(|_, _| ())),
        ("for_each_entry", |cache| cache.for_each_entry(|_| ())),
        ("retain", |cache| cache.retain(|_, _| true)),
        ("insert_if_absent", |cache| assert_eq!(cache.insert_if_absent(1, 2), Err((1, 2)))),
        ("remove_if", |cache| assert_eq!(cache.remove_if(&1, |_| false), None)),
        ("get of another", |cache| assert!(cache.get(&2).is_none())),
        ("reap", |cache| assert_eq!(cache.reap(usize::MAX), 0)),
        ("stats", |cache| assert_eq!(cache.stats().held, 1)),
        ("len", |cache| assert_eq!(cache.len(), 1)),
        ("next_expiry", |cache| assert!(cache.next_expiry().is_some())),
        ("due_len", |cache| assert_eq!(cache.due_len(), 0)),
    ]
}

fn a_use_postpones_the_end_and_nothing_else_does<F: Family>() {
    let calls = uses().into_iter().map(|call| (call, true));
    for ((name, call), is_use) in calls.chain(no_uses().into_iter().map(|call| (call, false))) {
        let Stage { clock, mut cache, heard } = stage::<F>(|setup| setup);
        cache.insert(1, 1);
        clock.advance(IDLE - SECOND);
        call(&mut cache);
        heard.take();
        let left = cache.expires_in(&1).unwrap();
        let most = if is_use { IDLE } else { SECOND };
        assert!((most - RESOLUTION..=most).contains(&left), "{name}: {left:?}");
        clock.advance(most - MILLISECOND);
        assert!(is_there(&cache, 1), "{name}: too early");
        clock.advance(MILLISECOND + RESOLUTION);
        assert!(!is_there(&cache, 1), "{name}: too late");
        assert_eq!((cache.len(), cache.due_len()), (1, 1), "{name}");
        assert_eq!(cache.reap(usize::MAX), 1, "{name}");
        assert_eq!(heard.take(), [(1, 1, RemovalCause::Expired)], "{name}");
    }
}

/// Used at every half of the time, an entry lives for ever; the wheel has had every tick by then.
fn what_is_used_lives_on_and_its_neighbours_do_not<F: Family>() {
    let Stage { clock, mut cache, heard } = stage::<F>(|setup| setup);
    cache.insert_many((0..100).map(|key| (key, key)));
    for round in 0..200 {
        clock.advance(IDLE / 2);
        for key in 0..10 {
            assert_eq!(cache.read(&key, |&value| value), Some(key), "round {round}");
        }
        cache.reap(usize::MAX);
    }
    assert_eq!(cache.len(), 10);
    let mut gone: Vec<_> = heard.take().into_iter().map(|(key, _, cause)| (key, cause)).collect();
    gone.sort_unstable_by_key(|&(key, _)| key);
    let expected: Vec<_> = (10..100).map(|key| (key, RemovalCause::Expired)).collect();
    assert_eq!(gone, expected);
}

/// A use of an entry that is due does not bring it back.
fn what_is_due_is_not_brought_back<F: Family>() {
    let calls: Vec<Call<F::Cache<u64, u64>>> = vec![
        ("get", |cache| assert!(cache.get(&1).is_none())),
        ("update", |cache| assert!(cache.update(&1, |_| ()).is_none())),
        ("read_many", |cache| cache.read_many(&[1; 20], |_, value| assert!(value.is_none()))),
        ("get_and_set_ttl", |cache| assert!(cache.get_and_set_ttl(&1, HOUR).is_none())),
        ("set_ttl", |cache| assert!(!cache.set_ttl(&1, HOUR))),
        ("compute", |cache| assert!(cache.compute(1, |live| Compute::Keep(live.is_none())))),
        ("remove_if", |cache| assert!(cache.remove_if(&1, |_| unreachable!()).is_none())),
        ("remove_entry", |cache| assert!(cache.remove_entry(&1).is_none())),
    ];
    for (name, call) in calls {
        let Stage { clock, mut cache, heard } = stage::<F>(|setup| setup);
        cache.insert(1, 1);
        clock.advance(IDLE + RESOLUTION);
        call(&mut cache);
        assert!(!is_there(&cache, 1), "{name}");
        cache.reap(usize::MAX);
        assert_eq!(cache.len(), 0, "{name}");
        assert_eq!(heard.take(), [(1, 1, RemovalCause::Expired)], "{name}");
    }
    let Stage { clock, mut cache, heard } = stage::<F>(|setup| setup);
    cache.insert(1, 1);
    clock.advance(IDLE + RESOLUTION);
    assert_eq!(cache.insert_if_absent(1, 2), Ok(()));
    assert_eq!(heard.take(), [(1, 1, RemovalCause::Expired)]);
    clock.advance(IDLE - MILLISECOND);
    assert_eq!(cache.read(&1, |&value| value), Some(2));
}

// ---- Which end comes first ----

/// Random calls that move either end of one entry, against the two ends computed beside it.
fn the_earlier_of_both_ends_is_the_end<F: Family>() {
    const RUNS: u64 = 40;
    let mut ends = [0, 0];
    for seed in 0..RUNS {
        let mut random = fastrand::Rng::with_seed(seed);
        // With a tick that every time is a multiple of, the ends are exact.
        let tick = Duration::from_nanos(1 << 23);
        let Stage { clock, mut cache, .. } =
            stage::<F>(|setup| Setup { time_to_idle: Some(tick * 30), ..setup });
        let mut now = Duration::ZERO;
        // The ends of TTL and idle time.
        let mut entry: Option<(Duration, Duration)> = None;
        for step in 0..2_000 {
            let most = if random.u8(..8) == 0 { 40 } else { 12 };
            let passed = tick * random.u32(..most);
            clock.advance(passed);
            now += passed;
            if let Some((ttl_end, idle_end)) = entry.filter(|&(ttl, idle)| ttl.min(idle) <= now) {
                ends[usize::from(idle_end < ttl_end)] += 1;
                entry = None;
            }
            let ttl = tick * random.u32(1..100);
            let (ttl_end, idle_end) = (now + ttl, now + tick * 30);
            let is_live = entry.is_some();
            match random.u8(..10) {
                0 => {
                    assert_eq!(cache.insert_with_ttl(1, 1, ttl).is_some(), is_live);
                    entry = Some((ttl_end, idle_end));
                }
                1..=3 => {
                    assert_eq!(cache.get(&1).is_some(), is_live, "seed {seed}, step {step}");
                    entry = entry.map(|(ttl_end, _)| (ttl_end, idle_end));
                }
                4 => {
                    assert_eq!(cache.set_ttl(&1, ttl), is_live, "seed {seed}, step {step}");
                    entry = entry.map(|(_, idle_end)| (ttl_end, idle_end));
                }
                5 => {
                    assert_eq!(cache.get_and_set_ttl(&1, ttl).is_some(), is_live);
                    entry = entry.map(|_| (ttl_end, idle_end));
                }
                6 => {
                    cache.compute(1, |live| {
                        assert_eq!(live.is_some(), is_live);
                        Compute::SetWithTtl(1, ttl.into(), ())
                    });
                    entry = Some((ttl_end, idle_end));
                }
                7 => {
                    cache.compute(1, |_| Compute::Keep(()));
                    entry = entry.map(|(ttl_end, _)| (ttl_end, idle_end));
                }
                8 => _ = cache.reap(1),
                _ => assert_eq!(is_there(&cache, 1), is_live, "seed {seed}, step {step}"),
            }
            let end = entry.map(|(ttl_end, idle_end)| ttl_end.min(idle_end) - now);
            match (cache.expires_in(&1), end) {
                (Some(left), Some(end)) => assert!(
                    left <= end && end - left <= RESOLUTION,
                    "seed {seed}, step {step}: {left:?} of {end:?}"
                ),
                (left, end) => assert_eq!(left, end, "seed {seed}, step {step}"),
            }
            if let (Some(end), Some(next)) = (end, cache.next_expiry()) {
                assert!(next <= end, "seed {seed}, step {step}: {next:?} is after {end:?}");
            } else {
                assert_eq!(end, None, "it has an end, and nothing is to expire");
            }
        }
    }
    assert!(ends.iter().all(|&count| count > RUNS * 10), "both ends are met: {ends:?}");
}

fn set_ttl_moves_the_end_of_the_ttl_alone<F: Family>() {
    let Stage { clock, mut cache, .. } = stage::<F>(|setup| Setup { ttl: Some(HOUR), ..setup });
    cache.insert(1, 1);
    clock.advance(4 * SECOND);
    // Shorter than what is left of the idle time, then longer, then zero.
    assert!(cache.set_ttl(&1, 2 * SECOND));
    assert!(cache.expires_in(&1).unwrap() <= 2 * SECOND);
    assert!(cache.set_ttl(&1, HOUR));
    let left = cache.expires_in(&1).unwrap();
    assert!((6 * SECOND - RESOLUTION..=6 * SECOND).contains(&left), "{left:?}");
    // A use does not outlive the TTL.
    assert!(cache.set_ttl(&1, 2 * SECOND));
    assert!(cache.get(&1).is_some());
    assert!(cache.expires_in(&1).unwrap() <= 2 * SECOND);
    clock.advance(2 * SECOND + RESOLUTION);
    assert!(!is_there(&cache, 1));
    cache.insert(2, 2);
    assert!(cache.set_ttl(&2, Duration::ZERO));
    assert!(!is_there(&cache, 2));
}

/// An idle time so long that it counts as never is none.
fn an_idle_time_of_ages_is_none<F: Family>() {
    for time in [Duration::MAX, Duration::from_secs(1_000_000_001)] {
        let setup = Setup::<u64, u64> { time_to_idle: Some(time), ..Setup::of_capacity(10) };
        let mut cache = F::build(&setup);
        cache.insert(1, 1);
        assert_eq!(cache.expires_in(&1), Some(Duration::MAX));
        assert_eq!(cache.next_expiry(), None);
    }
    let years = Duration::from_secs(1_000_000_000);
    let setup = Setup::<u64, u64> { time_to_idle: Some(years), ..Setup::of_capacity(10) };
    let mut cache = F::build(&setup);
    cache.insert(1, 1);
    setup.clock.advance(years - SECOND);
    assert!(cache.get(&1).is_some());
    setup.clock.advance(years - SECOND);
    assert!(is_there(&cache, 1));
    setup.clock.advance(years / 1_000 + 2 * SECOND);
    assert!(!is_there(&cache, 1));
}

punctual_testing::test_both_caches! {
    a_use_postpones_the_end_and_nothing_else_does
    what_is_used_lives_on_and_its_neighbours_do_not
    what_is_due_is_not_brought_back
    the_earlier_of_both_ends_is_the_end
    set_ttl_moves_the_end_of_the_ttl_alone
    an_idle_time_of_ages_is_none
}

// ---- Lookups with tickets ----

#[test]
fn a_look_up_that_hits_is_a_use() {
    let Stage { clock, cache, .. } = stage::<Shared>(|setup| Setup { ttl: Some(HOUR), ..setup });
    cache.insert(1, 1);
    clock.advance(9 * SECOND);
    assert!(matches!(cache.lookup(&1, Duration::ZERO), Lookup::Hit(1)));
    clock.advance(9 * SECOND);
    let Lookup::Refresh(1, ticket) = cache.lookup(&1, 2 * HOUR) else { panic!("its TTL ends") };
    clock.advance(9 * SECOND);
    assert!(is_there(&cache, 1));
    assert!(ticket.store(2, HOUR));
    clock.advance(9 * SECOND);
    assert_eq!(cache.get(&1), Some(2));
}

/// A refresh is for what its TTL ends. What the idle time would end has been used right now.
#[test]
fn nothing_is_refreshed_for_its_idle_time() {
    let Stage { clock, cache, .. } = stage::<Shared>(|setup| setup);
    cache.insert(1, 1);
    cache.insert_with_ttl(2, 2, HOUR);
    clock.advance(SECOND);
    for key in [1, 2] {
        let found = cache.lookup(&key, 60 * SECOND);
        assert!(matches!(found, Lookup::Hit(_)), "{found:?}");
    }
    let found = cache.lookup(&2, HOUR);
    assert!(matches!(found, Lookup::Refresh(2, _)), "{found:?}");
    drop(found);
    // By whatever is left of its TTL, be it longer than the idle time or not.
    assert!(cache.set_ttl(&2, 20 * SECOND));
    assert!(matches!(cache.lookup(&2, 19 * SECOND), Lookup::Hit(2)));
    assert!(matches!(cache.lookup(&2, 21 * SECOND), Lookup::Refresh(2, _)));
    assert!(cache.set_ttl(&2, 5 * SECOND));
    assert!(matches!(cache.lookup(&2, 4 * SECOND), Lookup::Hit(2)));
    assert!(matches!(cache.lookup(&2, 6 * SECOND), Lookup::Refresh(2, _)));
}

/// A caller that waited for another's load has used what that has brought.
#[test]
fn a_loader_that_finds_another_s_value_uses_it() {
    let _watchdog = Watchdog::start();
    let Stage { clock, cache, .. } = stage::<Shared>(|setup| setup);
    let ticket = match cache.lookup(&1, Duration::ZERO) {
        Lookup::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    };
    thread::scope(|scope| {
        let waiting = scope.spawn(|| cache.get_or_insert_with(&1, || unreachable!("it waits")));
        wait_until("it waits", || cache.stats().loads_joined == 1 || cache.stats().misses == 2);
        assert!(ticket.store(7, Ttl::Default));
        assert_eq!(waiting.join().unwrap(), 7);
    });
    let left = cache.expires_in(&1).unwrap();
    assert!(left >= IDLE - RESOLUTION, "{left:?}");
    clock.advance(IDLE + RESOLUTION);
    assert!(!is_there(&cache, 1));
}

// ---- Threads ----

/// Entries that threads use are not freed, the others are, and in time, with nobody touching them.
#[test]
fn the_reaper_frees_what_is_idle_and_not_what_is_used() {
    const KEYS: u64 = 1_000;
    const USED: u64 = 100;
    let _watchdog = Watchdog::start();
    // Far more than a thread that uses them is ever kept waiting.
    let idle = 20 * SECOND;
    let short = 300 * MILLISECOND;
    let freed = Log::default();
    let builder = Cache::builder().capacity(2_000).reaper(Reaper::Thread).time_to_idle(short);
    let cache: Cache<u64, u64> = builder.on_removal(freed.listener()).build().unwrap();
    let kept: Cache<u64, u64> =
        Cache::builder().capacity(2_000).reaper(Reaper::Thread).time_to_idle(idle).build().unwrap();
    for key in 0..KEYS {
        cache.insert(key, key);
        kept.insert(key, key);
    }
    let began = Instant::now();
    // Those in use are seen to be there as long as less than the idle time has passed since.
    let mut unbroken = 0;
    let mut last = Instant::now();
    while cache.len() > USED as usize || unbroken < 20 {
        let found = (0..USED).filter(|&key| cache.read(&key, |_| ()).is_some()).count();
        if last.elapsed() < short {
            unbroken += 1;
        }
        if found < USED as usize {
            // Kept waiting for longer: begin again.
            assert!(last.elapsed() >= short, "{found} are left of {USED} that were used in time");
            (0..USED).for_each(|key| _ = cache.insert(key, key));
        }
        last = Instant::now();
        thread::sleep(5 * MILLISECOND);
        assert!(began.elapsed() < 300 * SECOND, "{} are left", cache.len());
    }
    assert!(freed.len() >= (KEYS - USED) as usize);
    wait_until("all are freed", || cache.is_empty());
    assert!(freed.take().iter().all(|&(_, _, cause)| cause == RemovalCause::Expired));
    assert!(began.elapsed() >= short);
    // The other one's are not due yet, unless this has taken that long.
    assert!(kept.len() == KEYS as usize || began.elapsed() >= idle);
}

/// Several threads use keys while another moves the clock and frees: what is used in time is
/// always there.
#[test]
fn threads_use_entries_while_another_frees() {
    const ROUNDS: u64 = 300;
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let Stage { clock, cache, .. } =
            stage::<Shared>(|setup| Setup { shards: Some(shards), ..setup });
        cache.insert_many((0..40).map(|key| (key, key)));
        // The round that a thread has used its keys in.
        let used: [AtomicU64; 3] = std::array::from_fn(|_| AtomicU64::new(0));
        let round = AtomicU64::new(0);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for (thread, used) in (0..).zip(&used) {
                let (cache, round, is_over) = (&cache, &round, &is_over);
                scope.spawn(move || {
                    while !is_over.load(SeqCst) {
                        let seen = round.load(SeqCst);
                        // Their own ones, and one that all of them use.
                        for key in (thread * 10..thread * 10 + 9).chain([39]) {
                            assert_eq!(cache.get(&key), Some(key), "round {seen}");
                        }
                        used.store(seen, SeqCst);
                        thread::yield_now();
                    }
                });
            }
            for number in 1..=ROUNDS {
                round.store(number, SeqCst);
                // All have used all of theirs at the time that it is before it passes.
                wait_until("all are used", || used.iter().all(|used| used.load(SeqCst) == number));
                clock.advance(IDLE / 2 - RESOLUTION);
                cache.reap(usize::MAX);
            }
            is_over.store(true, SeqCst);
        });
        let mut left = 0;
        cache.for_each(|_, _| left += 1);
        assert_eq!((left, cache.len()), (28, 28), "{shards} shards");
    }
}
