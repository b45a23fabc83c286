//! Every adapter's answers are checked before anything is timed: a fast wrong answer is worth
//! nothing, and an adapter that puts nothing in would be the fastest of all.

use std::collections::HashMap;
use std::time::Duration;

use crate::subjects::Subject;
use crate::subjects::boxed::{AnySubject, Boxed};
use crate::subjects::mutexed::Mutexed;
use crate::subjects::registry::{Facts, Visitor, Who};
use crate::subjects::time::RealTime;

const LONG: Duration = Duration::from_secs(3600);
/// A TTL that passes during the check, and how long the check waits for it: longer than any
/// subject's resolution.
const SHORT: Duration = Duration::from_millis(20);
const WAIT: Duration = Duration::from_millis(60);

const ROOMY: usize = 20_000;
const CROWDED: usize = 256;

/// Checks all adapters.
///
/// # Panics
///
/// If one of them answers what it should not: there is no use in timing it.
pub(crate) fn check_all() {
    for who in Who::ALL.iter().filter(|who| **who != Who::Nothing) {
        let facts = who.facts();
        let check =
            |capacity: usize, ttl: Duration, of: fn(&mut dyn AnySubject<u64, u64>, Facts)| {
                of(&mut *who.visit(capacity, ttl, &RealTime, Sharing), facts);
            };
        check(ROOMY, LONG, check_answers);
        if facts.is_bounded {
            check(CROWDED, LONG, check_bound);
        }
        if facts.expires {
            check(ROOMY, SHORT, check_expiry);
        }
    }
}

/// Those for one thread behind a mutex, if that is how they are shared.
struct Sharing;

impl Visitor<u64, u64> for Sharing {
    type Output = Boxed<u64, u64>;

    fn single(self, subject: impl Subject<u64, u64> + 'static) -> Self::Output {
        Box::new(subject)
    }

    fn mutexed(self, subject: impl Subject<u64, u64> + Send + 'static) -> Self::Output {
        Box::new(Mutexed::new(subject))
    }
}

/// With room for all, every answer is a plain map's.
fn check_answers(subject: &mut dyn AnySubject<u64, u64>, facts: Facts) {
    let mut random = fastrand::Rng::with_seed(46);
    let mut oracle = HashMap::new();
    for number in 0..10_000 {
        let key = random.u64(..300);
        match random.u8(..10) {
            0 if facts.removes => {
                oracle.remove(&key);
                subject.remove(&key);
                subject.settle();
            }
            0..4 => {
                oracle.insert(key, number);
                subject.insert(key, number, LONG);
                subject.settle();
            }
            _ => {
                let (found, expected) = (subject.get(&key), oracle.get(&key).copied());
                let missing = found.is_none() && !facts.stores;
                let name = facts.name;
                assert!(
                    missing || found == expected,
                    "{name}: {key} is {found:?}, not {expected:?}"
                );
            }
        }
    }
}

/// With too little room, no answer is wrong and not more is held than may be.
fn check_bound(subject: &mut dyn AnySubject<u64, u64>, Facts { name, .. }: Facts) {
    let keys = 8 * CROWDED as u64;
    for key in 0..keys {
        subject.insert(key, !key, LONG);
        subject.settle();
    }
    let held = (0..keys).filter_map(|key| Some((key, subject.get(&key)?)));
    let held = held.inspect(|(key, value)| assert_eq!(*value, !key, "{name}")).count();
    // Division into shards may round the bound up.
    let most = CROWDED + CROWDED / 8;
    assert!(held > 0 && held <= most, "{name}: {held} entries held with room for {CROWDED}");
}

/// What has expired is not found; what has not is.
fn check_expiry(subject: &mut dyn AnySubject<u64, u64>, Facts { name, stores, .. }: Facts) {
    for key in 0..100 {
        subject.insert(key, key, SHORT);
    }
    subject.settle();
    std::thread::sleep(WAIT);
    for key in 0..100 {
        assert_eq!(subject.get(&key), None, "{name}: {key} has expired");
    }
    subject.insert(7, 8, LONG);
    subject.settle();
    let found = subject.get(&7);
    assert!(found == Some(8) || !stores, "{name}: {found:?} instead of what was put in");
}
