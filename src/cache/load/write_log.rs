//! The keys that callers have set or removed lately, as long as loads run that the table has no
//! room for. Such a load is overruled if its key is among those written since it began.
//!
//! A key is known by its 24-bit slot hash. So now and then, for one in 2^24 written keys, a load
//! is taken for overruled that is not. The reverse never happens: of a load that began before
//! the oldest write that the log still holds, nothing is stored.

use crate::error::{BuildError, allocate};
use crate::shard::key_hash::SlotHash;

/// A packed slot hash.
type Key = [u8; 3];
const _: () = assert!(SlotHash::BITS as usize == 8 * size_of::<Key>());

/// When a load began: the number of writes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Start(u64);

#[derive(Debug)]
pub(super) struct WriteLog {
    /// A ring of the latest writes.
    keys: Box<[Key]>,
    /// Writes so far. Only those are counted, and logged, that came while a load ran.
    written: u64,
    running: u32,
    /// Loads that began before are of a forked child's parent.
    first: Start,
}

fn key(hash: SlotHash) -> Key {
    let [low, middle, high, ..] = hash.bits().to_le_bytes();
    [low, middle, high]
}

impl WriteLog {
    pub(super) fn new(len: usize) -> Result<Self, BuildError> {
        let keys = allocate(len, Key::default())?;
        Ok(Self { keys, written: 0, running: 0, first: Start(0) })
    }

    pub(super) fn heap_bytes(len: usize) -> usize {
        len.saturating_mul(size_of::<Key>())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn begin(&mut self) -> Start {
        self.running += 1;
        Start(self.written)
    }

    /// Ends a load. Returns whether its key has not been written since it began.
    pub(super) fn end(&mut self, start: Start) {
        if start >= self.first {
            self.running -= 1;
        }
    }

    /// Returns whether the key has not been written since a load began.
    pub(super) fn is_unwritten(&self, start: Start, hash: SlotHash) -> bool {
        let since = self.written - start.0;
        if start < self.first || since > self.keys.len() as u64 {
            return false;
        }
        let sought = key(hash);
        since == 0 || {
            let (from, to) = (self.place(start.0), self.place(self.written - 1) + 1);
            let (one, other) = if from < to {
                (&self.keys[from..to], &self.keys[..0])
            } else {
                (&self.keys[from..], &self.keys[..to])
            };
            !one.contains(&sought) && !other.contains(&sought)
        }
    }

    pub(super) fn log(&mut self, hash: SlotHash) {
        if self.running == 0 {
            return;
        }
        if !self.keys.is_empty() {
            let place = self.place(self.written);
            self.keys[place] = key(hash);
        }
        self.written += 1;
    }

    /// Any key may have been written: all loads that run are overruled.
    pub(super) fn log_all(&mut self) {
        self.written += self.keys.len() as u64 + 1;
    }

    /// Forgets the loads that run, as a forked child must: none of them ends in it, or they are
    /// overruled.
    pub(super) fn forget(&mut self) {
        self.log_all();
        self.first = Start(self.written);
        self.running = 0;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running == 0
    }

    fn place(&self, number: u64) -> usize {
        (number % self.keys.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> SlotHash {
        SlotHash::from_bits(number)
    }

    fn end(log: &mut WriteLog, start: Start, hash: SlotHash) -> bool {
        let is_unwritten = log.is_unwritten(start, hash);
        log.end(start);
        is_unwritten
    }

    #[test]
    fn a_load_is_overruled_by_writes_of_its_key_alone() {
        let mut log = WriteLog::new(4).unwrap();
        log.log(hash(1));
        let one = log.begin();
        let two = log.begin();
        log.log(hash(2));
        let late = log.begin();
        log.log(hash(3));
        assert!(end(&mut log, one, hash(1)), "written before it began");
        assert!(!end(&mut log, two, hash(2)));
        assert!(end(&mut log, late, hash(2)), "written before it began");
        assert!(log.is_idle());
    }

    /// More writes than the log holds: nobody knows any more.
    #[test]
    fn a_load_of_long_ago_is_overruled() {
        for len in 0..5 {
            for writes in 0..8u64 {
                let mut log = WriteLog::new(len).unwrap();
                let start = log.begin();
                (0..writes).for_each(|number| log.log(hash(number + 10)));
                assert_eq!(
                    end(&mut log, start, hash(1)),
                    writes <= len as u64,
                    "{writes} of {len}"
                );
            }
        }
    }

    /// Wherever in the ring the writes lie.
    #[test]
    fn agrees_with_a_list_of_all_writes() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut log = WriteLog::new(7).unwrap();
        let always = log.begin();
        let (mut writes, mut loads) = (Vec::new(), Vec::new());
        for _ in 0..5_000 {
            let key = random.u64(..6);
            if random.bool() {
                log.log(hash(key));
                writes.push(key);
            }
            loads.push((log.begin(), writes.len(), random.u64(..6)));
            let (start, before, key) = loads.swap_remove(random.usize(..loads.len().min(9)));
            let since = &writes[before..];
            let expected = since.len() <= 7 && !since.contains(&key);
            assert_eq!(end(&mut log, start, hash(key)), expected);
        }
        loads.into_iter().for_each(|(start, ..)| log.end(start));
        log.end(always);
        assert!(log.is_idle());
    }

    #[test]
    fn all_are_overruled_at_once() {
        let mut log = WriteLog::new(4).unwrap();
        let start = log.begin();
        log.log_all();
        let later = log.begin();
        assert!(!end(&mut log, start, hash(1)));
        assert!(end(&mut log, later, hash(1)));
    }

    #[test]
    fn loads_that_are_forgotten_end_without_effect() {
        let mut log = WriteLog::new(4).unwrap();
        let parents = log.begin();
        log.forget();
        let own = log.begin();
        assert!(!end(&mut log, parents, hash(1)));
        log.log(hash(2));
        assert!(!end(&mut log, own, hash(2)), "it is still logged");
        assert!(log.is_idle());
    }
}
