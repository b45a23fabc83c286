//! No thread of the cache's own: a task of the event loop frees what is due.
//!
//! ```sh
//! cargo run --release --example event_loop
//! ```
//!
//! The task asks the cache when the next entry falls due, sleeps until then, and
//! frees entries in small batches, so that other tasks run in between. Entries
//! with a shorter TTL than the usual one could be missed while it sleeps: whoever
//! puts one in wakes it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use punctual::{Cache, Reaper};
use tokio::sync::Notify;

/// Entries freed before other tasks get their turn.
const BATCH: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let cache: Cache<u64, String> = Cache::builder()
        .capacity(20_000)
        .ttl(Duration::from_millis(600))
        .reaper(Reaper::Manual)
        // Leave all of it to the task: no call frees for others.
        .reap_limit(0)
        .build()?;

    let shorter_ttl = Arc::new(Notify::new());
    let timer = tokio::spawn(free_what_is_due(cache.clone(), shorter_ttl.clone(), start));

    for key in 0..10_000 {
        cache.insert(key, format!("value {key}"));
    }
    say(start, &format!("{} entries with a TTL of 600 ms", cache.len()));

    // Let the task fall asleep until then, and put something in that is due before.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for key in 10_000..10_100 {
        cache.insert_with_ttl(key, "short".to_owned(), Duration::from_millis(200));
    }
    shorter_ttl.notify_one();
    say(start, "100 more with a TTL of 200 ms");

    // Nobody touches the cache from here on.
    while !cache.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    say(start, &format!("{} entries left, {} expired", cache.len(), cache.stats().expired));
    timer.abort();
    Ok(())
}

async fn free_what_is_due(cache: Cache<u64, String>, shorter_ttl: Arc<Notify>, start: Instant) {
    loop {
        let mut freed = 0;
        loop {
            let batch = cache.reap(BATCH);
            freed += batch;
            if batch < BATCH {
                break; // nothing more is due
            }
            tokio::task::yield_now().await;
        }
        if freed > 0 {
            say(start, &format!("the task has freed {freed}"));
        }
        match cache.next_expiry() {
            // Whichever comes first. An early wake-up does no harm.
            Some(next) => tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = shorter_ttl.notified() => {}
            },
            // Nothing has a deadline: wait for something that has.
            None => shorter_ttl.notified().await,
        }
    }
}

fn say(start: Instant, what: &str) {
    println!("{:>5} ms  {what}", start.elapsed().as_millis());
}
