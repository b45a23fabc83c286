//! What a subject does in a round, and the loops that time it.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::keys::Material;
use crate::stopwatch::TimedBy;
use crate::subjects::Subject;

/// One thread's calls of a round. Keys and values are made before the clock starts.
pub(crate) enum Work<M> {
    /// Look each key up.
    Get(Arc<Vec<M>>),
    /// Put each entry in.
    Insert(Vec<(M, M)>),
    /// Look each key up, and put it in if it is not there.
    ReadThrough(Arc<Vec<M>>),
    /// Put those in that have a value, look up the others.
    Mixed(Vec<(M, Option<M>)>),
    Remove(Arc<Vec<M>>),
}

impl<M> Work<M> {
    fn calls(&self) -> usize {
        match self {
            Self::Get(keys) | Self::ReadThrough(keys) | Self::Remove(keys) => keys.len(),
            Self::Insert(entries) => entries.len(),
            Self::Mixed(calls) => calls.len(),
        }
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Time for each call of a thread, divided by the number of threads.
    pub(crate) nanos_per_call: f64,
    /// Lookups that found something, of all lookups.
    pub(crate) hit_share: f64,
}

/// The TTL of an entry: around an hour, different for different entries, so that not all deadlines
/// are one, and long enough that nothing expires meanwhile.
#[inline]
fn ttl(number: usize) -> Duration {
    Duration::from_secs(1800 + (number as u64 & 4095))
}

/// Someone who can be given work, whatever subject is behind.
pub(crate) trait Contestant<M> {
    /// Puts entries in, untimed.
    fn fill(&mut self, entries: &mut dyn Iterator<Item = (M, M)>);
    /// One piece of work for each thread.
    fn round(&mut self, works: Vec<Work<M>>) -> Round;
}

/// Works in the calling thread, and is timed by that thread's processor time: on a quiet machine
/// that is the time that passes, and on another one it leaves out whoever else wants the processor.
pub(crate) struct OneThread<S>(pub(crate) S);

impl<M: Material, S: Subject<M, M>> Contestant<M> for OneThread<S> {
    fn fill(&mut self, entries: &mut dyn Iterator<Item = (M, M)>) {
        fill(&mut self.0, entries);
    }

    fn round(&mut self, works: Vec<Work<M>>) -> Round {
        let [work] = <[Work<M>; 1]>::try_from(works).ok().expect("one thread, one piece of work");
        let calls = work.calls();
        let (time, hits, lookups) = perform(&mut self.0, work, TimedBy::ThreadCpu);
        summary(time, calls, hits, lookups)
    }
}

/// Works in as many threads as there is work for, each with a handle of its own. The time that
/// passes counts, since threads may have to wait for each other.
pub(crate) struct SeveralThreads<S>(pub(crate) S);

impl<M: Material, S: Subject<M, M> + Clone + Send> Contestant<M> for SeveralThreads<S> {
    fn fill(&mut self, entries: &mut dyn Iterator<Item = (M, M)>) {
        fill(&mut self.0, entries);
    }

    fn round(&mut self, works: Vec<Work<M>>) -> Round {
        let calls = works.iter().map(Work::calls).sum();
        let start = Barrier::new(works.len());
        let results: Vec<Performed> = std::thread::scope(|scope| {
            let threads: Vec<_> = works
                .into_iter()
                .map(|work| {
                    let mut subject = self.0.clone();
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        perform(&mut subject, work, TimedBy::WallClock)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no subject panics")).collect()
        });
        let time = results.iter().map(|result| result.0).max().unwrap_or_default();
        let hits = results.iter().map(|result| result.1).sum();
        let lookups = results.iter().map(|result| result.2).sum();
        summary(time, calls, hits, lookups)
    }
}

fn summary(time: Duration, calls: usize, hits: usize, lookups: usize) -> Round {
    Round {
        nanos_per_call: time.as_nanos() as f64 / calls.max(1) as f64,
        hit_share: hits as f64 / lookups.max(1) as f64,
    }
}

fn fill<M: Material>(subject: &mut impl Subject<M, M>, entries: &mut dyn Iterator<Item = (M, M)>) {
    for (number, (key, value)) in entries.enumerate() {
        subject.insert(key, value, ttl(number));
        // Those with buffers would drop what comes too fast.
        if number % 256 == 0 {
            subject.settle();
        }
    }
    subject.settle();
}

/// Time, lookups that found something, and lookups.
type Performed = (Duration, usize, usize);

fn perform<M: Material>(subject: &mut impl Subject<M, M>, work: Work<M>, by: TimedBy) -> Performed {
    fn timed(by: TimedBy, perform: impl FnOnce() -> (usize, usize)) -> Performed {
        let start = by.now();
        let (hits, lookups) = perform();
        (by.now() - start, hits, lookups)
    }
    match work {
        Work::Get(keys) => timed(by, || (get(subject, &keys), keys.len())),
        Work::Insert(entries) => {
            // To be dropped when the clock has stopped.
            let mut entries = entries.into_iter();
            timed(by, || insert(subject, &mut entries))
        }
        Work::ReadThrough(keys) => timed(by, || (read_through(subject, &keys), keys.len())),
        Work::Mixed(calls) => {
            let mut calls = calls.into_iter().enumerate();
            timed(by, || mixed(subject, &mut calls))
        }
        Work::Remove(keys) => timed(by, || remove(subject, &keys)),
    }
}

// A function for each kind of work, so that the optimiser sees each loop by itself.

#[inline(never)]
fn get<M: Material>(subject: &mut impl Subject<M, M>, keys: &[M]) -> usize {
    subject.get_each(keys)
}

#[inline(never)]
fn insert<M: Material>(
    subject: &mut impl Subject<M, M>,
    entries: &mut std::vec::IntoIter<(M, M)>,
) -> (usize, usize) {
    subject.insert_each(entries, ttl);
    (0, 0)
}

#[inline(never)]
fn read_through<M: Material>(subject: &mut impl Subject<M, M>, keys: &[M]) -> usize {
    let mut hits = 0;
    for (number, key) in keys.iter().enumerate() {
        if subject.get(key, |value| _ = black_box(value)).is_some() {
            hits += 1;
        } else {
            subject.insert(key.clone(), M::value_of(key), ttl(number));
        }
    }
    hits
}

#[inline(never)]
fn mixed<M: Material>(
    subject: &mut impl Subject<M, M>,
    calls: &mut impl Iterator<Item = (usize, (M, Option<M>))>,
) -> (usize, usize) {
    let (mut hits, mut lookups) = (0, 0);
    for (number, (key, value)) in calls {
        match value {
            Some(value) => subject.insert(key, value, ttl(number)),
            None => {
                lookups += 1;
                hits += usize::from(subject.get(&key, |value| _ = black_box(value)).is_some());
            }
        }
    }
    (hits, lookups)
}

#[inline(never)]
fn remove<M: Material>(subject: &mut impl Subject<M, M>, keys: &[M]) -> (usize, usize) {
    for key in keys {
        subject.remove(key);
    }
    (0, 0)
}
