//! The cache for one thread, beyond what its model asks: that calls free what is
//! due and drop what they have lent.

#![cfg(not(punctual_loom))]

use std::rc::Rc;
use std::time::Duration;

use punctual::ManualClock;
use punctual::unsync::{Builder, Cache};

const SECOND: Duration = Duration::from_secs(1);

fn builder<V>(clock: &ManualClock) -> Builder<u64, V> {
    Cache::builder().capacity(100).shards(1).ttl(SECOND).clock(clock.clone())
}

fn cache<V>(clock: &ManualClock) -> Cache<u64, V> {
    builder(clock).reap_limit(1_000).build().unwrap()
}

/// Calls that take `&mut self`, of a key that is not there.
type Call = fn(&mut Cache<u64, Rc<()>>);

const CALLS: [(&str, Call); 12] = [
    ("get", |cache| assert!(cache.get(&99).is_none())),
    ("get_mut", |cache| assert!(cache.get_mut(&99).is_none())),
    ("read", |cache| assert!(cache.read(&99, |_| ()).is_none())),
    ("update", |cache| assert!(cache.update(&99, |_| ()).is_none())),
    ("remove", |cache| assert!(cache.remove(&99).is_none())),
    ("set_ttl", |cache| assert!(!cache.set_ttl(&99, SECOND))),
    ("get_and_set_ttl", |cache| assert!(cache.get_and_set_ttl(&99, SECOND).is_none())),
    ("insert", |cache| assert!(cache.insert(99, Rc::default()).is_none())),
    ("insert for no time", |cache| {
        assert!(cache.insert_with_ttl(99, Rc::default(), Duration::ZERO).is_none());
    }),
    ("a load that fails", |cache| {
        assert!(cache.try_get_or_insert_with(&99, || Err(())).is_err());
    }),
    ("retain", |cache| cache.retain(|_, _| true)),
    ("reap", |cache| _ = cache.reap(usize::MAX)),
];

#[test]
fn every_call_frees_what_is_due() {
    for (name, call) in CALLS {
        let clock = ManualClock::new();
        let mut cache = cache(&clock);
        let value = Rc::new(());
        for key in 0..50 {
            cache.insert(key, value.clone());
        }
        clock.advance(2 * SECOND);
        assert_eq!(Rc::strong_count(&value), 51, "nothing leaves without a call");
        call(&mut cache);
        assert_eq!(Rc::strong_count(&value), 1, "{name}");
        assert!((0..50).all(|key| !cache.contains_key(&key)), "{name}");
    }
}

#[test]
fn every_call_drops_what_was_lent_before() {
    for (name, call) in CALLS {
        let mut cache = cache(&ManualClock::new());
        let value = Rc::new(());
        let lent = cache.get_or_load(&1, || Ok::<_, ()>((value.clone(), Duration::ZERO)));
        assert!(Rc::ptr_eq(lent.unwrap(), &value));
        assert_eq!((cache.len(), Rc::strong_count(&value)), (0, 2), "{name}");
        call(&mut cache);
        assert_eq!(Rc::strong_count(&value), 1, "{name}");
    }
}

/// As much as `reap_limit` allows at each call, whether the clock has moved or not.
#[test]
fn look_ups_go_on_freeing_while_the_clock_stands_still() {
    let clock = ManualClock::new();
    let mut cache = builder(&clock).reap_limit(10).build().unwrap();
    (0..50).for_each(|key| _ = cache.insert(key, key));
    clock.advance(2 * SECOND);
    while !cache.is_empty() {
        let before = cache.len();
        assert_eq!(cache.get(&99), None);
        assert!(cache.len() < before && cache.len() + 10 >= before);
    }
}

/// The finest tick has 512 of them.
#[test]
fn a_look_up_sees_the_very_nanosecond_at_which_an_entry_is_due() {
    let clock = ManualClock::new();
    let mut cache = builder(&clock).resolution(Duration::from_micros(1)).build().unwrap();
    cache.insert_with_ttl(1, 1, Duration::from_nanos(512));
    clock.set(Duration::from_nanos(511));
    assert_eq!(cache.get(&1), Some(&1));
    clock.set(Duration::from_nanos(512));
    assert_eq!(cache.get(&1), None);
    assert!(cache.is_empty());
}

/// Whichever call has lent it, and though the clock has not moved since.
#[test]
fn the_next_look_up_drops_what_was_lent_for_no_time() {
    let clock = ManualClock::new();
    let mut cache = cache(&clock);
    let value = Rc::new(());
    cache.insert(1, value.clone());
    assert!(cache.get(&1).is_some());
    assert!(cache.get_and_set_ttl(&1, Duration::ZERO).is_some());
    assert_eq!((cache.len(), Rc::strong_count(&value)), (0, 2));
    assert!(cache.get(&1).is_none());
    assert_eq!(Rc::strong_count(&value), 1);

    let lent = cache.get_or_load(&2, || Ok::<_, ()>((value.clone(), Duration::ZERO)));
    assert!(lent.is_ok());
    assert_eq!((cache.len(), Rc::strong_count(&value)), (0, 2));
    assert!(cache.get(&1).is_none());
    assert_eq!(Rc::strong_count(&value), 1);
}

/// Each newcomer moves `reap_limit` of the renewed entries out of the way before it
/// displaces one that lives.
#[test]
fn evictions_before_expired_entries_surface_are_bounded() {
    const ENTRIES: u64 = 10_000;
    const REAP_LIMIT: u64 = 64;
    let clock = ManualClock::new();
    let builder = builder(&clock).capacity(ENTRIES as usize).reap_limit(REAP_LIMIT as usize);
    let mut cache = builder.build().unwrap();
    (0..ENTRIES).for_each(|key| _ = cache.insert_with_ttl(key, key, 1_800 * SECOND));
    clock.advance(900 * SECOND);
    assert!((1..ENTRIES).all(|key| cache.set_ttl(&key, 3_600 * SECOND)));
    clock.advance(901 * SECOND);
    let newcomers = ENTRIES..ENTRIES + ENTRIES / REAP_LIMIT + 1;
    newcomers.for_each(|key| _ = cache.insert_with_ttl(key, key, 3_600 * SECOND));
    let stats = cache.stats();
    assert_eq!(stats.expired, 1, "the one that was due leaves as such");
    assert!(stats.evicted <= ENTRIES / REAP_LIMIT, "{stats:?}");
}
