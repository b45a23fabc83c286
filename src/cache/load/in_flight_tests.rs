//! Tests of the table of loads in flight, by itself.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::in_flight::{Claim, End, InFlight, LoadId, Loader, Unshared, thread_number};
use super::table_size::TableSize;
use crate::shard::key_hash::KeyHash;

fn table(loads: usize) -> InFlight {
    InFlight::new(TableSize { loads, writes: 8 }).unwrap()
}

fn thread(number: u64) -> Loader {
    Loader::Thread(NonZeroU32::MIN.saturating_add(number as u32))
}

fn hash(key: u64) -> KeyHash {
    KeyHash::new(&foldhash::fast::FixedState::with_seed(1), &key)
}

fn lead(loads: &mut InFlight, key: u64) -> LoadId {
    let Claim::Leader(id) = loads.claim(hash(key), thread(key)) else {
        panic!("key {key} is in flight, or there is no room");
    };
    id
}

fn follow(loads: &mut InFlight, key: u64) -> LoadId {
    let Claim::Follower(id) = loads.claim(hash(key), thread(99)) else {
        panic!("key {key} is not in flight");
    };
    id
}

fn end_unshared(loads: &mut InFlight, load: Unshared, key: u64) -> bool {
    let is_valid = loads.is_valid(load, hash(key));
    loads.end_unshared(load);
    is_valid
}

#[test]
fn one_loads_and_others_wait() {
    let mut loads = table(2);
    let first = lead(&mut loads, 1);
    let follower = follow(&mut loads, 1);
    assert_eq!(first, follower);
    let second = lead(&mut loads, 2);
    loads.overrule(hash(2));
    assert_eq!(loads.end_of(follower), None);
    assert!(loads.end(first, End::Failed));
    assert_eq!(loads.end_of(follower), Some(End::Failed));
    assert!(!loads.end(second, End::Stored));
    assert_eq!(loads.end_of(second), Some(End::Overruled));
    assert!(!loads.end(second, End::Stored), "it has ended");
    assert!(loads.is_idle());
    // The record that ended first is reused first.
    let third = lead(&mut loads, 1);
    assert_eq!(loads.end_of(follower), Some(End::Unknown));
    assert_eq!(loads.end_of(second), Some(End::Overruled));
    assert!(loads.end(third, End::Stored));
    loads.check();
}

#[test]
fn a_full_table_lets_loads_run_unshared() {
    let mut loads = table(8);
    let leaders: Vec<_> = (0..8).map(|key| lead(&mut loads, key)).collect();
    let Claim::Unshared(start) = loads.claim(hash(99), thread(99)) else {
        panic!("there is no room");
    };
    assert_eq!(loads.claim_refresh(hash(98)), None);
    assert_eq!(follow(&mut loads, 3), leaders[3]);
    loads.end(leaders[3], End::Failed);
    lead(&mut loads, 98);
    loads.overrule(hash(97));
    assert!(end_unshared(&mut loads, start, 99));
}

#[test]
fn without_room_every_load_runs_unshared() {
    let mut loads = table(0);
    loads.overrule(hash(1));
    let Claim::Unshared(start) = loads.claim(hash(1), thread(1)) else {
        panic!("there is no room at all");
    };
    loads.overrule(hash(1));
    assert!(!end_unshared(&mut loads, start, 1));
    assert!(loads.is_idle());
    loads.check();
}

#[test]
fn clearing_overrules_all() {
    let mut loads = table(4);
    let leaders: Vec<_> = (0..4).map(|key| lead(&mut loads, key)).collect();
    let start = loads.begin_unshared();
    loads.overrule_all();
    assert!(leaders.into_iter().all(|load| !loads.end(load, End::Stored)));
    assert!(!end_unshared(&mut loads, start, 9));
}

#[test]
fn a_slot_hash_is_enough_to_overrule() {
    let mut loads = table(4);
    let (one, two) = (lead(&mut loads, 1), lead(&mut loads, 2));
    loads.overrule_slot_hash(hash(1).slot_hash());
    assert!(!loads.end(one, End::Stored));
    assert!(loads.end(two, End::Stored));
}

/// What began last is what stays.
#[test]
fn an_unshared_load_overrules_older_loads_of_its_key() {
    let mut loads = table(4);
    let (older, other) = (lead(&mut loads, 1), lead(&mut loads, 2));
    let unshared = loads.begin_unshared();
    loads.overrule_older(unshared, hash(1));
    assert!(!loads.end(older, End::Stored));
    let newer = lead(&mut loads, 1);
    loads.overrule_older(unshared, hash(1));
    assert!(loads.end(newer, End::Stored) && loads.end(other, End::Stored));
}

#[test]
#[should_panic(expected = "recursive load")]
fn a_thread_does_not_wait_for_itself() {
    let mut loads = table(4);
    lead(&mut loads, 1);
    loads.claim(hash(1), thread(1));
}

#[test]
fn a_ticket_belongs_to_no_thread() {
    let mut loads = table(4);
    assert!(matches!(loads.claim(hash(1), Loader::Anywhere), Claim::Leader(_)));
    assert!(matches!(loads.claim(hash(1), Loader::Anywhere), Claim::Follower(_)));
}

/// Random calls, compared with a model made of std's map.
#[test]
fn agrees_with_a_map() {
    let mut random = fastrand::Rng::with_seed(14);
    for size in [1, 2, 7, 64] {
        let mut loads = table(size);
        let mut model = HashMap::<u64, (LoadId, bool)>::new();
        for _ in 0..20_000 {
            let key = random.u64(..2 * size as u64 + 2);
            match random.u8(..10) {
                0..=4 => match loads.claim(hash(key), Loader::Anywhere) {
                    Claim::Leader(id) => {
                        assert!(model.len() < size);
                        assert_eq!(model.insert(key, (id, true)), None);
                    }
                    Claim::Follower(id) => assert_eq!(model[&key].0, id),
                    Claim::Unshared(start) => {
                        assert!(model.len() == size && !model.contains_key(&key));
                        assert!(end_unshared(&mut loads, start, key));
                    }
                },
                5..=7 => {
                    let Some((id, is_valid)) = model.remove(&key) else { continue };
                    assert_eq!(loads.end_of(id), None);
                    assert_eq!(loads.end(id, End::Stored), is_valid);
                    let end = if is_valid { End::Stored } else { End::Overruled };
                    assert_eq!(loads.end_of(id), Some(end));
                }
                8 => {
                    loads.overrule(hash(key));
                    model.entry(key).and_modify(|load| load.1 = false);
                }
                _ if random.u8(..20) == 0 => {
                    loads.overrule_all();
                    model.values_mut().for_each(|load| load.1 = false);
                }
                _ => {
                    loads.forget();
                    let all = model.drain().map(|(_, (id, _))| id);
                    all.for_each(|id| assert!(!loads.end(id, End::Stored)));
                }
            }
            loads.check();
            assert_eq!(loads.is_idle(), model.is_empty());
        }
    }
}

#[test]
fn threads_have_numbers_of_their_own() {
    let of_others = (0..50).map(|_| std::thread::spawn(thread_number));
    let mut numbers: Vec<_> = of_others.map(|thread| thread.join().unwrap()).collect();
    assert_eq!(thread_number(), thread_number());
    numbers.push(thread_number());
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 51);
}
