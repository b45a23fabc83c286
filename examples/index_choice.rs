//! The index of one shard: a table of twice the size, which hashbrown can always
//! put in order in place, or a smaller one that is rebuilt from the slots.
//!
//! ```sh
//! cargo run --release --example index_choice
//! ```
//!
//! Prints, for shards of three sizes and tables of several loads, what the index
//! costs in bytes an entry, how many insertions there are between two pauses
//! under random replacements, and how long a pause is. `docs/design.md` quotes it.

use std::time::{Duration, Instant};

use hashbrown::HashTable;
use slab::Slab;

/// Random replacements in each full shard.
const REPLACEMENTS: usize = 2_000_000;

/// Each run does exactly the same work, so the least time that a pause took in
/// any of them is its own; the rest is the machine's.
const RUNS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// At most half full: hashbrown never allocates another table.
    TwiceTheSize,
    /// Filled to so many percent of what the table takes, and rebuilt when full.
    Rebuilt { load_percent: usize },
}

fn main() {
    println!("{REPLACEMENTS} random replacements in a full shard, the best of {RUNS} runs");
    println!();
    println!(
        "{:<13} {:>7} {:>7} {:>5} {:>11} {:>15} {:>15} {:>11}",
        "index",
        "entries",
        "buckets",
        "load",
        "bytes/entry",
        "inserts/pause",
        "median pause µs",
        "longest µs",
    );
    for entries in [3_000, 11_700, 23_000] {
        measure(entries, Choice::TwiceTheSize);
        for load_percent in [80, 85, 90, 95] {
            measure(entries, Choice::Rebuilt { load_percent });
        }
    }
}

/// One line. The number of buckets is a power of two, so a load is reached by
/// filling the shard: to `entries`, or to what the load makes of its table.
fn measure(entries: usize, choice: Choice) {
    let room = HashTable::<u32>::with_capacity(entries).capacity();
    let (name, entries, room) = match choice {
        Choice::TwiceTheSize => ("twice as large", entries, 2 * room),
        Choice::Rebuilt { load_percent } => ("rebuilt", room * load_percent / 100, room),
    };
    let mut pauses = churn(entries, room, choice);
    for _ in 1..RUNS {
        for (pause, again) in pauses.iter_mut().zip(churn(entries, room, choice)) {
            *pause = again.min(*pause);
        }
    }
    pauses.sort();
    let table = HashTable::<u32>::with_capacity(room);
    println!(
        "{name:<14}{entries:>7} {:>7} {:>4.0}% {:>11.2} {:>15} {:>15} {:>11}",
        table.num_buckets(),
        100.0 * entries as f64 / table.capacity() as f64,
        table.allocation_size() as f64 / entries as f64,
        REPLACEMENTS.checked_div(pauses.len()).unwrap_or(REPLACEMENTS),
        micros(pauses.get(pauses.len() / 2)),
        micros(pauses.last()),
    );
}

/// Fills a shard and replaces random entries; how long each pause was.
fn churn(entries: usize, room: usize, choice: Choice) -> Vec<Duration> {
    let mut table: HashTable<u32> = HashTable::with_capacity(room);
    let index_bytes = table.allocation_size();
    let mut pauses = Vec::new();
    let mut random = fastrand::Rng::with_seed(1);
    // A slot keeps its key's hash, so that no key has to be hashed again.
    let mut slots: Slab<u64> = Slab::with_capacity(entries);
    for insertion in 0..entries + REPLACEMENTS {
        if insertion >= entries {
            let victim = random.usize(..entries);
            let hash = slots.remove(victim);
            match table.find_entry(hash, |&id| id as usize == victim) {
                Ok(entry) => drop(entry.remove()),
                Err(_) => unreachable!("every slot is in the table"),
            }
        }
        let hash = random.u64(..);
        let id = slots.insert(hash) as u32;
        if table.capacity() > table.len() || insertion < entries {
            table.insert_unique(hash, id, |_| unreachable!("there is room"));
            continue;
        }
        let start = Instant::now();
        match choice {
            Choice::TwiceTheSize => {
                table.insert_unique(hash, id, |&id| slots[id as usize]);
            }
            Choice::Rebuilt { .. } => {
                table.clear();
                for (id, &hash) in &slots {
                    table.insert_unique(hash, id as u32, |_| unreachable!("there is room"));
                }
            }
        }
        pauses.push(start.elapsed());
    }
    assert_eq!(table.allocation_size(), index_bytes, "the table has grown");
    pauses
}

fn micros(pause: Option<&Duration>) -> String {
    pause.map_or("-".to_owned(), |pause| format!("{:.0}", pause.as_secs_f64() * 1e6))
}
