//! Replays the incident: one worker with its two caches, in simulated time.

use std::convert::Infallible;
use std::time::Duration;

use punctual::{BuildError, ManualClock};
use punctual_testing::alloc::process_traffic;

use crate::subject::{Bytes, Deadlines, Original, Punctual, Subject};
use crate::traffic::{self, Direction, Scenario, Traffic};

/// How often the simulated clock moves and the service's timer fires. Requests come in between.
const TICK_MILLISECONDS: u64 = 10;
/// How often the caches are measured.
pub(crate) const SAMPLE_SECONDS: u64 = 300;
/// The article's team chose capacities of 1.1 to 2.0 times the most entries live at once.
pub(crate) const HEADROOM: f64 = 1.2;
/// An id takes 19 or 20 bytes.
const ID_BYTES_MAX: usize = 20;
/// The two ids of an entry.
const PAIR_BYTES: usize = 39;

/// Both caches of one worker at one moment, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) at_seconds: u64,
    pub(crate) held: usize,
    /// Of those held, what a lookup would find.
    pub(crate) live: usize,
    /// Everything that the caches have allocated and not given back, ids included.
    pub(crate) bytes_held: usize,
    /// Lookups and hits since the start.
    pub(crate) lookups: u64,
    pub(crate) hits: u64,
}

impl Sample {
    pub(crate) fn expired(&self) -> usize {
        self.held - self.live
    }
}

/// The incident with the same requests for each cache.
pub(crate) struct Comparison {
    pub(crate) scenario: Scenario,
    pub(crate) original: Vec<Sample>,
    pub(crate) punctual: PunctualRun,
    /// Rule 1, followed: with the capacity that `punctual` recommends.
    pub(crate) recommended: PunctualRun,
    /// A cache of bytes, with the budget that one of the first capacity's size recommends.
    pub(crate) bytes: BytesRun,
}

/// A replay of the cache of bytes.
pub(crate) struct BytesRun {
    pub(crate) budget_bytes: usize,
    pub(crate) samples: Vec<Sample>,
    pub(crate) evicted: u64,
    /// With a headroom of [`HEADROOM`]; `None` if anything was evicted.
    pub(crate) recommended_budget: Option<usize>,
    /// Of one cache.
    pub(crate) footprint_bytes: usize,
    pub(crate) bytes_moved: u64,
}

/// A replay of punctual, and what the caches said of themselves at its end: of the two, the larger
/// figure.
pub(crate) struct PunctualRun {
    pub(crate) capacity: usize,
    pub(crate) samples: Vec<Sample>,
    pub(crate) live_peak: u64,
    /// With a headroom of [`HEADROOM`]; `None` if anything was evicted.
    pub(crate) recommended_capacity: Option<usize>,
    pub(crate) evicted: u64,
    /// Of one cache.
    pub(crate) footprint_bytes: usize,
}

impl Comparison {
    pub(crate) const REPLAYS: u64 = 5;

    /// `on_hour` hears of each simulated hour completed, and of which replay.
    pub(crate) fn run(
        scenario: Scenario,
        mut on_hour: impl FnMut(&str, u64),
    ) -> Result<Self, BuildError> {
        let original = run_original(&scenario, |hour| on_hour("original", hour));
        let punctual = run_punctual(&scenario, |hour| on_hour("punctual", hour))?;
        let capacity = punctual.recommended_capacity.unwrap_or(scenario.capacity);
        let smaller = Scenario { capacity, ..scenario };
        let recommended = run_punctual(&smaller, |hour| on_hour("punctual, as recommended", hour))?;
        let generous =
            run_bytes(&scenario, punctual.footprint_bytes, |hour| on_hour("ByteCache", hour))?;
        let budget_bytes = generous.recommended_budget.unwrap_or(generous.budget_bytes);
        let bytes = run_bytes(&scenario, budget_bytes, |hour| {
            on_hour("ByteCache, as recommended", hour);
        })?;
        Ok(Self { scenario, original, punctual, recommended, bytes })
    }
}

fn run_original(scenario: &Scenario, on_hour: impl FnMut(u64)) -> Vec<Sample> {
    let clock = ManualClock::new();
    let stores_max = scenario.requests() as usize;
    let mut deadlines = [(); 2].map(|()| Deadlines::new(scenario.capacity, stores_max));
    let mut deadlines_of_each = deadlines.iter_mut();
    let Ok(mut worker) = Worker::build(|| {
        let deadlines = deadlines_of_each.next().expect("a worker has two caches");
        Ok::<_, Infallible>(Original::new(scenario.capacity, &clock, deadlines))
    });
    let samples = worker.replay(scenario, &clock, on_hour);
    worker.drop_and_check_bytes(&samples);
    samples
}

fn run_punctual(scenario: &Scenario, on_hour: impl FnMut(u64)) -> Result<PunctualRun, BuildError> {
    let clock = ManualClock::new();
    let mut worker = Worker::build(|| Punctual::new(scenario.capacity, &clock))?;
    let samples = worker.replay(scenario, &clock, on_hour);

    let caches = [&worker.user_to_display, &worker.display_to_user];
    let [one, other] = caches.map(Punctual::stats);
    let recommended = [one, other].map(|stats| stats.recommended_capacity(HEADROOM));
    let footprints = caches.map(Punctual::footprint_bytes);
    worker.drop_and_check_bytes(&samples);
    Ok(PunctualRun {
        capacity: scenario.capacity,
        samples,
        live_peak: one.live_peak.max(other.live_peak),
        recommended_capacity: recommended[0].zip(recommended[1]).map(|(one, other)| one.max(other)),
        evicted: one.evicted.max(other.evicted),
        footprint_bytes: footprints[0].max(footprints[1]),
    })
}

fn run_bytes(
    scenario: &Scenario,
    budget_bytes: usize,
    on_hour: impl FnMut(u64),
) -> Result<BytesRun, BuildError> {
    let clock = ManualClock::new();
    let mut worker = Worker::build(|| Bytes::new(budget_bytes, PAIR_BYTES, &clock))?;
    let samples = worker.replay(scenario, &clock, on_hour);

    let caches = [&worker.user_to_display, &worker.display_to_user];
    let [one, other] = caches.map(Bytes::stats);
    let recommended = [one, other].map(|stats| stats.recommended_budget(HEADROOM));
    let footprints = caches.map(Bytes::footprint_bytes);
    worker.drop_and_check_bytes(&samples);
    Ok(BytesRun {
        budget_bytes,
        samples,
        evicted: one.evicted.max(other.evicted),
        recommended_budget: recommended[0].zip(recommended[1]).map(|(one, other)| one.max(other)),
        footprint_bytes: footprints[0].max(footprints[1]),
        bytes_moved: one.bytes_moved + other.bytes_moved,
    })
}

/// The bytes that the process holds at this moment, where the program counts them; else none.
fn bytes_held() -> usize {
    process_traffic().bytes_kept as usize
}

/// The two caches of one worker.
struct Worker<S> {
    user_to_display: S,
    display_to_user: S,
    /// What building them allocated.
    built_bytes: usize,
}

impl<S: Subject<String, String>> Worker<S> {
    /// Builds both caches and counts what that allocates.
    fn build<E>(mut build_one: impl FnMut() -> Result<S, E>) -> Result<Self, E> {
        let bytes_before = bytes_held();
        let user_to_display = build_one()?;
        let display_to_user = build_one()?;
        Ok(Self { user_to_display, display_to_user, built_bytes: bytes_held() - bytes_before })
    }

    /// Replays the whole scenario and measures as it goes. `on_hour` hears of each hour completed.
    fn replay(
        &mut self,
        scenario: &Scenario,
        clock: &ManualClock,
        mut on_hour: impl FnMut(u64),
    ) -> Vec<Sample> {
        let end_seconds = scenario.hours * 3_600;
        let ticks_per_second = 1_000 / TICK_MILLISECONDS;
        let ttl = Duration::from_secs(scenario.ttl_seconds);
        let mut traffic = Traffic::new(scenario);

        // All that the replay needs for itself is allocated here and does not grow, so that from
        // now on every byte that comes or goes is the caches'.
        let mut samples = Vec::with_capacity(1 + (end_seconds / SAMPLE_SECONDS) as usize);
        let mut asked = String::with_capacity(ID_BYTES_MAX);
        let mut loaded = String::with_capacity(ID_BYTES_MAX);
        let bytes_before = bytes_held();

        let mut total = Sample::default();
        let mut requests_made = 0;
        for tick in 0..=end_seconds * ticks_per_second {
            clock.set(Duration::from_millis(tick * TICK_MILLISECONDS));
            self.user_to_display.tick();
            self.display_to_user.tick();

            // Counted from the start, so that the rate is met exactly, whatever it is.
            let requests_due = tick * scenario.requests_per_second / ticks_per_second;
            while requests_made < requests_due {
                let (user, direction) = traffic.next_request();
                let cache = match direction {
                    Direction::UserToDisplay => {
                        traffic::write_user_id(&mut asked, user);
                        &mut self.user_to_display
                    }
                    Direction::DisplayToUser => {
                        traffic::write_display_id(&mut asked, user);
                        &mut self.display_to_user
                    }
                };
                if cache.answers(&asked) {
                    total.hits += 1;
                } else {
                    // The load that the cache is there to save.
                    match direction {
                        Direction::UserToDisplay => traffic::write_display_id(&mut loaded, user),
                        Direction::DisplayToUser => traffic::write_user_id(&mut loaded, user),
                    }
                    // A clone takes exactly the bytes of the text.
                    cache.store(asked.clone(), loaded.clone(), ttl);
                }
                total.lookups += 1;
                requests_made += 1;
            }

            if tick % (SAMPLE_SECONDS * ticks_per_second) == 0 {
                total.at_seconds = tick / ticks_per_second;
                total.held = self.user_to_display.held() + self.display_to_user.held();
                total.live = self.user_to_display.live() + self.display_to_user.live();
                total.bytes_held = self.built_bytes + bytes_held() - bytes_before;
                samples.push(total);
                if total.at_seconds % 3_600 == 0 && total.at_seconds > 0 {
                    on_hour(total.at_seconds / 3_600);
                }
            }
        }
        samples
    }

    /// Checks that dropping the caches gives back exactly the bytes that were taken for theirs.
    fn drop_and_check_bytes(self, samples: &[Sample]) {
        let bytes_before = bytes_held();
        drop(self);
        let bytes_freed = bytes_before - bytes_held();
        let bytes_held = samples.last().map_or(0, |sample| sample.bytes_held);
        assert_eq!(bytes_freed, bytes_held, "bytes were counted for the wrong owner");
    }
}
