//! A megabyte comes in among hundreds of bytes: how long others wait for the lock meanwhile.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
/// Small ones between two large ones: they fill the cache again.
const BETWEEN: u64 = 15_000;
/// What is no wait.
const SHORT: Duration = Duration::from_micros(1);

/// When something began, and when it ended.
type Span = [Duration; 2];

pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    let builder = ByteCache::builder().memory_budget(BUDGET_BYTES).mean_entry(120).shards(1);
    let cache = builder.build().expect("the budget suffices");
    let is_over = AtomicBool::new(false);
    let (insertions, waits) = thread::scope(|scope| {
        let waiting = scope.spawn(|| reads(&cache, &is_over));
        let inserted = insert(&cache, extent.of(INSERTIONS));
        is_over.store(true, Relaxed);
        (inserted, waiting.join().expect("it reads"))
    });
    let within = |[start, end]: Span| {
        let waits = waits.iter().filter(move |wait| wait[1] > start && wait[0] < end);
        waits.map(|[start, end]| (*end - *start).as_secs_f64() * 1e6).fold(0.0, f64::max)
    };
    let longest: Vec<f64> = insertions.iter().map(|it| within(it.span)).collect();
    let hold = |figures: &[f64], share| quantile(figures, share);
    let remark = format!(
        "least {:.1}, p90 {:.1}, p99 {:.1} of {}",
        hold(&longest, 0.0),
        hold(&longest, 0.9),
        hold(&longest, 0.99),
        longest.len()
    );
    let bar = Bar::new(
        "1 MB among 100 B: the longest that a reader waits during an insertion, median",
        MICROS,
        Limit::at_most(250.0),
    );
    let bar = bar.aim(Limit::at_most(60.0)).once(hold(&longest, 0.5), &remark);
    let processor: Vec<f64> =
        insertions.iter().map(|it| it.processor.as_secs_f64() * 1e6).collect();
    let evicted: Vec<f64> = insertions.iter().map(|it| it.evicted as f64).collect();
    let words = format!(
        "{:.0} µs; {:.0} evicted, median",
        quantile(&processor, 0.5),
        quantile(&evicted, 0.5)
    );
    vec![bar, told("1 MB among 100 B: processor time of the whole insertion", words, processor)]
}

struct Insertion {
    span: Span,
    processor: Duration,
    evicted: u64,
}

fn insert(cache: &ByteCache, count: usize) -> Vec<Insertion> {
    let large = vec![0x5a; LARGE_BYTES];
    let mut number = 0;
    let insertions = (0..count).map(|_| {
        for _ in 0..BETWEEN {
            number += 1;
            cache.insert(key(number), &SMALL).expect("it fits");
        }
        number += 1;
        let before = cache.stats().evicted;
        let [start, working] = [TimedBy::WallClock.now(), TimedBy::ThreadCpu.now()];
        cache.insert(key(number), &large).expect("it fits");
        let processor = TimedBy::ThreadCpu.now() - working;
        let span = [start, TimedBy::WallClock.now()];
        Insertion { span, processor, evicted: cache.stats().evicted - before }
    });
    insertions.collect()
}

/// Looks keys up until it is over. Returns the look-ups that took long.
fn reads(cache: &ByteCache, is_over: &AtomicBool) -> Vec<Span> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut long = Vec::new();
    while !is_over.load(Relaxed) {
        let key = key(random.u64(..1 << 20));
        let start = TimedBy::WallClock.now();
        cache.read(key, |_| ());
        let end = TimedBy::WallClock.now();
        if end - start > SHORT {
            long.push([start, end]);
        }
    }
    long
}
