//! Where the time comes from.

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
/// Implement it to drive a cache by a clock of your own, say that of a
/// simulation. [`ManualClock`] does for most tests.
///
/// A clock should never go back. If it does, the cache goes on as if time stood
/// still until the clock has caught up: nothing is freed early, nothing breaks.
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
    /// The time passed since an origin that stays the same as long as the clock
    /// lives.
    fn now(&self) -> Duration;

    /// The most by which [`now`](Clock::now) may be behind the true time; zero
    /// for an exact clock.
    ///
    /// A cache adds it to every deadline, so that no entry leaves early, and
    /// takes it from the resolution, so that none leaves late. It is asked for
    /// once, when the cache is built.
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

/// The system's monotonic clock, and the default of every cache.
///
/// On Linux it is the coarse one (`CLOCK_MONOTONIC_COARSE`), which is several
/// times cheaper to read than [`Instant::now`](std::time::Instant::now) and moves
/// in steps of a timer interrupt: 1 to 10 ms, see [`lag`](Clock::lag). By it a
/// cache sees what is due, or by the time that the reaper keeps in its place while
/// calls come in thick and fast; the TTL of an entry that is put in counts from
/// the precise clock, or from what the processor's time-stamp counter tells meanwhile
/// (at most an eighth of a step before, for which its deadline makes up). A cache
/// whose resolution is finer than twice the step reads the precise clock alone.
/// Elsewhere there is only that one.
///
/// Time during which the machine is suspended does not count.
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

    /// The monotonic clocks count from the start of the machine, so neither
    /// field is ever negative.
    #[inline]
    fn duration(time: Timespec) -> Duration {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// For 584 years after the start of the machine.
    #[inline]
    fn nanos(time: Timespec) -> u64 {
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[inline]
    pub(super) fn coarse_now() -> Duration {
        duration(clock_gettime(ClockId::MonotonicCoarse))
    }

    #[inline]
    pub(super) fn coarse_nanos() -> u64 {
        nanos(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn coarse_lag() -> Duration {
        duration(clock_getres(ClockId::MonotonicCoarse))
    }

    #[inline]
    pub(super) fn precise_nanos() -> u64 {
        nanos(clock_gettime(ClockId::Monotonic))
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

    pub(super) fn coarse_nanos() -> u64 {
        precise_nanos()
    }

    pub(super) fn coarse_lag() -> Duration {
        Duration::ZERO
    }

    pub(super) fn precise_nanos() -> u64 {
        coarse_now().as_nanos() as u64
    }
}

/// A clock that stands still until it is told to move: for tests and
/// simulations.
///
/// Clones share one time, so keep one and give the other to the cache. It may
/// be read and moved from any thread.
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

/// What the clones of a [`ManualClock`] share.
#[derive(Default)]
struct ManualTime {
    /// The time, for whoever moves it.
    exact: Mutex<Duration>,
    /// The same, to be read without the lock: up to 584 years, and beyond that
    /// [`OUT_OF_RANGE`](Self::OUT_OF_RANGE).
    nanos: AtomicU64,
}

impl ManualTime {
    const OUT_OF_RANGE: u64 = UNKNOWN_NANOS;

    fn change(&self, change: impl FnOnce(&mut Duration)) {
        let mut exact = self.exact();
        change(&mut exact);
        let nanos = u64::try_from(exact.as_nanos()).unwrap_or(Self::OUT_OF_RANGE);
        self.nanos.store(nanos, Ordering::Release);
    }

    #[inline]
    fn nanos(&self) -> Option<u64> {
        match self.nanos.load(Ordering::Acquire) {
            Self::OUT_OF_RANGE => None,
            nanos => Some(nanos),
        }
    }

    fn exact(&self) -> MutexGuard<'_, Duration> {
        // Whole, whatever happens: nothing panics while it is locked.
        self.exact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManualClock {
    /// A clock that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock ahead; it stops at [`Duration::MAX`].
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

    /// Sets the clock, back too.
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
        self.time.nanos().map_or_else(|| *self.time.exact(), Duration::from_nanos)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

/// No number of nanoseconds.
pub(crate) const UNKNOWN_NANOS: u64 = u64::MAX;

/// The clock of one cache. The usual ones are called directly, without a
/// virtual call and without an allocation; `D` is the trait object of the rest.
pub(crate) enum ClockSource<D: ?Sized> {
    SystemCoarse,
    SystemPrecise,
    Manual(ManualClock),
    Custom(Box<D>),
}

impl<D: Clock + ?Sized> ClockSource<D> {
    /// Tells the known clocks from the rest, which `boxed` wraps.
    pub(crate) fn new<C: Clock + 'static>(clock: C, boxed: impl FnOnce(C) -> Box<D>) -> Self {
        let any: &dyn Any = &clock;
        if any.is::<SystemClock>() {
            Self::SystemCoarse
        } else if let Some(manual) = any.downcast_ref::<ManualClock>() {
            Self::Manual(manual.clone())
        } else {
            Self::Custom(boxed(clock))
        }
    }

    /// The same clock in the form that suits a resolution: precise where the
    /// coarse one would use up more than half of it.
    pub(crate) fn for_resolution(self, resolution: Duration) -> Self {
        match self {
            Self::SystemCoarse if resolution < platform::coarse_lag() * 2 => Self::SystemPrecise,
            other => other,
        }
    }

    /// The time to see by what is due. May be behind the true time.
    #[inline]
    pub(crate) fn now(&self, base: &Timebase) -> Moment {
        match self {
            Self::SystemCoarse => base.moment_of_nanos(platform::coarse_nanos()),
            Self::SystemPrecise => base.moment_of_nanos(platform::precise_nanos()),
            Self::Manual(clock) => match clock.time.nanos() {
                Some(nanos) => base.moment_of_nanos(nanos),
                None => base.moment(clock.now()),
            },
            Self::Custom(clock) => base.moment(clock.now()),
        }
    }

    /// The same in nanoseconds, or [`UNKNOWN_NANOS`], if [`now`](Self::now) has to be asked.
    #[inline(always)]
    pub(crate) fn nanos(&self) -> u64 {
        match self {
            // Elsewhere it is the precise one, which has always gone on.
            Self::SystemCoarse if cfg!(target_os = "linux") => platform::coarse_nanos(),
            Self::Manual(clock) => clock.time.nanos.load(Ordering::Acquire),
            _ => UNKNOWN_NANOS,
        }
    }

    /// The time to count a TTL from: not behind the true time, but for the lag
    /// that a clock of the caller admits to.
    ///
    /// The coarse clock will not do here. Its step of 4 ms bounds its lag on an
    /// idle machine only; on a virtual one 2 to 8 ms were measured, and entries
    /// would leave before their time.
    #[inline]
    pub(crate) fn now_precise(&self, base: &Timebase) -> Moment {
        match self {
            Self::SystemCoarse => base.moment_of_nanos(platform::precise_nanos()),
            _ => self.now(base),
        }
    }

    /// The ticks for a resolution.
    pub(crate) fn timebase(&self, resolution: Duration) -> Timebase {
        match self {
            Self::SystemCoarse => {
                let lag = platform::coarse_lag();
                // What a TTL is counted from may be told without the clock.
                let deadline_lag = max_lag(lag);
                Timebase::new(resolution, lag + deadline_lag, deadline_lag)
            }
            Self::SystemPrecise | Self::Manual(_) => {
                Timebase::new(resolution, Duration::ZERO, Duration::ZERO)
            }
            Self::Custom(clock) => {
                let lag = clock.lag();
                Timebase::new(resolution, lag, lag)
            }
        }
    }

    /// Bytes on the heap that belong to the cache alone.
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
            Self::Manual(_) => "ManualClock",
            Self::Custom(_) => "Clock of the caller",
        })
    }
}

/// The system's coarse monotonic clock, on the same scale as the precise one.
#[inline]
pub(crate) fn system_coarse_nanos() -> u64 {
    platform::coarse_nanos()
}

/// The step of that clock; zero where the system has none.
pub(crate) fn system_coarse_step_nanos() -> u64 {
    platform::coarse_lag().as_nanos() as u64
}

/// The system's precise monotonic clock, by which the reaper sleeps.
pub(crate) fn system_nanos() -> u64 {
    platform::precise_nanos()
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
    fn a_clock_too_coarse_for_the_resolution_is_not_gone_by() {
        let step = SystemClock.lag();
        let is_coarse = |resolution| {
            let source: ClockSource<dyn Clock> = ClockSource::SystemCoarse;
            matches!(source.for_resolution(resolution), ClockSource::SystemCoarse)
        };
        assert!(is_coarse(2 * step));
        assert!(step.is_zero() || !is_coarse(2 * step - Duration::from_nanos(1)));
    }

    #[test]
    fn a_manual_clock_tells_any_time() {
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
