//! What the builders of both caches have in common.

use std::time::Duration;

use forkguard::Guard;

use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::shard::Shard;
use crate::shard::eviction::Eviction;
use crate::shard::geometry::{Geometry, Objective};
use crate::time::clock::{BootClock, ClockSource};
use crate::time::tick::Timebase;

/// Due entries that one call frees besides its own work, if nothing else is
/// asked for. See `docs/expiry.md` for the measurement.
const REAP_LIMIT: usize = 64;

/// The resolution, if nothing else is asked for, of TTLs that are long enough for it.
const RESOLUTION: Duration = Duration::from_millis(10);

/// An entry outlives its TTL by a third of it at most.
const TICKS_PER_TTL_MIN: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) capacity: Option<usize>,
    pub(crate) memory_budget_bytes: Option<usize>,
    pub(crate) ttl: Option<Duration>,
    /// If one is asked for.
    pub(crate) resolution: Option<Duration>,
    pub(crate) eviction: Eviction,
    pub(crate) reap_limit: usize,
    pub(crate) shards: Option<usize>,
    /// Threads that may be in the cache at once.
    pub(crate) threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: None,
            memory_budget_bytes: None,
            ttl: None,
            resolution: None,
            eviction: Eviction::default(),
            reap_limit: REAP_LIMIT,
            shards: None,
            threads: 1,
        }
    }
}

impl Settings {
    /// Returns the resolution asked for, or else the default: a third of the TTL at most.
    pub(crate) fn resolution(&self) -> Duration {
        let default = || match self.ttl {
            Some(ttl) => (ttl / TICKS_PER_TTL_MIN).clamp(Timebase::FINEST_RESOLUTION, RESOLUTION),
            None => RESOLUTION,
        };
        self.resolution.unwrap_or_else(default)
    }

    fn check_times(&self) -> Result<(), BuildError> {
        if self.ttl == Some(Duration::ZERO) {
            return Err(BuildError::ZeroTtl);
        }
        match (self.resolution, self.ttl) {
            (Some(Duration::ZERO), _) => Err(BuildError::ZeroResolution),
            (Some(resolution), _) if resolution < Timebase::FINEST_RESOLUTION => {
                Err(BuildError::ResolutionTooFine)
            }
            (Some(resolution), Some(ttl)) if resolution > ttl / TICKS_PER_TTL_MIN => {
                Err(BuildError::ResolutionTooCoarse { resolution, ttl })
            }
            _ => Ok(()),
        }
    }

    /// The shape and what it takes, each shard held in `holder_bytes`, and
    /// `other_bytes` once. The tables of loads take
    /// `loads_bytes`, given the other parts.
    pub(crate) fn plan<K, V>(
        &self,
        holder_bytes: usize,
        other_bytes: impl Fn(&Geometry) -> usize,
        loads_bytes: impl Fn(&Geometry, &Footprint) -> usize,
    ) -> Result<(Geometry, Footprint), BuildError> {
        self.check_times()?;
        // Registers three handlers with the system, once. Later it is infallible.
        let requested_bytes = 3 * size_of::<fn()>();
        Guard::try_new().map_err(|_| BuildError::OutOfMemory { requested_bytes })?;
        let plan_for = |capacity, objective| {
            let geometry = Geometry::new(capacity, self.shards, objective)?;
            let mut footprint = Shard::<K, V>::footprint(&geometry, self.eviction, holder_bytes)?;
            footprint.locks_bytes = footprint.locks_bytes.saturating_add(other_bytes(&geometry));
            footprint.loads_bytes = loads_bytes(&geometry, &footprint);
            Ok((geometry, footprint))
        };
        match (self.capacity, self.memory_budget_bytes) {
            (Some(_), Some(_)) => Err(BuildError::CapacityAndBudget),
            (None, None) => Err(BuildError::NoCapacity),
            (Some(0), None) => Err(BuildError::ZeroCapacity),
            (Some(capacity), None) => plan_for(capacity, Objective::Threads(self.threads)),
            (None, Some(budget_bytes)) => {
                largest_within(budget_bytes, |capacity| plan_for(capacity, Objective::Bytes))
            }
        }
    }
}

/// Fails if a cache is to go by the system's clock where there is none.
pub(crate) fn check_clock<D: ?Sized>(
    clock: &ClockSource<D>,
    has_system_clock: bool,
) -> Result<(), BuildError> {
    match clock {
        ClockSource::SystemCoarse | ClockSource::SystemPrecise if !has_system_clock => {
            Err(BuildError::NoSystemClock)
        }
        ClockSource::Boot if !BootClock::EXISTS => Err(BuildError::NoBootClock),
        _ => Ok(()),
    }
}

/// The largest capacity whose footprint fits, or one within a hundredth of it.
///
/// The footprint is nearly a straight line, with steps where tables double: the line from a
/// capacity that fits to one that does not leads close to the largest. Now and then the footprint
/// steps down as the capacity grows, where keys begin to spread evenly enough over one shard more.
/// So a larger capacity is looked for from above, too.
fn largest_within(
    budget_bytes: usize,
    plan: impl Fn(usize) -> Result<(Geometry, Footprint), BuildError>,
) -> Result<(Geometry, Footprint), BuildError> {
    /// It is close enough to be below the largest by this part of the capacity.
    const CLOSE: usize = 200;
    /// The other searches begin so far above, and take so many steps.
    const ABOVE: [usize; 2] = [8, 24];
    const STEPS: usize = 10;

    // What cannot be planned takes more than any budget.
    let total = |capacity| plan(capacity).map_or(usize::MAX, |(_, footprint)| footprint.total());
    let fits = |bytes| bytes <= budget_bytes && bytes < usize::MAX;
    let needed_bytes = plan(1)?.1.total();
    if !fits(needed_bytes) {
        return Err(BuildError::BudgetTooSmall { budget_bytes, needed_bytes });
    }
    let (mut fitting, mut fitting_bytes) = (1, needed_bytes);
    // An entry takes sixteen bytes beside key and value.
    let mut too_large = budget_bytes / 16 + 1;
    let mut too_large_bytes = total(too_large);
    let mut halves = false;
    while too_large - fitting > 1 + fitting / CLOSE {
        let gap = too_large - fitting;
        let part = (budget_bytes - fitting_bytes) as f64 / (too_large_bytes - fitting_bytes) as f64;
        // In turn, since a step of the footprint may leave one end of the line where it is.
        let above = if halves { gap / 2 } else { (gap as f64 * part) as usize };
        halves = !halves;
        let capacity = fitting + above.clamp(1, gap - 1);
        let bytes = total(capacity);
        if fits(bytes) {
            (fitting, fitting_bytes) = (capacity, bytes);
        } else {
            (too_large, too_large_bytes) = (capacity, bytes);
        }
    }
    for above in ABOVE {
        let mut larger = fitting.saturating_add(fitting / above);
        let mut bytes = total(larger);
        for _ in 0..STEPS {
            if larger <= fitting || fits(bytes) {
                break;
            }
            // The line through zero leads close to where the budget is met, and not below.
            let (mut cheap, cheap_bytes) = (larger, bytes);
            larger = (larger as f64 * (budget_bytes as f64 / bytes as f64)) as usize;
            bytes = total(larger);
            if bytes > cheap_bytes {
                // Unless the footprint steps down in between: then what is just above may fit.
                while cheap - larger > 1 {
                    let middle = usize::midpoint(cheap, larger);
                    if total(middle) <= cheap_bytes { cheap = middle } else { larger = middle }
                }
                if fits(total(cheap)) {
                    larger = cheap;
                }
                bytes = total(larger);
            }
        }
        if fits(bytes) {
            fitting = fitting.max(larger);
        }
    }
    plan(fitting)
}

/// The methods that both builders have, for structs with a field `settings` and a method
/// `plan`. The argument is the path of the cache, for the examples.
macro_rules! common_setters {
    ($cache:literal) => {
        /// Sets the most entries held at once. Either this or a
        /// [`memory_budget`](Self::memory_budget) must be given.
        ///
        /// Up to some 10,000 entries the cache has one shard, and never holds more. With
        /// several shards it may hold 3 % more, so that keys which spread unevenly over them
        /// evict nothing too early; on more than four processors a cache for many threads may hold
        /// 15 % more, and have several shards from some thousand entries on. The cache's `capacity()` returns
        /// the exact number.
        ///
        /// Memory is reserved for all of them at once, but touched only as far as there are
        /// entries: a generous capacity costs address space first.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let cache: Cache<u64, u64> = Cache::builder().capacity(500_000).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "max_capacity")]
        pub fn capacity(mut self, entries: usize) -> Self {
            self.settings.capacity = Some(entries);
            self
        }

        /// Sizes the cache by memory: it holds as many entries as fit into `bytes`, to
        /// within a hundredth. What keys and values own on the heap is not counted.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let cache: Cache<u64, u64> = Cache::builder().memory_budget(1 << 20).build()?;
        /// assert!(cache.footprint().total() <= 1 << 20);
        /// assert!(cache.capacity() > 22_000);
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn memory_budget(mut self, bytes: usize) -> Self {
            self.settings.memory_budget_bytes = Some(bytes);
            self
        }

        /// Sets the TTL (time to live) of what `insert` inserts. Without one, such entries
        /// never expire. `insert_with_ttl` takes its own.
        ///
        /// More than 10<sup>9</sup> seconds, which is over 30 years, counts as never. Zero is an
        /// error: nothing would ever be found.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(10);
        /// let cache = builder.ttl(Duration::from_secs(1_800)).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "time_to_live")]
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.settings.ttl = Some(ttl);
            self
        }

        /// Sets the most by which an entry outlives its TTL, besides one step of the system's
        /// coarse clock: at least a microsecond, and at most a third of the
        /// [`ttl`](Self::ttl). By default 10 ms, or a third of the `ttl` if that is less.
        ///
        /// Finer than 8 ms or so (twice the step of Linux's coarse clock, of 4 ms as a rule),
        /// each call reads the precise clock, which costs more. Coarser resolutions make
        /// for less work with entries that expire.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(10);
        /// let cache = builder.resolution(Duration::from_secs(1)).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn resolution(mut self, resolution: Duration) -> Self {
            self.settings.resolution = Some(resolution);
            self
        }

        /// Sets the policy that chooses what is evicted when the cache is full.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use punctual::Eviction;
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(10);
        /// let cache = builder.eviction(Eviction::S3Fifo).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "eviction_policy")]
        pub fn eviction(mut self, eviction: Eviction) -> Self {
            self.settings.eviction = eviction;
            self
        }

        /// Sets the most due entries that one call frees, or moves within the timing wheel,
        /// besides its own work: 64 by default. The smaller, the shorter the longest call
        /// when many fall due at once; the larger, the sooner they are freed.
        ///
        /// With 0, calls free nothing besides their own work: that is left to `reap`, and to
        /// the reaper's thread where there is one. A full cache may then evict a live entry
        /// although others are due.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(10);
        /// let cache = builder.reap_limit(16).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn reap_limit(mut self, entries: usize) -> Self {
            self.settings.reap_limit = entries;
            self
        }

        /// Sets the number of shards. Best left to the cache, which knows what keeps the index
        /// small, its pauses short and the spread of the keys even. At most as many as the
        /// capacity.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(500_000);
        /// let cache = builder.shards(16).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn shards(mut self, shards: usize) -> Self {
            self.settings.shards = Some(shards);
            self
        }

        /// Returns the bytes that [`build`](Self::build) will request from the allocator,
        /// exactly, without requesting them.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(100_000);
        /// assert!(builder.footprint()?.total() < 4_800_000);
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        ///
        /// # Errors
        ///
        /// Those of [`build`](Self::build).
        pub fn footprint(&self) -> Result<Footprint, BuildError> {
            Ok(self.plan()?.1)
        }
    };
}
pub(crate) use common_setters;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_clock_needs_a_system() {
        use crate::time::clock::{Clock, ManualClock, SystemClock};

        struct Own;
        impl Clock for Own {
            fn now(&self) -> Duration {
                Duration::ZERO
            }
        }
        let boxed = |_| unreachable!();
        let system: ClockSource<dyn Clock> = ClockSource::new(SystemClock, boxed);
        let manual: ClockSource<dyn Clock> =
            ClockSource::new(ManualClock::new(), |_| unreachable!());
        let own: ClockSource<dyn Clock> = ClockSource::new(Own, |own| Box::new(own) as _);
        let error = check_clock(&system, false).unwrap_err();
        assert_eq!(error, BuildError::NoSystemClock);
        assert!(error.to_string().contains("by `clock`"));
        let precise: ClockSource<dyn Clock> = ClockSource::SystemPrecise;
        assert_eq!(check_clock(&precise, false), Err(BuildError::NoSystemClock));
        for (clock, has_system_clock) in [(&system, true), (&manual, false), (&own, false)] {
            assert_eq!(check_clock(clock, has_system_clock), Ok(()));
        }
    }

    /// The capacity that a budget buys where so many entries cost so much.
    fn largest(budget_bytes: usize, cost: impl Fn(usize) -> usize) -> usize {
        let plan = |capacity| {
            let geometry = Geometry { shards: 1, slots_per_shard: capacity, buckets_log2: 2 };
            Ok((geometry, Footprint { slots_bytes: cost(capacity), ..Footprint::default() }))
        };
        largest_within(budget_bytes, plan).unwrap().0.capacity()
    }

    #[test]
    fn a_budget_is_used_up_where_each_entry_costs_the_same() {
        for capacity in (1..200).chain([999, 1_000, 5_000, 19_999]) {
            for rest in [0, 1, 15] {
                assert_eq!(largest(capacity * 16 + rest, |entries| entries * 16), capacity);
            }
        }
    }

    /// As where fewer shards cost less than more of them for fewer entries.
    #[test]
    fn a_larger_capacity_that_costs_less_is_found() {
        for (bump, found) in [(1_000..1_030, 1_031), (100_000..103_000, 103_009)] {
            let dearer = bump.len() * 20 + 200;
            let cost = |entries| entries * 20 + if bump.contains(&entries) { dearer } else { 0 };
            let capacity = largest(found * 20, cost);
            assert!(capacity <= found && found - capacity <= found / 10_000, "{capacity}");
        }
    }
}
