//! Prints what threads that share a cache of half a million entries get done under a load:
//! `LOAD THREADS throughput` million calls a second, the best of some rounds; `LOAD THREADS p99.9`
//! the nanoseconds in which 99.9 % of the calls return, the median.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use punctual::Cache;
use zipf::Zipf;

const CAPACITY: u64 = 500_000;
/// So that nothing is evicted where each lookup is to be a hit.
const FILLED: u64 = CAPACITY * 98 / 100;
const TTL: Duration = Duration::from_secs(1_800);
/// Of each thread in a round.
const CALLS: usize = 100_000;
const ROUNDS: usize = 7;

/// Numbers of keys that are never among those the cache was filled with.
const FRESH: u64 = 100_000_000_000;
/// Marks a key that is overwritten rather than looked up.
const OVERWRITTEN: u64 = 1 << 63;

type Call = fn(&Cache<u64, u64>, u64);

/// Which keys are asked for.
#[derive(Clone, Copy)]
enum Draw {
    /// From so many.
    Uniform(u64),
    Zipf(f64),
    /// Others in each round.
    FreshForEach,
    FreshForAll,
}

struct Load {
    capacity: u64,
    /// How many keys there are, all of them in the cache or not.
    keys: u64,
    draw: Draw,
    /// Of a thousand calls.
    overwrites: u16,
    call: Call,
}

fn load(word: &str) -> Load {
    let hit = |draw| Load { capacity: CAPACITY, keys: FILLED, draw, overwrites: 0, call: get };
    let mix = |overwrites| Load { overwrites, call: get_or_overwrite, ..hit(Draw::Zipf(0.99)) };
    let fresh = |draw, call| Load { call, ..hit(draw) };
    match word {
        "hit-uniform" => hit(Draw::Uniform(FILLED)),
        "hit-zipf-0.99" => hit(Draw::Zipf(0.99)),
        "hit-zipf-1.3" => hit(Draw::Zipf(1.3)),
        "hit-one-key" => hit(Draw::Uniform(1)),
        "mix-99.9" => mix(1),
        "mix-99" => mix(10),
        "mix-95" => mix(50),
        "mix-50" => mix(500),
        "overwrite" => mix(1_000),
        "read-through" => {
            let load = Load { keys: CAPACITY, call: read_through, ..hit(Draw::Zipf(0.99)) };
            Load { capacity: CAPACITY / 10, ..load }
        }
        "herd" => fresh(Draw::FreshForAll, get_or_make),
        "insert-fresh" => fresh(Draw::FreshForEach, insert),
        "remove" => Load { call: remove, ..hit(Draw::Uniform(FILLED)) },
        _ => panic!("no load is called {word}"),
    }
}

fn get(cache: &Cache<u64, u64>, key: u64) {
    black_box(cache.get(&key));
}

fn insert(cache: &Cache<u64, u64>, key: u64) {
    cache.insert_with_ttl(key & !OVERWRITTEN, !key, TTL);
}

fn get_or_overwrite(cache: &Cache<u64, u64>, key: u64) {
    if key & OVERWRITTEN == 0 { get(cache, key) } else { insert(cache, key) }
}

fn read_through(cache: &Cache<u64, u64>, key: u64) {
    if black_box(cache.get(&key)).is_none() {
        insert(cache, key);
    }
}

fn get_or_make(cache: &Cache<u64, u64>, key: u64) {
    black_box(cache.get_or_load(&key, || Ok::<_, ()>((!key, TTL)))).expect("no loader fails");
}

fn remove(cache: &Cache<u64, u64>, key: u64) {
    black_box(cache.remove(&key));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [word, threads, metric] = words.as_slice() else { panic!("LOAD THREADS METRIC") };
    let (load, threads) = (load(word), threads.parse().expect("a number"));
    let cache = Cache::builder().capacity(load.capacity as usize).build().expect("it is possible");
    let mut random = fastrand::Rng::with_seed(1);
    let zipf = match load.draw {
        Draw::Zipf(alpha) => Some(Zipf::new(load.keys as usize, alpha)),
        _ => None,
    };
    let mut next_fresh = FRESH;
    let mut keys = || -> Vec<u64> {
        let draw = |_| match (load.draw, &zipf) {
            (_, Some(zipf)) => u64::from(zipf.draw(&mut random)),
            (Draw::Uniform(keys), _) => random.u64(..keys),
            _ => {
                next_fresh += 1;
                next_fresh
            }
        };
        let mut keys: Vec<u64> = (0..CALLS).map(draw).collect();
        for key in &mut keys {
            if random.u16(..1_000) < load.overwrites {
                *key |= OVERWRITTEN;
            }
        }
        keys
    };
    fill(&cache, &load, &mut keys);
    let together = matches!(load.draw, Draw::FreshForAll);
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        let sequences: Vec<Vec<u64>> =
            if together { vec![keys(); threads] } else { (0..threads).map(|_| keys()).collect() };
        figures.push(if metric == "p99.9" {
            p999_nanos(&cache, load.call, &sequences)
        } else {
            millions_a_second(&cache, load.call, &sequences)
        });
        if word == "remove" {
            sequences.iter().flatten().for_each(|key| insert(&cache, *key));
        }
    }
    figures.sort_by(f64::total_cmp);
    println!("{}", if metric == "p99.9" { figures[ROUNDS / 2] } else { figures[ROUNDS - 1] });
}

/// Puts in what the load expects to be there.
fn fill(cache: &Cache<u64, u64>, load: &Load, keys: &mut impl FnMut() -> Vec<u64>) {
    if load.capacity < load.keys {
        for _ in 0..4 * load.capacity as usize / CALLS {
            keys().into_iter().for_each(|key| read_through(cache, key));
        }
        return;
    }
    let mut order: Vec<u64> = (0..load.keys).collect();
    fastrand::Rng::with_seed(2).shuffle(&mut order);
    order.into_iter().for_each(|key| insert(cache, key));
    // Over the brim, where what is put in is to evict something.
    if load.call as usize == insert as Call as usize {
        for _ in 0..2 {
            keys().into_iter().for_each(|key| insert(cache, key));
        }
    }
}

fn millions_a_second(cache: &Cache<u64, u64>, call: Call, sequences: &[Vec<u64>]) -> f64 {
    let times = in_threads(sequences, |keys| {
        let start = Instant::now();
        keys.iter().for_each(|key| call(cache, *key));
        (start, Instant::now())
    });
    // With more threads than processors, some begin late.
    let start = times.iter().map(|(start, _)| *start).min().expect("there are threads");
    let end = times.iter().map(|(_, end)| *end).max().expect("there are threads");
    (CALLS * sequences.len()) as f64 / (end - start).as_secs_f64() / 1e6
}

fn p999_nanos(cache: &Cache<u64, u64>, call: Call, sequences: &[Vec<u64>]) -> f64 {
    let nanos = in_threads(sequences, |keys| {
        let timed = |key: &u64| {
            let start = Instant::now();
            call(cache, *key);
            start.elapsed().as_nanos() as u64
        };
        keys.iter().map(timed).collect::<Vec<u64>>()
    });
    let mut nanos = nanos.concat();
    let at = nanos.len() * 999 / 1_000;
    *nanos.select_nth_unstable(at).1 as f64
}

fn in_threads<T: Send>(sequences: &[Vec<u64>], work: impl Fn(&[u64]) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(sequences.len());
    thread::scope(|scope| {
        let threads = sequences.iter().map(|keys| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(keys)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    })
}
