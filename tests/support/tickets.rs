//! What the tests of tickets have in common.

use std::time::Duration;

use punctual::{Cache, LoadTicket, LoadWait, Lookup, ManualClock, RemovalCause};
use punctual_testing::log::Log;
use punctual_testing::panics::{catch, panic_silently};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TTL: Duration = Duration::from_secs(60);

pub(crate) type Tested = Cache<u64, u64>;
pub(crate) type Ticket = LoadTicket<u64, u64>;

/// A cache of one shard, the clock that it goes by, and what its listener has heard.
pub(crate) struct Stage {
    pub(crate) cache: Tested,
    pub(crate) clock: ManualClock,
    pub(crate) heard: Log<(u64, u64, RemovalCause)>,
}

impl Stage {
    pub(crate) fn new(concurrent_loads: usize) -> Self {
        let (clock, heard) = (ManualClock::new(), Log::default());
        let builder = Cache::builder().capacity(100).shards(1).ttl(TTL).clock(clock.clone());
        let builder = builder.concurrent_loads(concurrent_loads).on_removal(heard.listener());
        Self { cache: builder.build().unwrap(), clock, heard }
    }

    /// With a value of key 1, which is 1.
    pub(crate) fn with_value() -> Self {
        let stage = Self::new(8);
        stage.cache.insert(1, 1);
        stage
    }
}

pub(crate) fn miss(cache: &Tested, key: u64) -> Ticket {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// The ticket to refresh key 1.
pub(crate) fn refresh(cache: &Tested) -> Ticket {
    match cache.lookup(&1, Duration::MAX) {
        Lookup::Refresh(_, ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn loading(cache: &Tested, key: u64) -> LoadWait {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Loading(load) => load,
        other => panic!("{other:?}"),
    }
}

/// Panics while the ticket is held.
pub(crate) fn lose_in_a_panic(ticket: Ticket) {
    let panic = catch(move || {
        let _ticket = ticket;
        panic_silently("while it is held")
    });
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"while it is held"));
}
