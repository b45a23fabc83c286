//! Runs random holds of the lock of a shard of bytes, and compares the shard with a map.
//!
//! A hold is what a thread does while it has the lock. So one thread plays here what many do at
//! once: insertions in several holds, and whatever others do between them.

use std::collections::BTreeMap;

use super::arena::Arena;
use super::arena::claim::Claim;
use super::bytes::{NewRecord, Work};
use super::eviction::PolicyFactory;
use super::index::buckets_log2_for;
use super::probe::ByteKey;
use super::records::lengths_within;
use super::*;
use crate::fuzz::Choose;

const KEYS: u8 = 200;

/// The most that leave for an insertion under one hold.
const LEAVE_MAX: u64 = 64;

/// What the shard is to hold, at most: anything may have been evicted.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    /// From this tick on it is due, by its TTL, or since nobody has used it.
    ttl_end: u64,
    idle_end: u64,
}

impl Entry {
    fn end(&self) -> u64 {
        self.ttl_end.min(self.idle_end)
    }
}

/// An insertion that goes on in the next hold.
struct InProgress {
    key: u8,
    value: Vec<u8>,
    deadline: Deadline,
    only_if_absent: bool,
    work: Work,
    /// Until it has a record.
    claim: Option<Claim>,
    has_record: bool,
    /// How much of the value is in the record.
    written: usize,
    moved_bytes: u64,
    holds: usize,
}

pub(crate) struct Run {
    shard: Shard<(), ()>,
    entry_bytes_max: usize,
    entries: BTreeMap<u8, Entry>,
    in_progress: Option<InProgress>,
    now: u64,
    reap_limit: usize,
    idle_ticks: Option<u64>,
    /// The most bytes of a value that are written under one hold.
    part_bytes: usize,
    /// Many keys have the same hash.
    collide: bool,
    /// Of the values, mostly.
    usual_bytes: usize,
}

/// What a hold may do besides what was asked of it.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    /// To move, evict or free for an insertion.
    inserts: bool,
    /// The entries that it was asked to remove.
    removed: u64,
}

/// How it was when a hold began.
struct Before {
    stats: Stats,
    /// The bytes of the largest record.
    largest_bytes: usize,
}

/// Plays a run of at most so many holds.
pub(crate) fn play(mut choices: impl Choose, holds_max: usize) {
    let mut run = Run::choose(&mut choices);
    for _ in 0..holds_max {
        if choices.is_exhausted() {
            break;
        }
        run.hold(&mut choices);
    }
    run.end();
}

fn key_bytes(key: u8) -> Vec<u8> {
    // One is empty.
    vec![key; usize::from(key % 5) * usize::from(key.min(1)) + usize::from(key.min(1))]
}

fn end_of(deadline: Deadline) -> u64 {
    match deadline {
        Deadline::At(tick) => tick,
        Deadline::Never => u64::MAX,
        Deadline::Now => unreachable!("it is not inserted"),
    }
}

impl Run {
    pub(crate) fn new(bytes: usize, live_percent: usize, slots: usize, eviction: Eviction) -> Self {
        let geometry = Geometry {
            shards: 1,
            slots_per_shard: slots,
            buckets_log2: buckets_log2_for(slots, 96),
        };
        let live_bytes_max = (Arena::floor(bytes) * live_percent / 100).max(Arena::BYTES_MIN);
        let arena = ArenaShape { bytes, live_bytes_max };
        let bounds = Bounds { arena: Some(arena), by_idle_time: true, ..Bounds::default() };
        let mut factory = PolicyFactory::new(eviction);
        Self {
            shard: Shard::new(&geometry, bounds, &mut factory, 0).unwrap(),
            entry_bytes_max: arena.entry_bytes_max(),
            entries: BTreeMap::new(),
            in_progress: None,
            now: 0,
            reap_limit: 64,
            idle_ticks: None,
            part_bytes: 64 << 10,
            collide: false,
            usual_bytes: 100,
        }
    }

    fn choose(choices: &mut impl Choose) -> Self {
        let bytes = match choices.usize(..if cfg!(miri) { 2 } else { 4 }) {
            0 => Arena::BYTES_MIN + choices.usize(..64),
            1 => 1_024 + choices.usize(..8_192),
            2 => (100 << 10) + choices.usize(..(100 << 10)),
            _ => (200 << 10) + choices.usize(..(300 << 10)),
        };
        let slots_max = [8, KEYS.into()][choices.usize(..2)];
        let slots = 1 + choices.usize(..slots_max);
        let evictions = [Eviction::Adaptive, Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo];
        let eviction = evictions[choices.usize(..4)];
        let mut run = Self::new(bytes, 50 + choices.usize(..51), slots, eviction);
        run.reap_limit = [0, 1, 4, 64][choices.usize(..4)];
        run.idle_ticks = [None, Some(30)][choices.usize(..2)];
        run.part_bytes = [1, 100, 4_096, 64 << 10][choices.usize(..4)].max(bytes / 20);
        run.collide = choices.usize(..4) == 0;
        run.usual_bytes = 1 + bytes / (1 + choices.usize(..2 * slots));
        run
    }

    fn hash(&self, key: u8) -> KeyHash {
        let number = if self.collide { key % 4 } else { key };
        KeyHash::from_bits(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn find(&self, key: u8) -> Option<SlotId> {
        self.shard.find(self.hash(key).slot_hash(), &ByteKey(&key_bytes(key)))
    }

    fn before(&self) -> Before {
        let in_progress = self.in_progress.as_ref().map(|it| it.value.len());
        let lengths = self.entries.values().map(|entry| entry.value.len()).chain(in_progress);
        // Key, header and padding.
        let largest_bytes = lengths.max().unwrap_or(0) + 8 + 8 + 7;
        Before { stats: self.shard.stats(), largest_bytes }
    }

    fn hold(&mut self, choices: &mut impl Choose) {
        let key = choices.u8(..KEYS);
        match choices.usize(..20) {
            0..=7 => {
                let value = self.choose_value(key, choices);
                let deadline = self.choose_deadline(choices);
                let only_if_absent = choices.usize(..8) == 0;
                let at_once = choices.bool();
                self.insert(key, value, deadline, only_if_absent, at_once);
            }
            8..=12 => self.go_on(),
            13 | 14 => self.remove(key),
            15 => self.set_deadline(key, choices),
            16 => self.get(key),
            17 => self.now += choices.u64(..20),
            18 => self.reap(choices.usize(..8)),
            _ => match choices.usize(..8) {
                0 => self.remove_where(RemovalCause::Cleared, |_| true),
                1 => self.remove_where(RemovalCause::Removed, |key| key % 2 == 0),
                2 => self.now += choices.u64(..1 << 40),
                _ => self.go_on(),
            },
        }
    }

    fn choose_value(&self, key: u8, choices: &mut impl Choose) -> Vec<u8> {
        let room = self.entry_bytes_max.saturating_sub(key_bytes(key).len());
        let length = match choices.usize(..16) {
            0 => room,
            1 => choices.usize(..room + 1),
            2 => 0,
            15 => choices.usize(..room / 8 + 1),
            3..8 => choices.usize(..self.usual_bytes / 20 + 1),
            _ => choices.usize(..self.usual_bytes + 1),
        };
        vec![choices.u8(..u8::MAX); length.min(room)]
    }

    fn choose_deadline(&self, choices: &mut impl Choose) -> Deadline {
        match choices.usize(..3) {
            0 => Deadline::Never,
            _ => Deadline::At(self.now + 1 + choices.u64(..100)),
        }
    }

    fn idle_deadline(&self) -> Deadline {
        /// Which never comes.
        const FAR: u64 = 1 << 30;
        Deadline::At(self.now + self.idle_ticks.unwrap_or(FAR))
    }

    /// Inserts under one hold, or begins an insertion in several.
    pub(crate) fn insert(
        &mut self,
        key: u8,
        value: Vec<u8>,
        deadline: Deadline,
        only_if_absent: bool,
        at_once: bool,
    ) {
        let before = self.before();
        let bytes = key_bytes(key);
        let Ok(lengths) = lengths_within(self.entry_bytes_max, &bytes, &value) else {
            assert!(bytes.len() + value.len() > self.entry_bytes_max);
            return;
        };
        let found = self.find(key);
        if only_if_absent && found.is_some_and(|id| !self.shard.is_due(id, self.now)) {
            return;
        }
        let at_once = at_once && self.in_progress.is_none();
        let mut work = match at_once {
            true => Work::at_once(lengths, self.reap_limit),
            false => Work::in_steps(lengths, self.reap_limit),
        };
        let new = NewRecord { hash: self.hash(key), key: &bytes, value: &value, lengths };
        let is_large = !at_once && value.len() > self.part_bytes;
        let put =
            if is_large { None } else { self.shard.put(found, new, deadline, self.now, &mut work) };
        assert!(put.is_some() || !at_once, "there is no limit");
        if let Some(id) = put {
            self.settle(id, key, value, deadline, &work, before);
        } else {
            let moved_bytes = self.shard.stats().bytes_moved - before.stats.bytes_moved;
            let in_progress = InProgress {
                key,
                value,
                deadline,
                only_if_absent,
                work,
                claim: None,
                has_record: false,
                written: 0,
                moved_bytes,
                holds: 0,
            };
            // What it was to replace may be gone.
            let is_gone = self.find(key).is_none() && self.entries.remove(&key).is_some();
            let removed = u64::from(is_gone);
            self.end_hold(before, Allowed { inserts: !is_large, removed }, Some(&in_progress.work));
            if self.in_progress.is_none() {
                self.in_progress = Some(in_progress);
            }
        }
    }

    /// The next hold of the insertion in progress.
    pub(crate) fn go_on(&mut self) {
        let Some(mut it) = self.in_progress.take() else { return };
        let before = self.before();
        let bytes = key_bytes(it.key);
        let lengths = lengths_within(self.entry_bytes_max, &bytes, &it.value).unwrap();
        it.holds += 1;
        assert!(it.holds < 20_000, "it never ends");
        if !it.has_record {
            it.work.begin_hold();
            let mut claim =
                it.claim.take().unwrap_or_else(|| self.shard.begin_record(lengths, &it.work));
            let is_done = self.shard.go_on(&mut claim, self.now, &mut it.work);
            it.moved_bytes += self.shard.stats().bytes_moved - before.stats.bytes_moved;
            assert!(it.moved_bytes <= Claim::budget_bytes(lengths) as u64);
            if !is_done {
                it.claim = Some(claim);
                self.end_hold(before, Allowed { inserts: true, removed: 0 }, Some(&it.work));
                self.in_progress = Some(it);
                return;
            }
            it.has_record = true;
            self.shard.fill_record(0, &bytes);
        }
        let part = (it.value.len() - it.written).min(self.part_bytes);
        self.shard.fill_record(bytes.len() + it.written, &it.value[it.written..][..part]);
        it.written += part;
        if it.written < it.value.len() {
            self.end_hold(before, Allowed { inserts: true, removed: 0 }, Some(&it.work));
            self.in_progress = Some(it);
            return;
        }
        let found = self.find(it.key);
        if it.only_if_absent && found.is_some_and(|id| !self.shard.is_due(id, self.now)) {
            self.shard.drop_record();
            self.end_hold(before, Allowed { inserts: true, removed: 0 }, Some(&it.work));
            return;
        }
        // It began when it began: its deadline may be past already, and is moved on here.
        let deadline = match it.deadline {
            Deadline::At(tick) => Deadline::At(tick.max(self.now + 1)),
            other => other,
        };
        let hash = self.hash(it.key);
        let id = self.shard.put_record(found, hash, deadline, self.now, &mut it.work);
        self.settle(id, it.key, it.value, deadline, &it.work, before);
    }

    /// Ends the hold in which an entry was put in.
    fn settle(
        &mut self,
        id: SlotId,
        key: u8,
        value: Vec<u8>,
        deadline: Deadline,
        work: &Work,
        before: Before,
    ) {
        let idle = self.idle_deadline();
        self.shard.start_idle(id, deadline, idle.tick(), self.now);
        let entry = Entry { value, ttl_end: end_of(deadline), idle_end: end_of(idle) };
        let replaced = self.entries.insert(key, entry);
        assert_eq!(self.find(key), Some(id), "what was just inserted is there");
        let removed = u64::from(replaced.is_some());
        self.end_hold(before, Allowed { inserts: true, removed }, Some(work));
        self.shard.record_peak();
    }

    pub(crate) fn remove(&mut self, key: u8) {
        let before = self.before();
        let hash = self.hash(key);
        let removed = self.shard.remove_key(hash, &ByteKey(&key_bytes(key)), self.now);
        let entry = self.entries.remove(&key);
        assert_eq!(
            removed.map(|it| it.cause),
            entry.map(|it| {
                if it.end() <= self.now { RemovalCause::Expired } else { RemovalCause::Removed }
            })
        );
        self.end_hold(before, Allowed { inserts: false, removed: 1 }, None);
    }

    fn set_deadline(&mut self, key: u8, choices: &mut impl Choose) {
        let Some(id) = self.find(key).filter(|&id| !self.shard.is_due(id, self.now)) else {
            return;
        };
        let before = self.before();
        let is_now = choices.usize(..8) == 0;
        let deadline = if is_now { Deadline::Now } else { self.choose_deadline(choices) };
        let expired = self.shard.set_deadline(id, deadline, self.now);
        assert_eq!(expired.is_some(), is_now);
        if is_now {
            self.entries.remove(&key);
        } else if let Some(entry) = self.entries.get_mut(&key) {
            entry.ttl_end = end_of(deadline);
        }
        self.end_hold(before, Allowed { inserts: false, removed: 1 }, None);
    }

    fn get(&mut self, key: u8) {
        let before = self.before();
        let live = self.find(key).filter(|&id| !self.shard.is_due(id, self.now));
        let idle = self.idle_deadline();
        if let Some(id) = live {
            self.shard.renew(id, idle.tick(), self.now);
            let entry = self.entries.get_mut(&key).unwrap();
            entry.idle_end = entry.idle_end.max(end_of(idle));
        }
        self.shard.record_access(live, self.hash(key));
        self.end_hold(before, Allowed { inserts: false, removed: 0 }, None);
    }

    fn reap(&mut self, limit: usize) {
        let before = self.before();
        let mut budget = self.reap_limit;
        let mut removed = 0;
        for _ in 0..limit {
            removed += u64::from(self.shard.reap_one(self.now, &mut budget).is_some());
        }
        assert!(removed <= self.reap_limit as u64);
        let (now, mut left) = (self.now, removed);
        let gone: Vec<_> =
            self.entries.keys().copied().filter(|&it| self.find(it).is_none()).collect();
        for key in gone {
            assert!(self.entries.remove(&key).unwrap().end() <= now, "not due");
            left -= 1;
        }
        assert_eq!(left, 0);
        self.end_hold(before, Allowed { inserts: false, removed }, None);
    }

    fn remove_where(&mut self, cause: RemovalCause, is_picked: impl Fn(u8) -> bool) {
        let before = self.before();
        let mut batch = ArrayVec::<_, { KEYS as usize }>::new();
        let slots = 0..self.shard.capacity();
        let predicate =
            |shard: &Shard<(), ()>, id| is_picked(shard.record(id).0.first().copied().unwrap_or(0));
        let left = self.shard.remove_where(slots, self.now, cause, predicate, |_| (), &mut batch);
        assert!(left.is_empty() || batch.is_full());
        let now = self.now;
        self.entries.retain(|&key, entry| entry.end() > now && !is_picked(key));
        self.end_hold(before, Allowed { inserts: false, removed: batch.len() as u64 }, None);
    }

    /// Compares everything. What the map has and the shard has not must have left in this hold.
    fn end_hold(&mut self, before: Before, allowed: Allowed, work: Option<&Work>) {
        self.shard.check();
        let stats = self.shard.stats();
        let (evicted, expired) =
            (stats.evicted - before.stats.evicted, stats.expired - before.stats.expired);
        let lost: Vec<_> =
            self.entries.keys().copied().filter(|&key| self.find(key).is_none()).collect();
        let mut expired_by_map = 0;
        for key in &lost {
            let entry = self.entries.remove(key).unwrap();
            expired_by_map += u64::from(entry.end() <= self.now);
        }
        let lost = lost.len() as u64;
        assert!(allowed.inserts || lost == 0, "{lost} are lost");
        let leave_max = if work.is_some_and(Work::is_at_once) { u64::MAX } else { LEAVE_MAX };
        assert!(lost <= leave_max, "{lost} have left in one hold");
        assert_eq!(evicted, lost - expired_by_map, "what is due has expired");
        assert!(expired >= expired_by_map && expired <= expired_by_map + allowed.removed);
        if let Some(work) = work.filter(|work| evicted > 0 && work.reap_budget > 0) {
            let due = self.shard.count_due(0..self.shard.capacity(), self.now);
            assert_eq!(due, 0, "live ones were evicted, and not these: {work:?}");
        }
        let moved_bytes = (stats.bytes_moved - before.stats.bytes_moved) as usize;
        let moved_max = match work {
            Some(work) if work.is_at_once() => usize::MAX,
            Some(_) => before.largest_bytes.max(Claim::STEP_BYTES),
            None => 0,
        };
        assert!(moved_bytes <= moved_max, "{moved_bytes} bytes moved in one hold");
        assert_eq!(self.shard.len(), self.entries.len());
        let mut live_bytes = 0;
        for (&key, entry) in &self.entries {
            let id = self.find(key).unwrap();
            let (found_key, value) = self.shard.record(id);
            assert!(found_key == key_bytes(key) && value == entry.value, "#{key}");
            assert_eq!(self.shard.is_due(id, self.now), entry.end() <= self.now, "#{key}");
            live_bytes += (found_key.len() + value.len()) as u64;
        }
        assert_eq!(stats.live_bytes, live_bytes);
    }

    /// The insertion in progress ends, and then everything is free again.
    fn end(mut self) {
        while self.in_progress.is_some() {
            self.go_on();
        }
        self.remove_where(RemovalCause::Cleared, |_| true);
        let value = vec![0; self.entry_bytes_max.saturating_sub(key_bytes(1).len())];
        self.insert(1, value, Deadline::Never, false, true);
        assert_eq!(self.shard.len(), usize::from(self.entry_bytes_max >= key_bytes(1).len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_holds() {
        let (runs, holds) = if cfg!(miri) { (2, 40) } else { (120, 2_000) };
        for seed in 0..runs {
            play(fastrand::Rng::with_seed(seed), holds);
        }
    }

    /// A record that is being filled cannot be evicted. Where it is too large to be moved, and what
    /// is free lies on both of its sides, another insertion waits until it is in.
    #[test]
    fn an_insertion_that_cannot_go_on_beside_another_one_waits() {
        let mut run = Run::new(800 << 10, 95, 8, Eviction::S3Clock);
        run.part_bytes = 100_000;
        let put = |run: &mut Run, key, bytes, at_once| {
            run.insert(key, vec![key; bytes], Deadline::Never, false, at_once);
        };
        put(&mut run, 1, 62_000, true);
        put(&mut run, 2, 690_000, false);
        run.go_on();
        run.remove(1);
        put(&mut run, 3, 67_500, false);
        assert_eq!(run.find(3), None);
        while run.in_progress.is_some() {
            run.go_on();
        }
        put(&mut run, 3, 67_500, false);
        while run.in_progress.is_some() {
            run.go_on();
        }
        assert!(run.find(3).is_some());
    }

    #[test]
    fn what_is_due_leaves_before_a_live_record_that_is_in_the_way() {
        let mut run = Run::new(715_000, 100, 16, Eviction::S3Clock);
        run.part_bytes = 200_000;
        let put = |run: &mut Run, key, bytes, deadline| {
            run.insert(key, vec![key; bytes], deadline, false, false);
        };
        // Too large to be moved for a small one, and what lies between them is too small for it.
        for large in 1..=4 {
            let deadline = if large == 3 { Deadline::At(10) } else { Deadline::Never };
            put(&mut run, large, 170_000, deadline);
            if large < 4 {
                put(&mut run, 10 + large, 8_000, Deadline::Never);
            }
        }
        (11..=13).for_each(|small| run.remove(small));
        run.now = 10;
        put(&mut run, 5, 12_000, Deadline::Never);
        while run.in_progress.is_some() {
            run.go_on();
        }
        assert!(run.find(5).is_some() && run.find(3).is_none());
        assert_eq!(run.shard.stats().evicted, 0);
    }
}
