//! What the tests have in common.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

pub mod fake;
pub mod proxy;
pub mod server;

use std::future::Future;
use std::ops::Deref;
use std::time::{Duration, Instant};

use punctual_redis::{Error, NearCache, NearCacheBuilder};
use server::{Program, Server};

/// Longer than anything takes that happens at all.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs a test with each server that there is, on two threads.
pub fn with_servers<F: Future<Output = ()>>(test: impl Fn(Program) -> F) {
    for program in server::programs() {
        block_on(test(program));
    }
}

/// Runs a test with each server and each form.
pub fn with_servers_and_forms<F: Future<Output = ()>>(test: impl Fn(Program, Form) -> F) {
    for program in server::programs() {
        in_each_form(|form| test(program.clone(), form));
    }
}

/// Runs a test with each form, on two threads.
pub fn in_each_form<F: Future<Output = ()>>(test: impl Fn(Form) -> F) {
    for form in [Form::Parsed, Form::Bytes] {
        println!("{form:?}");
        block_on(test(form));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there are threads").block_on(future)
}

/// A builder with short times, that still lacks a size.
fn near_of_no_size<V: Clone + Send + Sync + 'static>(
    url: impl Into<String>,
) -> NearCacheBuilder<V> {
    NearCache::builder()
        .url(url.into())
        .probe_every(Duration::from_millis(100))
        .reconnect_delays(Duration::from_millis(5), Duration::from_millis(20))
}

/// A builder with short times, of parsed values.
pub fn near<V: Clone + Send + Sync + 'static>(url: impl Into<String>) -> NearCacheBuilder<V> {
    near_of_no_size(url).capacity(1_000)
}

/// How values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Parsed,
    Bytes,
}

impl Form {
    /// A builder with short times.
    pub fn near(self, url: impl Into<String>) -> NearCacheBuilder<Vec<u8>> {
        self.near_of(1_000, url)
    }

    /// The same, for so many entries of up to 200 bytes.
    pub fn near_of(self, entries: usize, url: impl Into<String>) -> NearCacheBuilder<Vec<u8>> {
        let builder = near_of_no_size(url);
        match self {
            Self::Parsed => builder.capacity(entries),
            Self::Bytes => builder.memory_budget(entries * 400 + (1 << 18)).mean_entry(100),
        }
    }

    pub async fn build(self, server: &Server) -> Near {
        Near::start(self.near(server.url())).await
    }
}

/// A near-cache of bytes, read and written as text.
#[derive(Clone, Debug)]
pub struct Near(NearCache<Vec<u8>>);

impl Near {
    pub async fn start(builder: NearCacheBuilder<Vec<u8>>) -> Self {
        Self(builder.build().await.expect("the server is there"))
    }

    pub async fn get<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> Result<Option<String>, Error> {
        Ok(text(self.0.get(key).await?))
    }

    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<String>>, Error> {
        Ok(self.0.get_many(keys).await?.into_iter().map(text).collect())
    }

    pub async fn set(&self, key: &str, value: impl ToString) -> Result<(), Error> {
        self.0.set(key, &value.to_string().into_bytes()).await
    }

    pub async fn set_with_ttl(&self, key: &str, value: &str, ttl: Duration) -> Result<(), Error> {
        self.0.set_with_ttl(key, &value.as_bytes().to_vec(), ttl).await
    }
}

impl Deref for Near {
    type Target = NearCache<Vec<u8>>;

    fn deref(&self) -> &NearCache<Vec<u8>> {
        &self.0
    }
}

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).expect("it is text"))
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
pub async fn until_value(near: &Near, key: &str, value: Option<&str>) {
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
