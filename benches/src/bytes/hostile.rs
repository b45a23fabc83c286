//! Sizes that scatter the free room: one shard of 4 MiB.

use punctual::unsync::ByteCache;
use punctual_figures::record::BarLine;

use super::{Extent, told};
use crate::bar::{BYTES_WHOLE, Bar, Limit};

const BUDGET_BYTES: usize = 4 << 20;
const KEY_BYTES: usize = 8;

/// The lengths of values, by number.
type Lengths = fn(usize, usize, &mut fastrand::Rng) -> usize;

struct Sizes {
    name: &'static str,
    /// Of the small ones: there are slots enough for them.
    mean_entry: usize,
    /// Of small entries, put in first and every other one removed.
    first: usize,
    lengths: Lengths,
}

const ALL: [Sizes; 4] = [
    Sizes {
        name: "every other of 30,000 of 60 B removed, then 10 kB each",
        mean_entry: 60,
        first: 30_000,
        lengths: |_, _, _| 10_000,
    },
    Sizes {
        name: "200 kB among fifty of 100 B",
        mean_entry: 108,
        first: 0,
        lengths: |number, _, _| if number % 51 == 50 { 200_000 } else { 100 },
    },
    Sizes {
        name: "growing from 100 B to 5 kB",
        mean_entry: 108,
        first: 0,
        lengths: |number, count, _| 100 + 4_900 * number / count,
    },
    Sizes {
        name: "60 B or 3 kB at random",
        mean_entry: 68,
        first: 0,
        lengths: |_, _, random| if random.bool() { 60 } else { 3_000 },
    },
];

pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    ALL.iter().flat_map(|sizes| sizes.lines(extent.of(20_000))).collect()
}

impl Sizes {
    fn lines(&self, count: usize) -> [BarLine; 2] {
        let builder = ByteCache::builder().memory_budget(BUDGET_BYTES).mean_entry(self.mean_entry);
        let mut cache = builder.build().expect("the budget suffices");
        let bytes = vec![0x5a; 200_000];
        let key = |number: usize| (number as u64).to_le_bytes();
        for number in 0..self.first {
            cache.insert(key(number), &bytes[..60 - KEY_BYTES]).expect("it fits");
        }
        for number in (0..self.first).step_by(2) {
            cache.remove(key(number));
        }
        let mut random = fastrand::Rng::with_seed(9);
        let (mut evicted, mut moved) = (Vec::new(), Vec::new());
        let mut over = 0;
        for number in 0..count {
            let length = (self.lengths)(number, count, &mut random);
            let before = cache.stats();
            cache.insert(key(self.first + number), &bytes[..length]).expect("it fits");
            let since = cache.stats().since(&before);
            evicted.push(since.evicted as f64);
            moved.push(since.bytes_moved as f64);
            let limit = (64 << 10) + 8 * (KEY_BYTES + length) as u64;
            over = over.max(since.bytes_moved.saturating_sub(limit));
        }
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        let most = |figures: &[f64]| figures.iter().copied().fold(0.0, f64::max);
        let remark = format!("mean {:.0}, at most {:.0} bytes", mean(&moved), most(&moved));
        let bar = format!("moved by one insertion beyond 64 KiB + 8 × its size, {}", self.name);
        let bar = Bar::new(bar, BYTES_WHOLE, Limit::at_most(0.0)).once(over as f64, &remark);
        let figures = vec![mean(&evicted), most(&evicted)];
        let words = format!("mean {:.2}, at most {:.0}", figures[0], figures[1]);
        [bar, told(format!("evicted by one insertion, {}", self.name), words, figures)]
    }
}
