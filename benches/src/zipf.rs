//! Zipf's distribution: the key of rank r is asked for in proportion to 1 / r^alpha.

use fastrand::Rng;

/// Draws ranks in constant time, by Vose's alias method: exact for every alpha, zero too.
pub(crate) struct Zipf {
    /// For each rank: how likely it stands for itself, and what it stands for otherwise.
    columns: Vec<(f64, u32)>,
}

impl Zipf {
    pub(crate) fn new(ranks: usize, alpha: f64) -> Self {
        let weights: Vec<f64> = (1..=ranks).map(|rank| (rank as f64).powf(-alpha)).collect();
        let mean = weights.iter().sum::<f64>() / ranks as f64;
        let mut columns: Vec<(f64, u32)> =
            weights.iter().enumerate().map(|(rank, weight)| (weight / mean, rank as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..ranks).partition(|&rank| columns[rank].0 < 1.0);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            columns[taker].1 = giver as u32;
            columns[giver].0 -= 1.0 - columns[taker].0;
            if columns[giver].0 < 1.0 {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns }
    }

    /// A rank, from zero: the most popular one.
    pub(crate) fn draw(&self, random: &mut Rng) -> u32 {
        let rank = random.usize(..self.columns.len());
        let (own, other) = self.columns[rank];
        if random.f64() < own { rank as u32 } else { other }
    }
}
