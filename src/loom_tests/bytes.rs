//! Insertions of bytes that give the shard's lock away before they are done.

use super::*;
use crate::cache::insert_bytes::PART_BYTES;
use crate::{ByteCache, ByteLookup, Ttl};

const KEY: &[u8] = b"key";
const SMALL: &[u8] = b"small";

/// A value that takes three holds of the lock.
fn large(byte: u8) -> Vec<u8> {
    vec![byte; 3 * PART_BYTES]
}

fn cache() -> ByteCache<FixedState> {
    ByteCache::builder()
        .memory_budget(32 * PART_BYTES + (64 << 10))
        .mean_entry(3 * PART_BYTES)
        .shards(1)
        .clock(ManualClock::new())
        .hasher(FixedState::with_seed(1))
        .build()
        .unwrap()
}

/// Purpose: a reader finds the old value or the new one, each as a whole.
#[test]
fn a_large_value_appears_as_a_whole() {
    explore(Some(2), || {
        let cache = cache();
        cache.insert(KEY, &large(1)).unwrap();
        let writer = {
            let cache = cache.clone();
            spawn(move || assert!(cache.insert(KEY, &large(2)).unwrap()))
        };
        let seen = cache.get(KEY);
        assert!([large(1), large(2)].map(Some).contains(&seen));
        writer.join().unwrap();
        assert_eq!(cache.get(KEY), Some(large(2)));
        cache.check();
    });
}

/// Purpose: what removes the key in between does not meet a part of the new value.
#[test]
fn a_removal_meets_the_old_value_or_the_new_one() {
    explore(Some(2), || {
        let cache = cache();
        cache.insert(KEY, &large(1)).unwrap();
        let writer = {
            let cache = cache.clone();
            spawn(move || cache.insert(KEY, &large(2)).unwrap())
        };
        let removed = cache.remove(KEY);
        let has_replaced = writer.join().unwrap();
        assert!(removed);
        // It was the old one if nothing was replaced, and then the new one came later.
        assert_eq!(cache.get(KEY), (!has_replaced).then(|| large(2)));
        assert_eq!(cache.len(), usize::from(!has_replaced));
        cache.check();
    });
}

/// Purpose: two of them in one shard, one after the other.
#[test]
fn two_large_values_do_not_meet() {
    explore(Some(2), || {
        let cache = cache();
        let writer = {
            let cache = cache.clone();
            spawn(move || cache.insert(b"other", &large(1)).unwrap())
        };
        cache.insert(KEY, &large(2)).unwrap();
        writer.join().unwrap();
        assert_eq!(cache.get(KEY), Some(large(2)));
        assert_eq!(cache.get(b"other"), Some(large(1)));
        cache.check();
    });
}

/// Purpose: whether the key is absent is decided when the value is put in.
#[test]
fn a_value_that_came_in_between_is_not_replaced_by_one_for_an_absent_key() {
    explore(Some(2), || {
        let cache = cache();
        let writer = {
            let cache = cache.clone();
            spawn(move || cache.insert_if_absent(KEY, &large(1)).unwrap())
        };
        let has_replaced = cache.insert(KEY, SMALL).unwrap();
        assert_eq!(writer.join().unwrap(), has_replaced);
        assert_eq!(cache.get(KEY).as_deref(), Some(SMALL));
        cache.check();
    });
}

/// Purpose: a write in between overrules a load whose value is on its way.
#[test]
fn a_write_overrules_a_large_value_that_is_loaded() {
    explore(Some(2), || {
        let cache = cache();
        let ByteLookup::Miss(ticket) = cache.lookup(KEY, Duration::ZERO) else { unreachable!() };
        let loader = spawn(move || ticket.store(&large(1), Ttl::Default).unwrap());
        let has_replaced = cache.insert(KEY, SMALL).unwrap();
        assert_eq!(loader.join().unwrap(), has_replaced);
        assert_eq!(cache.get(KEY).as_deref(), Some(SMALL));
        cache.check();
    });
}
