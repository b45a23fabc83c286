//! What the builders of both caches have in common.

mod byte_setters;
pub(crate) mod rules;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use forkguard::Guard;

use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::shard::byte_geometry::{ByteGeometry, ByteSize};
use crate::shard::eviction::Eviction;
use crate::shard::geometry::{Geometry, Objective};
use crate::shard::records::ArenaShape;
use crate::shard::{Bounds, Shard};
use crate::time::clock::{BootClock, ClockSource};
use crate::time::tick::{TTL_MAX, Timebase};
use rules::Jitter;

/// Due entries that one call frees besides its own work, if nothing else is
/// asked for. See `docs/expiry.md` for the measurement.
const REAP_LIMIT: usize = 64;

/// The resolution, if nothing else is asked for, of TTLs that are long enough for it.
const RESOLUTION: Duration = Duration::from_millis(10);

/// The most shards of a cache whose entries are weighed: each has an equal share of the weight, so
/// that an entry of up to an eighth of it is held.
const WEIGHED_SHARDS_MAX: usize = 8;

/// How much of an arena may be live. The closer to all, the more records are moved.
const LIVE_PERCENT: RangeInclusive<usize> = 50..=98;

/// An entry outlives its TTL by a third of it at most.
const TICKS_PER_TTL_MIN: u32 = 3;

/// What a cache of bytes is asked to be, besides its budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSettings {
    pub(crate) mean_entry_bytes: usize,
    pub(crate) live_percent: usize,
}

impl Default for ByteSettings {
    fn default() -> Self {
        Self { mean_entry_bytes: 0, live_percent: 95 }
    }
}

/// The shape of a cache, and what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) geometry: Geometry,
    pub(crate) bounds: Bounds,
    pub(crate) footprint: Footprint,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) capacity: Option<usize>,
    pub(crate) memory_budget_bytes: Option<usize>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) ttl_jitter: Option<f64>,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) max_weight: Option<u64>,
    /// If keys and values lie in the cache's own memory.
    pub(crate) bytes: Option<ByteSettings>,
    pub(crate) name: Option<Cow<'static, str>>,
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
            ttl_jitter: None,
            time_to_idle: None,
            max_weight: None,
            bytes: None,
            name: None,
            resolution: None,
            eviction: Eviction::default(),
            reap_limit: REAP_LIMIT,
            shards: None,
            threads: 1,
        }
    }
}

impl Settings {
    /// Returns the lesser of the TTL and the time to idle.
    fn shortest_ttl(&self) -> Option<Duration> {
        self.ttl.into_iter().chain(self.time_to_idle).min()
    }

    /// Returns the resolution asked for, or else the default: a third of the TTL, or of the time to
    /// idle, at most.
    pub(crate) fn resolution(&self) -> Duration {
        let default = || match self.shortest_ttl() {
            Some(ttl) => (ttl / TICKS_PER_TTL_MIN).clamp(Timebase::FINEST_RESOLUTION, RESOLUTION),
            None => RESOLUTION,
        };
        self.resolution.unwrap_or_else(default)
    }

    fn check_times(&self) -> Result<(), BuildError> {
        if self.ttl == Some(Duration::ZERO) {
            return Err(BuildError::ZeroTtl);
        }
        if self.time_to_idle == Some(Duration::ZERO) {
            return Err(BuildError::ZeroTimeToIdle);
        }
        if self.ttl_jitter.is_some_and(|most| !(0.0..=Jitter::FRACTION_MAX).contains(&most)) {
            return Err(BuildError::JitterOutOfRange);
        }
        match (self.resolution, self.shortest_ttl()) {
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

    /// Returns the time to idle, if it ends within the times that are counted.
    pub(crate) fn time_to_idle(&self) -> Option<Duration> {
        self.time_to_idle.filter(|&time| time <= TTL_MAX)
    }

    pub(crate) fn jitter(&self) -> Jitter {
        self.ttl_jitter.map_or_else(Jitter::default, Jitter::new)
    }

    /// Checks that weights are either given and bounded, or neither.
    pub(crate) fn check_weights(&self, has_weigher: bool) -> Result<(), BuildError> {
        match self.max_weight {
            Some(0) => Err(BuildError::ZeroMaxWeight),
            Some(_) if !has_weigher => Err(BuildError::MaxWeightWithoutWeigher),
            None if has_weigher => Err(BuildError::WeigherWithoutMaxWeight),
            _ => Ok(()),
        }
    }

    /// Returns what bounds the entries of each of so many shards.
    fn bounds(&self, geometry: &Geometry, arena: Option<ArenaShape>) -> Bounds {
        Bounds {
            by_idle_time: self.time_to_idle().is_some(),
            weight: self.max_weight.map(|most| most / geometry.shards as u64),
            arena,
        }
    }

    /// Returns the size of a cache of bytes.
    fn byte_size(&self, bytes: ByteSettings) -> Result<ByteSize, BuildError> {
        let budget_bytes = self.memory_budget_bytes.ok_or(BuildError::NoMemoryBudget)?;
        let ByteSettings { mean_entry_bytes, live_percent } = bytes;
        if mean_entry_bytes == 0 {
            return Err(BuildError::NoMeanEntry);
        }
        if !LIVE_PERCENT.contains(&live_percent) {
            return Err(BuildError::LivePercentOutOfRange);
        }
        let &Self { shards, threads, .. } = self;
        Ok(ByteSize { budget_bytes, mean_entry_bytes, live_percent, shards, threads })
    }

    /// Returns the bytes on the heap that the name takes.
    pub(crate) fn name_bytes(&self) -> usize {
        match &self.name {
            Some(Cow::Owned(name)) => name.capacity(),
            _ => 0,
        }
    }

    fn geometry(&self, capacity: usize, objective: Objective) -> Result<Geometry, BuildError> {
        let geometry = Geometry::new(capacity, self.shards, objective)?;
        let Some(most) = self.max_weight else { return Ok(geometry) };
        let shards_max = WEIGHED_SHARDS_MAX.min(usize::try_from(most).unwrap_or(usize::MAX));
        if geometry.shards <= shards_max {
            return Ok(geometry);
        }
        Geometry::new(capacity, Some(shards_max), objective)
    }

    /// The shape and what it takes, each shard held in `holder_bytes`, and
    /// `other_bytes` once. The tables of loads take
    /// `loads_bytes`, given the other parts.
    pub(crate) fn plan<K, V>(
        &self,
        holder_bytes: usize,
        other_bytes: impl Fn(&Geometry) -> usize,
        loads_bytes: impl Fn(&Geometry, &Footprint) -> usize,
    ) -> Result<Plan, BuildError> {
        self.check_times()?;
        // Registers three handlers with the system, once. Later it is infallible.
        let requested_bytes = 3 * size_of::<fn()>();
        Guard::try_new().map_err(|_| BuildError::OutOfMemory { requested_bytes })?;
        let plan_of = |geometry: Geometry, arena| {
            let bounds = self.bounds(&geometry, arena);
            let mut footprint =
                Shard::<K, V>::footprint(&geometry, bounds, self.eviction, holder_bytes)?;
            footprint.locks_bytes = footprint.locks_bytes.saturating_add(other_bytes(&geometry));
            footprint.loads_bytes = loads_bytes(&geometry, &footprint);
            Ok(Plan { geometry, bounds, footprint })
        };
        if let Some(bytes) = self.bytes {
            let size = self.byte_size(bytes)?;
            let plan_of = |shape: &ByteGeometry| plan_of(shape.geometry, Some(shape.arena));
            let total = |shape: &ByteGeometry| Ok(plan_of(shape)?.footprint.total());
            return plan_of(&ByteGeometry::new(size, total)?);
        }
        let plan_for = |capacity, objective| plan_of(self.geometry(capacity, objective)?, None);
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
    plan: impl Fn(usize) -> Result<Plan, BuildError>,
) -> Result<Plan, BuildError> {
    /// It is close enough to be below the largest by this part of the capacity.
    const CLOSE: usize = 200;
    /// The other searches begin so far above, and take so many steps.
    const ABOVE: [usize; 2] = [8, 24];
    const STEPS: usize = 10;

    // What cannot be planned takes more than any budget.
    let total = |capacity| plan(capacity).map_or(usize::MAX, |plan| plan.footprint.total());
    let fits = |bytes| bytes <= budget_bytes && bytes < usize::MAX;
    let needed_bytes = plan(1)?.footprint.total();
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
        /// A cache of one shard never holds more. One of several shards, as most of 10,000
        /// entries and more are, may hold 3 % more, so that keys which spread unevenly over the
        /// shards evict nothing too early. On more than four processors a cache for many threads
        /// has several shards from some thousand entries on, and may hold 15 % more. The cache's
        /// `capacity()` returns the exact number.
        ///
        /// Memory is reserved for all of them at once, but most of it is touched only when entries
        /// fill it: a generous capacity costs address space first.
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

        /// Sets the memory that the cache may take: it holds as many entries as fit into `bytes`,
        /// to within 1 %. What keys and values own on the heap is not counted.
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

        /// Sets the fraction, from 0 to 0.5, by which the TTLs of [`ttl`](Self::ttl) and
        /// [`ttl_by`](Self::ttl_by) are shortened at most. By how much depends on the key's hash
        /// alone. So entries that are inserted together do not expire together, and are not loaded
        /// again together.
        ///
        /// No TTL is lengthened, and one that is given with an entry stays as it is. Another
        /// fraction is an error.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = Cache::<u64, u64>::builder().capacity(1_000);
        /// let mut cache = builder.ttl(Duration::from_secs(60)).ttl_jitter(0.1).build()?;
        /// for id in 0..1_000 {
        ///     cache.insert(id, id);
        /// }
        /// let left = |id| cache.expires_in(&id).unwrap().as_secs();
        /// assert!((0..1_000).all(|id| (53..=60).contains(&left(id))));
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn ttl_jitter(mut self, fraction: f64) -> Self {
            self.settings.ttl_jitter = Some(fraction);
            self
        }

        /// Sets the time to idle: an entry also expires once nobody has used it for so long. With a
        /// TTL it ends at whichever comes first.
        ///
        /// Uses are `get`, `read`, `read_many`, `update`, `compute`, `get_and_set_ttl`, `lookup`
        /// and the loaders where they find the entry, and insertions of its key; not `peek`,
        /// `contains_key`, `expires_in`, `set_ttl` or iteration.
        ///
        /// Takes 16 bytes an entry. A use postpones the entry's end without an exclusive lock.
        /// Zero is an error; more than 10<sup>9</sup> seconds counts as never.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        /// use punctual::ManualClock;
        ///
        /// const MINUTE: Duration = Duration::from_secs(60);
        ///
        /// let clock = ManualClock::new();
        /// let mut sessions = Cache::builder()
        ///     .capacity(1_000)
        ///     .ttl(600 * MINUTE)
        ///     .time_to_idle(30 * MINUTE)
        ///     .clock(clock.clone())
        ///     .build()?;
        /// sessions.insert("ada", 1815);
        /// clock.advance(29 * MINUTE);
        /// assert!(sessions.get("ada").is_some());
        /// clock.advance(29 * MINUTE);
        /// assert!(sessions.get("ada").is_some());
        /// clock.advance(31 * MINUTE);
        /// assert!(sessions.get("ada").is_none());
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "sliding expiration")]
        #[doc(alias = "expire_after_access")]
        pub fn time_to_idle(mut self, time: Duration) -> Self {
            self.settings.time_to_idle = Some(time);
            self
        }

        /// Sets the most that all entries together weigh, by the [`weigher`](Self::weigher): a bound
        /// on the bytes, say, that values own on the heap. The [capacity](Self::capacity) still
        /// bounds their number.
        ///
        /// An insertion evicts as many entries as its weight asks for. Each shard has an equal
        /// share of the weight, and there are at most eight shards, so an entry of up to an eighth
        /// of it is always held. One heavier than a shard's share is evicted at once, and the value
        /// that it replaces is removed. If `update` or `compute` makes an entry heavier, others are
        /// evicted before that call returns; if it is heavier than a share then, it is evicted
        /// itself.
        ///
        /// Takes 8 bytes an entry. Zero, or no weigher, is an error. Give a capacity of about as
        /// many entries as fit: memory is reserved for all of them, and the eviction policy
        /// remembers in proportion.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let mut cache = Cache::builder()
        ///     .capacity(10_000)
        ///     .weigher(|key: &String, value: &Vec<u8>| (key.capacity() + value.capacity()) as u64)
        ///     .max_weight(64 << 20)
        ///     .build()?;
        /// cache.insert("page".to_string(), vec![0; 100_000]);
        /// assert!(cache.stats().weight >= 100_004);
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "max_capacity")]
        pub fn max_weight(mut self, weight: u64) -> Self {
            self.settings.max_weight = Some(weight);
            self
        }

        /// Sets the name of the cache, for its `Debug` output, for panics, and for exporters of
        /// metrics. The cache's `name()` returns it.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let cache: Cache<u64, u64> = Cache::builder().capacity(10).name("sessions").build()?;
        /// assert_eq!(cache.name(), Some("sessions"));
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn name(mut self, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
            self.settings.name = Some(name.into());
            self
        }

        /// Sets the most by which an entry outlives its TTL, besides one step of the system's
        /// coarse clock. It must be at least a microsecond, and at most a third of the shorter of
        /// [`ttl`](Self::ttl) and [`time_to_idle`](Self::time_to_idle). By default 10 ms, or that
        /// third if it is less.
        ///
        /// Below 8 ms or so (twice the step of Linux's coarse clock, which is 4 ms as a rule), each
        /// call reads the precise clock, which costs more. A coarser resolution makes expiry
        /// cheaper.
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

        /// Sets the number of shards: zero is an error, more than the capacity count as the
        /// capacity. The default keeps the index small, its pauses short and the spread of the keys
        /// even.
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
            Ok(self.plan()?.footprint)
        }
    };
}
pub(crate) use byte_setters::byte_setters;
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
            let footprint = Footprint { slots_bytes: cost(capacity), ..Footprint::default() };
            Ok(Plan { geometry, bounds: Bounds::default(), footprint })
        };
        largest_within(budget_bytes, plan).unwrap().geometry.capacity()
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
