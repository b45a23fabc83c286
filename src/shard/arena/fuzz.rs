//! Runs random operations on an arena and compares it with a map of records.

use std::collections::BTreeMap;

use super::claim::{Claim, Step};
use super::header::Lengths;
use super::*;
use crate::fuzz::Choose;

/// How sizes are chosen.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    Tiny,
    Small,
    /// Small ones, and one in eight that is large.
    Two,
    /// Larger from step to step, and again from the start.
    Growing,
    /// Up to the limit, and sometimes above.
    Any,
}

/// The oracle's copy of a record.
#[derive(Debug)]
struct Record {
    key_length: usize,
    payload: Vec<u8>,
    /// How much of it was filled in.
    written: usize,
}

/// An insertion in several steps.
#[derive(Debug)]
struct Insertion {
    claim: Claim,
    owner: OwnerId,
    moved_bytes: u64,
    budget_bytes: usize,
}

/// How an insertion went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    pub(super) freed: u64,
    pub(super) freed_at_hand: u64,
    pub(super) moved_bytes: u64,
    pub(super) steps: u64,
}

pub(super) struct Run {
    pub(super) arena: Arena,
    records: BTreeMap<usize, Record>,
    insertions: Vec<Insertion>,
    owners: usize,
    sizes: Sizes,
    step_count: usize,
    /// The budget of an insertion: so much, and so many times its size.
    pub(super) budget: (usize, usize),
    pub(super) step_bytes: usize,
    /// How often everything is checked, in steps.
    pub(super) check_every: usize,
}

/// Plays a run of at most so many steps.
pub(crate) fn play(mut choices: impl Choose, steps_max: usize) {
    let mut run = Run::choose(&mut choices);
    while run.step_count < steps_max && !choices.is_exhausted() {
        run.step(&mut choices);
    }
    run.end(&mut choices);
}

impl Run {
    pub(super) fn new(bytes: usize, live_percent: usize, owners: usize) -> Self {
        let arena = Arena::new(bytes, bytes * live_percent / 100, owners).unwrap();
        Self {
            arena,
            records: BTreeMap::new(),
            insertions: Vec::new(),
            owners,
            sizes: Sizes::Any,
            step_count: 0,
            budget: (Claim::STEP_BYTES, 8),
            step_bytes: Claim::STEP_BYTES,
            check_every: 1,
        }
    }

    fn choose(choices: &mut impl Choose) -> Self {
        let bytes = match choices.usize(..4) {
            0 => Arena::BYTES_MIN + choices.usize(..64),
            1 => Arena::BYTES_MIN + choices.usize(..1_024),
            _ => 1_024 + choices.usize(..8_192),
        };
        let owners_max = [4, 16, 200][choices.usize(..3)];
        let owners = 1 + choices.usize(..owners_max);
        let mut run = Self::new(bytes, 50 + choices.usize(..51), owners);
        run.sizes =
            [Sizes::Tiny, Sizes::Small, Sizes::Two, Sizes::Growing, Sizes::Any][choices.usize(..5)];
        run.budget = [(0, 0), (32, 0), (0, 1), (512, 8), (65_536, 8)][choices.usize(..5)];
        run.step_bytes = [1, 512, 4_096, 65_536][choices.usize(..4)];
        run
    }

    fn step(&mut self, choices: &mut impl Choose) {
        self.step_count += 1;
        let owner = OwnerId::new(choices.usize(..self.owners));
        match choices.usize(..16) {
            0..=5 => {
                if let Some(lengths) = self.choose_lengths(choices) {
                    self.vacate(owner);
                    self.insert(owner, lengths, choices);
                }
            }
            6 | 7 => self.vacate(owner),
            8 => self.overwrite(owner, choices),
            9 => self.hand_over(owner, choices),
            10 => self.reserve(owner, choices),
            11 => self.fill(owner, choices),
            12 | 13 if !self.insertions.is_empty() => {
                let at = choices.usize(..self.insertions.len());
                self.go_on(at, choices, &mut Work::default());
            }
            14 if choices.usize(..8) == 0 => self.clear(),
            15 if choices.bool() && !self.insertions.is_empty() => {
                let at = choices.usize(..self.insertions.len());
                self.abandon(at);
            }
            _ => {
                if let Some(lengths) = self.choose_lengths(choices) {
                    self.vacate(owner);
                    self.begin(owner, lengths);
                }
            }
        }
        if self.step_count % self.check_every == 0 {
            self.check();
        }
    }

    /// Returns the lengths of a record that fits.
    fn choose_lengths(&self, choices: &mut impl Choose) -> Option<Lengths> {
        let limit = self.arena.live_bytes_max();
        let total = match self.sizes {
            Sizes::Tiny => choices.usize(..17),
            Sizes::Small => choices.usize(..200),
            Sizes::Two if choices.usize(..8) == 0 => limit / 4 + choices.usize(..limit / 8 + 1),
            Sizes::Two => choices.usize(..60),
            Sizes::Growing => self.step_count % 64 * 8 + choices.usize(..32),
            Sizes::Any => choices.usize(..limit + 16),
        };
        let key = choices.usize(..total + 1);
        let lengths = Lengths::new(key, total - key).expect("the arena is small");
        let fits = self.arena.fits(lengths);
        assert_eq!(fits, lengths.record_bytes() <= limit);
        fits.then_some(lengths)
    }

    /// Stores a record at once, and frees others for it. Whatever the fragmentation, this ends.
    pub(super) fn insert(
        &mut self,
        owner: OwnerId,
        lengths: Lengths,
        choices: &mut impl Choose,
    ) -> Work {
        let payload: Vec<u8> = random_bytes(lengths, choices);
        let mut work = Work::default();
        loop {
            assert!(work.freed <= self.owners as u64, "{work:?}");
            let before = self.arena_if_checked();
            let (key, value) = payload.split_at(lengths.key());
            let result = self.arena.put(owner, key, value);
            assert!(result.is_ok() || before.is_none_or(|it| it == self.arena), "{result:?}");
            match result {
                Ok(()) => break,
                Err(NoRoom::Live) => self.free_any(choices, &mut work),
                Err(NoRoom::Hole) => {
                    self.begin(owner, lengths);
                    let mut is_done = false;
                    while !is_done {
                        // Others may be abandoned meanwhile: it is the last one.
                        is_done = self.go_on(self.insertions.len() - 1, choices, &mut work);
                        assert!(work.freed <= self.owners as u64, "{work:?}");
                    }
                    self.arena.fill(owner, 0, &payload);
                    break;
                }
            }
        }
        let written = payload.len();
        self.records.insert(owner.index(), Record { key_length: lengths.key(), payload, written });
        work
    }

    /// Frees the record of an owner, or abandons its insertion.
    pub(super) fn vacate(&mut self, owner: OwnerId) {
        if let Some(at) = self.insertions.iter().position(|it| it.owner == owner) {
            self.abandon(at);
        }
        assert_eq!(self.arena.contains(owner), self.records.contains_key(&owner.index()));
        if self.records.remove(&owner.index()).is_some() {
            self.arena.free(owner);
        }
    }

    /// Frees any record; if there is none, the first insertion gives back what it was promised.
    fn free_any(&mut self, choices: &mut impl Choose, work: &mut Work) {
        work.freed += 1;
        let from = choices.usize(..self.owners);
        let next = self.records.range(from..).chain(self.records.range(..from)).next();
        match next.map(|(&owner, _)| owner) {
            Some(owner) => self.vacate(OwnerId::new(owner)),
            None => self.abandon(0),
        }
    }

    fn begin(&mut self, owner: OwnerId, lengths: Lengths) {
        let payload = lengths.key() + lengths.value();
        let budget_bytes = self.budget.0 + self.budget.1 * payload;
        let claim = self.arena.claim(owner, lengths, budget_bytes);
        assert_eq!(claim.lengths(), lengths);
        self.insertions.push(Insertion { claim, owner, moved_bytes: 0, budget_bytes });
    }

    /// Takes one step with an insertion, and frees what it asks for. Returns whether it is done.
    fn go_on(&mut self, at: usize, choices: &mut impl Choose, work: &mut Work) -> bool {
        let largest = self.records.values().map(|it| it.payload.len() + 23).max().unwrap_or(0);
        let before = self.arena.moved_bytes();
        let insertion = &mut self.insertions[at];
        let step = self.arena.step(&mut insertion.claim, self.step_bytes);
        let moved_bytes = self.arena.moved_bytes() - before;
        assert!(moved_bytes <= self.step_bytes.max(largest) as u64, "{moved_bytes} in a step");
        insertion.moved_bytes += moved_bytes;
        assert!(insertion.moved_bytes <= insertion.budget_bytes as u64, "{insertion:?}");
        work.moved_bytes += moved_bytes;
        work.steps += 1;
        match step {
            Step::Again => assert!(work.steps < 9_999, "{work:?}"),
            Step::Free if self.records.is_empty() && at == 0 && self.insertions.len() > 1 => {
                // The others have what it needs.
                self.abandon(1);
            }
            Step::Free => self.free_any(choices, work),
            Step::FreeAtHand(owner) => {
                // One that is not whole may be spared.
                let record = &self.records[&owner.index()];
                let is_whole = record.written == record.payload.len();
                if !is_whole && choices.bool() {
                    self.arena.pass(&self.insertions[at].claim);
                } else {
                    work.freed += 1;
                    work.freed_at_hand += 1;
                    self.vacate(owner);
                }
            }
            Step::Done => {
                let insertion = self.insertions.remove(at);
                let lengths = insertion.claim.lengths();
                let length = lengths.key() + lengths.value();
                let record =
                    Record { key_length: lengths.key(), payload: vec![0; length], written: 0 };
                self.records.insert(insertion.owner.index(), record);
                return true;
            }
        }
        false
    }

    fn abandon(&mut self, at: usize) {
        self.arena.abandon(self.insertions.remove(at).claim);
    }

    fn overwrite(&mut self, owner: OwnerId, choices: &mut impl Choose) {
        let Some(record) = self.records.get_mut(&owner.index()) else { return };
        if record.written < record.payload.len() {
            return;
        }
        let old = record.payload.len() - record.key_length;
        let length = match choices.usize(..4) {
            0 => old,
            1 => choices.usize(..old + 1),
            _ => old + choices.usize(..64),
        };
        let lengths = Lengths::new(0, length).expect("the arena is small");
        let value = random_bytes(lengths, choices);
        let before = (self.check_every == 1).then(|| self.arena.clone());
        match self.arena.overwrite(owner, &value) {
            Ok(()) => {
                record.payload.truncate(record.key_length);
                record.payload.extend_from_slice(&value);
                record.written = record.payload.len();
            }
            Err(no_room) => {
                assert!(length > old, "{no_room:?} for {length} bytes instead of {old}");
                assert!(before.is_none_or(|it| it == self.arena), "{no_room:?}");
            }
        }
    }

    fn hand_over(&mut self, from: OwnerId, choices: &mut impl Choose) {
        let to = OwnerId::new(choices.usize(..self.owners));
        if from == to || !self.records.contains_key(&from.index()) {
            return;
        }
        self.vacate(to);
        self.arena.hand_over(from, to);
        let record = self.records.remove(&from.index()).expect("it is there");
        self.records.insert(to.index(), record);
    }

    fn reserve(&mut self, owner: OwnerId, choices: &mut impl Choose) {
        let Some(lengths) = self.choose_lengths(choices) else { return };
        self.vacate(owner);
        let before = self.arena_if_checked();
        match self.arena.reserve(owner, lengths) {
            Ok(()) => {
                let payload = vec![0; lengths.key() + lengths.value()];
                let record = Record { key_length: lengths.key(), payload, written: 0 };
                self.records.insert(owner.index(), record);
            }
            Err(no_room) => {
                assert!(before.is_none_or(|it| it == self.arena), "{no_room:?}");
            }
        }
    }

    /// Fills in the next part of the first record, from an owner on, that is not whole.
    fn fill(&mut self, owner: OwnerId, choices: &mut impl Choose) {
        let Some((&owner, record)) = self
            .records
            .range_mut(owner.index()..)
            .find(|(_, record)| record.written < record.payload.len())
        else {
            return;
        };
        let left = record.payload.len() - record.written;
        let part = random_bytes(Lengths::new(0, 1 + choices.usize(..left)).unwrap(), choices);
        self.arena.fill(OwnerId::new(owner), record.written, &part);
        record.payload[record.written..][..part.len()].copy_from_slice(&part);
        record.written += part.len();
    }

    fn clear(&mut self) {
        while !self.insertions.is_empty() {
            self.abandon(0);
        }
        self.arena.clear();
        self.records.clear();
        assert_eq!(self.arena.live_bytes(), 0);
        assert_eq!(self.arena.largest_hole_bytes(), self.arena.capacity_bytes());
    }

    fn arena_if_checked(&self) -> Option<Arena> {
        (self.check_every == 1).then(|| self.arena.clone())
    }

    pub(super) fn check(&self) {
        let owners = self.arena.check();
        assert!(owners.iter().eq(self.records.keys()), "other owners have a record");
        let mut live_bytes = 0;
        for (&owner, record) in &self.records {
            let (key, value) = self.arena.record(OwnerId::new(owner));
            let (own_key, own_value) = record.payload.split_at(record.key_length);
            assert_eq!((key.len(), value.len()), (own_key.len(), own_value.len()), "#{owner}");
            let value_written = record.written.saturating_sub(record.key_length);
            let key_written = record.written.min(record.key_length);
            assert!(key[..key_written] == own_key[..key_written], "#{owner}'s key");
            assert!(value[..value_written] == own_value[..value_written], "#{owner}'s value");
            live_bytes += self.arena.lengths(OwnerId::new(owner)).record_bytes();
        }
        assert_eq!(self.arena.live_bytes(), live_bytes);
    }

    /// All insertions end, and then everything is one hole again.
    fn end(&mut self, choices: &mut impl Choose) {
        while !self.insertions.is_empty() {
            let mut work = Work::default();
            while !self.go_on(0, choices, &mut work) {
                assert!(work.freed <= 2 * self.owners as u64, "{work:?}");
            }
            self.check();
        }
        (0..self.owners).for_each(|owner| self.vacate(OwnerId::new(owner)));
        self.check();
        assert_eq!(self.arena.largest_hole_bytes(), self.arena.capacity_bytes());
    }
}

/// Returns as many bytes as key and value have.
fn random_bytes(lengths: Lengths, choices: &mut impl Choose) -> Vec<u8> {
    let mut state = choices.u64(..u64::MAX) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(lengths.key() + lengths.value()).collect()
}
