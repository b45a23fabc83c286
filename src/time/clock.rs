//! Clocks: the trait, the system's coarse and precise clocks, and one moved by hand.

use std::any::Any;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::tick::{Moment, Timebase};
use super::tsc_clock::max_lag;

/// A source of time for a cache.
///
/// Implement it to drive a cache by a clock of your own, for example that of a simulation.
/// For tests there is [`ManualClock`].
///
/// A clock should be monotonic. If it goes back, the cache behaves as if time stood still
/// until the clock has caught up; no entry expires early. If [`now`](Self::now) panics, the
/// panic reaches the caller of the cache, which stays consistent.
///
/// ```
/// use std::time::Duration;
/// use punctual::Clock;
///
/// /// Counts video frames instead of seconds.
/// struct FrameClock(std::rc::Rc<std::cell::Cell<u32>>);
///
/// impl Clock for FrameClock {
///     fn now(&self) -> Duration {
///         Duration::from_secs(1) * self.0.get() / 60
///     }
/// }
/// ```
pub trait Clock {
    /// Returns the time since an origin that never changes.
    ///
    /// Called once or twice by most of a cache's methods, so it should be cheap.
    fn now(&self) -> Duration;

    /// Returns the greatest time by which [`now`](Clock::now) may be behind the true time.
    /// The default is zero, for an exact clock.
    ///
    /// A cache adds it to every deadline, so that no entry expires early, and subtracts it
    /// from the resolution, so that none expires late. Called once, when the cache is built.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }
}

macro_rules! forward_clock {
    ($($pointer:ty),+) => {$(
        impl<C: Clock + ?Sized> Clock for $pointer {
            fn now(&self) -> Duration {
                (**self).now()
            }
            fn lag(&self) -> Duration {
                (**self).lag()
            }
        }
    )+};
}
forward_clock!(&C, Box<C>, Rc<C>, Arc<C>);

/// The system's monotonic clock, the default of every cache.
///
/// Time during which the machine is suspended does not count: an entry with a TTL of an hour
/// that was inserted before a night's suspension has the rest of its hour left afterwards.
/// [`BootClock`] counts that time, too.
///
/// # Which clock a cache reads
///
/// On Linux there are two: a precise clock (`CLOCK_MONOTONIC`, which
/// [`Instant::now`](std::time::Instant::now) reads), and a coarse clock
/// (`CLOCK_MONOTONIC_COARSE`). The coarse one is several times cheaper to read, and advances
/// in steps of 1 to 10 ms. [`now`](Clock::now) reads the coarse clock, and
/// [`lag`](Clock::lag) is its step.
///
/// - A lookup goes by the coarse clock or, under load, by a cached clock that the thread of
///   [`Reaper::Thread`](crate::Reaper::Thread) refreshes once a step. With that thread, if the
///   entry may be due within a second by that clock, the clock that TTLs count from decides.
/// - A TTL counts from the precise clock, so that no entry expires early. Under load, and
///   where the processor and the system allow, it counts from a clock computed from the
///   processor's time-stamp counter (TSC), which is at most an eighth of a step behind the
///   precise one; deadlines are that much later.
/// - A cache whose resolution is finer than two steps of the coarse clock reads the precise
///   clock for both.
///
/// On other systems there is only the precise clock. On wasm32-unknown-unknown there is none:
/// [`now`](Clock::now) panics, and no cache can be [built](crate::BuildError::NoSystemClock) with
/// it.
///
/// ```
/// use punctual::{Clock, SystemClock};
///
/// let earlier = SystemClock.now();
/// assert!(SystemClock.now() >= earlier);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Duration {
        platform::coarse_now()
    }
    fn lag(&self) -> Duration {
        platform::coarse_lag()
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
    use std::time::Duration;

    /// The monotonic clocks count from boot, so neither field is ever negative.
    #[inline]
    fn duration(time: Timespec) -> Duration {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// Correct for 584 years after boot.
    #[inline]
    fn nanos(time: Timespec) -> u64 {
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[inline]
    pub(super) fn coarse_now() -> Duration {
        duration(clock_gettime(ClockId::MonotonicCoarse))
    }

    #[inline]
    pub(crate) fn coarse_nanos() -> u64 {
        nanos(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn coarse_lag() -> Duration {
        duration(clock_getres(ClockId::MonotonicCoarse))
    }

    #[inline]
    pub(crate) fn precise_nanos() -> u64 {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    #[inline]
    pub(crate) fn boot_nanos() -> u64 {
        nanos(clock_gettime(ClockId::Boottime))
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    pub(super) fn coarse_now() -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    pub(crate) fn coarse_nanos() -> u64 {
        precise_nanos()
    }

    pub(super) fn coarse_lag() -> Duration {
        Duration::ZERO
    }

    pub(crate) fn precise_nanos() -> u64 {
        coarse_now().as_nanos() as u64
    }

    /// There is none: see [`BootClock::EXISTS`](super::BootClock::EXISTS).
    pub(crate) fn boot_nanos() -> u64 {
        precise_nanos()
    }
}

/// The system's clock since boot, which also counts the time during which the machine was
/// suspended.
///
/// For entries whose TTL means the world's time, as of a token: with a TTL of an hour, it is not
/// served after a night's suspension. `SystemClock` stands still while the machine is suspended.
///
/// It is `CLOCK_BOOTTIME` on Linux. Where there is no such clock, building a cache with it is a
/// [`BuildError`](crate::BuildError), and [`now`](Clock::now) is that of [`SystemClock`].
///
/// Every call reads this clock, which costs more than the coarse clock that [`SystemClock`] reads.
/// [`Reaper::Thread`](crate::Reaper::Thread) frees what fell due while the
/// machine was suspended within a second after; no call finds it before.
///
/// ```
/// use std::time::Duration;
/// use punctual::{BootClock, Cache};
///
/// # if cfg!(target_os = "linux") {
/// let tokens: Cache<u64, String> =
///     Cache::builder().capacity(1_000).ttl(Duration::from_secs(3_600)).clock(BootClock).build()?;
/// # }
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootClock;

impl BootClock {
    /// Whether this system has one.
    pub(crate) const EXISTS: bool = cfg!(target_os = "linux");
}

impl Clock for BootClock {
    #[inline]
    fn now(&self) -> Duration {
        Duration::from_nanos(platform::boot_nanos())
    }
}

/// The time scale of one of the system's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timescale {
    /// That of [`SystemClock`].
    Monotonic,
    /// That of [`BootClock`].
    Boot,
}

impl Timescale {
    pub(crate) const ALL: [Self; 2] = [Self::Monotonic, Self::Boot];

    /// Returns the time in nanoseconds, by a precise clock.
    pub(crate) fn now_nanos(self) -> u64 {
        match self {
            Self::Monotonic => platform::precise_nanos(),
            Self::Boot => platform::boot_nanos(),
        }
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
///
/// Clones share one time: keep one, and give the other to the cache. Any thread may read and
/// move it.
///
/// ```
/// use std::time::Duration;
/// use punctual::{ManualClock, unsync::Cache};
///
/// let clock = ManualClock::new();
/// let mut cache = Cache::builder()
///     .capacity(100)
///     .ttl(Duration::from_secs(60))
///     .clock(clock.clone())
///     .build()?;
///
/// cache.insert("key", "value");
/// clock.advance(Duration::from_secs(59));
/// assert_eq!(cache.get("key"), Some(&"value"));
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(cache.get("key"), None);
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    time: Arc<ManualTime>,
}

/// The time that the clones of a [`ManualClock`] share.
#[derive(Default)]
struct ManualTime {
    /// Written under the lock, and read where `nanos` is out of range.
    time: Mutex<Duration>,
    /// The same in nanoseconds, to be read without the lock. From 584 years on,
    /// [`OUT_OF_RANGE`](Self::OUT_OF_RANGE).
    nanos: AtomicU64,
}

impl ManualTime {
    const OUT_OF_RANGE: u64 = UNKNOWN_NANOS;

    fn change(&self, change: impl FnOnce(&mut Duration)) {
        let mut time = self.lock();
        change(&mut time);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(Self::OUT_OF_RANGE);
        self.nanos.store(nanos, Ordering::Release);
    }

    #[inline]
    fn nanos(&self) -> Option<u64> {
        match self.nanos.load(Ordering::Acquire) {
            Self::OUT_OF_RANGE => None,
            nanos => Some(nanos),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        // Never poisoned: nothing panics while it is locked.
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManualClock {
    /// Returns a clock that stands at zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Clock, ManualClock};
    ///
    /// assert_eq!(ManualClock::new().now(), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Advances the clock and all its clones, at most to [`Duration::MAX`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.now(), Duration::from_secs(60));
    /// ```
    pub fn advance(&self, by: Duration) {
        self.time.change(|now| *now = now.saturating_add(by));
    }

    /// Sets the clock and all its clones to a time, which may be in the past.
    ///
    /// A cache that has seen a later time goes on with that until the clock has caught up.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// clock.set(Duration::from_secs(60));
    /// clock.set(Duration::from_secs(30));
    /// assert_eq!(clock.now(), Duration::from_secs(30));
    /// ```
    pub fn set(&self, now: Duration) {
        self.time.change(|time| *time = now);
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now(&self) -> Duration {
        self.time.nanos().map_or_else(|| *self.time.lock(), Duration::from_nanos)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

/// Stands for a time that is not known in nanoseconds.
pub(crate) const UNKNOWN_NANOS: u64 = u64::MAX;

/// The clock of one cache. The clocks of this crate are called directly and need no
/// allocation; `D` is the trait object of all others.
pub(crate) enum ClockSource<D: ?Sized> {
    SystemCoarse,
    SystemPrecise,
    Boot,
    Manual(ManualClock),
    Custom(Box<D>),
}

impl<D: Clock + ?Sized> ClockSource<D> {
    /// Recognizes the clocks of this crate. `boxed` wraps any other one.
    pub(crate) fn new<C: Clock + 'static>(clock: C, boxed: impl FnOnce(C) -> Box<D>) -> Self {
        let any: &dyn Any = &clock;
        if any.is::<SystemClock>() {
            Self::SystemCoarse
        } else if any.is::<BootClock>() {
            Self::Boot
        } else if let Some(manual) = any.downcast_ref::<ManualClock>() {
            Self::Manual(manual.clone())
        } else {
            Self::Custom(boxed(clock))
        }
    }

    /// Replaces the coarse clock by the precise one where its step is more than half of the
    /// resolution.
    pub(crate) fn for_resolution(self, resolution: Duration) -> Self {
        match self {
            Self::SystemCoarse if resolution < platform::coarse_lag() * 2 => Self::SystemPrecise,
            other => other,
        }
    }

    /// Returns the time by which to decide what is due. May be behind the true time.
    #[inline]
    pub(crate) fn now(&self, base: &Timebase) -> Moment {
        match self {
            Self::SystemCoarse => base.moment_of_nanos(platform::coarse_nanos()),
            Self::SystemPrecise => base.moment_of_nanos(platform::precise_nanos()),
            Self::Boot => base.moment_of_nanos(platform::boot_nanos()),
            Self::Manual(clock) => match clock.time.nanos() {
                Some(nanos) => base.moment_of_nanos(nanos),
                None => base.moment(clock.now()),
            },
            Self::Custom(clock) => base.moment(clock.now()),
        }
    }

    /// Returns the same in nanoseconds if that is cheap to read and often unchanged;
    /// [`UNKNOWN_NANOS`] means: call [`now`](Self::now).
    #[inline(always)]
    pub(crate) fn nanos(&self) -> u64 {
        match self {
            // Elsewhere it is the precise clock, which has advanced at every reading.
            Self::SystemCoarse if cfg!(target_os = "linux") => platform::coarse_nanos(),
            Self::Manual(clock) => clock.time.nanos.load(Ordering::Acquire),
            _ => UNKNOWN_NANOS,
        }
    }

    /// Returns the time from which a TTL counts: not behind the true time, except by the
    /// [`lag`](Clock::lag) of a caller's clock.
    ///
    /// The coarse clock will not do here. Its step of 4 ms bounds its lag on an idle machine
    /// only; on a virtual one 2 to 8 ms were measured, and entries would expire early.
    #[inline]
    pub(crate) fn now_precise(&self, base: &Timebase) -> Moment {
        match self {
            Self::SystemCoarse => base.moment_of_nanos(platform::precise_nanos()),
            _ => self.now(base),
        }
    }

    /// Returns the ticks for a resolution.
    pub(crate) fn timebase(&self, resolution: Duration) -> Timebase {
        match self {
            Self::SystemCoarse => {
                let lag = platform::coarse_lag();
                // Under load a TTL counts from the TSC clock, which may lag by this.
                let deadline_lag = max_lag(lag);
                Timebase::new(resolution, lag + deadline_lag, deadline_lag)
            }
            Self::SystemPrecise | Self::Boot | Self::Manual(_) => {
                Timebase::new(resolution, Duration::ZERO, Duration::ZERO)
            }
            Self::Custom(clock) => {
                let lag = clock.lag();
                Timebase::new(resolution, lag, lag)
            }
        }
    }

    /// Returns by which of the system's time scales it goes, if it does.
    pub(crate) fn timescale(&self) -> Option<Timescale> {
        match self {
            Self::SystemCoarse | Self::SystemPrecise => Some(Timescale::Monotonic),
            Self::Boot => Some(Timescale::Boot),
            Self::Manual(_) | Self::Custom(_) => None,
        }
    }

    /// Returns the bytes on the heap that this cache alone owns.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Custom(clock) => size_of_val(&**clock),
            _ => 0,
        }
    }
}

impl<D: ?Sized> fmt::Debug for ClockSource<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SystemCoarse => "SystemClock (coarse)",
            Self::SystemPrecise => "SystemClock (precise)",
            Self::Boot => "BootClock",
            Self::Manual(_) => "ManualClock",
            Self::Custom(_) => "Clock of the caller",
        })
    }
}

/// The system's monotonic clocks, both on one scale: the coarse one, and the precise one, by
/// which the reaper sleeps.
pub(crate) use platform::{coarse_nanos as system_coarse_nanos, precise_nanos as system_nanos};

/// Returns the step of the coarse clock; zero where the system has none.
pub(crate) fn system_coarse_step_nanos() -> u64 {
    platform::coarse_lag().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    struct Late;

    impl Clock for Late {
        fn now(&self) -> Duration {
            Duration::from_secs(7)
        }
        fn lag(&self) -> Duration {
            MILLISECOND
        }
    }

    fn reading(clock: impl Clock) -> (Duration, Duration) {
        (clock.now(), clock.lag())
    }

    #[test]
    fn a_clock_may_be_shared() {
        assert_eq!(reading(Arc::new(Late)), reading(Late));
        assert_eq!(reading(Rc::new(Late)), reading(Late));
        assert_eq!(reading(Box::new(Late)), reading(Late));
        assert_eq!(reading(&Late), reading(Late));
        assert_eq!(reading(Arc::new(ManualClock::new())), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn the_system_has_one_time_scale() {
        let coarse = Duration::from_nanos(system_coarse_nanos());
        let now = SystemClock.now();
        assert!(coarse <= now && now <= Duration::from_nanos(system_nanos()));
        let step = Duration::from_nanos(system_coarse_step_nanos());
        assert_eq!(SystemClock.lag(), step);
        assert!(now > Duration::ZERO && (step > Duration::ZERO) == cfg!(target_os = "linux"));
    }

    #[test]
    fn a_clock_too_coarse_for_the_resolution_is_replaced() {
        let step = SystemClock.lag();
        let is_coarse = |resolution| {
            let source: ClockSource<dyn Clock> = ClockSource::SystemCoarse;
            matches!(source.for_resolution(resolution), ClockSource::SystemCoarse)
        };
        assert!(is_coarse(2 * step));
        assert!(step.is_zero() || !is_coarse(2 * step - Duration::from_nanos(1)));
    }

    #[test]
    fn a_manual_clock_holds_any_time() {
        let clock = ManualClock::new();
        let last_in_nanos = Duration::from_nanos(u64::MAX - 1);
        for now in [Duration::ZERO, last_in_nanos, Duration::from_nanos(u64::MAX), Duration::MAX] {
            clock.set(now);
            assert_eq!(clock.now(), now);
            assert_eq!(clock.clone().now(), now);
        }
        clock.advance(MILLISECOND);
        assert_eq!(clock.now(), Duration::MAX, "it stops there");
    }
}
