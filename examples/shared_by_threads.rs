//! One cache for many threads, and nobody who cleans up.
//!
//! ```sh
//! cargo run --release --example shared_by_threads
//! ```
//!
//! A clone of `Cache` is another handle to the same cache. Four threads read and
//! write; then all of them stop, and the entries leave all the same.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, RemovalCause};

const THREADS: u64 = 4;
const CALLS: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let expired = Arc::new(AtomicU64::new(0));
    let counter = expired.clone();
    let cache: Cache<u64, Arc<str>> = Cache::builder()
        .capacity(100_000)
        .ttl(Duration::from_millis(500))
        // Runs with no lock held, here mostly in the thread `punctual-reaper`.
        .on_removal(move |_, _, cause| {
            if cause == RemovalCause::Expired {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()?;

    let start = Instant::now();
    let workers: Vec<_> = (0..THREADS)
        .map(|number| {
            let cache = cache.clone();
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..CALLS {
                    let key = random.u64(..20_000);
                    // Of all who miss a key at once, one makes the value.
                    let value = cache.get_or_insert_with(&key, || Arc::from(format!("#{key}")));
                    assert_eq!(value[1..], key.to_string());
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no worker panics");
    }

    let stats = cache.stats();
    println!("{} calls in {} ms", THREADS * CALLS, start.elapsed().as_millis());
    println!("hit ratio {:.1} %", 100.0 * stats.hit_ratio().unwrap_or(0.0));
    println!("{} entries, in {} bytes since it was built", cache.len(), cache.footprint().total());

    // Nobody calls the cache now but to ask for its length, which frees nothing.
    while !cache.is_empty() {
        thread::sleep(Duration::from_millis(200));
        println!("{:>5} ms: {} entries", start.elapsed().as_millis(), cache.len());
    }
    println!("the listener has heard of {} that expired", expired.load(Ordering::Relaxed));
    Ok(())
}
