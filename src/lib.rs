//! A concurrent in-process cache with fixed memory, which frees entries as soon as their TTL
//! expires.
//!
//! Most caches with a TTL stop *returning* an entry when its TTL has passed, and keep it in memory
//! until a call looks it up, a later call does housekeeping, or newer entries push it out. This one
//! frees the entry then, whether or not any call touches the cache. Its memory is known to the byte
//! before the cache is built, allocated when it is built, and never grows.
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
//! assert_eq!(cache.get_or_insert_with("Grace", || 1906), 1906); // one caller loads, others wait
//! println!("{} bytes, and never more", cache.footprint().total());
//! # Ok::<(), punctual::BuildError>(())
//! ```
//!
//! A key's hash chooses a shard. There an index maps it to one of a fixed number of slots; a
//! hierarchical timing wheel links the slots by deadline, and a policy of the S3-FIFO family
//! ([`Eviction`]) chooses which entry is evicted when all are taken. One thread of the process, the
//! [reaper](Reaper), sleeps until something falls due.
//!
//! # Where to start
//!
//! - [`Cache`] is thread-safe: shards behind locks that readers share, and loaders with single flight,
//!   which prevent cache stampedes. [`unsync::Cache`] is the same for one thread, and returns references
//!   instead of clones.
//! - [`ByteCache`] holds keys and values that are bytes inside its fixed memory.
//! - [`Builder`] sets the capacity or a memory budget, TTL and time to idle, weigher, resolution, eviction
//!   policy, clock and listener. It returns a descriptive [`BuildError`] for an invalid configuration, and
//!   the [`footprint`](Builder::footprint) before anything is built.
//! - [`Cache::lookup`] loads without a closure, and refreshes entries before they expire.
//! - [`Stats::recommended_capacity`] returns the capacity that your load needs.
//! - [`ManualClock`] moves time in tests; implement [`Clock`] for one of your own.
//! - [`original::LocalCache`] is the cache that this one replaces, with its fault.
//!
//! # Guarantees
//!
//! - Once built, the cache allocates nothing ([exceptions](Cache)). It holds at most
//!   `capacity()` entries.
//! - No entry expires before its TTL has passed, and no call returns one later than one resolution
//!   after, plus one step of the system's coarse clock. [`Cache`](Cache#time) has the exception.
//! - No call frees more than [`reap_limit`](Builder::reap_limit) entries besides its own work; a
//!   batch, that many for each key.
//! - Listeners, loaders and `Drop` run with no lock held and may call the cache. A panic in
//!   any code of yours leaves the cache consistent.
//!
//! # Limits
//!
//! The cache does not grow. It bounds the number of entries; the bytes that they own on the heap it
//! bounds only with a [`weigher`](Builder::weigher); a [`ByteCache`] bounds every byte. Loaders of different
//! threads that ask for each other's keys deadlock.
//!
//! # Features
//!
//! `async` adds the loaders' forms with a future, such as `Cache::get_or_load_async`, for any
//! runtime. It is off by default, adds no dependency, and changes no footprint.
//!
//! # More
//!
//! [Recipes], [pitfalls], [sizing], [loading], [expiry], [eviction], [trade-offs] and when to use another
//! cache, [migrating], [design], and [which test holds which promise][testing].
//!
//! [Recipes]: https://docs.rs/crate/punctual/latest/source/docs/recipes.md
//! [pitfalls]: https://docs.rs/crate/punctual/latest/source/docs/pitfalls.md
//! [sizing]: https://docs.rs/crate/punctual/latest/source/docs/sizing.md
//! [loading]: https://docs.rs/crate/punctual/latest/source/docs/loading.md
//! [expiry]: https://docs.rs/crate/punctual/latest/source/docs/expiry.md
//! [eviction]: https://docs.rs/crate/punctual/latest/source/docs/eviction.md
//! [trade-offs]: https://docs.rs/crate/punctual/latest/source/docs/tradeoffs.md
//! [migrating]: https://docs.rs/crate/punctual/latest/source/docs/migrating.md
//! [design]: https://docs.rs/crate/punctual/latest/source/docs/design.md
//! [testing]: https://docs.rs/crate/punctual/latest/source/docs/testing.md
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

pub use cache::bytes::{ByteBuilder, ByteCache};
pub use cache::load::byte_ticket::{ByteLookup, ByteTicket};
pub use cache::load::error::LoadError;
pub use cache::load::ticket::{LoadTicket, Lookup};
pub use cache::load::wait::{LoadEnd, LoadWait};
pub use cache::{Builder, Cache};
pub use entry::compute::Compute;
pub use entry::entry_ref::EntryRef;
pub use entry::removal::RemovalCause;
pub use error::{BuildError, TooLarge};
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
        Bytes: "../docs/bytes.md",
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
