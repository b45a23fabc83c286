//! Futures that wait for a load: what they ask of the allocator.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use punctual::{Cache, LoadWait, Lookup};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;
use punctual_testing::alloc::Count;

use crate::bar::{BYTES, Bar, Limit};

const FUTURES: usize = 1_000;
const KEY: u64 = 7;
const MUST: Limit = Limit::at_most(64.0);

pub(super) fn lines() -> Vec<BarLine> {
    let cache = Cache::new(1_000);
    let Lookup::Miss(ticket) = cache.lookup(&KEY, Duration::ZERO) else {
        unreachable!("the cache is empty");
    };
    let mut waits: Vec<LoadWait> = (0..FUTURES).map(|_| follow(&cache)).collect();
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    for wait in &mut waits {
        // With a waker that asks nothing of the allocator itself.
        let poll = pin!(wait).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll, Poll::Pending);
    }
    let [kept, peak] =
        [count.traffic().bytes_kept, count.bytes_kept_max()].map(|bytes| bytes - before);
    drop(count);
    drop(ticket);
    let line = |what: &str, bytes: isize| {
        let name = format!("heap {what}, a future, {} wait for a load", grouped(FUTURES));
        Bar::new(name, BYTES, MUST).once(bytes as f64 / FUTURES as f64, "")
    };
    vec![line("kept", kept), line("at most", peak)]
}

fn follow(cache: &Cache<u64, u64>) -> LoadWait {
    match cache.lookup(&KEY, Duration::ZERO) {
        Lookup::Loading(wait) => wait,
        other => unreachable!("{other:?} while the ticket is held"),
    }
}
