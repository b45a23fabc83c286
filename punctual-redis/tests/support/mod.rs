//! What the tests have in common.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

pub mod fake;
pub mod proxy;
pub mod server;

use std::future::Future;
use std::time::{Duration, Instant};

use punctual_redis::{NearCache, NearCacheBuilder};
use server::{Program, Server};

/// Longer than anything takes that happens at all.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs a test with each server that there is, on two threads.
pub fn with_servers<F: Future<Output = ()>>(test: impl Fn(Program) -> F) {
    for program in server::programs() {
        block_on(test(program));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there are threads").block_on(future)
}

/// A builder with short times.
pub fn near<V: Clone + Send + Sync + 'static>(url: impl Into<String>) -> NearCacheBuilder<V> {
    NearCache::builder()
        .url(url.into())
        .capacity(1_000)
        .probe_every(Duration::from_millis(100))
        .reconnect_delays(Duration::from_millis(5), Duration::from_millis(20))
}

pub async fn build(server: &Server) -> NearCache<String> {
    near(server.url()).build().await.expect("the server is there")
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < limit, "not soon: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a key has a value, and returns how long it took.
pub async fn until_value(near: &NearCache<String>, key: &str, value: Option<&str>) {
    let limit = Instant::now() + SOON;
    loop {
        let found = near.get(key).await;
        if matches!(&found, Ok(found) if found.as_deref() == value) {
            return;
        }
        assert!(Instant::now() < limit, "{key} is {found:?} and not {value:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
