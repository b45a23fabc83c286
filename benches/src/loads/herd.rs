//! Many callers ask for many keys at once: how often the loaders run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use punctual::Cache;
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::callers::{in_tasks, in_threads};
use super::{LOAD, RUNS};
use crate::bar::{Bar, COUNT, Limit};

#[derive(Clone, Copy)]
enum CalledBy {
    Tasks,
    Threads,
}

#[derive(Clone, Copy)]
struct Herd {
    keys: usize,
    callers_each: usize,
    capacity: usize,
    /// Of the builder's default, if there is none.
    concurrent_loads: Option<usize>,
    called_by: CalledBy,
}

pub(super) fn lines() -> Vec<BarLine> {
    let asked_for = [1_000, 100_000].map(|capacity| Herd {
        keys: 500,
        callers_each: 20,
        capacity,
        concurrent_loads: Some(512),
        called_by: CalledBy::Tasks,
    });
    let by_default = [CalledBy::Tasks, CalledBy::Threads].into_iter().flat_map(|called_by| {
        [100, 5_000, 50_000].map(|capacity| Herd {
            keys: 50,
            callers_each: 50,
            capacity,
            concurrent_loads: None,
            called_by,
        })
    });
    asked_for.into_iter().chain(by_default).map(Herd::line).collect()
}

impl Herd {
    fn line(self) -> BarLine {
        let runs: Vec<(usize, u64)> = (0..RUNS).map(|_| self.run()).collect();
        let waited = runs.iter().map(|&(_, waited)| waited).min().unwrap_or_default();
        let loads = runs.iter().map(|&(loads, _)| loads as f64).collect();
        let bar = Bar::new(self.name(), COUNT, Limit::exactly(self.keys as f64));
        bar.worst(loads, &format!("{} waited", grouped(waited)))
    }

    fn name(&self) -> String {
        let Self { keys, callers_each, capacity, concurrent_loads, called_by } = self;
        let called_by = match called_by {
            CalledBy::Tasks => "tasks",
            CalledBy::Threads => "threads",
        };
        let loads = concurrent_loads.map_or("default".to_owned(), |loads| loads.to_string());
        let capacity = grouped(*capacity);
        format!("loads of {keys} keys × {callers_each} {called_by}, {capacity} entries, {loads}")
    }

    /// Returns how often the loader ran, and how many callers waited for another's load.
    fn run(&self) -> (usize, u64) {
        let cache = self.cache();
        let loads = Arc::new(AtomicUsize::new(0));
        let callers = self.keys * self.callers_each;
        match self.called_by {
            CalledBy::Tasks => {
                in_tasks(callers, |number| {
                    let (cache, loads, key) = (cache.clone(), Arc::clone(&loads), self.key(number));
                    async move {
                        let load = || async {
                            loads.fetch_add(1, Relaxed);
                            tokio::time::sleep(LOAD).await;
                            key
                        };
                        assert_eq!(cache.get_or_insert_with_async(&key, load).await, key);
                    }
                });
            }
            CalledBy::Threads => {
                in_threads(callers, |number| {
                    let key = self.key(number);
                    let load = || {
                        loads.fetch_add(1, Relaxed);
                        thread::sleep(LOAD);
                        key
                    };
                    assert_eq!(cache.get_or_insert_with(&key, load), key);
                });
            }
        }
        (loads.load(Relaxed), cache.stats().loads_joined)
    }

    fn cache(&self) -> Cache<u64, u64> {
        let builder = Cache::builder().capacity(self.capacity);
        let builder = match self.concurrent_loads {
            Some(loads) => builder.concurrent_loads(loads),
            None => builder,
        };
        builder.build().expect("the capacity is possible")
    }

    /// The key of a caller: those of one key are far apart.
    fn key(&self, caller: usize) -> u64 {
        (caller % self.keys) as u64
    }
}
