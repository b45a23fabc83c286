//! Closures of several caches within one another: in debug builds, an order of locks that may
//! deadlock is a panic, although one thread alone never does. In release builds it is let pass.

#![cfg(not(any(punctual_loom, miri)))]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use punctual::{Cache, LoadEnd, Lookup, Reaper};
use punctual_testing::panics::{Code, Key as Hooked, message_of, once};
use punctual_testing::watchdog::Watchdog;

type Plain = Cache<u64, u64>;

fn plain() -> Plain {
    let cache = Cache::builder().capacity(100).reaper(Reaper::Manual).build().unwrap();
    cache.insert(1, 1);
    cache
}

/// Calls each cache within a closure of the one before.
fn nest(caches: &[&Plain]) {
    match caches {
        [] => {}
        [last] => assert_eq!(last.get(&1), Some(1)),
        [first, others @ ..] => _ = first.read(&1, |_| nest(others)),
    }
}

/// In debug builds there must be a panic, with that text; in release builds, none.
#[track_caller]
fn assert_refused(call: impl FnOnce(), text: &str) {
    let message = message_of(call);
    assert_eq!(message.is_some(), cfg!(debug_assertions), "{message:?}");
    if let Some(message) = message {
        assert!(message.starts_with("punctual: a lock order that may deadlock"), "{message}");
        assert!(message.contains(text), "{text}: {message}");
    }
}

/// Whether all goes on as if nothing had been.
fn assert_works(caches: &[&Plain]) {
    for cache in caches {
        cache.insert(2, 2);
        assert_eq!(cache.get(&1), Some(1));
        assert_eq!(cache.remove(&2), Some(2));
        assert_eq!(cache.len(), 1);
    }
}

#[test]
fn both_orders_of_two_caches() {
    let _watchdog = Watchdog::start();
    let (a, b) = (plain(), plain());
    nest(&[&a, &b]);
    for _ in 0..3 {
        assert_refused(|| nest(&[&b, &a]), "cache 2 within one of cache 1.");
        assert_works(&[&a, &b]);
        // The first order stays the right one.
        nest(&[&a, &b]);
    }
}

/// By every closure that runs under a lock, and by calls that lock to write.
#[test]
fn whatever_the_calls_are() {
    type Closure = fn(&Plain, &mut dyn FnMut());

    let _watchdog = Watchdog::start();
    let closures: [Closure; 5] = [
        |cache, call| _ = cache.read(&1, |_| call()),
        |cache, call| _ = cache.update(&1, |_| call()),
        |cache, call| cache.read_many(&[1], |_, _| call()),
        |cache, call| cache.for_each(|_, _| call()),
        |cache, call| cache.retain(|_, _| (call(), true).1),
    ];
    let calls: [fn(&Plain); 7] = [
        |cache| _ = cache.get(&1),
        |cache| _ = cache.insert(1, 1),
        |cache| cache.insert_many([(1, 1)]),
        |cache| _ = cache.get_or_insert_with(&1, || 1),
        |cache| _ = cache.set_ttl(&1, Duration::MAX),
        |cache| _ = cache.len(),
        |cache| _ = cache.reap(1),
    ];
    for closure in closures {
        for call in calls {
            let (a, b) = (plain(), plain());
            closure(&a, &mut || call(&b));
            assert_refused(|| closure(&b, &mut || call(&a)), "(u64, u64)");
            assert_works(&[&a, &b]);
        }
    }
}

#[test]
fn three_caches_in_a_circle() {
    let _watchdog = Watchdog::start();
    let (a, b, c) = (plain(), plain(), plain());
    nest(&[&a, &b]);
    nest(&[&b, &c]);
    let text = "cache 2 within one of cache 1, and cache 3 within one of cache 2.";
    assert_refused(|| nest(&[&c, &a]), text);
    assert_works(&[&a, &b, &c]);
    // Not only the innermost of those that are held counts.
    let d = plain();
    assert_refused(|| nest(&[&c, &d, &a]), text);
    nest(&[&a, &c]);
    assert_works(&[&a, &b, &c, &d]);
}

#[test]
fn one_order_is_always_right() {
    let _watchdog = Watchdog::start();
    let caches: [Plain; 4] = std::array::from_fn(|_| plain());
    let [a, b, c, d] = &caches;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    for order in [[a, b, c, d].as_slice(), &[a, c], &[b, d], &[a, d], &[c, d]] {
                        nest(order);
                    }
                }
            });
        }
    });
}

/// The other order is that of another thread, which holds its lock at that moment: without the
/// check, both would wait for ever.
#[test]
fn the_check_comes_before_the_lock() {
    if cfg!(not(debug_assertions)) {
        return;
    }
    let _watchdog = Watchdog::start();
    let (a, b) = (plain(), plain());
    let both_hold = Barrier::new(2);
    let call = |outer: &Plain, inner: &Plain| {
        message_of(|| {
            outer.read(&1, |_| {
                both_hold.wait();
                inner.get(&1)
            });
        })
    };
    let messages = thread::scope(|scope| {
        let other = scope.spawn(|| call(&b, &a));
        [call(&a, &b), other.join().unwrap()]
    });
    // One of them went on once the other one was gone.
    assert_eq!(messages.iter().flatten().count(), 1, "{messages:?}");
    assert_works(&[&a, &b]);
}

#[test]
fn an_address_that_is_used_again_is_not_blamed() {
    let _watchdog = Watchdog::start();
    let kept = plain();
    for round in 0..200 {
        let new = plain();
        if round % 2 == 0 {
            nest(&[&kept, &new]);
        } else {
            nest(&[&new, &kept]);
        }
        // The last handle may go within any closure, whatever has been seen: nobody can wait
        // for what nobody can call.
        if round % 3 == 0 {
            kept.read(&1, |_| drop(new));
        }
    }
    // Values that own something have the cache locked while it is closed.
    for round in 0..200 {
        let new = Cache::<u64, String>::new(10);
        new.insert(1, "value".into());
        if round % 2 == 0 {
            new.read(&1, |_| kept.get(&1));
        }
        kept.read(&1, |_| drop(new));
    }
    assert_works(&[&kept]);
}

/// `Eq` and `Clone` run under the lock, as closures do.
#[test]
fn eq_and_clone_are_looked_at() {
    let _watchdog = Watchdog::start();
    for code in [Code::Eq, Code::Clone] {
        let (a, b) = (Cache::<Hooked, Hooked>::new(10), plain());
        a.insert(Hooked::new(1), Hooked::new(1));
        b.read(&1, |_| a.len());
        let called = b.clone();
        let has_called = once(code, move || _ = called.get(&1));
        assert_refused(|| drop(a.get(&Hooked::new(1))), "a key's `Eq` or a value's `Clone`");
        assert!(has_called.get());
        assert_eq!(a.get(&Hooked::new(1)).map(|value| value.0), Some(1));
        assert_works(&[&b]);
    }
}

/// Loaders, listeners and `Drop` run with no lock of their cache held: they make no order.
#[test]
fn code_that_runs_without_a_lock_is_free() {
    let _watchdog = Watchdog::start();
    let b = plain();
    let called = b.clone();
    let a = Cache::builder().capacity(10).reaper(Reaper::Manual);
    let a: Plain =
        a.on_removal(move |_, _, _| assert_eq!(called.get(&1), Some(1))).build().unwrap();
    for _ in 0..2 {
        assert_eq!(a.get_or_insert_with(&1, || b.get(&1).unwrap()), 1);
        b.read(&1, |_| a.get(&1));
        a.remove(&1);
    }
}

/// A ticket that cannot be stored there: those that wait for it are told.
#[test]
fn a_load_that_is_refused_has_failed() {
    let _watchdog = Watchdog::start();
    let (a, b) = (plain(), plain());
    nest(&[&a, &b]);
    let Lookup::Miss(ticket) = a.lookup(&2, Duration::ZERO) else { unreachable!() };
    let Lookup::Loading(load) = a.lookup(&2, Duration::ZERO) else { unreachable!() };
    assert_refused(|| _ = b.read(&1, |_| ticket.store(2, Duration::MAX)), "(u64, u64)");
    let end = if cfg!(debug_assertions) { LoadEnd::Failed } else { LoadEnd::Stored };
    assert_eq!(load.wait(Duration::MAX), end);
    assert_eq!(a.get_or_insert_with(&2, || 2), 2);
    a.remove(&2);
    assert_works(&[&a, &b]);
}
