//! Whom the reaper visits, in what order, and that it lets go of those that leave.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use punctual_testing::watchdog::{Watchdog, wait_until};

use super::reaper::OwnReaper;
use crate::reaper::{NEVER, Reapable, ReaperThread, Visit};
use crate::time::clock::{Timescale, system_nanos};

/// Stands in for a cache of which something falls due once.
struct Standin {
    reaper: &'static ReaperThread,
    timescale: Timescale,
    source: AtomicUsize,
    due_nanos: u64,
    /// Whether the reaper has come in time, and how often it has come.
    served: AtomicBool,
    visits: AtomicUsize,
    /// Drops its last handle when it is served, on the reaper's thread.
    leaves: OnceLock<Weak<Standin>>,
}

impl Standin {
    fn new(reaper: &'static ReaperThread, due_nanos: u64) -> Arc<Self> {
        Self::by(Timescale::Monotonic, reaper, due_nanos)
    }

    fn by(timescale: Timescale, reaper: &'static ReaperThread, due_nanos: u64) -> Arc<Self> {
        Arc::new(Self {
            reaper,
            timescale,
            source: AtomicUsize::new(0),
            due_nanos,
            served: AtomicBool::new(false),
            visits: AtomicUsize::new(0),
            leaves: OnceLock::new(),
        })
    }

    fn register(self: &Arc<Self>) {
        let cache: Arc<dyn Reapable> = self.clone();
        self.reaper.register(&cache);
        self.reaper.schedule(self.source(0), self.timescale, self.due_nanos);
    }

    fn unregister(self: &Arc<Self>) {
        let cache: Arc<dyn Reapable> = self.clone();
        self.reaper.unregister(&cache);
    }

    fn is_served(&self) -> bool {
        self.served.load(SeqCst)
    }
}

impl Reapable for Standin {
    fn shards(&self) -> usize {
        1
    }

    fn timescale(&self) -> Timescale {
        self.timescale
    }

    fn set_source(&self, _: usize, source: usize) {
        self.source.store(source, SeqCst);
    }

    fn source(&self, _: usize) -> usize {
        self.source.load(SeqCst)
    }

    fn visit(&self, _: usize, visit: &mut dyn Visit) {
        assert!(visit.now_nanos() >= self.due_nanos, "visited before it is due");
        self.visits.fetch_add(1, SeqCst);
        visit.put_back(NEVER);
        if let Some(this) = self.leaves.get().and_then(Weak::upgrade) {
            this.unregister();
        }
        self.served.store(true, SeqCst);
    }
}

#[test]
fn an_unregistered_cache_is_let_go_of() {
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let standins: Vec<_> = (0..3).map(|_| Standin::new(reaper, 0)).collect();
    standins.iter().for_each(Standin::register);
    for gone in [1, 0, 2] {
        assert_eq!(Arc::strong_count(&standins[gone]), 2);
        standins[gone].unregister();
        assert_eq!(Arc::strong_count(&standins[gone]), 1, "it is still in the queue");
        // Another one that takes over its number is none of its business.
        let other = Standin::new(reaper, 0);
        other.register();
        standins[gone].unregister();
        assert_eq!(Arc::strong_count(&other), 2);
        other.unregister();
    }
    reaper.wake();
    reaper.run_once(0, Timescale::now_nanos);
    assert!(!standins.iter().any(|standin| standin.is_served()));
}

/// A wake-up visits the shards that are due, and no other, however many there are.
#[test]
fn only_what_is_due_is_visited() {
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let due = [0, 10, 20, u64::MAX - 1];
    let standins: Vec<_> = (0..1_000).map(|number| Standin::new(reaper, due[number % 4])).collect();
    standins.iter().for_each(Standin::register);
    for now_nanos in [0, 9, 10, 25, 25] {
        reaper.wake();
        reaper.run_once(0, |_| now_nanos);
        for standin in &standins {
            let visits = usize::from(standin.due_nanos <= now_nanos);
            assert_eq!(standin.visits.load(SeqCst), visits);
        }
    }
}

/// Among those that are overdue each has its turn, however much one of them has to do.
#[test]
fn a_shard_that_is_never_done_keeps_no_other_waiting() {
    /// Has something due whenever it is looked at, and knows how many it has kept waiting.
    struct Insatiable(Arc<Standin>, AtomicUsize);

    impl Reapable for Insatiable {
        fn shards(&self) -> usize {
            1
        }

        fn timescale(&self) -> Timescale {
            Timescale::Monotonic
        }

        fn set_source(&self, _: usize, source: usize) {
            self.1.store(source, SeqCst);
        }

        fn source(&self, _: usize) -> usize {
            self.1.load(SeqCst)
        }

        fn visit(&self, _: usize, visit: &mut dyn Visit) {
            visit.put_back(if self.0.is_served() { NEVER } else { 0 });
        }
    }

    let _watchdog = Watchdog::start();
    for timescale in Timescale::ALL {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let other = Standin::by(timescale, reaper, 10);
        let insatiable: Arc<dyn Reapable> =
            Arc::new(Insatiable(other.clone(), AtomicUsize::default()));
        reaper.register(&insatiable);
        reaper.schedule(insatiable.source(0), Timescale::Monotonic, 0);
        other.register();
        reaper.wake();
        let now = AtomicU64::new(15);
        reaper.run_once(0, |_| now.fetch_add(1, SeqCst));
        assert!(other.is_served());
    }
}

/// A cache may leave while the reaper visits it.
#[test]
fn a_cache_that_leaves_on_the_reaper_keeps_no_other_waiting() {
    let _watchdog = Watchdog::start();
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let (leaver, next) = (Standin::new(reaper, 0), Standin::new(reaper, 0));
    leaver.leaves.set(Arc::downgrade(&leaver)).unwrap();
    leaver.register();
    next.register();
    reaper.wake();
    reaper.run_once(0, Timescale::now_nanos);
    assert!(leaver.is_served() && next.is_served());
    assert_eq!(Arc::strong_count(&leaver), 1);
}

#[test]
fn no_wake_up_is_lost_while_caches_come_and_go() {
    let _watchdog = Watchdog::start();
    let own = OwnReaper::start();
    let reaper = own.reaper;
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..400 {
                    let due_nanos = system_nanos() + random.u64(..1_500_000);
                    let standin = Standin::new(reaper, due_nanos);
                    let leaves = random.bool();
                    if leaves {
                        standin.leaves.set(Arc::downgrade(&standin)).unwrap();
                    }
                    standin.register();
                    wait_until("a cache is served", || standin.is_served());
                    if !leaves {
                        standin.unregister();
                    }
                    wait_until("the reaper lets go", || Arc::strong_count(&standin) == 1);
                }
            });
        }
    });
}
