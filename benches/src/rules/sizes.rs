//! Values of many sizes: which key has which, and in which order they are asked for.

use fastrand::Rng;

use crate::speed::keys::{Draw, Popularity};

/// The most that all values together may weigh, in bytes.
pub(super) const MAX_WEIGHT: u64 = 64 << 20;

/// Values from a kilobyte up, as many of 1 to 2 kB as of 2 to 4 kB, and so on.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) name: &'static str,
    largest: f64,
    pub(super) requests: usize,
}

pub(super) const ALL: [Sizes; 2] = [
    Sizes { name: "1 kB to 5 MB", largest: 5e6, requests: 200_000 },
    Sizes { name: "1 kB to 100 kB", largest: 1e5, requests: 1_000_000 },
];

const SMALLEST: f64 = 1e3;

impl Sizes {
    /// How many values of mean size weigh as much as all together may.
    pub(super) fn fitting(self) -> usize {
        let mean = (self.largest - SMALLEST) / (self.largest / SMALLEST).ln();
        (MAX_WEIGHT as f64 / mean) as usize
    }

    /// Returns the bytes of each key's value, and the keys asked for, by Zipf's distribution: of
    /// twenty times as many as fit.
    pub(super) fn trace(self, seed: u64) -> (Vec<u64>, Vec<u64>) {
        let keys = 20 * self.fitting();
        let mut random = Rng::with_seed(seed);
        let ratio = self.largest / SMALLEST;
        let bytes = (0..keys).map(|_| (SMALLEST * ratio.powf(random.f64())) as u64).collect();
        let asked = Draw::new(keys, Popularity::Zipf(0.99), !seed).numbers(self.requests);
        (bytes, asked)
    }
}
