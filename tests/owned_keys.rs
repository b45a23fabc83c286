//! Keys that the caller gives to a loader or a lookup: they are dropped where nothing is stored,
//! and their `Drop` may panic.

#![cfg(not(any(punctual_loom, miri)))]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use punctual::{Cache, LoadError, LoadTicket, Lookup};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::panics::{catch, panic_silently};

const TTL: Duration = Duration::from_secs(60);

thread_local! {
    static DROP_PANICS: Cell<bool> = const { Cell::new(false) };
    static HASH_PANICS: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug, PartialEq, Eq)]
struct Fragile(u64);

impl std::hash::Hash for Fragile {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        if HASH_PANICS.get() {
            panic_silently("of Hash");
        }
        self.0.hash(state);
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        // Once: the cache's own keys are dropped later.
        if DROP_PANICS.replace(false) {
            panic_silently("of Drop");
        }
    }
}

type Tested = Cache<Fragile, Instance>;
type Call = fn(&Tested, &Instances);

fn ticket(cache: &Tested, key: u64) -> LoadTicket<Fragile, Instance> {
    match cache.lookup_owned(Fragile(key), Duration::ZERO) {
        Lookup::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Key 1 has a value, and key 2 is being loaded.
const CALLS: [(&str, Call); 6] = [
    ("a loader's hit", |cache, values| {
        let _ = cache.get_or_load_owned(Fragile(1), || Ok::<_, ()>((values.make(), TTL)));
    }),
    ("a TTL of zero", |cache, values| {
        let load = || Ok::<_, ()>((values.make(), Duration::ZERO));
        let _ = cache.get_or_load_owned(Fragile(3), load);
    }),
    ("an error", |cache, values| {
        let failed: Result<_, LoadError<Instance>> =
            cache.get_or_load_owned(Fragile(3), || Err::<(_, Duration), _>(values.make()));
        drop(failed);
    }),
    ("a hit", |cache, _| _ = cache.lookup_owned(Fragile(1), Duration::ZERO)),
    ("being loaded", |cache, _| _ = cache.lookup_owned(Fragile(2), Duration::ZERO)),
    ("a ticket that is dropped", |cache, _| _ = cache.lookup_owned(Fragile(3), Duration::ZERO)),
];

#[test]
fn nothing_is_lost_where_the_drop_of_a_key_panics() {
    for (name, call) in CALLS {
        let (values, is_alive) = (Instances::default(), Arc::new(()));
        let listener = {
            let is_alive = is_alive.clone();
            move |_: &Fragile, _: &Instance, _| _ = &is_alive
        };
        let cache: Tested = Cache::builder().capacity(10).on_removal(listener).build().unwrap();
        cache.insert(Fragile(1), values.make());
        let loading = ticket(&cache, 2);
        DROP_PANICS.set(true);
        let panic = catch(|| call(&cache, &values)).unwrap_err();
        assert!(!DROP_PANICS.get(), "{name}: the key is dropped");
        assert_eq!(panic.downcast_ref(), Some(&"of Drop"), "{name}");
        assert_eq!(values.live(), 1, "{name}");
        // Every load has ended.
        assert!(ticket(&cache, 3).store(values.make(), TTL), "{name}");
        assert!(loading.store(values.make(), TTL), "{name}");
        drop(cache);
        assert_eq!((values.live(), Arc::strong_count(&is_alive)), (0, 1), "{name}");
    }
}

/// The second panic does not abort the process.
#[test]
fn a_key_may_panic_while_a_panic_unwinds() {
    let (cache, values) = (Tested::new(10), Instances::default());
    DROP_PANICS.set(true);
    let load = || -> Result<(Instance, Duration), ()> { panic_silently("of the loader") };
    let panic = catch(|| drop(cache.get_or_load_owned(Fragile(1), load))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"of the loader"));
    assert!(!DROP_PANICS.replace(true));
    HASH_PANICS.set(true);
    let panic = catch(|| drop(cache.lookup_owned(Fragile(1), TTL))).unwrap_err();
    HASH_PANICS.set(false);
    assert_eq!(panic.downcast_ref(), Some(&"of Hash"));
    assert!(!DROP_PANICS.get());
    assert!(ticket(&cache, 1).store(values.make(), TTL));
}
