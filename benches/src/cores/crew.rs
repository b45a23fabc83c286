//! Threads that call one subject at the same time.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::load::{Calls, Keys, OVERWRITTEN};
use crate::subjects::Subject;
use crate::subjects::mutexed::Mutexed;
use crate::subjects::registry::{Visitor, Who};
use crate::subjects::time::RealTime;

/// Longer than any measurement.
const TTL: Duration = Duration::from_secs(1_800);
/// How long a round takes.
const ROUND: Duration = Duration::from_millis(100);

/// A subject that has been given some threads, whatever its type.
pub(super) trait Crew {
    /// Puts entries in, untimed.
    fn fill(&mut self, keys: &[u64]);

    /// Lets so many threads call for a while.
    fn work(&mut self, calls: Calls, keys: &Keys, threads: usize) -> Done;

    /// As `work`, each call timed by itself. Returns the nanoseconds.
    fn work_timed(&mut self, calls: Calls, keys: &Keys, threads: usize) -> Histogram<u64>;
}

/// What threads got done together.
pub(super) struct Done {
    pub(super) millions_a_second: f64,
    pub(super) hits: usize,
    pub(super) lookups: usize,
}

/// An empty one.
pub(super) fn build(who: Who, capacity: usize) -> Box<dyn Crew> {
    who.visit(capacity, TTL, &RealTime, Build)
}

struct Build;

impl Visitor<u64, u64> for Build {
    type Output = Box<dyn Crew>;

    fn single(self, _: impl Subject<u64, u64> + 'static) -> Self::Output {
        unreachable!("a subject that cannot be shared")
    }

    fn mutexed(self, subject: impl Subject<u64, u64> + Send + 'static) -> Self::Output {
        self.shared(Mutexed::new(subject))
    }

    fn shared(self, subject: impl Subject<u64, u64> + Clone + Send + 'static) -> Self::Output {
        Box::new(subject)
    }
}

impl<S: Subject<u64, u64> + Clone + Send> Crew for S {
    fn fill(&mut self, keys: &[u64]) {
        for (number, &key) in keys.iter().enumerate() {
            read_through(self, key);
            // Those with buffers would drop what comes too fast.
            if number % 256 == 0 {
                self.settle();
            }
        }
        self.settle();
    }

    fn work(&mut self, calls: Calls, keys: &Keys, threads: usize) -> Done {
        // A loop for each kind of calls, so that the optimiser sees each by itself.
        let shifts = match calls {
            Calls::Mixed(0) => together(self, keys, threads, |shift| shift.work(get)),
            Calls::Mixed(1_000) => together(self, keys, threads, |shift| shift.work(overwrite)),
            Calls::Mixed(_) => together(self, keys, threads, |shift| shift.work(mixed)),
            Calls::ReadThrough => together(self, keys, threads, |shift| shift.work(read_through)),
            Calls::Herd => together(self, keys, threads, |shift| shift.work(get_or_make)),
        };
        Done::together(&shifts)
    }

    fn work_timed(&mut self, calls: Calls, keys: &Keys, threads: usize) -> Histogram<u64> {
        let call = match calls {
            Calls::Mixed(_) => mixed,
            Calls::ReadThrough => read_through,
            Calls::Herd => get_or_make,
        };
        let histograms = together(self, keys, threads, |shift| {
            let mut nanos = new_histogram();
            shift.work(|subject, key| {
                let start = Instant::now();
                let is_hit = call(subject, key);
                nanos += start.elapsed().as_nanos() as u64;
                is_hit
            });
            nanos
        });
        histograms.into_iter().fold(new_histogram(), |sum, nanos| sum + nanos)
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// What one thread is to do.
struct Shift<'a, S> {
    subject: S,
    thread: usize,
    keys: &'a Keys,
    start: &'a Barrier,
    is_over: &'a AtomicBool,
}

/// What one thread has done.
struct Worked {
    start: Instant,
    end: Instant,
    calls: usize,
    hits: usize,
    lookups: usize,
}

impl<S> Shift<'_, S> {
    /// Makes calls until the time is over. Each tells whether it has found something; an overwrite
    /// does not look for anything.
    #[inline(never)]
    fn work(mut self, mut call: impl FnMut(&mut S, u64) -> Option<bool>) -> Worked {
        let (mut calls, mut hits, mut lookups) = (0, 0, 0);
        self.start.wait();
        let start = Instant::now();
        for keys in self.keys.of(self.thread) {
            for &key in keys {
                let is_hit = call(&mut self.subject, key);
                hits += usize::from(is_hit == Some(true));
                lookups += usize::from(is_hit.is_some());
            }
            calls += keys.len();
            if self.is_over.load(Relaxed) {
                break;
            }
        }
        Worked { start, end: Instant::now(), calls, hits, lookups }
    }
}

/// Lets threads begin at once, each with a handle of its own, and stops them after a while.
fn together<S: Clone + Send, T: Send>(
    subject: &S,
    keys: &Keys,
    threads: usize,
    work: impl Fn(Shift<'_, S>) -> T + Sync,
) -> Vec<T> {
    let (start, is_over) = (Barrier::new(threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers = (0..threads).map(|thread| {
            let subject = subject.clone();
            let shift = Shift { subject, thread, keys, start: &start, is_over: &is_over };
            let work = &work;
            scope.spawn(move || work(shift))
        });
        let workers: Vec<_> = workers.collect();
        start.wait();
        thread::sleep(ROUND);
        is_over.store(true, Relaxed);
        workers.into_iter().map(|worker| worker.join().expect("no subject panics")).collect()
    })
}

impl Done {
    /// From when the first began to when the last stopped: with more threads than processors, some
    /// begin late.
    fn together(all: &[Worked]) -> Self {
        let start = all.iter().map(|worked| worked.start).min().expect("there are threads");
        let end = all.iter().map(|worked| worked.end).max().expect("there are threads");
        let sum = |of: fn(&Worked) -> usize| all.iter().map(of).sum::<usize>();
        Self {
            millions_a_second: sum(|worked| worked.calls) as f64
                / (end - start).as_secs_f64()
                / 1e6,
            hits: sum(|worked| worked.hits),
            lookups: sum(|worked| worked.lookups),
        }
    }
}

#[inline]
fn get(subject: &mut impl Subject<u64, u64>, key: u64) -> Option<bool> {
    Some(subject.get(&key, |value| _ = black_box(value)).is_some())
}

#[inline]
fn overwrite(subject: &mut impl Subject<u64, u64>, key: u64) -> Option<bool> {
    let key = key & !OVERWRITTEN;
    subject.insert(key, !key, TTL);
    None
}

#[inline]
fn mixed(subject: &mut impl Subject<u64, u64>, key: u64) -> Option<bool> {
    if key & OVERWRITTEN == 0 { get(subject, key) } else { overwrite(subject, key) }
}

#[inline]
fn read_through(subject: &mut impl Subject<u64, u64>, key: u64) -> Option<bool> {
    let is_hit = get(subject, key);
    if is_hit == Some(false) {
        subject.insert(key, !key, TTL);
    }
    is_hit
}

#[inline]
fn get_or_make(subject: &mut impl Subject<u64, u64>, key: u64) -> Option<bool> {
    let mut is_hit = true;
    let make = || {
        is_hit = false;
        !key
    };
    black_box(subject.get_or_insert_with(&key, TTL, make));
    Some(is_hit)
}
