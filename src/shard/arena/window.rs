//! Where room for a record is made with the fewest bytes moved.

use super::header::Header;
use super::memory::{FIRST, Memory};

/// Neighbouring blocks, from a hole on, whose holes are enough together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) at: u32,
    /// The grains of the records between its holes, which have to be moved.
    pub(super) cost: u32,
}

/// What a window has to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The grains of all its holes, at least.
    pub(super) grains: u32,
    /// The grains of each of its records, at most.
    pub(super) record_max: u32,
    /// A window that costs no more is taken without a further search.
    pub(super) cost: u32,
}

impl Window {
    /// Looks at so many blocks, from one on and from the first again behind the last. Returns the
    /// cheapest window among them, and where it stopped.
    pub(super) fn cheapest(
        memory: &Memory,
        from: u32,
        wanted: Wanted,
        looks: usize,
    ) -> (Option<Self>, u32) {
        let mut cheapest: Option<Self> = None;
        let mut seen = Seen::nothing(from);
        for _ in 0..looks {
            if seen.end == memory.end() {
                seen = Seen::nothing(FIRST);
            }
            let block = memory.header(seen.end);
            seen.end += block.grains();
            let is_too_large = block.is_record() && block.grains() > wanted.record_max;
            if is_too_large || !(block.is_hole() || seen.holes > 0) {
                // Windows begin with a hole.
                seen = Seen::nothing(seen.end);
                continue;
            }
            seen.add(block);
            while seen.holes >= wanted.grains {
                if cheapest.is_none_or(|it| seen.records < it.cost) {
                    cheapest = Some(Self { at: seen.start, cost: seen.records });
                }
                seen.drop_first_hole(memory);
            }
            if cheapest.is_some_and(|it| it.cost <= wanted.cost) {
                break;
            }
        }
        (cheapest, seen.end)
    }
}

/// Blocks in a row, the first of which is a hole.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: u32,
    end: u32,
    holes: u32,
    records: u32,
}

impl Seen {
    fn nothing(at: u32) -> Self {
        Self { start: at, end: at, holes: 0, records: 0 }
    }

    /// Claims neither cost nor give anything.
    fn add(&mut self, block: Header) {
        if block.is_hole() {
            self.holes += block.grains();
        } else if block.is_record() {
            self.records += block.grains();
        }
    }

    /// Goes on to the second hole, or to the end.
    fn drop_first_hole(&mut self, memory: &Memory) {
        let grains = memory.header(self.start).grains();
        self.holes -= grains;
        self.start += grains;
        while self.start < self.end {
            let block = memory.header(self.start);
            if block.is_hole() {
                break;
            }
            if block.is_record() {
                self.records -= block.grains();
            }
            self.start += block.grains();
        }
    }
}
