//! Contracts, one each; and random runs against a map of records ([`fuzz`](super::fuzz)).

use fastrand::Rng;

use super::claim::{Claim, Step};
use super::fuzz::{Run, play};
use super::*;

fn owner(number: usize) -> OwnerId {
    OwnerId::new(number)
}

fn lengths(key: usize, value: usize) -> Lengths {
    Lengths::new(key, value).unwrap()
}

#[test]
fn random_runs_agree_with_a_map() {
    let (seeds, steps) = if cfg!(miri) { (3, 60) } else { (600, 600) };
    for seed in 0..seeds {
        play(Rng::with_seed(seed), steps);
    }
}
