//! Four candidates for the parameters of one policy, and the choice between them.
//!
//! No candidate is best for all loads: loops want a main segment that is replaced slowly,
//! keys that are seen twice want room for newcomers, pure recency wants no segments at all.
//! So each candidate has a shadow, a miniature cache of sampled keys instead of entries. The
//! candidate whose shadow has had the most hits recently is selected. This is set duelling
//! (Qureshi et al., ISCA 2007) on sampled miniatures (Waldspurger et al., USENIX ATC 2017).
//!
//! ```text
//!   every call ── sampled? ──▷ a shadow of each candidate ──▷ scores ──▷ selection
//!                                                                            │
//!   all shards of the cache ◁───────── read at each eviction ────────────────┘
//! ```

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bit_set::zeroed;
use super::counts::{COUNT_MAX, Counts};
use super::s3_clock::{Parameters, S3Clock};
use crate::error::BuildError;
use crate::shard::key_hash::{KeyHash, SlotHash};
use crate::shard::slot_id::SlotId;

/// The candidates. The first is the default: the best single one.
const CANDIDATES: [Parameters; 4] = [
    Parameters::USUAL,
    // For loops and scans: entries of the main segment stay unless misses have paid for
    // their eviction.
    Parameters {
        small_percent: 2,
        small_min: 2,
        ghost_lanes: 6,
        budgeted_sweep: true,
        clears_counts: false,
        demotes: false,
    },
    // For keys that are seen twice and never again: nearly FIFO.
    Parameters {
        small_percent: 90,
        small_min: 1,
        ghost_lanes: 3,
        budgeted_sweep: false,
        clears_counts: false,
        demotes: false,
    },
    // For recency: CLOCK, which comes close to LRU.
    Parameters {
        small_percent: 0,
        small_min: 0,
        ghost_lanes: 3,
        budgeted_sweep: false,
        clears_counts: true,
        demotes: false,
    },
];

/// A shadow has at least this number of slots, or as many as the shard if that has fewer.
const SHADOW_SLOTS_MIN: usize = 52;

/// Hysteresis, in eighths of a shadow's slots: the active candidate is replaced when its
/// score is behind the best one's by more than this.
///
/// It is greater where the default is active, which is right for most loads: each change
/// costs some hits. In return there is none where the default is the best again.
const HYSTERESIS_DEFAULT_EIGHTHS: i64 = 3;
const HYSTERESIS_EIGHTHS: i64 = 2;

/// The number of the active candidate, shared by all shards of a cache.
type Selection = Arc<AtomicUsize>;

/// What a shadow observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A lookup that found a live entry.
    Hit,
    /// A lookup that did not.
    Miss,
    /// An insertion.
    Insert,
}

/// Makes the policies of a cache's shards, which share one selection.
#[derive(Debug, Default)]
pub(crate) struct AdaptiveGroup {
    selection: Option<Selection>,
}

impl AdaptiveGroup {
    /// Allocates the policy of the next shard. The first one gets the chooser: the keys of
    /// one shard are a random sample of all keys already.
    pub(crate) fn policy(&mut self, slots: usize) -> Result<Adaptive, BuildError> {
        let (selection, chooser) = if let Some(selection) = &self.selection {
            (Selection::clone(selection), None)
        } else {
            BuildError::probe(SELECTION_BYTES)?;
            let selection = self.selection.insert(Selection::default());
            let chooser = Chooser::new(slots)?;
            // `Box::new` aborts where there is no memory, so try first.
            BuildError::probe(size_of::<SharedChooser>())?;
            (Selection::clone(selection), Some(Box::new(SharedChooser::new(chooser))))
        };
        let policy = S3Clock::new(slots, CANDIDATES[0])?;
        Ok(Adaptive { policy, selection, active: 0, chooser })
    }

    /// Returns the bytes that the first shard's policy requests beyond those of the others.
    pub(crate) fn heap_bytes(slots: usize) -> usize {
        let (shadow_slots, _) = shadow_slots(slots);
        SELECTION_BYTES
            + size_of::<SharedChooser>()
            + CANDIDATES.len() * Shadow::heap_bytes(shadow_slots)
    }
}

/// The `Arc`'s two counters, and the number.
const SELECTION_BYTES: usize = 3 * size_of::<usize>();

/// The policy of one shard, with the parameters of the active candidate.
#[derive(Debug)]
pub(crate) struct Adaptive {
    policy: S3Clock,
    selection: Selection,
    /// The candidate whose parameters `policy` has; it follows `selection` at the next
    /// eviction.
    active: usize,
    /// On the heap, since only one shard of a cache has it.
    chooser: Option<Box<SharedChooser>>,
}

impl Adaptive {
    pub(crate) fn heap_bytes(slots: usize) -> usize {
        S3Clock::heap_bytes(slots)
    }

    /// Returns what picks the keys to be shown to [`observe`](Self::observe).
    pub(crate) fn sampler(&self, slots: usize) -> Sampler {
        match self.chooser {
            Some(_) => Sampler::for_shard(slots),
            None => Sampler::NONE,
        }
    }

    /// Shows the access to the shadows, unless another thread does so with one of its own.
    pub(crate) fn observe(&self, hash: KeyHash, access: Access) {
        let Some(chooser) = &self.chooser else { return };
        chooser.try_with(|chooser| Self::show(&self.selection, chooser, hash, access));
    }

    /// [`observe`](Self::observe) with the shard held alone.
    pub(crate) fn observe_mut(&mut self, hash: KeyHash, access: Access) {
        let Some(chooser) = &mut self.chooser else { return };
        Self::show(&self.selection, chooser.get_mut(), hash, access);
    }

    fn show(selection: &Selection, chooser: &mut Chooser, hash: KeyHash, access: Access) {
        let selected = chooser.observe(hash, access, selection.load(Ordering::Relaxed));
        selection.store(selected, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn evict(&mut self, counts: &mut impl Counts) -> SlotId {
        self.take_selection();
        self.policy.evict(counts)
    }

    pub(crate) fn evict_early(&mut self, entries: usize, counts: &mut impl Counts) -> SlotId {
        self.take_selection();
        self.policy.evict_early(entries, counts)
    }

    #[inline(always)]
    fn take_selection(&mut self) {
        let selected = self.selection.load(Ordering::Relaxed);
        if selected != self.active {
            self.active = selected;
            self.policy.set_parameters(CANDIDATES[selected]);
        }
    }
}

impl Deref for Adaptive {
    type Target = S3Clock;

    #[inline]
    fn deref(&self) -> &S3Clock {
        &self.policy
    }
}

impl DerefMut for Adaptive {
    #[inline]
    fn deref_mut(&mut self) -> &mut S3Clock {
        &mut self.policy
    }
}

/// Picks the keys that the shadows observe, by their sample bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// Those below are picked, see [`KeyHash::sample_first`].
    limit: u32,
}

impl Sampler {
    /// Picks no key.
    pub(crate) const NONE: Self = Self { limit: 0 };

    /// Returns a sampler that picks the part of the keys that a shadow of at least
    /// [`SHADOW_SLOTS_MIN`] slots is of a shard's; all keys if the shard has fewer.
    fn for_shard(slots: usize) -> Self {
        // No key has all 32 bits set, so this limit picks all.
        let limit = picked_of_256(slots) << (u32::BITS - u8::BITS);
        Self { limit: limit.min(u32::MAX.into()) as u32 }
    }

    #[inline]
    pub(crate) fn picks(self, hash: KeyHash) -> bool {
        hash.sample_first() < self.limit
    }
}

/// Returns how many of 256 keys are shown to the shadows.
fn picked_of_256(slots: usize) -> u64 {
    (SHADOW_SLOTS_MIN * 256).div_ceil(slots).min(256) as u64
}

/// Returns the number of a shadow's slots, which is the same part of the shard's. Of a shard so
/// large that this would be too many, it is a 2^n-th of it, and `n`: of the keys that are picked,
/// the shadows observe only that part.
fn shadow_slots(slots: usize) -> (usize, u32) {
    let shadow_slots = slots * picked_of_256(slots) as usize / 256;
    let thinned_log2 = (shadow_slots / SHADOW_SLOTS_MIN).max(1).ilog2();
    (shadow_slots >> thinned_log2, thinned_log2)
}

/// A chooser for threads that share the shard.
#[derive(Debug)]
struct SharedChooser {
    /// Whether a thread has it. Looked at first: threads that find it taken, as they often do where
    /// the cache is small and most keys are sampled, write nothing then.
    is_taken: AtomicBool,
    chooser: Mutex<Chooser>,
}

impl SharedChooser {
    fn new(chooser: Chooser) -> Self {
        Self { is_taken: AtomicBool::new(false), chooser: Mutex::new(chooser) }
    }

    /// Gives the chooser to `show`, unless another thread has it.
    fn try_with(&self, show: impl FnOnce(&mut Chooser)) {
        if self.is_taken.load(Ordering::Relaxed) {
            return;
        }
        // No callers' code runs under it, so there is no panic to be poisoned by.
        if let Ok(mut chooser) = self.chooser.try_lock() {
            self.is_taken.store(true, Ordering::Relaxed);
            show(&mut chooser);
            self.is_taken.store(false, Ordering::Relaxed);
        }
    }

    fn get_mut(&mut self) -> &mut Chooser {
        self.chooser.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shadows of the candidates, and their scores.
#[derive(Debug)]
struct Chooser {
    shadows: [Shadow; CANDIDATES.len()],
    /// Hits relative to the best shadow's, so at most zero. Clamped at minus the number of a
    /// shadow's slots: what lies further back is forgotten.
    scores: [i64; CANDIDATES.len()],
    /// The shadows observe one in 2^n of the keys picked.
    thinned_log2: u32,
}

impl Chooser {
    fn new(slots: usize) -> Result<Self, BuildError> {
        let (slots, thinned_log2) = shadow_slots(slots);
        let [a, b, c, d] = CANDIDATES.map(|parameters| Shadow::new(slots, parameters));
        Ok(Self { shadows: [a?, b?, c?, d?], scores: [0; CANDIDATES.len()], thinned_log2 })
    }

    /// Returns whether the shadows do without this key.
    fn skips(&self, hash: KeyHash) -> bool {
        let spread = hash.sample_key().wrapping_mul(0x9e37_79b9);
        u64::from(spread) << self.thinned_log2 >> u32::BITS != 0
    }

    /// Shows an access to all shadows. Returns the candidate to be active from now on.
    fn observe(&mut self, hash: KeyHash, access: Access, active: usize) -> usize {
        if self.skips(hash) {
            return active;
        }
        for (shadow, score) in self.shadows.iter_mut().zip(&mut self.scores) {
            *score += i64::from(shadow.observe(hash, access));
        }
        let best = self.scores.into_iter().max().unwrap_or(0);
        let floor = -(self.shadows[0].slots.keys.len() as i64);
        for score in &mut self.scores {
            *score = (*score - best).max(floor);
        }
        let hysteresis_eighths = match (active, self.scores[0]) {
            (0, _) => HYSTERESIS_DEFAULT_EIGHTHS,
            (_, 0) => 0,
            _ => HYSTERESIS_EIGHTHS,
        };
        if self.scores[active] * 8 >= floor * hysteresis_eighths {
            return active;
        }
        self.scores.iter().position(|&score| score == 0).unwrap_or(active)
    }
}

/// A miniature cache of sampled keys, under the parameters of one candidate.
#[derive(Debug)]
struct Shadow {
    slots: SampledKeys,
    /// The number of occupied slots. They are filled in order; once all are, a newcomer
    /// reuses its victim's.
    used: usize,
    policy: S3Clock,
}

/// The slots of a shadow: sample keys instead of entries.
#[derive(Debug)]
struct SampledKeys {
    keys: Box<[u32]>,
    counts: Box<[u8]>,
}

impl Counts for SampledKeys {
    fn count(&self, id: SlotId) -> u8 {
        self.counts[id.index()]
    }
    fn set_count(&mut self, id: SlotId, count: u8) {
        self.counts[id.index()] = count;
    }
    fn slot_hash(&self, id: SlotId) -> SlotHash {
        SlotHash::from_sample_key(self.keys[id.index()])
    }
}

impl Shadow {
    fn new(slots: usize, parameters: Parameters) -> Result<Self, BuildError> {
        Ok(Self {
            slots: SampledKeys { keys: zeroed(slots)?, counts: zeroed(slots)? },
            used: 0,
            policy: S3Clock::new(slots, parameters)?,
        })
    }

    fn heap_bytes(slots: usize) -> usize {
        slots * (size_of::<u32>() + size_of::<u8>()) + S3Clock::heap_bytes(slots)
    }

    /// Returns the slot of a key, which at most one slot holds. There are so few that an index
    /// would cost more memory than they take themselves, and save no time.
    fn find(&self, sample_key: u32) -> Option<SlotId> {
        // All are compared, whichever is it, so that the processor compares several at a time.
        let numbered = self.slots.keys[..self.used].iter().zip(1..);
        let found = numbered.map(|(&key, number)| if key == sample_key { number } else { 0u32 });
        let number = found.fold(0, |one, other| one | other);
        number.checked_sub(1).map(|index| SlotId::new(index as usize))
    }

    /// Returns whether this cache would have had a hit.
    fn observe(&mut self, hash: KeyHash, access: Access) -> bool {
        match (self.find(hash.sample_key()), access) {
            (Some(_), Access::Insert) | (None, Access::Miss) => false,
            (Some(id), Access::Hit | Access::Miss) => {
                let count = &mut self.slots.counts[id.index()];
                *count = (*count + 1).min(COUNT_MAX);
                true
            }
            // The real cache had a hit, so no insertion will follow: insert the key now.
            (None, Access::Hit | Access::Insert) => {
                self.insert(hash);
                false
            }
        }
    }

    fn insert(&mut self, hash: KeyHash) {
        let is_ghost_hit = self.policy.take_ghost(hash.slot_hash());
        let id = if self.used < self.slots.keys.len() {
            self.used += 1;
            SlotId::new(self.used - 1)
        } else {
            self.policy.evict(&mut self.slots)
        };
        self.slots.keys[id.index()] = hash.sample_key();
        self.slots.counts[id.index()] = 0;
        self.policy.admit(id, is_ghost_hit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: usize = 1_000;

    /// Returns the hit ratio of each candidate over the last third of the accesses, where
    /// each miss is followed by an insertion.
    fn hit_ratio(accesses: impl Iterator<Item = u64>, candidates: &[usize]) -> Vec<f64> {
        let hasher = foldhash::fast::FixedState::with_seed(5);
        let accesses: Vec<_> = accesses.collect();
        let from = accesses.len() / 3 * 2;
        let mut shadows: Vec<_> = candidates
            .iter()
            .map(|&candidate| Shadow::new(SLOTS, CANDIDATES[candidate]).unwrap())
            .collect();
        let mut hits = vec![0u32; candidates.len()];
        for (number, key) in accesses.iter().enumerate() {
            for (shadow, hits) in shadows.iter_mut().zip(&mut hits) {
                let found = shadow.observe(KeyHash::new(&hasher, key), Access::Hit);
                *hits += u32::from(found && number >= from);
            }
        }
        hits.iter().map(|&hits| f64::from(hits) / (accesses.len() - from) as f64).collect()
    }

    fn choice_after(accesses: impl Iterator<Item = u64>) -> usize {
        let hasher = foldhash::fast::FixedState::with_seed(5);
        let mut chooser = Chooser::new(SLOTS).unwrap();
        let sampler = Sampler::for_shard(SLOTS);
        let mut selection = 0;
        for key in accesses {
            let hash = KeyHash::new(&hasher, &key);
            if sampler.picks(hash) {
                selection = chooser.observe(hash, Access::Hit, selection);
            }
        }
        selection
    }

    /// A loop over one and a half times as many keys as there are slots.
    fn a_loop() -> impl Iterator<Item = u64> {
        (0..200 * SLOTS as u64).map(|i| i % (SLOTS as u64 * 3 / 2))
    }

    /// Every key twice; between the two come 0.8 times as many others as there are slots.
    fn pairs() -> impl Iterator<Item = u64> {
        (0..100 * SLOTS as u64).flat_map(|i| [i, i.saturating_sub(SLOTS as u64 * 8 / 10)])
    }

    /// The longer ago a key's last use, the less likely it is next.
    fn recency() -> impl Iterator<Item = u64> {
        let mut random = fastrand::Rng::with_seed(9);
        let mut order: Vec<u64> = (0..4 * SLOTS as u64).collect();
        (0..100 * SLOTS).map(move |_| {
            let depth = (-(1.0 - random.f64()).ln() * SLOTS as f64 / 2.0) as usize;
            let key = order.remove(order.len() - 1 - depth.min(order.len() - 1));
            order.push(key);
            key
        })
    }

    #[test]
    fn each_candidate_is_best_for_some_load() {
        let looped = hit_ratio(a_loop(), &[0, 1, 2, 3]);
        let best = |ratios: &[f64]| (0..4).max_by(|&a, &b| ratios[a].total_cmp(&ratios[b]));
        assert!(best(&looped) == Some(1) && looped[1] > looped[0] + 0.1, "{looped:?}");
        let paired = hit_ratio(pairs(), &[0, 1, 2, 3]);
        assert!(best(&paired) == Some(2) && paired[2] > paired[0] + 0.1, "{paired:?}");
        let recent = hit_ratio(recency(), &[0, 1, 2, 3]);
        assert!(best(&recent) == Some(3) && recent[3] > recent[0] + 0.02, "{recent:?}");
    }

    #[test]
    fn the_best_candidate_is_selected() {
        assert_eq!(choice_after(pairs()), 2);
        let others = |key: u64| key | 1 << 40;
        assert_eq!(choice_after(pairs().chain(a_loop().map(others))), 1);
        assert_eq!(choice_after(a_loop().chain(recency().map(others))), 3);
    }

    /// The active candidate is not replaced by one that is hardly better.
    #[test]
    fn hysteresis_keeps_a_candidate_that_is_a_little_behind() {
        let hasher = foldhash::fast::FixedState::with_seed(5);
        let mut chooser = Chooser::new(SLOTS).unwrap();
        let floor = -(chooser.shadows[0].slots.keys.len() as i64);
        let (to_leave_first, to_leave) = (floor * 3 / 8, floor / 4);
        for (active, best, behind, expected) in [
            (0, 1, 0, 0),
            (0, 1, to_leave_first, 0),
            (0, 1, to_leave_first - 1, 1),
            (0, 1, floor, 1),
            (2, 1, to_leave, 2),
            (2, 1, to_leave - 1, 1),
            (2, 0, 0, 2),
            (2, 0, -1, 0),
        ] {
            chooser.scores = [behind; CANDIDATES.len()];
            chooser.scores[best] = 0;
            let selection = chooser.observe(KeyHash::new(&hasher, &1), Access::Miss, active);
            assert_eq!(selection, expected, "{active} is {behind} behind {best}, of {floor}");
        }
    }

    #[test]
    fn as_many_keys_are_picked_as_shadows_stand_for() {
        let hasher = foldhash::fast::FixedState::with_seed(5);
        let picked = |sampler: Sampler| {
            (0..256_000).filter(|key| sampler.picks(KeyHash::new(&hasher, key))).count()
        };
        assert_eq!(picked(Sampler::NONE), 0);
        assert_eq!(picked(Sampler::for_shard(10)), 256_000);
        for (slots, expected) in [(1_000, 14_000), (20_000, 1_000)] {
            let picked = picked(Sampler::for_shard(slots));
            assert!(picked.abs_diff(expected) < expected / 5, "{slots} slots: {picked}");
        }
    }

    /// Of a shard so large, the sample of one in 256 keys would be too many.
    #[test]
    fn shadows_of_a_huge_shard_observe_a_part_of_the_keys_picked() {
        let hasher = foldhash::fast::FixedState::with_seed(5);
        for (slots, thinned_log2) in [(20_000, 0), (30_000, 1), (1 << 20, 6)] {
            let chooser = Chooser::new(slots).unwrap();
            let is_shown = |key: &u64| !chooser.skips(KeyHash::new(&hasher, key));
            let shown = (0..64_000u64).filter(is_shown).count();
            let expected = 64_000 >> thinned_log2;
            assert!(shown.abs_diff(expected) <= expected / 10, "{slots} slots: {shown}");
        }
    }

    #[test]
    fn shadows_are_miniatures_of_the_shard() {
        for slots in (1..40_000).chain([1 << 20, SlotId::COUNT_MAX]) {
            let (shadow_slots, _) = shadow_slots(slots);
            assert!(shadow_slots >= slots.min(SHADOW_SLOTS_MIN), "{slots}: {shadow_slots}");
            assert!(shadow_slots < 2 * SHADOW_SLOTS_MIN, "{slots}: {shadow_slots}");
        }
    }
}
