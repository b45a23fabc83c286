//! A herd: many callers ask for many keys at once, all of which have to be loaded. One loader
//! runs for each key, whatever the capacity, and the statistics tell.

#![cfg(not(any(punctual_loom, miri)))]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use punctual::{Cache, Stats};
use punctual_testing::watchdog::{Watchdog, wait_until};

type Tested = Cache<u64, u64>;

#[derive(Clone, Copy, Debug)]
struct Herd {
    keys: u64,
    callers_per_key: u64,
    capacity: usize,
    concurrent_loads: Option<usize>,
}

const DEFAULT: Herd = Herd { keys: 50, callers_per_key: 50, capacity: 100, concurrent_loads: None };
/// As many threads as other systems than Linux may refuse to start.
const CALLERS_OF_LARGE: u64 = if cfg!(target_os = "linux") { 20 } else { 4 };
const LARGE: Herd = Herd {
    keys: 500,
    callers_per_key: CALLERS_OF_LARGE,
    capacity: 1_000,
    concurrent_loads: Some(512),
};

const HERDS: [Herd; 5] = [
    DEFAULT,
    Herd { capacity: 5_000, ..DEFAULT },
    Herd { capacity: 50_000, ..DEFAULT },
    LARGE,
    Herd { capacity: 100_000, ..LARGE },
];

impl Herd {
    fn build(self) -> Tested {
        let builder = Cache::builder().capacity(self.capacity).ttl(Duration::from_secs(3_600));
        match self.concurrent_loads {
            Some(loads) => builder.concurrent_loads(loads).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    fn callers(self) -> u64 {
        self.keys * self.callers_per_key
    }

    /// The key for which a caller asks.
    fn key_of(self, caller: u64) -> u64 {
        caller % self.keys
    }

    /// Waits until one caller of each key loads and all others wait.
    fn await_all(self, cache: &Tested) {
        let others = self.callers() - self.keys;
        wait_until("all others wait", || {
            let stats = cache.stats();
            assert!(stats.loads <= self.keys, "{self:?}: {stats:?}");
            stats.loads_joined == others && stats.loads == self.keys
        });
    }

    fn assert_one_run_each(self, cache: &Tested, runs: &[AtomicU64]) {
        for (key, runs) in (0..).zip(runs) {
            assert_eq!(runs.load(SeqCst), 1, "{self:?}: loaders of {key}");
            assert_eq!(cache.peek(&key), Some(key));
        }
        let stats = cache.stats();
        let mut expected = Stats::default();
        expected.misses = self.callers();
        (expected.inserts, expected.held, expected.loads) = (self.keys, self.keys, self.keys);
        expected.loads_joined = self.callers() - self.keys;
        // Of no interest here.
        (expected.live_peak, expected.load_nanos) = (stats.live_peak, stats.load_nanos);
        assert_eq!(stats, expected, "{self:?}");
    }
}

/// What the loaders wait for.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn counters(count: u64) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn a_herd_of_threads_runs_one_loader_a_key() {
    let _watchdog = Watchdog::start();
    for herd in HERDS {
        let (cache, gate, runs) = (&herd.build(), &Gate::default(), &counters(herd.keys));
        let call = move |caller| {
            let key = herd.key_of(caller);
            let value = cache.get_or_insert_with(&key, || {
                runs[key as usize].fetch_add(1, SeqCst);
                gate.pass();
                key
            });
            assert_eq!(value, key);
        };
        thread::scope(|scope| {
            for caller in 0..herd.callers() {
                let thread = thread::Builder::new().stack_size(64 << 10);
                thread.spawn_scoped(scope, move || call(caller)).unwrap();
            }
            herd.await_all(cache);
            gate.open();
        });
        herd.assert_one_run_each(cache, runs);
    }
}

#[cfg(feature = "async")]
#[test]
fn a_herd_of_tasks_runs_one_loader_a_key() {
    use std::sync::Arc;

    use tokio::runtime::Builder;
    use tokio::sync::Semaphore;

    let _watchdog = Watchdog::start();
    for herd in HERDS {
        let (cache, runs) = (herd.build(), Arc::new(counters(herd.keys)));
        let gate = Arc::new(Semaphore::new(0));
        let runtime = Builder::new_multi_thread().worker_threads(4).build().unwrap();
        let call = |caller| {
            let (key, cache) = (herd.key_of(caller), cache.clone());
            let (gate, runs) = (gate.clone(), runs.clone());
            async move {
                let load = || async {
                    runs[key as usize].fetch_add(1, SeqCst);
                    gate.acquire().await.unwrap().forget();
                    key
                };
                assert_eq!(cache.get_or_insert_with_async(&key, load).await, key);
            }
        };
        let tasks: Vec<_> = (0..herd.callers()).map(|caller| runtime.spawn(call(caller))).collect();
        herd.await_all(&cache);
        gate.add_permits(herd.keys as usize);
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        herd.assert_one_run_each(&cache, &runs);
    }
}
