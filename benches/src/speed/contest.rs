//! Rounds over all contestants, and what they amount to.

use std::sync::Arc;

use punctual_figures::record::{Outcome, Timing};

use super::entrants::build;
use super::keys::{Draw, Material, Popularity, shuffled};
use super::work::{Contestant, Work};
use crate::progress;
use crate::subjects::registry::Who;

/// Caches are filled to this share of their capacity where every lookup is to be a hit: whoever is
/// divided into shards would otherwise evict some.
const FILLED_PERCENT: usize = 98;

/// Other keys are read through while the caches fill than in the rounds, or these would find
/// what was asked for before.
const FILLING_SEED: u64 = 41;
const ROUNDS_SEED: u64 = 42;

/// Numbers of keys that are never among those a cache was filled with.
const FRESH: u64 = 100_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Hit,
    Miss,
    /// Keys that were never there, into a full cache.
    InsertFresh,
    Overwrite,
    /// Lookups of ten times as many keys as the capacity; what is not there is put in.
    ReadThrough,
    /// So many of a hundred calls are lookups, the others overwrite.
    Mixed(u8),
    Remove,
}

impl Operation {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Hit => "hit".to_owned(),
            Self::Miss => "miss".to_owned(),
            Self::InsertFresh => "insert, fresh, full".to_owned(),
            Self::Overwrite => "overwrite".to_owned(),
            Self::ReadThrough => "read-through".to_owned(),
            Self::Mixed(reads) => format!("{reads} % reads, {} % writes", 100 - reads),
            Self::Remove => "remove".to_owned(),
        }
    }
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    pub(crate) operation: Operation,
    pub(crate) popularity: Popularity,
    pub(crate) capacity: usize,
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    /// Of each thread in each round.
    pub(crate) calls: usize,
}

struct Player<M> {
    who: Who,
    contestant: Box<dyn Contestant<M>>,
    nanos_per_call: Vec<f64>,
    hit_shares: Vec<f64>,
}

impl Contest {
    /// A line that says it all, as in `hit, Zipf 0.99, u64, 10000 entries, 1 thread`.
    pub(crate) fn name(&self, material: &str) -> String {
        let Self { operation, popularity, capacity, threads, .. } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        let (operation, popularity) = (operation.name(), popularity.name());
        format!(
            "{operation}, {popularity}, {material}, {capacity} entries, {threads} thread{plural}"
        )
    }

    /// Lets the entrants take turns.
    pub(crate) fn run<M: Material>(&self, entrants: &[Who]) -> Outcome {
        self.take_turns(&mut self.players::<M>(entrants))
    }

    /// Whether it says something about the entrant.
    fn admits(&self, who: Who) -> bool {
        let facts = who.facts();
        match self.operation {
            Operation::Remove => facts.removes,
            Operation::InsertFresh | Operation::ReadThrough => {
                facts.is_bounded && !(facts.evicts_slowly && self.capacity > 100_000)
            }
            _ => true,
        }
    }

    /// Whether what is in the caches after this contest is what the other one wants in them.
    fn leaves_what_is_wanted_by(&self, other: &Self) -> bool {
        let fills_up = |contest: &Self| {
            matches!(contest.operation, Operation::InsertFresh | Operation::ReadThrough)
        };
        !fills_up(self)
            && !fills_up(other)
            && (self.capacity, self.threads) == (other.capacity, other.threads)
    }

    /// The entrants that are admitted, with what the rounds will ask for.
    fn players<M: Material>(&self, entrants: &[Who]) -> Vec<Player<M>> {
        let entrants = entrants.iter().filter(|who| self.admits(**who));
        let players = entrants.map(|&who| Player {
            who,
            contestant: build(who, self.capacity, self.threads),
            nanos_per_call: Vec::new(),
            hit_shares: Vec::new(),
        });
        let mut players: Vec<Player<M>> = players.collect();
        match self.operation {
            Operation::ReadThrough => {
                let mut draw = self.draw(FILLING_SEED);
                // Long enough for the popular keys to have come.
                for _ in 0..8 {
                    let keys = Arc::new(draw.keys::<M>(self.capacity / 2));
                    for player in &mut players {
                        let mut works = vec![Work::ReadThrough(Arc::clone(&keys))];
                        works.resize_with(self.threads, || Work::Get(Arc::default()));
                        player.contestant.round(works);
                    }
                }
            }
            Operation::InsertFresh => {
                for player in &mut players {
                    let numbers = FRESH..FRESH + self.capacity as u64 * 5 / 4;
                    player.contestant.fill(&mut numbers.map(M::entry));
                }
            }
            _ => {
                let order = shuffled(self.keys());
                for player in &mut players {
                    player.contestant.fill(&mut order.iter().copied().map(M::entry));
                }
            }
        }
        players
    }

    /// How many keys are asked for.
    fn keys(&self) -> usize {
        match self.operation {
            Operation::ReadThrough => self.capacity * 10,
            _ => self.capacity * FILLED_PERCENT / 100,
        }
    }

    fn draw(&self, seed: u64) -> Draw {
        Draw::new(self.keys(), self.popularity, seed)
    }

    fn take_turns<M: Material>(&self, players: &mut [Player<M>]) -> Outcome {
        let mut draw = self.draw(ROUNDS_SEED);
        let mut players: Vec<&mut Player<M>> =
            players.iter_mut().filter(|player| self.admits(player.who)).collect();
        let mut fresh = FRESH + self.capacity as u64 * 2;
        // The first round warms up and does not count.
        for round in 0..=self.rounds {
            let keys: Vec<Vec<u64>> =
                (0..self.threads).map(|_| self.numbers(&mut draw, &mut fresh)).collect();
            let shared: Vec<Arc<Vec<M>>> = keys
                .iter()
                .map(|numbers| Arc::new(numbers.iter().map(|&number| M::key(number)).collect()))
                .collect();
            let first = round % players.len();
            players.rotate_left(first);
            for player in &mut players {
                let works =
                    keys.iter().zip(&shared).map(|(numbers, keys)| self.work(numbers, keys));
                let measured = player.contestant.round(works.collect());
                if round > 0 {
                    player.nanos_per_call.push(measured.nanos_per_call);
                    player.hit_shares.push(measured.hit_share);
                }
                if self.operation == Operation::Remove {
                    player.contestant.fill(&mut keys.iter().flatten().copied().map(M::entry));
                }
            }
            players.rotate_right(first);
        }
        Outcome {
            operation: self.operation.name(),
            popularity: self.popularity.name(),
            material: M::NAME.to_owned(),
            capacity: self.capacity,
            threads: self.threads,
            results: players.into_iter().map(Player::take_timing).collect(),
        }
    }

    /// The numbers of one thread's keys in a round.
    fn numbers(&self, draw: &mut Draw, fresh: &mut u64) -> Vec<u64> {
        match self.operation {
            Operation::InsertFresh => {
                *fresh += self.calls as u64;
                (*fresh - self.calls as u64..*fresh).collect()
            }
            Operation::Miss => (0..self.calls).map(|_| FRESH + draw.number()).collect(),
            _ => (0..self.calls).map(|_| draw.number()).collect(),
        }
    }

    fn work<M: Material>(&self, numbers: &[u64], keys: &Arc<Vec<M>>) -> Work<M> {
        match self.operation {
            Operation::Hit | Operation::Miss => Work::Get(Arc::clone(keys)),
            Operation::ReadThrough => Work::ReadThrough(Arc::clone(keys)),
            Operation::Remove => Work::Remove(Arc::clone(keys)),
            Operation::InsertFresh | Operation::Overwrite => {
                Work::Insert(numbers.iter().copied().map(M::entry).collect())
            }
            Operation::Mixed(reads) => {
                let mut random = fastrand::Rng::with_seed(numbers[0]);
                let call = |&number: &u64| {
                    let is_write = random.u8(..100) >= reads;
                    (M::key(number), is_write.then(|| M::value(number)))
                };
                Work::Mixed(numbers.iter().map(call).collect())
            }
        }
    }
}

impl<M> Player<M> {
    /// What it has measured; the next contest starts anew.
    fn take_timing(&mut self) -> Timing {
        let rounds = self.hit_shares.len().max(1) as f64;
        Timing {
            subject: self.who.name().to_owned(),
            nanos_per_call: std::mem::take(&mut self.nanos_per_call),
            hit_share: self.hit_shares.drain(..).sum::<f64>() / rounds,
        }
    }
}

/// Runs contests of the same entrants one after the other, each with the caches of the last one
/// where these hold what it wants: to fill them takes longer than to measure.
pub(crate) fn run_all<M: Material>(contests: &[Contest], entrants: &[Who]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut last: Option<(&Contest, Vec<Player<M>>)> = None;
    for contest in contests {
        progress::step(&contest.name(M::NAME));
        let kept = last.take().filter(|(before, _)| before.leaves_what_is_wanted_by(contest));
        let mut players =
            kept.map_or_else(|| contest.players::<M>(entrants), |(_, players)| players);
        outcomes.push(contest.take_turns(&mut players));
        last = Some((contest, players));
    }
    outcomes
}
