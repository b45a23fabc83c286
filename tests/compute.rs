//! Calls that look at an entry and decide what becomes of it, with nothing in between.

#![cfg(not(any(punctual_loom, miri)))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/setup.rs"]
mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use punctual::{Cache, Compute, LoadEnd, Lookup, RemovalCause, Ttl};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::log::Log;
use punctual_testing::panics::{message_of, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::Watchdog;

use crate::setup::{Family, Setup, Shared, Subject, Unsync};

const SECOND: Duration = Duration::from_secs(1);
const RESOLUTION: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);

// ---- One thread: what is shown, and what becomes of it ----

type Heard = Log<(u64, u64, RemovalCause)>;

/// A cache with a TTL of one hour, its setup, and what its listener has heard.
fn stage<F: Family>() -> (F::Cache<u64, u64>, Setup<u64, u64>, Heard) {
    let heard = Heard::default();
    let setup = Setup { ttl: Some(HOUR), ..Setup::of_capacity(100) };
    let setup = setup.on_removal(heard.listener());
    (F::build(&setup), setup, heard)
}

fn assert_left<C: Subject<u64, u64>>(cache: &C, key: u64, most: Duration) {
    let left = cache.expires_in(&key).expect("it is there");
    assert!((most - RESOLUTION..=most).contains(&left), "{left:?} of {most:?}");
}

fn compute_shows_the_live_value_and_does_what_is_decided<F: Family>() {
    use RemovalCause::{Expired, Removed, Replaced};
    let (mut cache, setup, heard) = stage::<F>();
    let mut compute = |decision: fn(Option<&mut u64>) -> Compute<u64, u64>| {
        let mut shown = None;
        let result = cache.compute(1, |live| {
            shown = live.as_deref().copied();
            decision(live)
        });
        (shown, result, cache.peek(&1).map(|value| *std::borrow::Borrow::borrow(&value)))
    };
    // Where there is none, none is kept and none is removed.
    assert_eq!(compute(|_| Compute::Keep(10)), (None, 10, None));
    assert_eq!(compute(|_| Compute::Remove(11)), (None, 11, None));
    assert_eq!(compute(|_| Compute::Set(1, 12)), (None, 12, Some(1)));
    assert_eq!(heard.take(), []);
    let change = |live: Option<&mut u64>| {
        *live.unwrap() += 1;
        Compute::Keep(13)
    };
    assert_eq!(compute(change), (Some(1), 13, Some(2)));
    assert_eq!(heard.take(), [], "what is changed in place has not left");
    assert_eq!(compute(|_| Compute::Set(3, 14)), (Some(2), 14, Some(3)));
    assert_eq!(heard.take(), [(1, 2, Replaced)]);
    assert_eq!(compute(|_| Compute::Remove(15)), (Some(3), 15, None));
    assert_eq!(heard.take(), [(1, 3, Removed)]);
    // A TTL of zero: it is never visible, and what it replaces is gone.
    let zero = |_: Option<&mut u64>| Compute::SetWithTtl(5, Ttl::After(Duration::ZERO), 16);
    assert_eq!(compute(zero), (None, 16, None));
    assert_eq!(compute(|_| Compute::Set(4, 0)), (None, 0, Some(4)));
    assert_eq!(compute(zero), (Some(4), 16, None));
    assert_eq!(heard.take(), [(1, 5, Expired), (1, 4, Replaced), (1, 5, Expired)]);
    // What was changed and is then replaced or removed leaves as it was changed to.
    assert_eq!(compute(|_| Compute::Set(6, 0)), (None, 0, Some(6)));
    let change_and_remove = |live: Option<&mut u64>| {
        *live.unwrap() = 60;
        Compute::Remove(17)
    };
    assert_eq!(compute(change_and_remove), (Some(6), 17, None));
    assert_eq!(heard.take(), [(1, 60, Removed)]);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (5, 6), "{stats:?}");
    let counts = (stats.inserts, stats.replaced, stats.removed, stats.expired, stats.held);
    assert_eq!(counts, (6, 2, 2, 2, 0), "{stats:?}");

    // Due entries are not shown, and leave as expired, whatever is decided.
    let decisions: [fn() -> Compute<u64, u64>; 4] = [
        || Compute::Keep(0),
        || Compute::Remove(0),
        || Compute::Set(2, 0),
        || Compute::SetWithTtl(2, Ttl::After(Duration::ZERO), 0),
    ];
    for decision in decisions {
        cache.clear();
        cache.insert_with_ttl(1, 1, SECOND);
        setup.clock.advance(SECOND + RESOLUTION);
        heard.take();
        cache.compute(1, |live| {
            assert_eq!(live, None);
            decision()
        });
        cache.reap(usize::MAX);
        assert_eq!(heard.take()[0], (1, 1, Expired));
    }
}

fn compute_keeps_the_ttl_or_gives_another<F: Family>() {
    let (mut cache, setup, _) = stage::<F>();
    cache.insert_with_ttl(1, 1, 10 * SECOND);
    setup.clock.advance(4 * SECOND);
    cache.compute(1, |_| Compute::Keep(()));
    assert_left(&cache, 1, 6 * SECOND);
    cache.compute(1, |_| Compute::Set(2, ()));
    assert_left(&cache, 1, HOUR);
    cache.compute(1, |_| Compute::SetWithTtl(2, Ttl::After(7 * SECOND), ()));
    assert_left(&cache, 1, 7 * SECOND);
    cache.compute(1, |_| Compute::SetWithTtl(2, Ttl::Default, ()));
    assert_left(&cache, 1, HOUR);
    cache.compute(1, |_| Compute::SetWithTtl(2, Ttl::Never, ()));
    assert_eq!(cache.expires_in(&1), Some(Duration::MAX));
}

fn insert_if_absent_inserts_what_is_not_there<F: Family>() {
    let (mut cache, setup, heard) = stage::<F>();
    assert_eq!(cache.insert_if_absent(1, 1), Ok(()));
    assert_eq!(cache.insert_if_absent(1, 2), Err((1, 2)));
    assert_eq!(cache.insert_if_absent_with_ttl(1, 3, SECOND), Err((1, 3)));
    assert_eq!(cache.insert_if_absent_with_ttl(1, 3, Duration::ZERO), Err((1, 3)));
    assert_left(&cache, 1, HOUR);
    assert_eq!(cache.insert_if_absent_with_ttl(2, 4, SECOND), Ok(()));
    assert_left(&cache, 2, SECOND);
    let stats = cache.stats();
    assert_eq!((stats.inserts, stats.hits, stats.misses), (2, 0, 0), "it is no lookup");
    assert_eq!(heard.take(), []);
    setup.clock.advance(SECOND + RESOLUTION);
    assert_eq!(cache.insert_if_absent(2, 5), Ok(()));
    assert_eq!(heard.take(), [(2, 4, RemovalCause::Expired)]);
    assert_eq!(cache.insert_if_absent_with_ttl(3, 6, Duration::ZERO), Ok(()));
    assert_eq!(heard.take(), [(3, 6, RemovalCause::Expired)]);
    assert!(!cache.contains_key(&3));
    // In a full cache, what is there evicts nothing.
    (10..500).for_each(|key| _ = cache.insert_if_absent(key, key));
    let (len, key) = (cache.len(), (10..500).find(|key| cache.contains_key(key)).unwrap());
    heard.take();
    assert_eq!(cache.insert_if_absent(key, 0), Err((key, 0)));
    assert_eq!((cache.len(), heard.len()), (len, 0));
}

fn remove_if_removes_what_fulfils_the_condition<F: Family>() {
    let (mut cache, setup, heard) = stage::<F>();
    cache.insert(1, 1);
    assert_eq!(cache.remove_if(&1, |&value| value == 2), None);
    assert_eq!(cache.remove_if(&2, |_| unreachable!("it is not there")), None);
    assert_left(&cache, 1, HOUR);
    assert_eq!(heard.take(), []);
    assert_eq!(cache.remove_if(&1, |&value| value == 1), Some(1));
    assert_eq!(heard.take(), [(1, 1, RemovalCause::Removed)]);
    cache.insert(1, 2);
    assert_eq!(cache.remove_entry(&1), Some((1, 2)));
    assert_eq!(cache.remove_entry(&1), None);
    assert_eq!(heard.take(), [(1, 2, RemovalCause::Removed)]);
    for is_conditional in [true, false] {
        cache.insert(1, 3);
        setup.clock.advance(HOUR + RESOLUTION);
        if is_conditional {
            assert_eq!(cache.remove_if(&1, |_| unreachable!("it is due")), None);
        } else {
            assert_eq!(cache.remove_entry(&1), None);
        }
        cache.reap(usize::MAX);
        assert_eq!(heard.take(), [(1, 3, RemovalCause::Expired)]);
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.removed), (0, 0, 2), "{stats:?}");
}

/// The key that was held is handed over, not the one that asks.
fn remove_entry_gives_the_key_that_was_held<F: Family>() {
    #[derive(Clone, Debug)]
    struct Named(u64, &'static str);
    impl PartialEq for Named {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Named {}
    impl std::hash::Hash for Named {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    let heard = Log::default();
    let names = heard.clone();
    let setup = Setup::of_capacity(10);
    let setup = setup.on_removal(move |key: &Named, _: &u64, cause| names.push((key.1, cause)));
    let mut cache = F::build(&setup);
    cache.insert(Named(1, "first"), 1);
    assert_eq!(cache.insert_if_absent(Named(1, "second"), 2).unwrap_err().0.1, "second");
    cache.compute(Named(1, "third"), |_| Compute::Keep(()));
    let (key, value) = cache.remove_entry(&Named(1, "fourth")).unwrap();
    assert_eq!((key.1, value), ("first", 1));
    // As `insert` does, what is set comes with the new key.
    cache.insert(Named(1, "fifth"), 1);
    cache.compute(Named(1, "sixth"), |_| Compute::Set(2, ()));
    assert_eq!(cache.remove_entry(&Named(1, "seventh")).unwrap().0.1, "sixth");
    let causes = [RemovalCause::Removed, RemovalCause::Replaced, RemovalCause::Removed];
    let names = ["first", "fifth", "sixth"];
    assert_eq!(heard.take(), names.into_iter().zip(causes).collect::<Vec<_>>());
}

/// Whatever is decided, with a panic or without, each value is dropped once.
fn nothing_is_lost_and_nothing_dropped_twice<F: Family>() {
    let values = Instances::default();
    let setup = Setup { ttl: Some(HOUR), ..Setup::<u64, Instance>::of_capacity(10) };
    let mut cache = F::build(&setup);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let key = random.u64(..20);
        let held = cache.len();
        assert_eq!(values.live(), held);
        let make = || values.make();
        match random.u8(..12) {
            0 => cache.compute(key, |_| Compute::Set(make(), ())),
            1 => cache.compute(key, |_| Compute::SetWithTtl(make(), SECOND.into(), ())),
            2 => cache.compute(key, |_| Compute::SetWithTtl(make(), Duration::ZERO.into(), ())),
            3 => cache.compute(key, |_| Compute::Remove(())),
            4 => cache.compute(key, |live| {
                if let Some(value) = live {
                    *value = make();
                }
                Compute::Keep(())
            }),
            5 => {
                let text = message_of(|| {
                    cache.compute(key, |live| -> Compute<Instance, ()> {
                        if let Some(value) = live {
                            *value = make();
                        }
                        let _other = make();
                        panic_silently("the closure's")
                    });
                });
                assert_eq!(text.as_deref(), Some("the closure's"));
            }
            6 => {
                let condition = |_: &Instance| panic_silently("the condition's");
                let is_there = cache.contains_key(&key);
                let text = message_of(|| cache.remove_if(&key, condition));
                assert_eq!(text.is_some(), is_there);
                assert_eq!(cache.contains_key(&key), is_there);
            }
            7 => drop(cache.insert_if_absent(key, make())),
            8 => drop(cache.remove_if(&key, |_| true)),
            9 => drop(cache.remove_entry(&key)),
            // What the call returns may be a value, too.
            10 => drop(cache.compute(key, |_| Compute::Set(make(), make()))),
            _ => setup.clock.advance(SECOND / 8),
        }
    }
    drop(cache);
    assert_eq!(values.live(), 0);
}

fn a_visitor_that_panics_changes_nothing<F: Family>() {
    let (mut cache, _, heard) = stage::<F>();
    (0..50).for_each(|key| _ = cache.insert(key, key));
    let mut visited = 0;
    let text = message_of(|| {
        cache.for_each_entry(|entry| {
            assert_eq!(entry.key(), entry.value());
            visited += 1;
            if visited == 20 {
                panic_silently("the visitor's");
            }
        });
    });
    assert_eq!((text.as_deref(), visited), (Some("the visitor's"), 20));
    let mut keys = Vec::new();
    cache.for_each_entry(|entry| {
        assert!((HOUR - RESOLUTION..=HOUR).contains(&entry.expires_in()));
        keys.push(*entry.key());
    });
    keys.sort_unstable();
    assert_eq!(keys, Vec::from_iter(0..50));
    assert_eq!(heard.take(), []);
    cache.clear();
}

punctual_testing::test_both_caches! {
    compute_shows_the_live_value_and_does_what_is_decided
    compute_keeps_the_ttl_or_gives_another
    insert_if_absent_inserts_what_is_not_there
    remove_if_removes_what_fulfils_the_condition
    remove_entry_gives_the_key_that_was_held
    nothing_is_lost_and_nothing_dropped_twice
    a_visitor_that_panics_changes_nothing
}

// ---- Many threads: nothing comes in between ----

/// Setups that have a call take each of its ways.
fn setups() -> impl Iterator<Item = Setup<u64, u64>> {
    let plain = || Setup::of_capacity(1_000);
    let ruled = || {
        let setup = Setup { time_to_idle: Some(HOUR), ttl: Some(HOUR), ..plain() };
        setup.ttl_by(|_, _| Ttl::Default).weighed(1 << 20, |_, &value| value % 7)
    };
    let listening = |setup: Setup<u64, u64>| {
        setup.on_removal(|_, _, cause| assert_eq!(cause, RemovalCause::Replaced))
    };
    let all = [plain(), listening(plain()), ruled(), listening(ruled())];
    let sharded = [1, 2, 8].map(|shards| Setup { shards: Some(shards), ..ruled() });
    all.into_iter().chain(sharded).chain([Setup { shards: Some(1), ..plain() }])
}

/// Counts in two threads, and returns the sum of the counts.
fn count(setup: &Setup<u64, u64>, increment: impl Fn(&Cache<u64, u64>, u64) + Sync) -> u64 {
    const INCREMENTS: u64 = 50_000;
    let cache = Shared::build(setup);
    in_threads(2, |_| {
        for number in 0..INCREMENTS {
            increment(&cache, number % 5);
        }
    });
    (0..5).map(|key| cache.get(&key).expect("it has been counted")).sum()
}

#[test]
fn no_increment_is_lost() {
    let _watchdog = Watchdog::start();
    for setup in setups() {
        let in_place = |cache: &Cache<u64, u64>, key| {
            cache.compute(key, |live| match live {
                Some(count) => {
                    *count += 1;
                    Compute::Keep(())
                }
                None => Compute::Set(1, ()),
            });
        };
        assert_eq!(count(&setup, in_place), 100_000);
        let replaced = |cache: &Cache<u64, u64>, key| {
            cache.compute(key, |live| Compute::Set(live.map_or(1, |count| *count + 1), ()));
        };
        assert_eq!(count(&setup, replaced), 100_000);
        let begun_at_zero = |cache: &Cache<u64, u64>, key| {
            let _ = cache.insert_if_absent(key, 0);
            cache.compute(key, |live| {
                *live.expect("it is there") += 1;
                Compute::Keep(())
            });
        };
        assert_eq!(count(&setup, begun_at_zero), 100_000);
    }
}

/// Counts that are taken away as a whole, and removed where they are zero: none is counted twice.
#[test]
fn what_is_removed_is_removed_once() {
    const INCREMENTS: u64 = 20_000;
    let _watchdog = Watchdog::start();
    for setup in setups() {
        let setup = Setup { listener: None, ..setup };
        let cache = Shared::build(&setup);
        let taken = in_threads(4, |thread| {
            let mut taken = 0;
            for number in 0..INCREMENTS {
                let key = number % 3;
                match thread {
                    0 => cache.compute(key, |live| match live {
                        Some(count) => {
                            *count += 1;
                            Compute::Keep(())
                        }
                        None => Compute::Set(1, ()),
                    }),
                    1 => taken += cache.remove_if(&key, |&count| count % 2 == 0).unwrap_or(0),
                    2 => taken += cache.remove_entry(&key).map_or(0, |(_, count)| count),
                    _ => {
                        taken += cache.compute(key, |live| {
                            Compute::Remove(live.as_deref().copied().unwrap_or(0))
                        });
                    }
                }
            }
            taken
        });
        let left: u64 = (0..3).filter_map(|key| cache.remove(&key)).sum();
        assert_eq!(taken.iter().sum::<u64>() + left, INCREMENTS);
    }
}

#[test]
fn one_of_many_inserts_what_is_absent() {
    const THREADS: u64 = 4;
    let _watchdog = Watchdog::start();
    for setup in setups() {
        let cache = Shared::build(&setup);
        let inserted = AtomicU64::new(0);
        let winners = in_threads(THREADS, |thread| {
            let absent = |&key: &u64| cache.insert_if_absent(key, thread).is_ok();
            let won: Vec<u64> = (0..500).filter(absent).collect();
            inserted.fetch_add(won.len() as u64, SeqCst);
            won
        });
        assert_eq!(inserted.into_inner(), 500);
        for (thread, keys) in (0..).zip(winners) {
            assert!(keys.iter().all(|key| cache.get(key) == Some(thread)));
        }
        assert_eq!(cache.stats().inserts, 500);
    }
}

// ---- Loads in flight ----

/// Whether a load of key 1 that is in flight during the call is stored.
fn is_stored_after(call: impl FnOnce(&Cache<u64, u64>), begin_with: Option<u64>) -> bool {
    let setup = Setup { ttl: Some(HOUR), ..Setup::of_capacity(10) };
    let cache = Shared::build(&setup);
    begin_with.map(|value| cache.insert(1, value));
    let (Lookup::Miss(ticket) | Lookup::Refresh(_, ticket)) = cache.lookup(&1, Duration::MAX)
    else {
        panic!("nobody else loads it")
    };
    call(&cache);
    let is_stored = ticket.store(77, Ttl::Default);
    assert_eq!(cache.get(&1) == Some(77), is_stored);
    is_stored
}

#[test]
fn what_is_decided_overrules_a_load_and_what_is_kept_does_not() {
    type Call = fn(&Cache<u64, u64>);
    // Whether it is stored where there was nothing, and where there was a value.
    let calls: [(&str, Call, bool, bool); 11] = [
        ("keep", |cache| cache.compute(1, |_| Compute::Keep(())), true, true),
        ("set", |cache| cache.compute(1, |_| Compute::Set(5, ())), false, false),
        (
            "set with a TTL",
            |cache| cache.compute(1, |_| Compute::SetWithTtl(5, HOUR.into(), ())),
            false,
            false,
        ),
        (
            "set with none",
            |cache| cache.compute(1, |_| Compute::SetWithTtl(5, Duration::ZERO.into(), ())),
            false,
            false,
        ),
        ("remove", |cache| cache.compute(1, |_| Compute::Remove(())), false, false),
        ("insert_if_absent", |cache| _ = cache.insert_if_absent(1, 5), false, true),
        ("remove_if", |cache| _ = cache.remove_if(&1, |_| true), true, false),
        ("remove_if, not", |cache| _ = cache.remove_if(&1, |_| false), true, true),
        ("remove_entry", |cache| _ = cache.remove_entry(&1), false, false),
        ("another key", |cache| cache.compute(2, |_| Compute::Set(5, ())), true, true),
        (
            "a panic",
            |cache| {
                let closure = |_: Option<&mut u64>| -> Compute<u64, ()> { panic_silently("") };
                assert!(message_of(|| cache.compute(1, closure)).is_some());
            },
            true,
            true,
        ),
    ];
    for (name, call, if_absent, if_there) in calls {
        assert_eq!(is_stored_after(call, None), if_absent, "{name}, nothing there");
        assert_eq!(is_stored_after(call, Some(1)), if_there, "{name}, a value there");
    }
}

/// Those who wait for a load that is overruled look again, and find what was set.
#[test]
fn who_waits_finds_what_was_computed() {
    let _watchdog = Watchdog::start();
    let cache = Shared::build(&Setup::<u64, Arc<u64>>::of_capacity(10));
    let Lookup::Miss(ticket) = cache.lookup(&1, Duration::ZERO) else { panic!("it is absent") };
    let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else { panic!("it is loading") };
    cache.compute(1, |live| {
        assert_eq!(live, None, "a load takes no entry's place");
        Compute::Set(Arc::new(5), ())
    });
    assert!(!ticket.store(Arc::new(6), Ttl::Default));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::NotStored);
    assert_eq!(cache.get(&1), Some(Arc::new(5)));
}
