//! A hit of 200 bytes, beside one of the cache of `punctual` that holds the same value.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use punctual::{ByteCache, Cache};
use punctual_redis::{NearCache, NearCacheBuilder};
use redis::FromRedisValue;

use crate::server::{Program, Server};
use crate::subject::{Kind, Subject};

const KEYS: usize = 1_000;
const ROUNDS: usize = 205;
/// Of each turn: a millisecond or so, in which the system rarely takes the processor away.
const CALLS: usize = 10_000;
const TTL: Duration = Duration::from_secs(600);
/// Of both caches of bytes.
const BUDGET: usize = 2 << 20;
const MEAN_ENTRY: usize = 210;

fn keys() -> Vec<String> {
    (0..KEYS).map(|id| format!("key:{id}")).collect()
}

/// Keys in an order that no processor guesses.
fn order() -> Vec<usize> {
    (0..CALLS).map(|_| fastrand::usize(..KEYS)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the lines of the table: a value that is copied by each hit, one that is shared, and one that
/// is copied out of the block of memory with all others.
pub(crate) fn rows(program: &Program) {
    crate::runtime().block_on(async {
        let server = Server::start(program, &[]);
        for key in keys() {
            server.ask::<()>(format!("SET {key} {}", "v".repeat(200)));
        }
        let redis_rs = redis_rs_nanos(&server).await;
        let near = parsed_nanos::<Vec<u8>>(&server).await;
        print_row("`Vec<u8>`", near, "Cache", &format!("{redis_rs:.0} ns"));
        let near = parsed_nanos::<Arc<[u8]>>(&server).await;
        print_row("`Arc<[u8]>`", near, "Cache", "");
        let near = budget_nanos(&server).await;
        print_row("`Vec<u8>` with a memory budget", near, "ByteCache", "");
    });
}

fn print_row(values: &str, (nanos, ratio): (f64, f64), local: &str, redis_rs: &str) {
    println!(
        "| a hit of 200 bytes, {values} | {nanos:.0} ns, {ratio:.2} × `punctual::{local}::get` \
         | {redis_rs} | ≤ 1.3 × |"
    );
}

async fn parsed_nanos<V: FromRedisValue + Clone + Send + Sync + 'static>(
    server: &Server,
) -> (f64, f64) {
    let near = build(NearCache::<V>::builder().capacity(KEYS * 2), server).await;
    let local: Cache<String, V> = Cache::builder().capacity(KEYS * 2).build().expect("it fits");
    let keys = keys();
    // Cloned one by one, as a load does it, so that both caches' values lie alike in memory.
    let values = near.get_many(&keys).await.expect("they are set");
    for (key, value) in keys.iter().zip(&values) {
        local.insert_with_ttl(key.clone(), value.clone().expect("it is set"), TTL);
    }
    drop(values);
    nanos(&near, |key| local.get(key)).await
}

async fn budget_nanos(server: &Server) -> (f64, f64) {
    let builder = NearCache::builder().memory_budget(BUDGET).mean_entry(MEAN_ENTRY);
    let near = build(builder, server).await;
    let local = ByteCache::builder().memory_budget(BUDGET).mean_entry(MEAN_ENTRY);
    let local = local.build().expect("it fits");
    let keys = keys();
    for (key, value) in keys.iter().zip(near.get_many(&keys).await.expect("they are set")) {
        local.insert_with_ttl(key, &value.expect("it is set"), TTL).expect("it fits");
    }
    nanos(&near, |key| local.get(key)).await
}

async fn build<V: Clone + Send + Sync + 'static>(
    builder: NearCacheBuilder<V>,
    server: &Server,
) -> NearCache<V> {
    builder.url(server.url()).longest_ttl(TTL).build().await.expect("the server is there")
}

/// Nanoseconds of a hit, and its ratio to one of the local cache, both medians. They take turns.
async fn nanos<V: FromRedisValue + Clone + Send + Sync + 'static>(
    near: &NearCache<V>,
    get: impl Fn(&str) -> Option<V>,
) -> (f64, f64) {
    let (keys, order) = (keys(), order());
    let (mut nanos, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for &at in &order {
            black_box(near.get(black_box(keys[at].as_str())).await.expect("a hit"));
        }
        let of_near = began.elapsed();
        let began = Instant::now();
        for &at in &order {
            black_box(get(black_box(keys[at].as_str())));
        }
        let of_local = began.elapsed();
        nanos.push(of_near.as_nanos() as f64 / CALLS as f64);
        ratios.push(of_near.as_secs_f64() / of_local.as_secs_f64());
    }
    assert_eq!(near.stats().loads, KEYS as u64, "they were hits");
    (median(nanos), median(ratios))
}

async fn redis_rs_nanos(server: &Server) -> f64 {
    let mut subject = Subject::new(Kind::RedisRs, server, KEYS * 2, TTL).await;
    let (keys, order) = (keys(), order());
    for key in &keys {
        subject.get(key).await.expect("the server is there");
    }
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for &at in &order {
            black_box(subject.get(black_box(keys[at].as_str())).await.expect("a hit"));
        }
        nanos.push(began.elapsed().as_nanos() as f64 / CALLS as f64);
    }
    median(nanos)
}
