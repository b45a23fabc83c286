//! The peers' side of `docs/migrating.md`, compiled and run against the peers.
//!
//! ```sh
//! cargo test -p punctual-benches --test migrating
//! ```
//!
//! `tests/docs.rs` compares what stands between the marks with the page.

#[test]
fn moka() {
    // page: moka
    use moka::sync::Cache;
    use std::sync::Arc;
    use std::time::Duration;

    let cache: Cache<String, u64> = Cache::builder()
        .max_capacity(10_000)
        .time_to_live(Duration::from_secs(60))
        .eviction_listener(|key: Arc<String>, year, why| println!("{key} {year} {why:?}"))
        .build();

    cache.insert("Ada".to_owned(), 1815);
    assert_eq!(cache.get("Ada"), Some(1815));
    assert_eq!(cache.get_with_by_ref("Grace", || 1906), 1906);
    let year = cache.try_get_with_by_ref("Edsger", || "1930".parse::<u64>());
    assert_eq!(year, Ok(1930));
    cache.invalidate("Ada");
    cache.run_pending_tasks();
    // page: end
}

#[test]
fn moka_with_a_ttl_for_each_entry() {
    // page: moka, a TTL for each entry
    use moka::{Expiry, sync::Cache};
    use std::time::{Duration, Instant};

    struct OwnTtl;

    impl Expiry<String, (Duration, u64)> for OwnTtl {
        fn expire_after_create(
            &self,
            _: &String,
            (ttl, _): &(Duration, u64),
            _: Instant,
        ) -> Option<Duration> {
            Some(*ttl)
        }
    }

    let cache = Cache::builder().max_capacity(10_000).expire_after(OwnTtl).build();
    cache.insert("Ada".to_owned(), (Duration::from_secs(500), 1815));
    assert_eq!(cache.get("Ada").map(|(_, year)| year), Some(1815));
    // page: end
}

#[test]
fn moka_with_weights_and_idle_time() {
    // page: moka, weights and idle time
    use moka::sync::Cache;
    use std::time::Duration;

    let cache: Cache<u64, Vec<u8>> = Cache::builder()
        .weigher(|_, page: &Vec<u8>| page.capacity() as u32)
        .max_capacity(64 << 20)
        .time_to_idle(Duration::from_secs(600))
        .build();

    cache.insert(7, vec![0; 1_000]);
    let entry = cache.entry(7).and_upsert_with(|entry| {
        let mut page = entry.map_or_else(Vec::new, |entry| entry.into_value());
        page.push(1);
        page
    });
    assert_eq!(entry.into_value().len(), 1_001);
    // page: end
}

#[test]
fn quick_cache() {
    // page: quick_cache
    use quick_cache::sync::Cache;
    use std::convert::Infallible;
    use std::time::{Duration, Instant};

    let ttl = Duration::from_secs(60);
    let cache: Cache<String, (Instant, u64)> = Cache::new(10_000);

    cache.insert("Ada".to_owned(), (Instant::now() + ttl, 1815));
    let now = Instant::now();
    let year = cache.get("Ada").filter(|(deadline, _)| now < *deadline);
    assert_eq!(year.map(|(_, year)| year), Some(1815));
    let load = || Ok::<_, Infallible>((Instant::now() + ttl, 1906));
    assert_eq!(cache.get_or_insert_with("Grace", load).map(|(_, year)| year), Ok(1906));
    assert!(cache.remove("Ada").is_some());
    // page: end
}

#[test]
fn quick_cache_guards() {
    // page: quick_cache guards
    use quick_cache::sync::{Cache, GuardResult};
    use std::time::Duration;

    let cache: Cache<String, u64> = Cache::new(10_000);

    let year = match cache.get_value_or_guard("Ada", Some(Duration::from_secs(1))) {
        GuardResult::Value(year) => Some(year),
        GuardResult::Guard(guard) => {
            let year = 1815; // a slow lookup
            guard.insert(year).ok();
            Some(year)
        }
        GuardResult::Timeout => None,
    };
    assert_eq!(year, Some(1815));
    // page: end
}

#[test]
fn lru() {
    // page: lru
    use lru::LruCache;
    use std::num::NonZeroUsize;
    use std::time::{Duration, Instant};

    let ttl = Duration::from_secs(60);
    let capacity = NonZeroUsize::new(1_000).unwrap();
    let mut cache: LruCache<String, (Instant, u64)> = LruCache::new(capacity);

    cache.put("Ada".to_owned(), (Instant::now() + ttl, 1815));
    let now = Instant::now();
    let year = cache.get("Ada").filter(|(deadline, _)| now < *deadline);
    assert_eq!(year.map(|(_, year)| *year), Some(1815));
    if let Some((_, year)) = cache.get_mut("Ada") {
        *year += 1;
    }
    assert_eq!(cache.pop("Ada").map(|(_, year)| year), Some(1816));
    // page: end
}

mod cached_function {
    // page: cached
    use cached::macros::cached;

    #[cached(max_size = 1_000, ttl_secs = 60)]
    fn birth_year(name: String) -> u64 {
        name.len() as u64 // a slow lookup
    }
    // page: end

    #[test]
    fn cached() {
        assert_eq!(birth_year("Ada".to_owned()), 3);
        assert_eq!(birth_year("Ada".to_owned()), 3);
    }
}
