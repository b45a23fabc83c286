//! The Python cache's reimplementation, against what the original was recorded to
//! do, and where the recording cannot reach.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use punctual::original::LocalCache;
use punctual::{Clock, ManualClock};
use punctual_testing::log::Log;
use punctual_testing::panics::{Code, Injector, Key, injected, run};

punctual_testing::clock_fn!(Clock);

const SECOND: Duration = Duration::from_secs(1);

/// The ids of the values dropped so far.
type Freed = Log<u64>;

/// Reports its id when it is dropped, unless it is a clone: those are the
/// caller's, and say nothing about what the cache frees.
struct Value {
    id: u64,
    freed: Option<Freed>,
}

impl Value {
    fn new(id: u64, freed: &Freed) -> Self {
        Self { id, freed: Some(freed.clone()) }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        run(Code::Clone);
        Self { id: self.id, freed: None }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(freed) = &self.freed {
            freed.push(self.id);
            run(Code::DropValue);
        }
    }
}

// ---------------------------------------------------------------------------
// The recording
// ---------------------------------------------------------------------------

/// How many lines of each kind were played.
#[derive(Debug, Default, PartialEq)]
struct Played {
    maxlen: usize,
    set: usize,
    get: usize,
    end: usize,
}

/// Plays the whole recording, whose unit of time is `unit`.
fn play(recording: &str, unit: Duration) -> Played {
    let mut played = Played::default();
    let freed = Freed::default();
    let clock = ManualClock::new();
    let mut cache: Option<LocalCache<u64, Value>> = None;

    for (number, line) in (1..).zip(recording.lines()).filter(|(_, line)| !line.starts_with('#')) {
        // Numbers between bars; `-` stands for none.
        let (kind, rest) = line.split_once(' ').expect("a kind of line first");
        let parts = rest.split('|').map(str::trim).map(|part| {
            let words = part.split_whitespace().filter(|_| part != "-");
            let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
            numbers.unwrap_or_else(|error| panic!("line {number}: {part:?}: {error}"))
        });
        let parts: Vec<Vec<u64>> = parts.collect();
        let parts: Vec<&[u64]> = parts.iter().map(Vec::as_slice).collect();
        let units = |count: u64| unit * u32::try_from(count).expect("few units");
        match (kind, parts.as_slice()) {
            ("maxlen", [[max_len]]) => {
                assert!(cache.is_none(), "line {number}: the last cache has no end");
                clock.set(Duration::ZERO);
                cache = Some(LocalCache::with_clock(*max_len as usize, clock.clone()));
                played.maxlen += 1;
            }
            ("set", &[&[key, id, ttl, now], &[weak, strong], ids]) => {
                let cache = cache.as_mut().expect("maxlen comes first");
                clock.set(units(now));
                cache.set_ex(key, Value::new(id, &freed), units(ttl));
                let lens = (cache.weak_len() as u64, cache.strong_len() as u64);
                assert_eq!(lens, (weak, strong), "line {number}: weak and strong");
                assert_eq!(freed.take(), ids, "line {number}: freed");
                played.set += 1;
            }
            ("get", &[&[key, now], id]) => {
                let cache = cache.as_ref().expect("maxlen comes first");
                clock.set(units(now));
                let lens = (cache.weak_len(), cache.strong_len());
                let found: Vec<u64> = cache.get_ex(&key).iter().map(|value| value.id).collect();
                assert_eq!(found, id, "line {number}: found");
                let lens_now = (cache.weak_len(), cache.strong_len());
                assert_eq!(lens_now, lens, "line {number}: get_ex changed the sizes");
                assert_eq!(freed.take(), [], "line {number}: get_ex freed something");
                played.get += 1;
            }
            ("end", &[&[], ids]) => {
                drop(cache.take().expect("maxlen comes first"));
                assert_eq!(freed.take(), ids, "line {number}: freed at the end");
                played.end += 1;
            }
            _ => panic!("line {number}: {line:?} is no line of a recording"),
        }
    }
    assert!(cache.is_none(), "the last cache has no end");
    played
}

#[test]
fn answers_as_recorded_from_the_original() {
    let recording = include_str!("original_vectors.txt");
    // The lines count whole units, so the unit must not matter.
    for unit in [SECOND, Duration::from_nanos(1)] {
        let played = play(recording, unit);
        let all = Played { maxlen: 20, set: 2625, get: 2555, end: 20 };
        assert_eq!(played, all, "with a unit of {unit:?}");
    }
    let lines = recording.lines().count();
    assert_eq!(lines, 4 + 20 + 2625 + 2555 + 20, "comments and all the rest");
}

#[test]
#[should_panic(expected = "line 3: freed")]
fn the_player_notices_a_wrong_line() {
    play("maxlen 1\nset 1 0 9 0 | 1 1 | -\nset 2 1 9 0 | 1 1 | -\n", SECOND);
}

// ---------------------------------------------------------------------------
// What the recording cannot show
// ---------------------------------------------------------------------------

#[test]
fn a_deadline_beyond_the_largest_duration_is_never_passed() {
    let clock = ManualClock::new();
    clock.set(SECOND);
    let mut cache = LocalCache::with_clock(2, clock.clone());
    cache.set_ex("longest", (), Duration::MAX);
    cache.set_ex("just too long", (), Duration::MAX - SECOND / 2);
    for now in [Duration::ZERO, SECOND, Duration::MAX - SECOND, Duration::MAX] {
        clock.set(now);
        assert_eq!(cache.get_ex("longest"), Some(()), "at {now:?}");
        assert_eq!(cache.get_ex("just too long"), Some(()), "at {now:?}");
    }
}

#[test]
fn the_deadline_is_exact_to_the_nanosecond() {
    let clock = ManualClock::new();
    let mut cache = LocalCache::with_clock(1, clock.clone());
    let ttl = Duration::new(1800, 999_999_999);
    cache.set_ex("key", (), ttl);
    clock.set(ttl);
    assert_eq!(cache.get_ex("key"), Some(()));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get_ex("key"), None);
}

/// The original does not remember that an entry was found dead.
#[test]
fn a_clock_that_goes_back_revives_the_dead() {
    let clock = ManualClock::new();
    let mut cache = LocalCache::with_clock(1, clock.clone());
    cache.set_ex("key", (), SECOND);
    clock.set(2 * SECOND);
    assert_eq!(cache.get_ex("key"), None);
    clock.set(SECOND);
    assert_eq!(cache.get_ex("key"), Some(()));
}

/// A clock of the caller's own.
#[test]
fn any_clock_will_do() {
    let reads = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&reads);
    let clock = ClockFn(move || {
        counts.fetch_add(1, Ordering::Relaxed);
        SECOND
    });
    let mut cache = LocalCache::with_clock(4, clock);
    cache.set_ex(1, "one", Duration::ZERO);
    assert_eq!(cache.get_ex(&1), Some("one"));
    assert_eq!(cache.get_ex(&2), None);
    assert_eq!(reads.load(Ordering::Relaxed), 2, "an absent key costs no reading of the clock");
}

#[test]
fn entries_expire_by_the_system_clock() {
    let mut cache = LocalCache::new(2);
    cache.set_ex("brief", (), Duration::ZERO);
    cache.set_ex("long", (), Duration::from_secs(3600));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(cache.get_ex("brief"), None);
    assert_eq!(cache.get_ex("long"), Some(()));
    assert_eq!(cache.strong_len(), 2);
}

#[test]
fn the_map_forgets_the_keys_of_dropped_entries() {
    let mut cache = LocalCache::with_clock(100, ManualClock::new());
    for key in 0..100_000_u64 {
        cache.set_ex(key, key, SECOND);
        let held = (key + 1).min(100) as usize;
        assert_eq!((cache.weak_len(), cache.strong_len()), (held, held));
    }
    for key in 0..100_000 {
        let value = (key >= 99_900).then_some(key);
        assert_eq!(cache.get_ex(&key), value, "key {key}");
    }
}

/// The widest span of the map's sizes: it fills with different keys, shrinks to one
/// key while superseded entries fill the queue, and fills again.
#[test]
fn every_size_up_to_ten_thousand_keeps_every_key() {
    let max_len = 10_000;
    let mut cache = LocalCache::with_clock(max_len, ManualClock::new());
    for round in 0..3 {
        for key in 0..max_len {
            cache.set_ex(key, round, SECOND);
            if key.is_power_of_two() {
                for key in 0..=key {
                    assert_eq!(cache.get_ex(&key), Some(round), "key {key}");
                }
            }
        }
        assert_eq!(cache.weak_len(), max_len);
        for _ in 0..max_len {
            cache.set_ex(0, round, SECOND);
        }
        assert_eq!((cache.weak_len(), cache.strong_len()), (1, max_len));
    }
}

#[test]
fn the_key_that_was_first_stays_in_the_map() {
    let (first, second): (Rc<str>, Rc<str>) = ("key".into(), "key".into());
    let mut cache = LocalCache::with_clock(2, ManualClock::new());
    cache.set_ex(first.clone(), 1, SECOND);
    cache.set_ex(second.clone(), 2, SECOND);
    assert_eq!(cache.get_ex("key"), Some(2));
    assert_eq!(Rc::strong_count(&first), 2);
    assert_eq!(Rc::strong_count(&second), 1);

    // The first entry goes; the key that it came with serves the second.
    cache.set_ex("other".into(), 3, SECOND);
    assert_eq!(cache.get_ex("key"), Some(2));
    // Now nothing needs it any more.
    cache.set_ex("another".into(), 4, SECOND);
    assert_eq!(cache.get_ex("key"), None);
    assert_eq!(Rc::strong_count(&first), 1);
}

#[test]
fn an_unbounded_length_reserves_nothing() {
    let mut cache = LocalCache::with_clock(usize::MAX, ManualClock::new());
    for key in 0..1000 {
        cache.set_ex(key, (), SECOND);
    }
    assert_eq!((cache.weak_len(), cache.strong_len()), (1000, 1000));
}

#[test]
fn debug_asks_nothing_of_keys_and_values() {
    struct Opaque;
    let mut cache = LocalCache::with_clock(3, ManualClock::new());
    cache.set_ex(1, Opaque, SECOND);
    cache.set_ex(1, Opaque, SECOND);
    let text = format!("{cache:?}");
    assert_eq!(text, "LocalCache { max_len: 3, weak_len: 1, strong_len: 2, .. }");
}

// ---------------------------------------------------------------------------
// Panics in callers' code
// ---------------------------------------------------------------------------

/// What the cache should hold: keys, ids and deadlines, oldest first. All else
/// follows.
struct Oracle {
    max_len: usize,
    entries: VecDeque<(u64, u64, Duration)>,
}

impl Oracle {
    fn set(&mut self, key: u64, id: u64, deadline: Duration) -> Vec<u64> {
        self.entries.push_back((key, id, deadline));
        let surplus = self.entries.len().saturating_sub(self.max_len);
        self.entries.drain(..surplus).map(|entry| entry.1).collect()
    }

    fn get(&self, key: u64, now: Duration) -> Option<u64> {
        let newest = self.entries.iter().rev().find(|entry| entry.0 == key)?;
        (now <= newest.2).then_some(newest.1)
    }

    fn weak_len(&self) -> usize {
        let keys = self.entries.iter().map(|entry| entry.0);
        keys.collect::<std::collections::HashSet<_>>().len()
    }
}

/// What the calls of [`random_calls`] met.
#[derive(Debug, Default)]
struct Met {
    panics: Vec<Code>,
    /// Panics in `Hash` during a `set_ex` after the one for the key that was given:
    /// the map was growing.
    panics_while_growing: u32,
}

/// Makes random calls of which every other may panic anywhere, and compares the
/// cache with the oracle after each.
fn random_calls(seed: u64, max_len: usize, keys: u64, calls: u64) -> Met {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut met = Met::default();
    let freed = Freed::default();
    let clock = ManualClock::new();
    let mut now = Duration::ZERO;
    let mut cache = LocalCache::with_clock(max_len, clock.clone());
    let mut oracle = Oracle { max_len, entries: VecDeque::new() };

    for id in 0..calls {
        let context = format!("seed {seed}, max_len {max_len}, call {id}");
        now += SECOND * random.u32(0..2);
        clock.set(now);
        // Few keys at times, so that the map shrinks and grows again.
        let key = random.u64(0..if id / 512 % 2 == 0 { keys } else { 2 });
        // Short fuses hit the key's own code, long ones the map's growth.
        let longest = if random.bool() { 4 } else { 200 };
        let passes = random.u32(0..longest);
        let armed = random.bool();
        let injector = armed.then(|| Injector::after(passes));

        if random.u8(0..4) > 0 {
            let ttl = SECOND * random.u32(0..20);
            let value = Value::new(id, &freed);
            let set = || cache.set_ex(Key::new(key), value, ttl);
            let panic = injected(set).err().map(|panic| panic.code);
            drop(injector);
            met.panics.extend(panic);
            match panic {
                Some(Code::Hash | Code::Eq) => {
                    met.panics_while_growing += u32::from(panic == Some(Code::Hash) && passes > 0);
                    assert_eq!(freed.take(), [id], "{context}: freed, and no more");
                }
                None | Some(Code::DropKey | Code::DropValue) => {
                    let dropped = oracle.set(key, id, now + ttl);
                    assert_eq!(freed.take(), dropped, "{context}: freed");
                }
                Some(code) => panic!("{context}: set_ex runs no {code:?}"),
            }
        } else {
            let get = || cache.get_ex(&Key::new(key)).map(|value| value.id);
            let found = injected(get);
            drop(injector);
            match found {
                Ok(found) => assert_eq!(found, oracle.get(key, now), "{context}: found"),
                Err(panic) => met.panics.push(panic.code),
            }
            assert_eq!(freed.take(), [], "{context}: get_ex freed something");
        }

        assert_eq!(cache.strong_len(), oracle.entries.len(), "{context}");
        assert_eq!(cache.weak_len(), oracle.weak_len(), "{context}");
        if id % 16 == 0 {
            for key in 0..keys {
                let found = cache.get_ex(&Key::new(key)).map(|value| value.id);
                assert_eq!(found, oracle.get(key, now), "{context}: key {key}");
            }
        }
    }

    drop(cache);
    let rest: Vec<u64> = oracle.entries.iter().map(|entry| entry.1).collect();
    assert_eq!(freed.take(), rest, "seed {seed}: freed at the end");
    met
}

#[test]
fn a_panic_anywhere_leaves_every_answer_right() {
    let mut panics = Vec::new();
    let mut panics_while_growing = 0;
    for seed in 0..10 {
        for (max_len, keys) in [(0, 2), (1, 3), (7, 12), (100, 150)] {
            let met = random_calls(seed, max_len, keys, 2048);
            panics.extend(met.panics);
            panics_while_growing += met.panics_while_growing;
        }
    }
    for code in [Code::Hash, Code::Eq, Code::Clone, Code::DropKey, Code::DropValue] {
        let times = panics.iter().filter(|&&met| met == code).count();
        assert!(times >= 100, "{code:?} panicked {times} times only");
    }
    assert!(panics_while_growing >= 20, "{panics_while_growing} panics only hit a growing map");
}

#[test]
fn a_panicking_drop_comes_after_all_else_is_done() {
    let freed = Freed::default();
    let mut cache = LocalCache::with_clock(1, ManualClock::new());
    cache.set_ex("old", Value::new(1, &freed), SECOND);
    let injector = Injector::after(0);
    let panic = injected(|| cache.set_ex("new", Value::new(2, &freed), SECOND));
    drop(injector);
    assert_eq!(panic.expect_err("the drop panics").code, Code::DropValue);

    assert_eq!(freed.take(), [1]);
    assert_eq!((cache.weak_len(), cache.strong_len()), (1, 1));
    assert!(cache.get_ex("old").is_none());
    assert_eq!(cache.get_ex("new").map(|value| value.id), Some(2));
    drop(cache);
    assert_eq!(freed.take(), [2]);
}

#[test]
fn a_drop_that_panics_as_the_cache_goes_loses_no_other_value() {
    let freed = Freed::default();
    let mut cache = LocalCache::with_clock(5, ManualClock::new());
    // Seven, so that the queue has wrapped around.
    for id in 0..7 {
        cache.set_ex(id, Value::new(id, &freed), SECOND);
    }
    assert_eq!(freed.take(), [0, 1]);
    let injector = Injector::after(1);
    injected(|| drop(cache)).expect_err("a drop panics");
    drop(injector);
    assert_eq!(freed.take(), [2, 3, 4, 5, 6]);
}

/// Keys that come in clusters of equal hashes leave a hash table full of tombstones,
/// so that it has to be put in order again and again though it grows no longer.
#[test]
fn a_hash_that_panics_while_the_map_is_put_in_order_loses_no_key() {
    #[derive(PartialEq, Eq)]
    struct Clustered(u64);
    impl Hash for Clustered {
        fn hash<H: Hasher>(&self, state: &mut H) {
            run(Code::Hash);
            (self.0 / 64).hash(state);
        }
    }

    let mut random = fastrand::Rng::with_seed(7);
    let mut panics = 0;
    let mut cache = LocalCache::with_clock(64, ManualClock::new());
    // How often it happens depends on the cache's own random seed.
    for id in 0..1_000_000 {
        if panics == 50 {
            return;
        }
        // The first hash is that of the key itself; any other is of one in the map.
        let injector = Injector::after(random.u32(1..64));
        let panic = injected(|| cache.set_ex(Clustered(id), id, SECOND));
        drop(injector);
        if panic.is_err() {
            panics += 1;
            for kept in id.saturating_sub(64)..id {
                let found = cache.get_ex(&Clustered(kept));
                assert_eq!(found, Some(kept), "key {kept} after call {id}");
            }
            assert_eq!(cache.get_ex(&Clustered(id)), None, "call {id}");
            cache.set_ex(Clustered(id), id, SECOND);
        }
        assert_eq!(cache.get_ex(&Clustered(id)), Some(id));
        assert_eq!(cache.weak_len(), cache.strong_len(), "after call {id}");
    }
    panic!("{panics} panics only");
}
