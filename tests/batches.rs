//! `read_many` and `insert_many` do what the single calls do, for many keys at once.

#![cfg(not(any(punctual_loom, miri)))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/plan.rs"]
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use plan::{ClockChoice, Family, KeyHasher, POLICIES, Plan, Planned, Shared, Subject, Unsync};
use punctual::{Cache, Eviction, ManualClock, RemovalCause};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::log::Log;
use punctual_testing::panics::{message_of, panic_silently};

const SECOND: Duration = Duration::from_secs(1);

/// More than a chunk of keys, and than two of entries.
const BATCH_MAX: usize = 1_500;

// ---- Twins: one is called key by key, the other one in batches ----

struct Twins<C> {
    clock: ManualClock,
    single: C,
    batched: C,
    random: fastrand::Rng,
    next_value: u64,
}

impl<C: Planned<u64, u64>> Twins<C> {
    fn new(plan: &Plan, seed: u64) -> Self {
        let clock = ManualClock::new();
        let plan = Plan {
            clock: ClockChoice::Manual(clock.clone()),
            ttl: Some(30 * SECOND),
            hasher: KeyHasher::seeded(seed),
            ..plan.clone()
        };
        let [single, batched] = [(); 2].map(|()| C::build(&plan).unwrap());
        Self { clock, single, batched, random: fastrand::Rng::with_seed(seed), next_value: 0 }
    }

    fn keys(&mut self) -> Vec<u64> {
        let count = match self.random.u8(..8) {
            0 => self.random.usize(..2),
            1 => self.random.usize(..BATCH_MAX),
            _ => self.random.usize(..40),
        };
        // Some are alike, and some batches are all of one key.
        let range = if self.random.u8(..8) == 0 { 1 } else { self.single.capacity() as u64 * 2 };
        (0..count).map(|_| self.random.u64(..range)).collect()
    }

    fn look_up(&mut self) {
        let keys = self.keys();
        let expected: Vec<_> =
            keys.iter().map(|key| Some(self.single.read(key, |&value| value))).collect();
        let mut found = vec![None; keys.len()];
        self.batched.read_many(&keys, |position, value| {
            assert_eq!(found[position], None, "{position} is shown twice");
            found[position] = Some(value.copied());
        });
        assert_eq!(found, expected);
    }

    fn insert(&mut self) {
        let first = self.next_value;
        let entries: Vec<_> = self.keys().into_iter().zip(first..).collect();
        self.next_value += entries.len() as u64;
        if self.random.bool() {
            let ttl = SECOND * self.random.u32(..40);
            for &(key, value) in &entries {
                self.single.insert_with_ttl(key, value, ttl);
            }
            self.batched.insert_many_with_ttl(entries, ttl);
        } else {
            for &(key, value) in &entries {
                self.single.insert(key, value);
            }
            self.batched.insert_many(entries);
        }
    }

    fn step(&mut self) {
        match self.random.u8(..8) {
            0..=2 => self.look_up(),
            3..=6 => self.insert(),
            _ => self.clock.advance(SECOND * self.random.u32(..8)),
        }
    }

    fn compare(&self, plan: &Plan) {
        let [single, batched] = [&self.single, &self.batched].map(|cache| {
            let mut entries = Vec::new();
            cache.for_each(|&key, &value| entries.push((key, value)));
            entries.sort_unstable();
            let expiries: Vec<_> = entries.iter().map(|(key, _)| cache.expires_in(key)).collect();
            (entries, expiries)
        });
        // Not `assert_eq`, which would show all of them.
        assert!(batched == single, "{} entries and {}: {plan:?}", batched.0.len(), single.0.len());
    }
}

/// Where nothing is due, to the last number: what is evicted too.
fn a_batch_is_its_single_calls<F: Family>() {
    let mut evicted = 0;
    for (seed, eviction) in POLICIES.into_iter().enumerate() {
        for (capacity, shards) in [(1, 1), (50, 1), (700, 1), (700, 4), (3_000, 8), (3_000, 300)] {
            if eviction == Eviction::Adaptive && shards > 1 {
                // It learns from all shards together, in whose order they come.
                continue;
            }
            let plan = Plan::of_capacity(capacity).shards(shards).eviction(eviction);
            let mut twins = Twins::<F::Cache<u64, u64>>::new(&plan, seed as u64);
            for _ in 0..400 {
                twins.step();
                twins.single.reap(usize::MAX);
                twins.batched.reap(usize::MAX);
                twins.compare(&plan);
                assert_eq!(twins.batched.stats(), twins.single.stats(), "{plan:?}");
            }
            evicted += twins.single.stats().evicted;
        }
    }
    assert!(evicted > 10_000, "{evicted}");
}

/// Where something may be due, and is freed on the way: at other times, the same.
fn a_batch_frees_what_its_single_calls_free<F: Family>() {
    let mut expired = 0;
    for (seed, shards) in [1, 3, 16].into_iter().enumerate() {
        let plan = Plan::of_capacity(100_000).shards(shards);
        let mut twins = Twins::<F::Cache<u64, u64>>::new(&plan, seed as u64);
        for _ in 0..400 {
            twins.step();
            twins.compare(&plan);
        }
        assert!(twins.batched.stats().expired > 0, "the calls have freed nothing");
        twins.single.reap(usize::MAX);
        twins.batched.reap(usize::MAX);
        let [single, batched] = [&twins.single, &twins.batched].map(Subject::stats);
        assert_eq!((batched.hits, batched.misses), (single.hits, single.misses));
        assert_eq!((batched.inserts, batched.held), (single.inserts, single.held));
        assert_eq!((batched.expired, batched.replaced), (single.expired, single.replaced));
        expired += single.expired;
    }
    assert!(expired > 10_000, "{expired}");
}

/// Promise 8, key by key: a storm is met in small portions.
fn a_batch_frees_little_for_each_of_its_keys<F: Family>() {
    const REAP_LIMIT: usize = 64; // The default.
    for shards in [1, 4] {
        let plan = Plan::of_capacity(20_000).shards(shards);
        let mut twins = Twins::<F::Cache<u64, u64>>::new(&plan, 1);
        let cache = &mut twins.batched;
        cache.insert_many_with_ttl((0..10_000).map(|key| (key, key)), SECOND);
        twins.clock.advance(3 * SECOND);
        for keys in [1, 10, 40] {
            let before = cache.len();
            cache.read_many(&vec![2_000_000; keys], |_, value| assert_eq!(value, None));
            let freed = before - cache.len();
            assert!((1..=REAP_LIMIT * keys).contains(&freed), "{freed} for {keys} keys");
            let before = cache.len();
            cache.insert_many((0..keys as u64).map(|key| (1_000_000 + key, key)));
            let freed = before + keys - cache.len();
            assert!(freed <= (REAP_LIMIT + 1) * keys, "{freed} for {keys} entries");
            cache.insert_many((0..keys as u64).map(|key| (1_000_000 + key, key)));
        }
    }
}

/// Promise 7: the dead go first.
fn a_batch_evicts_nothing_beside_the_dead<F: Family>() {
    for eviction in POLICIES {
        let plan = Plan::of_capacity(1_000).shards(1).eviction(eviction);
        let mut twins = Twins::<F::Cache<u64, u64>>::new(&plan, 1);
        let cache = &mut twins.batched;
        cache.insert_many_with_ttl((0..1_000).map(|key| (key, key)), SECOND);
        assert_eq!(cache.len(), 1_000);
        twins.clock.advance(3 * SECOND);
        cache.insert_many((1_000..2_000).map(|key| (key, key)));
        assert_eq!(cache.stats().evicted, 0, "{eviction:?}");
        for key in 1_000..2_000 {
            assert!(cache.peek(&key).is_some(), "{key} under {eviction:?}");
        }
    }
}

/// What the clock says when the batch has been taken from the iterator counts.
fn time_begins_when_the_keys_have_come<F: Family>() {
    let mut twins = Twins::<F::Cache<u64, u64>>::new(&Plan::of_capacity(100).shards(1), 1);
    let (cache, clock) = (&mut twins.batched, &twins.clock);
    let slowly = |key: u64| {
        clock.advance(SECOND);
        (key, key)
    };
    cache.insert_many_with_ttl((0..20).map(slowly), 5 * SECOND);
    for key in 0..20 {
        let left = cache.expires_in(&key).expect("it is there when the call returns");
        // Less by a resolution at most.
        let least = 5 * SECOND - Duration::from_millis(10);
        assert!((least..=5 * SECOND).contains(&left), "{left:?}");
    }
    let keys = [0; 20];
    cache.read_many(keys.iter().inspect(|_| clock.advance(SECOND)), |_, value| {
        assert_eq!(value, None, "it has expired meanwhile");
    });
}

/// Entries that are too large for a chunk of many, or of any size.
fn large_entries_come_in_smaller_chunks<F: Family>() {
    fn check<F: Family, const BYTES: usize>() {
        let mut cache = <F::Cache<u64, [u8; BYTES]>>::build(&Plan::of_capacity(200)).unwrap();
        cache.insert_many((0..200).map(|key| (key % 150, [key as u8; BYTES])));
        let keys: Vec<u64> = (0..150).collect();
        let mut shown = 0;
        cache.read_many(&keys, |position, value| {
            let last = if position < 50 { position + 150 } else { position };
            assert_eq!(value, Some(&[last as u8; BYTES]));
            shown += 1;
        });
        assert_eq!(shown, 150);
    }
    check::<F, 1>();
    check::<F, 100>();
    check::<F, 2_000>();
    check::<F, 10_000>();
}

/// Time that `each` takes counts: from one shard to the next, or key by key.
fn what_expires_while_others_are_shown_is_gone<F: Family>() {
    const KEYS: u64 = 400;
    let keys: Vec<u64> = (0..KEYS).collect();
    let (shards, shown_max) = if F::NAME == "Cache" { (8, KEYS / 2 - 1) } else { (1, 2) };
    let mut twins = Twins::<F::Cache<u64, u64>>::new(&Plan::of_capacity(1_000).shards(shards), 1);
    let (cache, clock) = (&mut twins.batched, &twins.clock);
    cache.insert_many_with_ttl(keys.iter().map(|&key| (key, key)), SECOND);
    let mut shown = 0;
    cache.read_many(&keys, |_, value| {
        clock.advance(SECOND);
        shown += u64::from(value.is_some());
    });
    assert!((1..=shown_max).contains(&shown), "{shown}");
}

/// As a `for` loop would have it.
fn iterator_is_fused<F: Family>() {
    fn ends_once() -> impl FnMut() -> Option<u64> {
        let mut answers = [Some(1), None].into_iter();
        move || answers.next().expect("not asked again")
    }
    let mut cache = <F::Cache<u64, u64>>::build(&Plan::of_capacity(10)).unwrap();
    cache.insert_many(std::iter::from_fn(ends_once()).map(|key| (key, key)));
    let mut next = ends_once();
    cache.read_many(std::iter::from_fn(|| next().map(|_| &1)), |_, value| assert!(value.is_some()));
    assert_eq!(cache.len(), 1);
}

punctual_testing::test_both_caches! {
    a_batch_is_its_single_calls
    a_batch_frees_what_its_single_calls_free
    a_batch_frees_little_for_each_of_its_keys
    a_batch_evicts_nothing_beside_the_dead
    time_begins_when_the_keys_have_come
    large_entries_come_in_smaller_chunks
    what_expires_while_others_are_shown_is_gone
    iterator_is_fused
}

// ---- Listeners and panics ----

type Told = Log<(u64, u64, RemovalCause)>;

fn logging(capacity: usize) -> (Cache<u64, u64>, Told) {
    let told = Told::default();
    let builder = Cache::builder().capacity(capacity).shards(1).eviction(Eviction::Fifo);
    (builder.on_removal(told.listener()).build().unwrap(), told)
}

/// Each of its calls takes a second: that shortens no TTL of what is put in after it.
#[test]
fn a_slow_listener_takes_no_time_from_those_that_follow() {
    const TTL: Duration = Duration::from_secs(200);
    let take_long = |clock: ManualClock| {
        move |_: &u64, _: &u64, cause| {
            if cause == RemovalCause::Replaced {
                clock.advance(SECOND);
            }
        }
    };
    let entries = || (0..400).map(|key| (key, key));

    let clock = ManualClock::new();
    let builder = Cache::builder().capacity(400).shards(4).clock(clock.clone());
    let cache = builder.on_removal(take_long(clock)).build().unwrap();
    cache.insert_many(entries());
    // Some hundred are replaced in each shard, and the first ones' time is up by the end.
    cache.insert_many_with_ttl(entries(), TTL);
    let live = entries().filter(|(key, _)| cache.contains_key(key)).count();
    assert!((1..300).contains(&live), "{live}");

    let clock = ManualClock::new();
    let builder = punctual::unsync::Cache::builder().capacity(400).clock(clock.clone());
    let mut cache = builder.on_removal(take_long(clock)).build().unwrap();
    cache.insert_many(entries());
    cache.insert_many_with_ttl(entries(), TTL);
    for (key, seconds_ago) in [(399, 1), (300, 100), (201, 199)] {
        let left = cache.expires_in(&key).expect("it lives");
        let expected = TTL - SECOND * seconds_ago;
        // Less by a resolution at most.
        let least = expected - Duration::from_millis(10);
        assert!((least..=expected).contains(&left), "{left:?}");
    }
    assert_eq!(cache.expires_in(&199), None);
}

#[test]
fn listeners_hear_in_the_order_of_the_entries() {
    let entries = [(1, 1), (2, 2), (1, 3), (3, 4), (4, 5), (1, 6), (5, 7), (6, 8), (2, 9)];
    for ttl in [Duration::MAX, Duration::ZERO] {
        let (one_by_one, expected) = logging(3);
        for (key, value) in entries {
            one_by_one.insert_with_ttl(key, value, ttl);
        }
        let (at_once, told) = logging(3);
        at_once.insert_many_with_ttl(entries, ttl);
        let told = told.take();
        assert_eq!(told, expected.take(), "{ttl:?}");
        assert!(told.len() >= 6, "they leave");
    }
}

/// Panics when it is compared, if it is told to.
#[derive(Clone)]
struct Guest {
    number: u64,
    panics: Arc<AtomicBool>,
    _instance: Instance,
}

impl PartialEq for Guest {
    fn eq(&self, other: &Self) -> bool {
        if self.panics.load(Relaxed) && self.number == 13 {
            panic_silently("unlucky");
        }
        self.number == other.number
    }
}

impl Eq for Guest {}

impl std::hash::Hash for Guest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

#[test]
fn what_has_left_before_a_panic_is_told_and_the_rest_is_dropped() {
    let (values, panics, told) =
        (Instances::default(), Arc::<AtomicBool>::default(), Log::default());
    let telling = told.clone();
    let builder = Cache::<Guest, ()>::builder().capacity(100).shards(1);
    let cache = builder.on_removal(move |_, (), cause| telling.push(cause)).build().unwrap();
    let guests = |numbers: std::ops::Range<u64>| {
        let (values, panics) = (&values, &panics);
        numbers.map(move |number| {
            (Guest { number, panics: panics.clone(), _instance: values.make() }, ())
        })
    };
    cache.insert_many(guests(0..20));
    assert_eq!((cache.len(), values.live(), told.len()), (20, 20, 0));

    panics.store(true, Relaxed);
    let text = message_of(|| cache.insert_many(guests(0..20)));
    assert_eq!(text.as_deref(), Some("unlucky"));
    let replaced = cache.stats().replaced;
    assert_eq!((told.len() as u64, replaced), (13, 13), "those before the unlucky one");
    assert_eq!((cache.len(), values.live()), (20, 20));

    // The iterator panics: of this chunk nothing is put in.
    let broken = guests(20..30).chain(std::iter::from_fn(|| panic_silently("broken")));
    let text = message_of(|| cache.insert_many(broken));
    assert_eq!(text.as_deref(), Some("broken"));
    assert_eq!((cache.len(), values.live()), (20, 20));

    // And so with lookups, of which the first ones count.
    let keys: Vec<_> = guests(0..20).map(|(guest, ())| guest).collect();
    let mut shown = 0;
    let text = message_of(|| cache.read_many(&keys, |_, _| shown += 1));
    assert_eq!(text.as_deref(), Some("unlucky"));
    panics.store(false, Relaxed);
    cache.read_many(&keys, |_, value| assert_eq!(value, Some(&())));
    drop(keys);
    drop(cache);
    assert_eq!(values.live(), 0);
}
