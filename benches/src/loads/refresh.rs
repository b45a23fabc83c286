//! Many readers of a key that is due for refresh: one refreshes it, and nobody waits.

use std::time::Duration;

use punctual::{Cache, Lookup};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::callers::in_tasks;
use super::{LOAD, RUNS};
use crate::bar::{Bar, COUNT, Limit};

const READERS: usize = 1_000;
const KEY: u64 = 7;
const OLD: u64 = 1;
const NEW: u64 = 2;
const TTL: Duration = Duration::from_secs(60);
const TTL_LEFT: Duration = Duration::from_secs(10);
const REFRESH_BEFORE: Duration = Duration::from_secs(20);

/// What a reader got.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Hit(u64),
    Refresh,
    Nothing,
}

pub(super) fn lines() -> Vec<BarLine> {
    let runs: Vec<Vec<Seen>> = (0..RUNS).map(|_| run()).collect();
    let counts = |wanted: Seen| -> Vec<f64> {
        let count = |run: &Vec<Seen>| run.iter().filter(|&&seen| seen == wanted).count();
        runs.iter().map(|run| count(run) as f64).collect()
    };
    let old = counts(Seen::Hit(OLD)).into_iter().fold(f64::INFINITY, f64::min);
    let remark = format!("{} hits of the old value", grouped(old as u64));
    let name = |what: &str| format!("{what} of {} tasks, one key, due", grouped(READERS));
    vec![
        Bar::new(name("refreshes"), COUNT, Limit::exactly(1.0))
            .worst(counts(Seen::Refresh), &remark),
        Bar::new(name("waits"), COUNT, Limit::exactly(0.0)).worst(counts(Seen::Nothing), ""),
    ]
}

fn run() -> Vec<Seen> {
    let cache = Cache::new(1_000);
    cache.insert_with_ttl(KEY, OLD, TTL_LEFT);
    in_tasks(READERS, |_| read(cache.clone()))
}

async fn read(cache: Cache<u64, u64>) -> Seen {
    match cache.lookup(&KEY, REFRESH_BEFORE) {
        Lookup::Hit(value) => Seen::Hit(value),
        Lookup::Refresh(_, ticket) => {
            tokio::time::sleep(LOAD).await;
            assert!(ticket.store(NEW, TTL), "nobody else writes");
            Seen::Refresh
        }
        Lookup::Miss(_) | Lookup::Loading(_) => Seen::Nothing,
    }
}
