//! One operation over and over, for a profiler to look at.
//!
//! ```sh
//! cargo build --release --example hot_loop
//! valgrind --tool=callgrind target/release/examples/hot_loop hit 100000
//! valgrind --tool=callgrind target/release/examples/hot_loop hit 300000
//! ```
//!
//! The difference of the two, divided by 200,000, is the number of instructions that
//! one call takes, whatever building and filling the cache took.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use punctual::{Cache, unsync};

const ENTRIES: u64 = 100_000;
const TTL: Duration = Duration::from_secs(3_600);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let operation = arguments.next().unwrap_or_else(|| "hit".to_owned());
    let calls = arguments.next().map_or(Ok(100_000), |calls| calls.parse())?;

    let cache = Cache::builder().capacity(ENTRIES as usize).ttl(TTL).build()?;
    let mut unsync = unsync::Cache::builder().capacity(ENTRIES as usize).ttl(TTL).build()?;
    for key in 0..ENTRIES {
        cache.insert(key, key);
        unsync.insert(key, key);
    }
    let mut random = fastrand::Rng::with_seed(1);
    for call in 0..calls {
        let key = random.u64(..ENTRIES);
        let absent = ENTRIES + call;
        match operation.as_str() {
            "hit" => drop(black_box(cache.get(&key))),
            "miss" => drop(black_box(cache.get(&absent))),
            "insert" => drop(black_box(cache.insert(absent, call))),
            "overwrite" => drop(black_box(cache.insert(key, call))),
            "unsync-hit" => _ = black_box(unsync.get(&key)),
            other => {
                return Err(format!("{other}: hit, miss, insert, overwrite or unsync-hit").into());
            }
        }
    }
    println!("{calls} times {operation}, {} entries held", cache.len() + unsync.len());
    Ok(())
}
