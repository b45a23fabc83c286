//! A long run at full speed with everything that the cache can do: memory stays
//! flat, entries leave as promptly at the end as at the beginning.
//!
//! ```sh
//! MALLOC_ARENA_MAX=1 PUNCTUAL_SOAK_SECONDS=1800 \
//!     cargo test --release --test soak -- --ignored --nocapture
//! ```
//!
//! Without the first of these, glibc has a heap for each thread, and the values that one
//! puts in and another drops make all of them grow for the first twenty minutes.
//! With `PUNCTUAL_SOAK_SVG` set to a path, the memory is drawn there.

#![cfg(all(target_os = "linux", not(any(punctual_loom, miri))))]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use punctual::{Cache, LoadError, RemovalCause};
use punctual_figures::grouped;
use punctual_figures::palette::Style;
use punctual_figures::picture::{Axis, Body, Curves, Line, Picture};
use punctual_testing::proc::kibibytes;

const THREADS: u64 = 4;
const CAPACITY: usize = 100_000;
const KEYS: u64 = 300_000;
const RESOLUTION: Duration = Duration::from_millis(10);
/// Of the run, so many parts for each sample of the memory.
const SAMPLES: u32 = 60;
/// Memory has to be flat once the cache has been so full, in percent.
const WARM_PERCENT: usize = 95;

/// Milliseconds by which entries left after their time.
type Lateness = Mutex<Histogram<u64>>;

/// What the run is at, for the listener.
#[derive(Default)]
struct Phase {
    is_beginning: AtomicBool,
    is_end: AtomicBool,
}

/// Counts itself, and knows when its time is up.
struct Value {
    key: u64,
    due: Option<Instant>,
    /// Something on the heap, so that values are not free.
    payload: Box<[u8; 48]>,
}

static LIVING: AtomicI64 = AtomicI64::new(0);

impl Value {
    fn new(key: u64, ttl: Duration) -> Self {
        LIVING.fetch_add(1, Relaxed);
        Self { key, due: Instant::now().checked_add(ttl), payload: Box::new([key as u8; 48]) }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        LIVING.fetch_add(1, Relaxed);
        Self { payload: self.payload.clone(), ..*self }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, Relaxed);
    }
}

/// TTLs from nothing to never; most of them short, so that much expires.
fn some_ttl(random: &mut fastrand::Rng) -> Duration {
    match random.u16(..1_000) {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2..10 => Duration::from_secs(3_600 * random.u64(1..100)),
        10..200 => Duration::from_secs(random.u64(1..60)),
        _ => Duration::from_millis(random.u64(1..5_000)),
    }
}

/// One call, of any kind.
fn call(cache: &Cache<u64, Value>, random: &mut fastrand::Rng) {
    // Half of the keys are asked for often.
    let key = if random.bool() { random.u64(..KEYS) } else { random.u64(..KEYS / 20) };
    let ttl = some_ttl(random);
    let found = match random.u32(..1_000_000) {
        0..300_000 => cache.get(&key),
        300_000..350_000 => cache.peek(&key),
        350_000..400_000 => cache.read(&key, Value::clone),
        400_000..450_000 => cache.update(&key, |value| {
            value.payload[0] = value.payload[0].wrapping_add(1);
            value.clone()
        }),
        450_000..750_000 => cache.insert_with_ttl(key, Value::new(key, ttl), ttl),
        750_000..800_000 => cache.remove(&key),
        800_000..899_000 => {
            match cache.get_or_load(&key, || Ok::<_, ()>((Value::new(key, ttl), ttl))) {
                Ok(value) => Some(value),
                // One of those below, which this call has waited for.
                Err(LoadError::LeaderFailed) => None,
                Err(LoadError::Failed(())) => panic!("this loader does not fail"),
            }
        }
        899_000..899_900 => cache.get_or_load(&key, || Err::<(_, Duration), _>(())).ok(),
        899_900..900_000 => {
            let load = || cache.get_or_insert_with(&key, || resume_unwind(Box::new(())));
            catch_unwind(AssertUnwindSafe(load)).ok()
        }
        900_000..950_000 => {
            // The value does not know of it, so its lateness must not count.
            cache.update(&key, |value| value.due = None);
            cache.set_ttl(&key, ttl);
            None
        }
        950_000..999_970 => {
            let _ = (cache.contains_key(&key), cache.expires_in(&key));
            None
        }
        999_970..999_980 => {
            cache.reap(100);
            let _ = (cache.next_expiry(), cache.stats());
            None
        }
        999_980..999_999 => {
            let one_in_a_hundred = random.u64(..100);
            cache.retain(|key, _| key % 100 != one_in_a_hundred);
            cache.for_each(|key, value| assert_eq!(*key, value.key));
            None
        }
        _ => {
            if random.u8(..10) == 0 {
                cache.clear();
            }
            None
        }
    };
    assert!(found.is_none_or(|found| found.key == key));
    assert!(cache.capacity() >= CAPACITY);
}

/// What is seen every now and then.
struct Sample {
    resident_kib: usize,
    entries: usize,
}

/// Draws the resident memory over the run, and the entries that are held.
fn draw(seconds: u64, samples: &[Sample], warm: usize) -> String {
    let minutes = seconds as f64 / 60.0 / samples.len() as f64;
    let panel = |title: &str, value: fn(&Sample) -> f64| {
        let points =
            (1..).zip(samples).map(|(number, it)| (minutes * f64::from(number), value(it)));
        let points: Vec<_> = points.collect();
        let end = points.last().map_or(0.0, |(_, value)| *value);
        let name = if end < 1_000.0 { format!("{end:.1}") } else { grouped(end as u64) };
        Curves {
            title: title.to_owned(),
            x: Axis::linear("minutes"),
            y: Axis::linear("MiB"),
            lines: vec![Line { name, style: Style::PUNCTUAL, points }],
            areas: Vec::new(),
        }
    };
    let mebibytes = |it: &Sample| it.resident_kib as f64 / 1_024.0;
    let full = samples[warm..].iter().map(mebibytes);
    let (least, most) =
        full.fold((f64::MAX, 0.0_f64), |(least, most), it| (least.min(it), most.max(it)));
    Picture {
        finding: format!("Memory stays flat: {least:.1} to {most:.1} MiB once the cache is full"),
        caption: format!(
            "{THREADS} threads with all kinds of calls at full speed, most entries with TTLs of \
             less than 5 s, room for {} entries.",
            grouped(CAPACITY),
        ),
        body: Body::Curves(vec![
            panel("Resident memory of the process (MiB)", mebibytes),
            panel("Entries held", |it| it.entries as f64),
        ]),
    }
    .svg()
}

#[test]
#[ignore = "takes as long as it is told to"]
fn soak() {
    let seconds = std::env::var("PUNCTUAL_SOAK_SECONDS").map_or(1_800, |it| it.parse().unwrap());
    let length = Duration::from_secs(seconds);
    static BEGINNING: OnceLock<Lateness> = OnceLock::new();
    static END: OnceLock<Lateness> = OnceLock::new();
    let new = || Mutex::new(Histogram::new(3).unwrap());
    let (beginning, end) = (BEGINNING.get_or_init(new), END.get_or_init(new));

    let phase = Arc::new(Phase::default());
    let (sees, told) = (phase.clone(), Arc::new(AtomicU64::new(0)));
    let tells = told.clone();
    let listener = move |key: &u64, value: &Value, cause: RemovalCause| {
        assert_eq!(*key, value.key);
        tells.fetch_add(1, Relaxed);
        if let (RemovalCause::Expired, Some(due)) = (cause, value.due) {
            let Some(late) = Instant::now().checked_duration_since(due) else { return };
            let lateness = match (sees.is_beginning.load(Relaxed), sees.is_end.load(Relaxed)) {
                (true, _) => beginning,
                (_, true) => end,
                _ => return,
            };
            *lateness.lock().unwrap() += late.as_millis() as u64;
        }
    };
    let builder = Cache::builder().capacity(CAPACITY).resolution(RESOLUTION).on_removal(listener);
    let cache = builder.build().unwrap();

    let stop = AtomicBool::new(false);
    let mut samples = Vec::new();
    let mut warm = None;
    let calls: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cache, stop) = (cache.clone(), &stop);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    let mut calls = 0;
                    while !stop.load(Relaxed) {
                        call(&cache, &mut random);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        println!("second  resident KiB  entries");
        for sample in 0..SAMPLES {
            phase.is_beginning.store((2..8).contains(&sample), Relaxed);
            phase.is_end.store(sample >= SAMPLES - 6, Relaxed);
            thread::sleep(length / SAMPLES);
            let (resident_kib, entries) =
                (kibibytes("/proc/self/status", "VmRSS:").unwrap(), cache.len());
            let second = (length / SAMPLES * (sample + 1)).as_secs();
            println!("{second:>6}  {resident_kib:>12}  {entries:>7}");
            assert!(entries <= cache.capacity());
            samples.push(Sample { resident_kib, entries });
            let peak = cache.stats().live_peak as usize;
            if warm.is_none() && peak * 100 >= cache.capacity() * WARM_PERCENT {
                warm = Some(samples.len() - 1);
            }
        }
        stop.store(true, Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });

    let stats = cache.stats();
    println!("{calls} calls; {stats:?}");
    for (name, lateness) in [("beginning", beginning), ("end", end)] {
        let lateness = lateness.lock().unwrap();
        let [half, ninety_nine, most] = [0.5, 0.99, 1.0].map(|it| lateness.value_at_quantile(it));
        println!("late by, {name}: p50 {half} ms, p99 {ninety_nine} ms, at most {most} ms");
    }
    let gone = stats.expired + stats.evicted + stats.removed + stats.replaced;
    assert_eq!(stats.inserts, stats.held + gone, "{stats:?}");
    drop(cache);
    assert!(told.load(Relaxed) <= gone, "who was told of more than has left?");
    assert_eq!(LIVING.load(Relaxed), 0, "values that are still there");
    let warm = warm.expect("the cache has been all but full: give it longer");
    if let Ok(path) = std::env::var("PUNCTUAL_SOAK_SVG") {
        std::fs::write(path, draw(seconds, &samples, warm)).unwrap();
    }
    let warm: Vec<_> = samples[warm..].iter().map(|sample| sample.resident_kib).collect();
    assert!(warm.len() >= 10, "full for {} samples only: give it longer", warm.len());
    let (least, most) = (warm.iter().min().unwrap(), warm.iter().max().unwrap());
    assert!(most - least <= least / 20, "{least} to {most} KiB after warm-up: not flat");
}
