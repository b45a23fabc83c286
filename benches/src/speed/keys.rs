//! Keys and values of the two kinds that are measured, made from numbers.

use std::fmt::Debug;

use fastrand::Rng;

use crate::subjects::{Key, Value};
use crate::zipf::Zipf;

/// What keys and values consist of.
pub(crate) trait Material: Key + Value + Debug {
    const NAME: &'static str;

    fn key(number: u64) -> Self;
    fn value(number: u64) -> Self;
    /// The value that belongs to a key, for loading it on a miss.
    fn value_of(key: &Self) -> Self;

    #[inline]
    fn entry(number: u64) -> (Self, Self) {
        (Self::key(number), Self::value(number))
    }
}

impl Material for u64 {
    const NAME: &'static str = "u64";

    #[inline]
    fn key(number: u64) -> Self {
        number
    }

    #[inline]
    fn value(number: u64) -> Self {
        !number
    }

    #[inline]
    fn value_of(key: &Self) -> Self {
        !key
    }
}

/// Keys of 20 bytes and values of 19.
impl Material for String {
    const NAME: &'static str = "String";

    fn key(number: u64) -> Self {
        format!("session:{number:012}")
    }

    fn value(number: u64) -> Self {
        format!("user-no.{number:011}")
    }

    fn value_of(key: &Self) -> Self {
        let number = key.bytes().skip(8).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Self::value(number)
    }
}

/// Which keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Popularity {
    Uniform,
    Zipf(f64),
}

impl Popularity {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Uniform => "uniform".to_owned(),
            Self::Zipf(alpha) => format!("Zipf {alpha}"),
        }
    }
}

/// Draws key numbers from a range.
pub(crate) struct Draw {
    numbers: u64,
    zipf: Option<Zipf>,
    random: Rng,
}

impl Draw {
    pub(crate) fn new(numbers: usize, popularity: Popularity, seed: u64) -> Self {
        let zipf = match popularity {
            Popularity::Uniform => None,
            Popularity::Zipf(alpha) => Some(Zipf::new(numbers, alpha)),
        };
        Self { numbers: numbers as u64, zipf, random: Rng::with_seed(seed) }
    }

    /// Popular numbers lie next to each other: whoever fills a cache has to do so in another order
    /// (see [`shuffled`]), or their entries would lie next to each other as well.
    pub(crate) fn number(&mut self) -> u64 {
        match &self.zipf {
            None => self.random.u64(..self.numbers),
            Some(zipf) => zipf.draw(&mut self.random).into(),
        }
    }

    pub(crate) fn numbers(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Keys in the order in which they are asked for, and made in that order, so that reading them
    /// costs no cache misses.
    pub(crate) fn keys<M: Material>(&mut self, count: usize) -> Vec<M> {
        (0..count).map(|_| M::key(self.number())).collect()
    }
}

/// The numbers below `numbers`, in random order.
pub(crate) fn shuffled(numbers: usize) -> Vec<u64> {
    let mut order: Vec<u64> = (0..numbers as u64).collect();
    Rng::with_seed(43).shuffle(&mut order);
    order
}
