//! A fixed-memory in-process cache that frees entries as soon as their TTL expires.
//!
//! Most caches with a TTL stop *returning* an entry when its TTL has passed, and keep it in
//! memory until a call looks it up or newer entries push it out. So they fill with expired
//! entries, and you learn their size when the host runs out of memory. This one frees an
//! entry when its TTL has passed, whether or not any call touches the cache. And its memory is
//! computed to the byte before it is built, allocated when it is built, and never grows.
//!
//! ```
//! use std::time::Duration;
//! use punctual::Cache;
//!
//! let cache: Cache<String, u64> = Cache::builder()
//!     .capacity(10_000)
//!     .ttl(Duration::from_secs(30 * 60))
//!     .build()?;
//!
//! cache.insert("Ada".to_owned(), 1815);
//! assert_eq!(cache.get("Ada"), Some(1815));
//! assert_eq!(cache.get_or_insert_with("Grace", || 1906), 1906);
//! println!("{} bytes, and never more", cache.footprint().total());
//! # Ok::<(), punctual::BuildError>(())
//! ```
//!
//! A key's hash chooses a shard. There an index maps it to one of a fixed number of slots; a
//! timing wheel links the slots by deadline, and an eviction policy chooses which entry is
//! evicted when all are taken. One thread of the process sleeps until something falls due.
//!
//! # Where to look
//!
//! - [`Cache`], for many threads: shards behind locks, a [`Reaper`], loaders with single
//!   flight.
//! - [`unsync::Cache`], the same for one thread: references instead of clones.
//! - [`Cache::lookup`]: loads without a closure, to refresh entries before they expire.
//! - [`Builder`]: capacity or memory budget, TTL, resolution, eviction, clock, listener. An
//!   impossible configuration is a [`BuildError`] that says what to change.
//! - [`Builder::footprint`] returns the bytes before anything is built, and
//!   [`Stats::recommended_capacity`] the capacity that your load needs.
//! - [`ManualClock`] moves time in tests; implement [`Clock`] for one of your own.
//! - [`Eviction`]: which entry is evicted when the cache is full.
//! - [`original::LocalCache`]: the cache that this one replaces, with its fault.
//!
//! The folder `docs` of the repository has the rest: `recipes.md` (twelve common tasks),
//! `pitfalls.md` (what goes wrong easily), `design.md`, `tradeoffs.md` (and when to
//! use another cache), `expiry.md`, `eviction.md`, `sizing.md`, `migrating.md`, `testing.md`
//! (which test holds which promise).
//!
//! # What it promises
//!
//! - Once built, the cache allocates nothing. It holds at most `capacity()` entries.
//! - No entry expires before its TTL has passed, and no call returns one later than one
//!   resolution after, plus one step of the system's coarse clock.
//! - No call frees more than `reap_limit` entries besides its own work.
//! - Listeners, loaders and `Drop` run with no lock held and may call the cache. A panic in
//!   any code of yours leaves the cache consistent.
//!
//! # What it does not do
//!
//! It does not grow. It bounds the number of entries; the bytes that they own on the heap it bounds
//! only with a [`weigher`](Builder::weigher). Loaders of different threads that ask for each other's
//! keys deadlock.
//!
//! # Features
//!
//! `async` adds the loaders' forms with a future, such as `Cache::get_or_load_async`, for any
//! runtime. It is off by default, adds no
//! dependency, and changes no footprint.
#![deny(unsafe_code)]
// On docs.rs, what needs a feature says so.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod entry;
mod error;
mod footprint;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod hasher;
#[cfg(test)]
mod loom_tests;
mod panic;
mod reaper;
mod settings;
mod shard;
mod stats;
mod sync;
mod time;

pub mod original;
pub mod unsync;

pub use equivalent::Equivalent;

pub use cache::load::error::LoadError;
pub use cache::load::ticket::{LoadTicket, Lookup};
pub use cache::load::wait::{LoadEnd, LoadWait};
pub use cache::{Builder, Cache};
pub use entry::compute::Compute;
pub use entry::entry_ref::EntryRef;
pub use entry::removal::RemovalCause;
pub use error::BuildError;
pub use footprint::Footprint;
pub use hasher::{DefaultHasher, RandomState};
pub use reaper::mode::Reaper;
pub use shard::eviction::Eviction;
pub use stats::{StatKind, Stats};
pub use time::clock::{BootClock, Clock, ManualClock, SystemClock};
pub use time::ttl::Ttl;

// Every block of Rust in the documents is a test. `tests/docs.rs` sees that none is missing.
#[cfg(doctest)]
mod doctests {
    macro_rules! pages {
        ($($name:ident: $path:literal,)+) => {
            $(#[doc = include_str!($path)] struct $name;)+
        };
    }
    pages! {
        Readme: "../README.md",
        Design: "../docs/design.md",
        Eviction: "../docs/eviction.md",
        Expiry: "../docs/expiry.md",
        Loading: "../docs/loading.md",
        Migrating: "../docs/migrating.md",
        Original: "../docs/original.md",
        Pitfalls: "../docs/pitfalls.md",
        Recipes: "../docs/recipes.md",
        Sizing: "../docs/sizing.md",
        Testing: "../docs/testing.md",
        Tradeoffs: "../docs/tradeoffs.md",
    }
}
