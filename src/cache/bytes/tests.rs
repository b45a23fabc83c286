//! What only the inside can show.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::ByteCache;
use crate::{Clock, ManualClock, Reaper};

/// Counts how often it is read, and panics if it is told to.
#[derive(Clone, Default)]
struct Counting {
    clock: ManualClock,
    reads: Arc<AtomicUsize>,
    /// From this read on.
    panics_from: Arc<AtomicUsize>,
}

impl Clock for Counting {
    fn now(&self) -> Duration {
        let number = self.reads.fetch_add(1, SeqCst);
        let from = self.panics_from.load(SeqCst);
        assert!(from == 0 || number < from, "the clock panics");
        self.clock.now()
    }
}

fn cache(clock: &Counting) -> ByteCache {
    let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(1_000).shards(1);
    builder.clock(clock.clone()).reaper(Reaper::Manual).build().unwrap()
}

/// However long it waits for its turn.
#[test]
fn what_was_just_inserted_has_its_ttl_before_it() {
    let clock = Counting::default();
    let cache = cache(&clock);
    let value = vec![1; 100_000];
    thread::scope(|scope| {
        let turn = cache.insertions.hold_turn(0);
        let reads = clock.reads.load(SeqCst);
        let insertion =
            scope.spawn(|| cache.insert_with_ttl("key", &value, Duration::from_secs(1)));
        while clock.reads.load(SeqCst) == reads {
            thread::yield_now();
        }
        clock.clock.advance(Duration::from_secs(2));
        drop(turn);
        assert_eq!(insertion.join().unwrap(), Ok(false));
    });
    assert_eq!(cache.get("key"), Some(value));
    assert!(cache.expires_in("key").unwrap() > Duration::from_millis(980));
}

/// At any of its readings: the entry is in, and its room is nobody else's.
#[test]
fn a_clock_that_panics_leaves_no_room_claimed() {
    let clock = Counting::default();
    let cache = cache(&clock);
    let value = vec![1; 600_000];
    let mut panics = 0;
    for reading in 0..20 {
        clock.panics_from.store(clock.reads.load(SeqCst) + reading, SeqCst);
        let result = catch_unwind(AssertUnwindSafe(|| cache.insert([reading as u8], &value)));
        clock.panics_from.store(0, SeqCst);
        panics += usize::from(result.is_err());
        cache.check();
        if reading > 0 {
            assert!(cache.contains_key([reading as u8]));
        }
    }
    assert!(panics > 5, "{panics}");
    cache.clear();
    let all = vec![2; cache.entry_bytes_max()];
    cache.insert("", &all).unwrap();
    assert_eq!(cache.get(""), Some(all));
}

/// Those who wait for it are told.
#[test]
fn a_load_ends_though_the_clock_panics_while_its_value_is_put_in() {
    let clock = Counting::default();
    let cache = cache(&clock);
    let load = || {
        clock.panics_from.store(clock.reads.load(SeqCst) + 4, SeqCst);
        Ok::<_, ()>((vec![1; 600_000], Duration::from_secs(1)))
    };
    let result = catch_unwind(AssertUnwindSafe(|| cache.get_or_load("key", load)));
    clock.panics_from.store(0, SeqCst);
    assert!(result.is_err());
    cache.inner.check();
    let again = || Ok::<_, ()>((b"again".to_vec(), Duration::from_secs(1)));
    assert_eq!(cache.get_or_load("key", again).map(|value| value.len()), Ok(600_000));
}
