//! A resolver's cache: the answer says how long it may be kept.
//!
//! ```sh
//! cargo run --release --example dns_resolver
//! ```
//!
//! `get_or_load` asks upstream where there is no answer, once for all threads
//! that want it. The loader returns the value and its TTL. A name that does not
//! exist is an answer too, with a TTL of its own; a failure is not kept at all.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use punctual::{Cache, LoadError};

/// `None`: there is no such name.
type Answer = Option<Ipv4Addr>;

struct Resolver {
    cache: Cache<String, Answer>,
    queries: AtomicU32,
}

impl Resolver {
    fn resolve(&self, name: &str) -> Result<Answer, LoadError<String>> {
        // A hit builds no `String`: the key is made only where it is stored.
        self.cache.get_or_load(name, || self.ask_upstream(name))
    }

    /// What would be a packet to a server: 20 ms, an answer, a TTL.
    fn ask_upstream(&self, name: &str) -> Result<(Answer, Duration), String> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
        match name {
            "long.example" => Ok((Some(Ipv4Addr::new(192, 0, 2, 1)), Duration::from_secs(3600))),
            "short.example" => Ok((Some(Ipv4Addr::new(192, 0, 2, 2)), Duration::from_millis(800))),
            // Not to be kept: returned, and asked for again.
            "zero.example" => Ok((Some(Ipv4Addr::new(192, 0, 2, 3)), Duration::ZERO)),
            "broken.example" => Err(format!("no server answers for {name}")),
            _ => Ok((None, Duration::from_secs(60))),
        }
    }

    /// Resolves a name from eight threads at once, and says what it took.
    fn show(&self, name: &str) {
        let before = self.queries.load(Ordering::Relaxed);
        let answers: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| self.resolve(name))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let queries = self.queries.load(Ordering::Relaxed) - before;
        println!("{name:<16} {queries} queries for 8 callers: {:?}", answers[0]);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cache = Cache::builder().capacity(10_000).build()?;
    let resolver = Resolver { cache, queries: AtomicU32::new(0) };

    for name in ["long.example", "short.example", "none.example", "zero.example", "broken.example"]
    {
        resolver.show(name);
    }
    println!("{} answers kept", resolver.cache.len());

    // Nobody asks for anything: the reaper frees what is due.
    thread::sleep(Duration::from_secs(1));
    println!("{} answers kept a second later", resolver.cache.len());
    resolver.show("long.example");
    resolver.show("short.example");
    Ok(())
}
