//! Single flight by threads.

use super::*;

/// How the first load ends.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Succeeds,
    SucceedsUnstored,
    Fails,
    Panics,
}

/// A loader that must not run twice at the same time.
struct Source {
    is_busy: AtomicBool,
    loads: Note,
    first: First,
}

impl Source {
    fn load(&self, cache: &Cache<u64, u64, FixedState>) -> Result<(u64, Duration), ()> {
        let is_alone = !self.is_busy.swap(true, Relaxed);
        assert!(is_alone || self.first == First::SucceedsUnstored, "two load at once");
        let number = self.loads.fetch_add(1, SeqCst);
        self.is_busy.store(false, Relaxed);
        match self.first {
            First::Fails if number == 0 => Err(()),
            First::Panics if number == 0 => {
                // loom runs all threads of a model on one thread of the system, so
                // `std::thread::panicking` is true in all of them, and a lock that
                // another one held would be poisoned. None is held: this thread has
                // just had it, alone. The interleavings that follow are those of the model of
                // an error.
                stop_exploring();
                let _ = cache.set_ttl(&2, LATE);
                resume_unwind(Box::new(()))
            }
            First::SucceedsUnstored => Ok((7, Duration::ZERO)),
            _ => Ok((7, LATE)),
        }
    }
}

/// Three threads ask for one key.
fn one_loads_at_a_time(first: First, preemptions_max: Option<usize>) {
    explore(preemptions_max, move || {
        let cache = builder(1).build_with_reaper(None).unwrap();
        let source =
            Arc::new(Source { is_busy: AtomicBool::new(false), loads: Note::new(0), first });
        let ask = {
            let (cache, source) = (cache.clone(), source.clone());
            move || {
                let load = || cache.get_or_load(&1, || source.load(&cache));
                let loaded = catch_unwind(AssertUnwindSafe(load));
                if loaded.is_err() {
                    go_on_exploring();
                }
                loaded
            }
        };
        let threads = [spawn(ask.clone()), spawn(ask.clone())];
        let mut results = vec![ask()];
        results.extend(threads.map(|thread| thread.join().unwrap()));
        let count = |is: fn(&_) -> bool| results.iter().filter(&is).count();
        let failures = count(|result| matches!(result, Ok(Err(LoadError::Failed(())))));
        let told = count(|result| matches!(result, Ok(Err(LoadError::LeaderFailed))));
        let panics = count(|result| result.is_err());
        assert_eq!(failures, usize::from(first == First::Fails));
        assert_eq!(panics, usize::from(first == First::Panics));
        let values = count(|result| matches!(result, Ok(Ok(7))));
        assert_eq!(values, 3 - failures - panics - told);
        let loads = source.loads.load(SeqCst);
        match first {
            First::Succeeds => assert_eq!(loads, 1),
            // Those that waited load side by side.
            First::SucceedsUnstored => assert_eq!(loads, 3),
            // Those that came while it was in flight fail with it; the first to come
            // later loads.
            First::Fails | First::Panics => {
                assert_eq!(loads, 1 + usize::from(told < 2));
            }
        }
        let is_stored = first != First::SucceedsUnstored && values > 0;
        assert_eq!(cache.peek(&1), is_stored.then_some(7));
        cache.check_idle();
    });
}

/// Purpose: no thread waits for a load that has ended, or loads what another has stored.
#[test]
fn one_loads_and_others_wait() {
    one_loads_at_a_time(First::Succeeds, Some(5));
}

/// Purpose: an error is told to those that wait, each of them, and to no later caller.
#[test]
fn an_error_is_shared() {
    one_loads_at_a_time(First::Fails, Some(5));
}

/// Purpose: the same while the leader unwinds.
#[test]
fn a_panic_is_shared() {
    one_loads_at_a_time(First::Panics, Some(5));
}

/// Purpose: after a TTL of zero, those that waited load, each for itself.
#[test]
fn after_a_ttl_of_zero_all_load() {
    one_loads_at_a_time(First::SucceedsUnstored, Some(5));
}

/// The origin of the value changes, and then the key is set, removed or cleared by
/// `invalidate`: from then on, the value loaded before is never found.
fn a_load_is_invalidated(invalidate: fn(&Cache<u64, u64, FixedState>)) {
    explore(Some(4), move || {
        let cache = builder(1).build_with_reaper(None).unwrap();
        let origin = Arc::new(AtomicU64::new(1));
        let ask = {
            let (cache, origin) = (cache.clone(), origin.clone());
            move || cache.get_or_load(&1, || Ok::<_, ()>((origin.load(Relaxed), LATE))).unwrap()
        };
        let threads = [spawn(ask.clone()), spawn(ask.clone())];
        origin.store(2, Relaxed);
        invalidate(&cache);
        assert_ne!(cache.peek(&1), Some(1));
        assert_eq!(ask(), 2);
        for thread in threads {
            assert!([1, 2].contains(&thread.join().unwrap()));
        }
        assert_eq!(cache.peek(&1), Some(2));
    });
}

/// Purpose: the value of a load that began before a `remove` is never stored after it.
#[test]
fn a_remove_invalidates_a_load() {
    a_load_is_invalidated(|cache| {
        cache.remove(&1);
    });
}

/// Purpose: the same for an `insert`.
#[test]
fn an_insert_invalidates_a_load() {
    a_load_is_invalidated(|cache| {
        cache.insert(1, 2);
    });
}

/// Purpose: the same for `clear`.
#[test]
fn a_clear_invalidates_a_load() {
    a_load_is_invalidated(Cache::clear);
}
