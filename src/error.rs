//! Errors of building a cache.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why [`build`](crate::Builder::build) failed, and what to change.
///
/// ```
/// use punctual::{BuildError, unsync::Cache};
///
/// let error = Cache::<u64, u64>::builder().build().unwrap_err();
/// assert_eq!(error, BuildError::NoCapacity);
/// assert!(error.to_string().contains("capacity"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Neither a capacity nor a memory budget was given.
    NoCapacity,
    /// The capacity was zero.
    ZeroCapacity,
    /// Both a capacity and a memory budget were given.
    CapacityAndBudget,
    /// The memory budget does not hold a single entry.
    BudgetTooSmall {
        /// The budget given, in bytes.
        budget_bytes: usize,
        /// The bytes that a cache of one entry takes.
        needed_bytes: usize,
    },
    /// A shard would have more slots than its index can address.
    TooManySlots {
        /// The slots asked for, over all shards.
        requested: usize,
        /// The most slots for that number of shards.
        limit: usize,
    },
    /// More loads at once were asked for than can be numbered.
    TooManyLoads {
        /// The loads asked for.
        requested: usize,
        /// The most that can be.
        limit: usize,
    },
    /// A cache of bytes was given no memory budget.
    NoMemoryBudget,
    /// A cache of bytes was not told how large an entry is in the mean.
    NoMeanEntry,
    /// An entry of the mean size is larger than any entry can be.
    MeanEntryTooLarge {
        /// The mean size given, in bytes.
        bytes: usize,
        /// The most that key and value can take together.
        limit: usize,
    },
    /// The part of the data area that may be live was not from 50 to 98 percent.
    LivePercentOutOfRange,
    /// The number of shards was zero.
    ZeroShards,
    /// The TTL was zero.
    ZeroTtl,
    /// The time to idle was zero.
    ZeroTimeToIdle,
    /// The jitter of the TTL was not from 0 to 0.5.
    JitterOutOfRange,
    /// The `max_weight` was zero.
    ZeroMaxWeight,
    /// A weigher was given without a `max_weight`.
    WeigherWithoutMaxWeight,
    /// A `max_weight` was given without a weigher.
    MaxWeightWithoutWeigher,
    /// The resolution was zero.
    ZeroResolution,
    /// The resolution was finer than a microsecond.
    ResolutionTooFine,
    /// The resolution was more than a third of the TTL, or of the time to idle.
    ResolutionTooCoarse {
        /// The resolution given.
        resolution: Duration,
        /// The lesser of the TTL and the time to idle.
        ttl: Duration,
    },
    /// This system has no clock for [`BootClock`](crate::BootClock).
    NoBootClock,
    /// No clock other than [`SystemClock`](crate::SystemClock), the default, was given, on a
    /// target that has no system clock: wasm32-unknown-unknown.
    NoSystemClock,
    /// [`Reaper::Thread`](crate::Reaper::Thread) was asked for with a clock that is neither
    /// [`SystemClock`](crate::SystemClock) nor [`BootClock`](crate::BootClock): the thread could not
    /// sleep by it.
    ReaperNeedsSystemClock,
    /// The reaper's thread could not be started.
    ThreadNotStarted {
        /// The system's error.
        reason: std::io::ErrorKind,
    },
    /// The memory could not be allocated.
    OutOfMemory {
        /// The bytes of the request that failed.
        requested_bytes: usize,
    },
}

impl BuildError {
    /// Finds out whether memory can be had, before something allocates it that
    /// would abort if it could not.
    pub(crate) fn probe(bytes: usize) -> Result<(), Self> {
        Vec::<u8>::new()
            .try_reserve_exact(bytes)
            .map_err(|_| Self::OutOfMemory { requested_bytes: bytes })
    }
}

/// Allocates a slice of so many copies of a value.
pub(crate) fn allocate<T: Clone>(len: usize, value: T) -> Result<Box<[T]>, BuildError> {
    allocate_with(len, || value.clone())
}

/// Allocates a slice of so many values, made one by one.
pub(crate) fn allocate_with<T>(
    len: usize,
    make: impl FnMut() -> T,
) -> Result<Box<[T]>, BuildError> {
    let mut values = Vec::new();
    let requested_bytes = len.saturating_mul(size_of::<T>());
    values.try_reserve_exact(len).map_err(|_| BuildError::OutOfMemory { requested_bytes })?;
    values.resize_with(len, make);
    Ok(values.into_boxed_slice())
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => {
                f.write_str("no size given: call `capacity` or `memory_budget` on the builder")
            }
            Self::ZeroCapacity => f.write_str("a capacity of 0: give room for at least one entry"),
            Self::CapacityAndBudget => f.write_str(
                "both a capacity and a memory budget given: leave one of them out, each decides \
                 the other",
            ),
            Self::BudgetTooSmall { budget_bytes, needed_bytes } => write!(
                f,
                "a memory budget of {budget_bytes} bytes holds no entry: give at least \
                 {needed_bytes} bytes"
            ),
            Self::TooManySlots { requested, limit } => write!(
                f,
                "{requested} slots are more than the index can address: at most {limit} in so \
                 many shards; ask for fewer entries or more shards"
            ),
            Self::TooManyLoads { requested, limit } => write!(
                f,
                "{requested} concurrent loads are more than can be numbered: ask for at most {limit}"
            ),
            Self::NoMemoryBudget => {
                f.write_str("no size given: call `memory_budget` on the builder")
            }
            Self::NoMeanEntry => f.write_str(
                "no size of an entry given: call `mean_entry` on the builder, with the bytes that \
                 key and value take together in the mean",
            ),
            Self::MeanEntryTooLarge { bytes, limit } => write!(
                f,
                "a mean entry of {bytes} bytes: key and value take {limit} bytes at most"
            ),
            Self::LivePercentOutOfRange => f.write_str(
                "a part of the memory that may be live which is not from 50 to 98 percent: give 95, \
                 or leave it out",
            ),
            Self::ZeroShards => {
                f.write_str("0 shards: give at least one, or leave the number to the cache")
            }
            Self::ZeroTtl => f.write_str(
                "a TTL of 0: nothing would ever be found; leave the TTL out for entries that \
                 never expire",
            ),
            Self::ZeroTimeToIdle => f.write_str(
                "a time to idle of 0: every entry would expire at once; leave it out for entries \
                 that nobody has to use",
            ),
            Self::JitterOutOfRange => f.write_str(
                "a jitter that is not from 0 to 0.5: give the part of the TTL by which it may be \
                 shortened, 0.1 for a tenth",
            ),
            Self::ZeroMaxWeight => f.write_str(
                "a most weight of 0: nothing that weighs anything would be held; give at least 1",
            ),
            Self::WeigherWithoutMaxWeight => f.write_str(
                "a weigher without a limit: call `max_weight` on the builder, or leave the weigher \
                 out",
            ),
            Self::MaxWeightWithoutWeigher => f.write_str(
                "a most weight, and nothing that weighs the entries: call `weigher` on the builder, \
                 or leave `max_weight` out",
            ),
            Self::ResolutionTooCoarse { resolution, ttl } => write!(
                f,
                "a resolution of {resolution:?} for a TTL of {ttl:?}: give at most a third of it, \
                 {:?}, or leave the resolution out",
                *ttl / 3
            ),
            Self::ZeroResolution => f.write_str("a resolution of 0: give at least one microsecond"),
            Self::ResolutionTooFine => {
                f.write_str("a resolution finer than a microsecond: give at least one microsecond")
            }
            Self::NoBootClock => f.write_str(
                "`BootClock` needs a clock that this system does not have: use `SystemClock`, which \
                 stands still while the machine is suspended, or a `Clock` of your own",
            ),
            Self::NoSystemClock => f.write_str(
                "this target has no system clock: give the builder another one by `clock`, \
                 `ManualClock` or an implementation of `Clock`",
            ),
            Self::ReaperNeedsSystemClock => f.write_str(
                "`Reaper::Thread` sleeps by the system's clock: leave the clock out, give \
                 `BootClock`, or use `Reaper::Manual` and call `reap`",
            ),
            Self::ThreadNotStarted { reason } => write!(
                f,
                "the reaper's thread could not be started ({reason}): free a thread, or use \
                 `Reaper::Manual` and call `reap`"
            ),
            Self::OutOfMemory { requested_bytes } => write!(
                f,
                "{requested_bytes} bytes of memory could not be allocated: ask for fewer entries"
            ),
        }
    }
}

impl Error for BuildError {}

/// An entry is too large for a [`ByteCache`](crate::ByteCache). Nothing was changed.
///
/// ```
/// use punctual::ByteCache;
///
/// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).shards(1).build()?;
/// let error = cache.insert("key", &[0; 1_000_000]).unwrap_err();
/// assert_eq!(error.bytes, 1_000_003);
/// assert!(error.limit < 1_000_000);
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The bytes of key and value; or those of the key, if that alone is too long.
    pub bytes: usize,
    /// The most that they may be.
    pub limit: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, limit } = self;
        write!(
            f,
            "{bytes} bytes are more than the {limit} that the cache has room for in one piece: give \
             it a larger budget or fewer shards, or split the value"
        )
    }
}

impl Error for TooLarge {}
