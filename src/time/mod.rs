//! Clocks, and time in ticks.
//!
//! `SystemClock` is four clocks on one scale, two of the system's and two of the reaper's.
//! The reaper refreshes its own under load only. Which one a cache reads depends on the
//! question:
//!
//! | question | while the reaper refreshes its clocks | otherwise |
//! |---|---|---|
//! | what is due? | cached clock: [`cached_clock`] | coarse clock: [`clock`] |
//! | from when does a TTL count? | TSC clock: [`tsc_clock`] | precise clock: [`clock`] |
//!
//! | this file | chooses for |
//! |---|---|
//! | `cache/clock.rs` | `Cache`, as in the table: `now` and `now_for_ttl` |
//! | `unsync/clock.rs` | `unsync::Cache`, always from the last column: `read` and `read_for_ttl` |
//!
//! A TTL must not count from a time in the past, or the entry would expire early; so it
//! counts from a precise clock. What is due may be seen late, so a cheap clock will do.
//! Where a clock lags by a known amount, [`tick`] makes up for it. Any other
//! [`Clock`](clock::Clock) answers both questions itself.

pub(crate) mod cached_clock;
pub(crate) mod clock;
pub(crate) mod tick;
pub(crate) mod tsc;
pub(crate) mod tsc_clock;
pub(crate) mod ttl;

/// Whether the system has a clock. On wasm32-unknown-unknown there is no system: reading std's
/// clock panics.
pub(crate) const HAS_SYSTEM_CLOCK: bool = !cfg!(all(target_family = "wasm", target_os = "unknown"));
