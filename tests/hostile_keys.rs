//! Keys made to do harm: all in one hash, in one bucket, with an `Eq` that lies or
//! a `Hash` that changes its mind. Answers may then be wrong, but nothing hangs,
//! grows or leaks; and where the keys are honest, the answers are right.
//!
//! Costs are counted in calls of `Hash` and `Eq`, not in time.

#![cfg(not(any(punctual_loom, miri)))]

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use foldhash::fast::FixedState;
use punctual::{Cache, Eviction, Reaper, Stats, unsync};
use punctual_testing::keys::HashBy;
use punctual_testing::threads::in_threads;

const POLICIES: [Eviction; 4] = punctual_testing::policies!(Eviction);

/// How a key lies; shared by all keys of a thread, so that tests can change it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    AlwaysEqual,
    NeverEqual,
    EqualByChance,
    HashedByChance,
    Both,
}

thread_local! {
    static LIE: Cell<Lie> = const { Cell::new(Lie::None) };
    static HASHED: Cell<usize> = const { Cell::new(0) };
    static COMPARED: Cell<usize> = const { Cell::new(0) };
    static CHANCE: Cell<u64> = const { Cell::new(1) };
}

/// A small generator of its own: it runs within `Hash` and `Eq`.
fn chance() -> u64 {
    let next = CHANCE.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    CHANCE.set(next);
    next >> 33
}

fn count(counter: &'static std::thread::LocalKey<Cell<usize>>) {
    counter.set(counter.get() + 1);
}

/// The calls of `Hash` and `Eq` that `call` makes.
fn costs<R>(call: impl FnOnce() -> R) -> (usize, usize, R) {
    let (hashed, compared) = (HASHED.get(), COMPARED.get());
    let result = call();
    (HASHED.get() - hashed, COMPARED.get() - compared, result)
}

#[derive(Clone, Debug)]
struct Key(u64);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        count(&HASHED);
        match LIE.get() {
            Lie::HashedByChance | Lie::Both => chance().hash(state),
            _ => self.0.hash(state),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        count(&COMPARED);
        match LIE.get() {
            Lie::None | Lie::HashedByChance => self.0 == other.0,
            Lie::AlwaysEqual => true,
            Lie::NeverEqual => false,
            Lie::EqualByChance | Lie::Both => chance() % 2 == 0,
        }
    }
}

impl Eq for Key {}

const CONSTANTS: [fn(u64) -> u64; 4] =
    [|_| 0, |_| u64::MAX, |_| 0x9e37_79b9_7f4a_7c15, |_| 1 << 63];

fn adds_up(stats: Stats, len: usize) {
    assert_eq!(stats.held, len as u64);
    let gone = stats.expired + stats.evicted + stats.removed + stats.replaced;
    assert_eq!(stats.inserts, stats.held + gone, "{stats:?}");
}

// ---- Honest keys, hostile hashes ----

/// All keys in one hash: a list, so to speak. Every answer is right, `Hash` runs
/// once a call, and `Eq` at most once for each entry.
#[test]
fn all_keys_in_one_hash_cost_a_walk_and_no_more() {
    const CAPACITY: usize = 60;
    for constant in CONSTANTS {
        for (eviction, shards) in POLICIES.into_iter().flat_map(|it| [(it, 1), (it, 3)]) {
            let builder = unsync::Cache::<Key, u64>::builder().capacity(CAPACITY).shards(shards);
            let mut cache = builder.eviction(eviction).hasher(HashBy(constant)).build().unwrap();
            let mut random = fastrand::Rng::with_seed(1);
            let mut written = HashMap::new();
            for step in 0..3_000 {
                let key = random.u64(..150);
                let len = cache.len();
                let (hashed, compared, ()) = costs(|| match step % 3 {
                    0 => {
                        cache.insert(Key(key), step);
                        written.insert(key, step);
                    }
                    1 => {
                        if let Some(found) = cache.get(&Key(key)) {
                            assert_eq!(written.get(&key), Some(found));
                        }
                    }
                    _ => {
                        if let Some(found) = cache.remove(&Key(key)) {
                            assert_eq!(written.get(&key), Some(&found));
                        }
                        assert!(!cache.contains_key(&Key(key)));
                    }
                });
                assert!(hashed <= 2, "{hashed} times");
                // `remove` and `contains_key` are two calls.
                assert!(compared <= len * 2 + 1, "{compared} comparisons of {len} entries");
                assert!(cache.len() <= cache.capacity());
            }
            adds_up(cache.stats(), cache.len());
            assert_eq!(cache.iter().count(), cache.len());
        }
    }
}

/// The same from several threads, with loaders, whose table knows keys by their
/// hash: keys of one hash wait for each other, and each gets its own value.
#[test]
fn threads_whose_keys_share_one_hash_get_their_own_values() {
    let builder = Cache::builder().capacity(40).shards(4).hasher(HashBy(|_| 7));
    let cache: Cache<Key, u64, HashBy> = builder.reaper(Reaper::Manual).build().unwrap();
    in_threads(4, |thread| {
        let mut random = fastrand::Rng::with_seed(thread);
        for _ in 0..2_000 {
            let key = random.u64(..30);
            let value = match random.u8(..4) {
                0 => cache.insert(Key(key), key),
                1 => cache.remove(&Key(key)),
                2 => cache.get(&Key(key)),
                _ => Some(cache.get_or_insert_with(&Key(key), || key)),
            };
            assert!(value.is_none_or(|value| value == key));
        }
    });
    adds_up(cache.stats(), cache.len());
}

/// What the cache makes of a hash, see `src/shard/key_hash.rs`. That this is still so is
/// seen by how often the chosen keys are compared.
fn spread(hash: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(hash ^ ODD) * u128::from(ODD);
    product as u64 ^ (product >> 64) as u64
}

/// Keys that meet in bucket, in tag, in both, or in their shard: only those that
/// share bucket and tag cost comparisons, and none gets another's value.
#[test]
fn keys_that_collide_in_shard_tag_or_bucket() {
    const KEYS: usize = 24;
    let bucket = (1 << 17) - 1;
    let tag = 0x7f << 57;
    let shard = 0xfff << 45;
    for (mask, are_compared) in
        [(bucket, false), (tag, false), (bucket | tag, true), (shard, false), (shard | tag, false)]
    {
        let keys: Vec<u64> = (0..).filter(|&key| spread(key) & mask == 0).take(KEYS).collect();
        for shards in [1, 8] {
            let builder = unsync::Cache::<Key, u64>::builder().capacity(2_000).shards(shards);
            let mut cache = builder.hasher(HashBy(|key| key)).build().unwrap();
            for &key in &keys {
                cache.insert(Key(key), key);
            }
            let (hashed, compared, ()) = costs(|| {
                for &key in &keys {
                    assert_eq!(cache.get(&Key(key)), Some(&key));
                }
            });
            assert_eq!(hashed, KEYS);
            // The smallest table has fewer buckets than there are bits, so that
            // a few more may share what is used of them.
            let collide = compared > KEYS * 2;
            assert!(!collide || are_compared, "{compared} comparisons under mask {mask:#x}");
            if are_compared && shards == 1 {
                assert!(collide, "{compared}: do they collide at all?");
            }
        }
    }
}

/// Hashers that put all they know into a few bits, wherever those are, cost
/// hardly more than a good one.
#[test]
fn weak_hashers_are_spread() {
    const KEYS: usize = 20_000;
    type Weak = (&'static str, fn(u64) -> u64);
    let weak: [Weak; 6] = [
        ("identity", |key| key),
        ("the upper half", |key| key << 32),
        ("the topmost bits", |key| key << 48),
        ("every 64th", |key| key * 64),
        ("every millionth", |key| key * 1_000_000),
        ("reversed", u64::reverse_bits),
    ];
    for (name, hash) in weak {
        for shards in [None, Some(1)] {
            let mut builder = unsync::Cache::<Key, u64>::builder().capacity(KEYS);
            if let Some(shards) = shards {
                builder = builder.shards(shards);
            }
            let mut cache = builder.hasher(HashBy(hash)).build().unwrap();
            for key in 0..KEYS as u64 {
                cache.insert(Key(key), key);
            }
            assert!(cache.len() >= KEYS * 97 / 100, "{name}: only {} are held", cache.len());
            let (_, compared, found) = costs(|| {
                (0..KEYS as u64).filter(|&key| cache.peek(&Key(key)) == Some(&key)).count()
            });
            assert_eq!(found, cache.len());
            assert!(compared <= KEYS * 11 / 10, "{name}: {compared} comparisons of {KEYS} keys");
        }
    }
}

/// A million keys that all have one hash under a seed that an attacker knows are
/// ordinary keys under the default hasher, whose seed he does not know.
#[test]
fn a_million_keys_made_to_collide_do_not_slow_the_default_hasher() {
    const KEYS: u64 = 1_000_000;

    // The hash of two numbers is a product, of which the first factor is the
    // first number xor the seed: so this one makes it zero.
    let seeded = FixedState::with_seed(42);
    let zero = seeded.build_hasher().finish();
    let hashes: HashSet<u64> = (0..1_000).map(|b| seeded.hash_one((zero, b))).collect();
    assert_eq!(hashes.len(), 1, "they are not made to collide");

    struct Counted((u64, u64));
    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            count(&COMPARED);
            self.0 == other.0
        }
    }
    impl Eq for Counted {}

    let mut cache: unsync::Cache<Counted, ()> = unsync::Cache::new(KEYS as usize);
    let (_, compared, ()) = costs(|| {
        for second in 0..KEYS {
            cache.insert(Counted((zero, second)), ());
        }
    });
    assert!(compared <= KEYS as usize / 10, "{compared} comparisons of new keys");
    let (_, compared, found) =
        costs(|| (0..KEYS).filter(|&second| cache.contains_key(&Counted((zero, second)))).count());
    assert_eq!(found, cache.len());
    assert!(compared <= KEYS as usize * 11 / 10, "{compared} comparisons of {KEYS} keys");
}

// ---- Keys that lie ----

/// Whatever `Eq` and `Hash` say, and however often they change their minds:
/// bounded, nothing lost, nothing dropped twice, and whole again once they stop.
#[test]
fn keys_that_lie_break_nothing() {
    const CAPACITY: usize = 50;
    let lies =
        [Lie::AlwaysEqual, Lie::NeverEqual, Lie::EqualByChance, Lie::HashedByChance, Lie::Both];
    for lie in lies {
        for (eviction, shards) in POLICIES.into_iter().flat_map(|it| [(it, 1), (it, 3)]) {
            let alive = Rc::new(());
            let builder = unsync::Cache::<Key, Rc<()>>::builder().capacity(CAPACITY);
            let mut cache = builder.shards(shards).eviction(eviction).build().unwrap();
            let footprint = cache.footprint();
            LIE.set(lie);
            let mut random = fastrand::Rng::with_seed(2);
            for _ in 0..4_000 {
                let key = Key(random.u64(..120));
                let len = cache.len();
                let (hashed, compared, ()) = costs(|| match random.u8(..6) {
                    0..3 => drop(cache.insert(key, alive.clone())),
                    3 => drop(cache.remove(&key)),
                    4 => drop(cache.get(&key).cloned()),
                    _ => drop(cache.get_or_insert_with(&key, || alive.clone()).clone()),
                });
                assert!(hashed <= 2 && compared <= 2 * len + 2, "{hashed}, {compared}: {lie:?}");
                assert!(cache.len() <= cache.capacity(), "{lie:?}");
                assert_eq!(Rc::strong_count(&alive), cache.len() + 1, "{lie:?}");
            }
            adds_up(cache.stats(), cache.len());
            assert_eq!(cache.footprint(), footprint);
            assert_eq!(cache.iter().count(), cache.len());
            // Some are there twice now, or where nobody will find them: `clear`
            // and eviction need no `Eq`.
            cache.clear();
            assert_eq!((cache.len(), Rc::strong_count(&alive)), (0, 1), "{lie:?}");
            LIE.set(Lie::None);
            for key in 0..10 {
                cache.insert(Key(key), alive.clone());
                assert!(cache.contains_key(&Key(key)));
            }
            drop(cache);
            assert_eq!(Rc::strong_count(&alive), 1);
        }
    }
}

/// The same in the cache for many threads, where loaders are known by hashes.
#[test]
fn keys_that_lie_keep_no_thread_waiting() {
    for lie in [Lie::AlwaysEqual, Lie::NeverEqual, Lie::HashedByChance, Lie::Both] {
        let cache: Cache<Key, u64> =
            Cache::builder().capacity(50).shards(2).reaper(Reaper::Manual).build().unwrap();
        in_threads(3, |thread| {
            LIE.set(lie);
            CHANCE.set(thread);
            for step in 0..3_000 {
                let key = Key(chance() % 100);
                match step % 4 {
                    0 => drop(cache.insert(key, step)),
                    1 => drop(cache.remove(&key)),
                    2 => drop(cache.get(&key)),
                    _ => drop(cache.get_or_insert_with(&key, || step)),
                }
                assert!(cache.len() <= cache.capacity());
            }
        });
        adds_up(cache.stats(), cache.len());
        cache.clear();
        assert!(cache.is_empty());
    }
}
