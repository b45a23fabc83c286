//! Caches whose entries have a TTL that does not end, with room for all, and perhaps a time to idle.

use std::time::Duration;

use punctual::{Cache, unsync};

use crate::speed::keys::shuffled;

/// As many as the bars are about.
pub(super) const ENTRIES: usize = 500_000;

const TTL: Duration = Duration::from_secs(3_600);
const TIME_TO_IDLE: Duration = Duration::from_secs(1_800);

pub(super) fn cache(entries: usize, is_renewed: bool) -> Cache<u64, u64> {
    let mut builder = Cache::builder().capacity(room(entries)).ttl(TTL);
    if is_renewed {
        builder = builder.time_to_idle(TIME_TO_IDLE);
    }
    let cache = builder.build().expect("the capacity is possible");
    cache.insert_many(pairs(entries));
    assert_eq!(cache.len(), entries);
    cache
}

pub(super) fn unsync_cache(entries: usize, is_renewed: bool) -> unsync::Cache<u64, u64> {
    let mut builder = unsync::Cache::builder().capacity(room(entries)).ttl(TTL);
    if is_renewed {
        builder = builder.time_to_idle(TIME_TO_IDLE);
    }
    let mut cache = builder.build().expect("the capacity is possible");
    cache.insert_many(pairs(entries));
    assert_eq!(cache.len(), entries);
    cache
}

fn room(entries: usize) -> usize {
    entries * 11 / 10
}

fn pairs(entries: usize) -> impl Iterator<Item = (u64, u64)> {
    shuffled(entries).into_iter().map(|key| (key, 0))
}
