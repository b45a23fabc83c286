//! A megabyte comes in among hundreds of bytes: how long others wait for the lock meanwhile.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use punctual::ByteCache;
use punctual_figures::record::{BarLine, quantile};

use super::Extent;
use super::players::key;
use super::told;
use crate::bar::{Bar, Limit, MICROS};
use crate::stopwatch::TimedBy;

/// One shard of the size that caches of such entries have.
const BUDGET_BYTES: usize = 4 << 20;
const SMALL: [u8; 80] = [0x5a; 80];
const LARGE_BYTES: usize = 1_000_000;
const INSERTIONS: usize = 400;
/// So many must not be disturbed by other programs.
const UNDISTURBED_MIN: usize = 20;
/// Small ones between two large ones: they fill the cache again.
const BETWEEN: u64 = 15_000;
/// What is no wait.
const SHORT: Duration = Duration::from_micros(1);

/// While it lasts, the reader sleeps.
const FILLING: u8 = 0;
const READING: u8 = 1;
const OVER: u8 = 2;
const PAUSE: Duration = Duration::from_millis(1);

/// When something began, and when it ended.
type Span = [Duration; 2];

pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    let builder = ByteCache::builder().memory_budget(BUDGET_BYTES).mean_entry(120).shards(1);
    let cache = builder.build().expect("the budget suffices");
    let phase = AtomicU8::new(FILLING);
    let (insertions, waits) = thread::scope(|scope| {
        let waiting = scope.spawn(|| reads(&cache, &phase));
        let inserting = scope.spawn(|| insert(&cache, &phase, extent.of(INSERTIONS)));
        let inserted = inserting.join().expect("it inserts");
        phase.store(OVER, Relaxed);
        (inserted, waiting.join().expect("it reads"))
    });
    let within = |[start, end]: Span| {
        let waits = waits.iter().filter(move |wait| wait[1] > start && wait[0] < end);
        waits.map(|[start, end]| (*end - *start).as_secs_f64() * 1e6).fold(0.0, f64::max)
    };
    // A thread that does not run seems to wait, or to hold the lock.
    let undisturbed = insertions.iter().filter(|it| it.span[1] - it.span[0] < 2 * it.processor);
    let longest: Vec<f64> = undisturbed.map(|it| within(it.span)).collect();
    let bars = [("median", 0.5), ("99 %", 0.99)].map(|(name, share)| {
        let name = format!("1 MB among 100 B: a reader's longest wait in an insertion, {name}");
        let bar = Bar::new(name, MICROS, Limit::at_most(250.0)).aim(Limit::at_most(60.0));
        if longest.len() < UNDISTURBED_MIN {
            return bar.not_measured("other programs have the processors");
        }
        bar.once(quantile(&longest, share), &format!("of {} undisturbed ones", longest.len()))
    });
    let processor: Vec<f64> =
        insertions.iter().map(|it| it.processor.as_secs_f64() * 1e6).collect();
    let evicted: Vec<f64> = insertions.iter().map(|it| it.evicted as f64).collect();
    let wall: Vec<f64> =
        insertions.iter().map(|it| (it.span[1] - it.span[0]).as_secs_f64() * 1e6).collect();
    let medians = [&processor, &wall, &evicted].map(|figures| quantile(figures, 0.5));
    let words = format!(
        "{:.0} µs, by the wall clock {:.0} µs, medians; {:.0} evicted",
        medians[0], medians[1], medians[2]
    );
    let whole = told("1 MB among 100 B: processor time of the whole insertion", words, processor);
    bars.into_iter().chain([whole]).collect()
}

struct Insertion {
    span: Span,
    processor: Duration,
    evicted: u64,
}

fn insert(cache: &ByteCache, phase: &AtomicU8, count: usize) -> Vec<Insertion> {
    let large = vec![0x5a; LARGE_BYTES];
    let mut number = 0;
    let insertions = (0..count).map(|_| {
        for _ in 0..BETWEEN {
            number += 1;
            cache.insert(key(number), &SMALL).expect("it fits");
        }
        number += 1;
        let before = cache.stats().evicted;
        phase.store(READING, Relaxed);
        thread::sleep(PAUSE);
        let [start, working] = [TimedBy::WallClock.now(), TimedBy::ThreadCpu.now()];
        cache.insert(key(number), &large).expect("it fits");
        let processor = TimedBy::ThreadCpu.now() - working;
        let span = [start, TimedBy::WallClock.now()];
        phase.store(FILLING, Relaxed);
        Insertion { span, processor, evicted: cache.stats().evicted - before }
    });
    insertions.collect()
}

/// Looks keys up while a large entry is inserted. Returns the lookups that took long.
fn reads(cache: &ByteCache, phase: &AtomicU8) -> Vec<Span> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut long = Vec::new();
    loop {
        match phase.load(Relaxed) {
            FILLING => thread::sleep(PAUSE / 4),
            READING => {
                let key = key(random.u64(..1 << 20));
                let start = TimedBy::WallClock.now();
                cache.read(key, |_| ());
                let end = TimedBy::WallClock.now();
                if end - start > SHORT {
                    long.push([start, end]);
                }
            }
            _ => return long,
        }
    }
}
