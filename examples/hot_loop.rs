//! One operation over and over, for a profiler to look at.
//!
//! ```sh
//! cargo build --release --example hot_loop
//! valgrind --tool=callgrind target/release/examples/hot_loop hit 100000
//! valgrind --tool=callgrind target/release/examples/hot_loop hit 300000
//! ```
//!
//! The difference of the two, divided by 200,000, is the number of instructions that
//! one call takes, whatever building and filling the cache took. With a third argument, `manual`,
//! both caches go by a clock that stands still, and there is no reaper: then the number is the same
//! each time, but for the seed of the hasher.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use punctual::{Cache, ManualClock, unsync};

const ENTRIES: u64 = 100_000;
const TTL: Duration = Duration::from_secs(3_600);

type Unsync = unsync::Cache<u64, u64>;

/// A call of one of the caches. The first key is held, at least at first; the second never was.
type Operation = fn(&Cache<u64, u64>, &mut Unsync, u64, u64);

const OPERATIONS: [(&str, Operation); 18] = [
    ("hit", |cache, _, key, _| _ = black_box(cache.get(&key))),
    ("miss", |cache, _, _, absent| _ = black_box(cache.get(&absent))),
    ("insert", |cache, _, key, absent| _ = black_box(cache.insert(absent, key))),
    ("overwrite", |cache, _, key, absent| _ = black_box(cache.insert(key, absent))),
    ("insert-with-ttl", |cache, _, key, _| _ = black_box(cache.insert_with_ttl(key, 0, TTL))),
    ("read", |cache, _, key, _| _ = black_box(cache.read(&key, |&value| value))),
    ("update", |cache, _, key, _| _ = black_box(cache.update(&key, |value| *value += 1))),
    ("remove", |cache, _, key, _| _ = black_box(cache.remove(&key))),
    ("peek", |cache, _, key, _| _ = black_box(cache.peek(&key))),
    ("expires-in", |cache, _, key, _| _ = black_box(cache.expires_in(&key))),
    ("set-ttl", |cache, _, key, _| _ = black_box(cache.set_ttl(&key, TTL))),
    ("get-and-set-ttl", |cache, _, key, _| _ = black_box(cache.get_and_set_ttl(&key, TTL))),
    ("load-hit", |cache, _, key, _| _ = black_box(cache.get_or_insert_with(&key, || 1))),
    ("load-miss", |cache, _, _, absent| _ = black_box(cache.get_or_insert_with(&absent, || 1))),
    ("unsync-hit", |_, cache, key, _| _ = black_box(cache.get(&key))),
    ("unsync-insert", |_, cache, key, absent| _ = black_box(cache.insert(absent, key))),
    ("unsync-overwrite", |_, cache, key, absent| _ = black_box(cache.insert(key, absent))),
    ("unsync-remove", |_, cache, key, _| _ = black_box(cache.remove(&key))),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "hit".to_owned());
    let calls = arguments.next().map_or(Ok(100_000), |calls| calls.parse())?;
    let is_manual = arguments.next().is_some_and(|clock| clock == "manual");
    let Some((_, operation)) = OPERATIONS.iter().find(|(other, _)| *other == name) else {
        let names = OPERATIONS.map(|(name, _)| name).join(", ");
        return Err(format!("{name}: none of {names}").into());
    };

    let mut shared = Cache::builder().capacity(ENTRIES as usize).ttl(TTL);
    let mut own = unsync::Cache::builder().capacity(ENTRIES as usize).ttl(TTL);
    if is_manual {
        shared = shared.clock(ManualClock::new());
        own = own.clock(ManualClock::new());
    }
    let (cache, mut unsync) = (shared.build()?, own.build()?);
    for key in 0..ENTRIES {
        cache.insert(key, key);
        unsync.insert(key, key);
    }
    let mut random = fastrand::Rng::with_seed(1);
    for call in 0..calls {
        operation(&cache, &mut unsync, random.u64(..ENTRIES), ENTRIES + call);
    }
    println!("{calls} times {name}, {} entries held", cache.len() + unsync.len());
    Ok(())
}
