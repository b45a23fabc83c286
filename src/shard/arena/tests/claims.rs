//! Room that is made step by step.

use std::collections::BTreeMap;

use super::super::window::{Wanted, Window};
use super::*;

/// A claim needs 96 bytes; two holes of 48 make them.
#[test]
fn the_cheapest_window_is_chosen() {
    // Between the first two holes lie 400 bytes, between the last two 40.
    let mut arena = arena_of(&[64, 48, 400, 48, 40, 48, 64]);
    let rest = arena.largest_hole_bytes();
    put(&mut arena, 7, rest).unwrap();
    free(&mut arena, [1, 3, 5]);
    let mut claim = arena.claim(owner(9), lengths(96), 1_000);
    assert_eq!(steps(&mut arena, &mut claim), Step::Done);
    assert_eq!(arena.moved_bytes(), 40);
    assert_eq!(order(&arena), [0, 2, 4, 9, 6, 7]);
    arena.value_mut(owner(9)).fill(10);
    check_values(&arena);
}

/// Blocks of 64 bytes, every other a hole, and a large record in between.
#[test]
fn a_window_is_looked_for_in_bounds() {
    let mut arena = arena_of(&[64, 64, 64, 2_000, 64, 64, 64, 64, 64, 64]);
    let rest = arena.largest_hole_bytes();
    put(&mut arena, 10, rest).unwrap();
    free(&mut arena, [0, 2, 4, 6, 8]);
    let place = |number: usize| arena.places[number];
    let wanted =
        |holes: u32, record_max: u32, cost: u32| Wanted { grains: holes * 8, record_max, cost };
    let cheapest = |from, wanted, looks| Window::cheapest(&arena.memory, from, wanted, looks);
    let window = |at, cost| Some(Window { at, cost });
    let (first, third) = (FIRST, place(3) + 250);
    // The first that is cheap enough ends the search; so does the number of looks.
    assert_eq!(cheapest(FIRST, wanted(2, 8, 8), 100), (window(first, 8), place(3)));
    assert_eq!(cheapest(FIRST, wanted(2, 8, 7), 4), (window(first, 8), third));
    assert_eq!(cheapest(FIRST, wanted(2, 8, 8), 2), (None, place(1) + 8));
    // Not over a record that is too large, unless that is all there is.
    assert_eq!(cheapest(FIRST, wanted(3, 8, 0), 11).0, window(third, 16));
    assert_eq!(cheapest(FIRST, wanted(4, 250, 0), 11).0, window(first, 266));
    assert_eq!(cheapest(FIRST, wanted(4, 249, 0), 11).0, None);
    // Behind the last block it goes on at the first.
    assert_eq!(cheapest(place(10), wanted(2, 8, 8), 100), (window(first, 8), place(3)));
}

#[test]
fn once_the_budget_is_spent_records_are_freed_at_the_hand() {
    let mut arena = arena_of(&[64; 128]);
    free(&mut arena, (0..128).step_by(2));
    let mut claim = arena.claim(owner(199), lengths(512), 130);
    let mut freed = Vec::new();
    while let Step::FreeAtHand(at_hand) = steps(&mut arena, &mut claim) {
        freed.push(at_hand.index());
        free(&mut arena, [at_hand.index()]);
    }
    assert_eq!(arena.moved_bytes(), 128);
    // Two are moved, so three holes are one; two more of each make it eight.
    assert_eq!(freed, [5, 7, 9]);
    arena.value_mut(owner(199)).fill(200);
    check_values(&arena);
}

/// So a small record costs no large one, as long as others may be moved.
#[test]
fn a_record_larger_than_the_budget_stays() {
    let mut arena = arena_of(&[64, 64, 2_000, 64, 64, 64, 64, 64]);
    let rest = arena.largest_hole_bytes();
    put(&mut arena, 8, rest).unwrap();
    free(&mut arena, [0, 1, 3, 5, 7]);
    // No window: behind the large records there are 192 bytes, and before them 128.
    let mut claim = arena.claim(owner(9), lengths(256), 1_000);
    assert!(matches!(steps(&mut arena, &mut claim), Step::FreeAtHand(_)));
    assert_eq!(arena.moved_bytes(), 128);
    assert_eq!(order(&arena), [2, 4, 6, 8]);
}

#[test]
fn a_record_that_is_passed_stays() {
    let mut arena = arena_of(&[64; 128]);
    free(&mut arena, (0..128).step_by(2));
    let mut claim = arena.claim(owner(199), lengths(192), 0);
    assert_eq!(steps(&mut arena, &mut claim), Step::FreeAtHand(owner(1)));
    arena.pass(&claim);
    arena.check();
    assert_eq!(steps(&mut arena, &mut claim), Step::FreeAtHand(owner(3)));
    free(&mut arena, [3]);
    assert_eq!(steps(&mut arena, &mut claim), Step::Done);
    assert_eq!(order(&arena)[..3], [1, 199, 5]);
}

/// Neither its hole nor what it has freed.
#[test]
fn others_do_not_take_what_is_claimed() {
    let mut arena = arena_of(&[64; 128]);
    free(&mut arena, (0..128).step_by(2));
    let mut claim = arena.claim(owner(199), lengths(1_000), 10_000);
    while arena.step(&mut claim, 256) == Step::Again && arena.moved_bytes() < 300 {}
    // Smaller ones are stored meanwhile; those that are live and promised are the limit.
    let mut stored = 0;
    while arena.put(owner(130 + stored), &[], &value(130 + stored, 64)).is_ok() {
        arena.check();
        stored += 1;
    }
    assert!(arena.live_bytes() + 1_000 <= arena.live_bytes_max());
    assert!(arena.live_bytes() + 1_000 + 64 * 6 > arena.live_bytes_max(), "{stored}");
    assert_eq!(steps(&mut arena, &mut claim), Step::Done);
    arena.value_mut(owner(199)).fill(200);
    check_values(&arena);
}

#[test]
fn an_abandoned_claim_gives_everything_back() {
    let mut arena = arena_of(&[64; 128]);
    free(&mut arena, (0..128).step_by(2));
    let mut claim = arena.claim(owner(199), lengths(1_000), 10_000);
    while arena.step(&mut claim, 256) == Step::Again && arena.moved_bytes() < 300 {}
    assert!(!arena.contains(owner(199)));
    arena.abandon(claim);
    free(&mut arena, (1..128).step_by(2));
    put(&mut arena, 0, 8 << 10).unwrap();
}

/// Two claims at a time, whose holes get in each other's way.
#[test]
fn claims_do_not_block_each_other() {
    let mut arena = arena_of(&[64; 128]);
    free(&mut arena, (0..128).step_by(2));
    let mut claims = [(198, 1_000), (199, 2_000)]
        .map(|(number, bytes)| (arena.claim(owner(number), lengths(bytes), 20_000), false));
    while claims.iter().any(|&(_, is_done)| !is_done) {
        for (claim, is_done) in claims.iter_mut().filter(|(_, is_done)| !is_done) {
            match arena.step(claim, 300) {
                Step::Done => *is_done = true,
                Step::Again => {}
                other => panic!("{other:?}"),
            }
            arena.check();
        }
    }
    assert!(arena.contains(owner(198)) && arena.contains(owner(199)));
}

/// A record that is filled in parts is moved between them.
#[test]
fn a_record_is_filled_while_others_are_stored() {
    let mut arena = arena_of(&[64, 64, 1_024, 64]);
    free(&mut arena, [2]);
    arena.reserve(owner(9), Lengths::new(3, 997).unwrap()).unwrap();
    arena.fill(owner(9), 0, b"key");
    arena.fill(owner(9), 3, &[1; 500]);
    free(&mut arena, [1]);
    // As much as is free, so everything has to be moved.
    let bytes = (8 << 10) - arena.live_bytes();
    let mut claim = arena.claim(owner(5), lengths(bytes), 100_000);
    assert_eq!(steps(&mut arena, &mut claim), Step::Done);
    assert_eq!(order(&arena), [0, 9, 3, 5]);
    arena.fill(owner(9), 503, &[2; 497]);
    let expected: Vec<_> = [[1; 500].as_slice(), &[2; 497]].concat();
    assert_eq!(arena.record(owner(9)), (b"key".as_slice(), expected.as_slice()));
}

/// Every size, with holes between all records, and any budget.
#[test]
fn a_record_that_fits_is_stored_whatever_the_fragmentation() {
    let arena = {
        let mut arena = arena_of(&[64; 128]);
        free(&mut arena, (0..128).step_by(2));
        arena
    };
    let (size_step, budgets): (_, &[usize]) =
        if cfg!(miri) { (8_000, &[200]) } else { (104, &[0, 200, 2_000, 1 << 20]) };
    for bytes in (16..=8 << 10).step_by(size_step) {
        for &budget_bytes in budgets {
            let mut arena = arena.clone();
            let mut live: BTreeMap<_, _> = arena.check().into_iter().map(|it| (it, 64)).collect();
            let mut claim = arena.claim(owner(199), lengths(bytes), budget_bytes);
            let mut freed_at_hand = 0;
            loop {
                match steps(&mut arena, &mut claim) {
                    Step::Done => break,
                    Step::Again => unreachable!("it goes on"),
                    Step::Free => {
                        let (victim, _) = live.pop_first().expect("something to free");
                        free(&mut arena, [victim]);
                    }
                    Step::FreeAtHand(victim) => {
                        live.remove(&victim.index());
                        free(&mut arena, [victim.index()]);
                        freed_at_hand += 64;
                    }
                }
            }
            assert!(arena.moved_bytes() <= budget_bytes as u64);
            assert!(freed_at_hand <= 2 * (bytes + 64), "{freed_at_hand} freed for {bytes}");
            assert!(arena.check().into_iter().eq(live.into_keys().chain([199])));
        }
    }
}
