//! Cores: how throughput grows with threads, up to twice as many as there are processors.
//!
//! All subjects of a load take turns, round by round, each with as many threads; each thread has
//! its own keys. The time in which 99.9 % of the calls return is measured apart, with most threads.

pub(crate) mod bars;
mod crew;
mod load;

use std::thread;

use punctual_figures::record::{Cores, LoadOnCores, Throughput};

use crate::progress;
use crate::subjects::registry::Who;
use crew::{Crew, build};
use load::{Calls, Keys, Load};

/// moka with its own TTL, and quick_cache with a deadline in the value; the others know none. The
/// map bounds nothing, too.
const SUBJECTS: [Who; 9] = [
    Who::Punctual,
    Who::QuickCache,
    Who::QuickCacheDeadline,
    Who::MokaTtl,
    Who::Scc,
    Who::TinyUfo,
    Who::Pingora,
    Who::Foyer,
    Who::ShardedMap64,
];

const ROUNDS: usize = 5;
const ROUNDS_FULL: usize = 11;

/// Measures the loads in whose names the filter's words occur.
pub(crate) fn run(filter: &str, is_full: bool) -> Cores {
    let words: Vec<&str> = filter.split([',', ' ']).collect();
    let wanted = |load: &Load| words.iter().all(|word| load.name.contains(word));
    let loads: Vec<Load> = load::ALL.into_iter().filter(wanted).collect();
    let rounds = if is_full { ROUNDS_FULL } else { ROUNDS };
    Cores { processors: processors(), loads: run_all(&loads, &threads(), &SUBJECTS, rounds) }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// One, two, four and so on, up to twice as many as there are processors, and at least eight.
fn threads() -> Vec<usize> {
    let most = (2 * processors()).max(8);
    std::iter::successors(Some(1), |threads| Some(2 * threads))
        .take_while(|threads| *threads <= most)
        .collect()
}

/// Lets subjects take turns under each load, with each number of threads. Loads that want the same
/// in the caches have the same ones.
fn run_all(loads: &[Load], threads: &[usize], subjects: &[Who], rounds: usize) -> Vec<LoadOnCores> {
    let mut outcomes = Vec::new();
    let mut last: Option<(&Load, Vec<Player>)> = None;
    for load in loads {
        progress::step(&format!("cores: {}", load.name));
        let kept = last.take().filter(|(before, _)| before.shares_caches_with(load));
        let mut players = kept.map_or_else(|| players(load, subjects), |(_, players)| players);
        outcomes.push(take_turns(load, threads, &mut players, rounds));
        last = Some((load, players));
    }
    outcomes
}

struct Player {
    who: Who,
    crew: Box<dyn Crew>,
    throughput: Throughput,
    hits: usize,
    lookups: usize,
}

/// Whether a load says something about a subject.
fn admits(load: &Load, who: Who) -> bool {
    match load.calls {
        Calls::Mixed(_) => true,
        Calls::ReadThrough => who.facts().is_bounded,
        Calls::Herd => who.facts().makes_once,
    }
}

/// Those that the load admits, filled.
fn players(load: &Load, subjects: &[Who]) -> Vec<Player> {
    let filling = load.filling();
    let admitted = subjects.iter().filter(|who| admits(load, **who));
    let player = |&who: &Who| {
        let mut crew = build(who, load.capacity);
        crew.fill(&filling);
        Player { who, crew, throughput: none_yet(who), hits: 0, lookups: 0 }
    };
    admitted.map(player).collect()
}

fn none_yet(who: Who) -> Throughput {
    Throughput {
        subject: who.name().to_owned(),
        millions: Vec::new(),
        hit_share: 0.0,
        p999_nanos: Vec::new(),
    }
}

fn take_turns(
    load: &Load,
    threads: &[usize],
    players: &mut [Player],
    rounds: usize,
) -> LoadOnCores {
    let most = threads.iter().copied().max().expect("there are threads");
    let mut keys = Keys::draw(load, most);
    let mut in_turn = |play: &mut dyn FnMut(&mut Player, &Keys)| {
        for round in 0..rounds {
            keys.go_on(load.calls);
            let first = round % players.len();
            players.rotate_left(first);
            players.iter_mut().for_each(|player| play(player, &keys));
            players.rotate_right(first);
        }
    };
    for (number, &threads) in threads.iter().enumerate() {
        in_turn(&mut |player, keys| player.play(load, keys, number, threads));
    }
    in_turn(&mut |player, keys| {
        let nanos = player.crew.work_timed(load.calls, keys, most);
        player.throughput.p999_nanos.push(nanos.value_at_quantile(0.999) as f64);
    });
    LoadOnCores {
        load: load.name.to_owned(),
        threads: threads.to_vec(),
        results: players.iter_mut().map(Player::take_throughput).collect(),
    }
}

impl Player {
    /// A round of the measurement of some number, with so many threads.
    fn play(&mut self, load: &Load, keys: &Keys, number: usize, threads: usize) {
        let done = self.crew.work(load.calls, keys, threads);
        let millions = &mut self.throughput.millions;
        millions.resize(number + 1, Vec::new());
        millions[number].push(done.millions_a_second);
        self.hits += done.hits;
        self.lookups += done.lookups;
    }

    /// What it has measured; the next load starts anew.
    fn take_throughput(&mut self) -> Throughput {
        let throughput = std::mem::replace(&mut self.throughput, none_yet(self.who));
        let (hits, lookups) = (std::mem::take(&mut self.hits), std::mem::take(&mut self.lookups));
        Throughput { hit_share: hits as f64 / lookups.max(1) as f64, ..throughput }
    }
}
