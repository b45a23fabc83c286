//! The end of a cache.

use super::*;

/// Purpose: of two handles that are dropped concurrently while the reaper works, one is
/// the last; it unregisters the cache, and every entry is dropped once.
#[test]
fn the_last_handle_drops_each_entry_once() {
    explore(None, || {
        let reaper = new_reaper();
        let notified = Arc::new(Note::new(0));
        let cache = {
            let notified = notified.clone();
            let listener = move |&key: &u64, _: &Counted, cause| {
                assert_eq!((key, cause), (1, RemovalCause::Expired));
                notified.fetch_add(1, SeqCst);
            };
            builder(2).on_removal(listener).build_with_reaper(Some(reaper)).unwrap()
        };
        let dropped = [(1, SOON), (2, LATE)].map(|(key, ttl)| {
            let dropped = Arc::new(Note::new(0));
            cache.insert_with_ttl(key, Counted(dropped.clone()), ttl);
            dropped
        });
        let is_over = Arc::new(AtomicBool::new(false));
        let rounds = {
            let is_over = is_over.clone();
            spawn(move || serve(reaper, AFTER_SOON, || is_over.load(Relaxed)))
        };
        let other = cache.clone();
        let other = spawn(move || drop(other));
        drop(cache);
        other.join().unwrap();
        assert_eq!(dropped[1].load(SeqCst), 1);
        is_over.store(true, Relaxed);
        reaper.wake();
        rounds.join().unwrap();
        assert_eq!(dropped[0].load(SeqCst), 1);
        // The listener has been dropped, so the cache has.
        assert_eq!(Arc::strong_count(&notified), 1);
    });
}

/// Purpose: entries that need no `Drop` stay until the reaper releases the cache. It
/// begins no batch after a batch that has seen that the last handle was dropped.
#[test]
fn a_closed_cache_is_reaped_no_further() {
    /// One more than a batch of the reaper.
    const ENTRIES: u64 = 9;

    explore(None, || {
        let reaper = new_reaper();
        let is_gone = Arc::new(AtomicBool::new(false));
        let cache = {
            let (is_gone, notified, was_gone) = (is_gone.clone(), Note::new(0), Note::new(0));
            builder(ENTRIES as usize)
                .on_removal(move |_, (), _| {
                    let number = notified.fetch_add(1, SeqCst) + 1;
                    if number == 1 {
                        was_gone.store(is_gone.load(Ordering::Acquire).into(), SeqCst);
                    }
                    if number == ENTRIES as usize {
                        assert_eq!(was_gone.load(SeqCst), 0, "another batch");
                    }
                })
                .build_with_reaper(Some(reaper))
                .unwrap()
        };
        for key in 0..ENTRIES {
            cache.insert_with_ttl(key, (), SOON);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let rounds = {
            let is_over = is_over.clone();
            spawn(move || serve(reaper, AFTER_SOON, || is_over.load(Relaxed)))
        };
        drop(cache);
        is_gone.store(true, Ordering::Release);
        is_over.store(true, Relaxed);
        reaper.wake();
        rounds.join().unwrap();
    });
}

/// Purpose: the reaper holds no lock while it drops entries. Here one is the last handle
/// of another cache, which a round drops while the outer cache is dropped.
#[test]
fn a_cache_within_a_cache_is_dropped_with_it() {
    explore(Some(5), || {
        let reaper = new_reaper();
        let outer = builder(1).build_with_reaper(Some(reaper)).unwrap();
        let dropped = Arc::new(Note::new(0));
        {
            let inner = builder(1).build_with_reaper(Some(reaper)).unwrap();
            inner.insert_with_ttl(1, Counted(dropped.clone()), LATE);
            outer.insert_with_ttl(1, inner, SOON);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let rounds = {
            let is_over = is_over.clone();
            spawn(move || serve(reaper, AFTER_SOON, || is_over.load(Relaxed)))
        };
        drop(outer);
        is_over.store(true, Relaxed);
        reaper.wake();
        rounds.join().unwrap();
        assert_eq!(dropped.load(SeqCst), 1);
    });
}
