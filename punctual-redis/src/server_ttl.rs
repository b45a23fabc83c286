//! How long a reply may be kept: never past the end that the server has for the key.

use std::time::{Duration, Instant};

/// The most by which the local cache outlives a TTL, besides a step of the coarse clock.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(10);

/// The longest step of the system's coarse clock: 4 ms mostly, 10 where it ticks 100 times a second.
const COARSE_STEP_MAX: Duration = Duration::from_millis(10);

/// `PTTL` is the difference of two times that the server has cut to milliseconds.
const SERVER_ROUNDING: Duration = Duration::from_millis(1);

/// What is taken off the server's TTL, so that the local entry is gone when the server's is.
pub(crate) const MARGIN: Duration =
    RESOLUTION.saturating_add(COARSE_STEP_MAX).saturating_add(SERVER_ROUNDING);

/// Storing may take so much longer than expected before the entry is taken out again.
const PAUSE_MAX: Duration = Duration::from_millis(1);

/// The limits that the builder has set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) longest: Duration,
    pub(crate) absent: Duration,
}

/// The end of a key on the server, as far as it is known here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Not later than the server answered `PTTL`: taken before the request was sent.
    asked: Instant,
    /// `None`: it has none.
    left: Option<Duration>,
}

impl End {
    /// Of a reply to `PTTL` that was asked for at that time: milliseconds, -1 for a key without a
    /// TTL, -2 for no key.
    pub(crate) fn new(asked: Instant, pttl_millis: i64, is_present: bool, limits: &Limits) -> Self {
        let left = match (is_present, pttl_millis) {
            (true, -1) => None,
            (true, millis) => {
                let millis = u64::try_from(millis).unwrap_or(0); // -2: it has expired since `GET`
                Some(Duration::from_millis(millis).saturating_sub(MARGIN))
            }
            (false, -2) => Some(limits.absent),
            // Set since `GET`: the invalidation is on its way.
            (false, _) => Some(Duration::ZERO),
        };
        Self { asked, left }
    }

    /// What is left now. Zero: not to be stored.
    pub(crate) fn ttl(&self, limits: &Limits) -> Duration {
        self.ttl_after(self.asked.elapsed(), limits)
    }

    fn ttl_after(&self, elapsed: Duration, limits: &Limits) -> Duration {
        self.left.map_or(limits.longest, |left| left.saturating_sub(elapsed).min(limits.longest))
    }

    /// Whether so much time has passed since [`ttl`](Self::ttl) was computed, between that and the
    /// start of the entry's time, that the entry may outlive the key.
    pub(crate) fn is_outlived_by(&self, ttl: Duration) -> bool {
        self.left.is_some_and(|left| self.asked.elapsed() + ttl > left + PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { longest: Duration::from_secs(60), absent: Duration::from_secs(5) };

    fn ttl(pttl: i64, is_present: bool, elapsed_millis: u64) -> Duration {
        let end = End::new(Instant::now(), pttl, is_present, &LIMITS);
        end.ttl_after(Duration::from_millis(elapsed_millis), &LIMITS)
    }

    #[test]
    fn is_the_lesser_of_two() {
        assert_eq!(ttl(-1, true, 3), LIMITS.longest);
        assert_eq!(ttl(3_600_000, true, 3), LIMITS.longest);
        assert_eq!(ttl(30_000, true, 0), Duration::from_secs(30) - MARGIN);
    }

    #[test]
    fn counts_from_before_the_request() {
        assert_eq!(ttl(30_000, true, 700), Duration::from_millis(29_300) - MARGIN);
        assert_eq!(ttl(30_000, true, 30_000), Duration::ZERO);
    }

    #[test]
    fn is_zero_where_the_end_is_near_or_unknown() {
        for pttl in [-2, 0, 1, MARGIN.as_millis() as i64, i64::MIN] {
            assert_eq!(ttl(pttl, true, 0), Duration::ZERO, "{pttl}");
        }
        assert_eq!(ttl(-1, false, 0), Duration::ZERO);
        assert_eq!(ttl(500, false, 0), Duration::ZERO);
        assert_eq!(ttl(i64::MAX, true, 0), LIMITS.longest);
    }

    #[test]
    fn absent_keys_have_their_own() {
        assert_eq!(ttl(-2, false, 0), LIMITS.absent);
        assert_eq!(ttl(-2, false, 1_000), Duration::from_secs(4));
    }
}
