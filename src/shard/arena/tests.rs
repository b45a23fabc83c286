//! Contracts, one each; and random runs against a map of records ([`fuzz`](super::fuzz)).

use std::collections::BTreeMap;

use fastrand::Rng;

use super::claim::{Claim, Step};
use super::fuzz::{Run, play};
use super::*;

fn owner(number: usize) -> OwnerId {
    OwnerId::new(number)
}

fn lengths(bytes: usize) -> Lengths {
    Lengths::new(0, bytes - 8).unwrap()
}

/// An arena of 8 KiB, with records of so many bytes, headers included, from the first place on.
fn arena_of(records: &[usize]) -> Arena {
    let mut arena = Arena::new(8 << 10, 8 << 10, 200).unwrap();
    for (number, &bytes) in records.iter().enumerate() {
        put(&mut arena, number, bytes).unwrap();
    }
    arena
}

/// A value that tells its owner.
fn value(number: usize, bytes: usize) -> Vec<u8> {
    vec![number as u8 + 1; bytes - 8]
}

fn put(arena: &mut Arena, number: usize, bytes: usize) -> Result<(), NoRoom> {
    let result = arena.put(owner(number), &[], &value(number, bytes));
    arena.check();
    result
}

fn free(arena: &mut Arena, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        arena.free(owner(number));
        arena.check();
    }
}

fn check_values(arena: &Arena) {
    for number in arena.check() {
        let value = arena.value(owner(number));
        assert!(value.iter().all(|&byte| usize::from(byte) == number + 1), "#{number}");
    }
}

/// Takes steps until something else than another one is asked for.
fn steps(arena: &mut Arena, claim: &mut Claim) -> Step {
    loop {
        let step = arena.step(claim, Claim::STEP_BYTES);
        arena.check();
        if step != Step::Again {
            return step;
        }
    }
}

fn order(arena: &Arena) -> Vec<usize> {
    arena.in_order().into_iter().map(OwnerId::index).collect()
}

#[test]
fn the_footprint_is_what_is_allocated() {
    for bytes in [16, 17, 1_000, 64 << 10, 1 << 20] {
        for owners in [0, 1, 1_000] {
            let arena = Arena::new(bytes, bytes, owners).unwrap();
            let tables = size_of_val(&*arena.places) + arena.holes.heads().count() * 4;
            let memory = arena.capacity_bytes() + 2 * GRAIN_BYTES;
            assert_eq!(Arena::heap_bytes(bytes, owners), tables + memory, "{bytes}, {owners}");
            assert_eq!(arena.capacity_bytes(), bytes / 8 * 8);
        }
    }
    assert!(Arena::heap_bytes(4 << 20, 0) - (4 << 20) < 1_200);
}

#[test]
fn what_cannot_be_allocated_is_an_error() {
    if cfg!(miri) {
        return;
    }
    // On most systems so much is promised: then it must not be touched.
    match Arena::new(Arena::BYTES_MAX, Arena::BYTES_MAX, 1) {
        Ok(arena) => assert_eq!(arena.largest_hole_bytes(), Arena::BYTES_MAX),
        Err(BuildError::OutOfMemory { requested_bytes }) => {
            assert_eq!(requested_bytes, Arena::BYTES_MAX + 16);
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_record_is_read_as_it_was_put() {
    let mut arena = arena_of(&[]);
    let pairs: [(&[u8], &[u8]); 4] =
        [(b"", b""), (b"key", b""), (b"", b"value"), (b"a longer key", b"and its value")];
    for (number, (key, value)) in pairs.into_iter().enumerate() {
        assert!(!arena.contains(owner(number)));
        arena.put(owner(number), key, value).unwrap();
        assert!(arena.contains(owner(number)));
    }
    for (number, (key, value)) in pairs.into_iter().enumerate() {
        let id = owner(number);
        assert_eq!(arena.record(id), (key, value));
        assert_eq!((arena.key(id), arena.value(id)), (key, value));
        assert_eq!(Lengths::new(key.len(), value.len()), Some(arena.lengths(id)));
        arena.value_mut(id).fill(b'x');
        assert_eq!(arena.key(id), key);
        assert!(arena.value(id).iter().all(|&byte| byte == b'x'));
    }
    assert_eq!(arena.live_bytes(), 16 + 16 + 16 + 40);
}

#[test]
fn the_largest_record_fits() {
    let largest = Lengths::new(Lengths::KEY_MAX, Lengths::VALUE_MAX).unwrap();
    let bytes = largest.record_bytes();
    let mut arena = Arena::new(bytes, bytes, 1).unwrap();
    arena.reserve(owner(0), largest).unwrap();
    assert_eq!(arena.key(owner(0)).len(), Lengths::KEY_MAX);
    assert_eq!(arena.value(owner(0)).len(), Lengths::VALUE_MAX);
    assert_eq!(arena.largest_hole_bytes(), 0);
    arena.check();
    let smaller = Arena::new(bytes - 8, bytes - 8, 1).unwrap();
    assert!(arena.fits(largest) && !smaller.fits(largest));
}

#[test]
fn holes_that_adjoin_are_one() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut arena = arena_of(&[64, 16, 1_000, 40, 64]);
        let rest = arena.largest_hole_bytes();
        free(&mut arena, order);
        assert_eq!(arena.live_bytes(), 128);
        put(&mut arena, 9, rest).unwrap();
        assert_eq!(arena.largest_hole_bytes(), 1_056, "{order:?}");
    }
}

/// Whatever its size, with nothing free but what it leaves.
#[test]
fn the_room_of_a_record_is_found_again() {
    for bytes in (16..2_000).step_by(8) {
        let mut arena = arena_of(&[64, bytes, 64]);
        let rest = arena.largest_hole_bytes();
        put(&mut arena, 3, rest).unwrap();
        assert_eq!(put(&mut arena, 4, 16), Err(NoRoom::Live));
        free(&mut arena, [1]);
        put(&mut arena, 5, bytes).unwrap();
        assert_eq!(order(&arena), [0, 5, 2, 3]);
    }
}

#[test]
fn no_room_changes_nothing() {
    let mut arena = Arena::new(1_000, 900, 10).unwrap();
    (0..8).for_each(|number| put(&mut arena, number, 112).unwrap());
    let before = arena.clone();
    assert_eq!(put(&mut arena, 8, 16), Err(NoRoom::Live));
    assert_eq!(arena.reserve(owner(8), lengths(16)), Err(NoRoom::Live));
    assert_eq!(arena.overwrite(owner(0), &[0; 105]), Err(NoRoom::Live));
    assert!(arena == before);
    free(&mut arena, [1, 4]);
    let before = arena.clone();
    assert_eq!(put(&mut arena, 8, 208), Err(NoRoom::Hole));
    assert_eq!(arena.reserve(owner(8), lengths(208)), Err(NoRoom::Hole));
    assert_eq!(arena.overwrite(owner(2), &[0; 200]), Err(NoRoom::Hole));
    assert!(arena == before);
}

#[test]
fn a_value_is_overwritten_where_it_is() {
    let mut arena = arena_of(&[64, 64, 64, 64]);
    free(&mut arena, [2]);
    for length in [56, 57, 120, 119, 8, 0, 33] {
        arena.overwrite(owner(1), &vec![2; length]).unwrap();
        assert_eq!(arena.value(owner(1)), vec![2; length]);
        assert_eq!(order(&arena), [0, 1, 3]);
        check_values(&arena);
    }
    assert_eq!(arena.overwrite(owner(1), &[2; 121]), Err(NoRoom::Hole));
    // What it left is one hole with what was there.
    put(&mut arena, 2, 128 - 48).unwrap();
    assert_eq!(order(&arena), [0, 1, 2, 3]);
}

#[test]
fn a_record_is_given_to_another_owner() {
    let mut arena = arena_of(&[64, 64]);
    free(&mut arena, [0]);
    arena.hand_over(owner(1), owner(7));
    assert_eq!(arena.check().into_iter().collect::<Vec<_>>(), [7]);
    assert_eq!(arena.value(owner(7)), value(1, 64));
    free(&mut arena, [7]);
    assert_eq!(arena.largest_hole_bytes(), arena.capacity_bytes());
}

#[test]
fn all_is_free_after_a_clear() {
    let mut arena = arena_of(&[64; 40]);
    free(&mut arena, (0..40).step_by(3));
    arena.clear();
    assert!(arena.check().is_empty());
    assert_eq!((arena.live_bytes(), arena.largest_hole_bytes()), (0, arena.capacity_bytes()));
    put(&mut arena, 0, 8 << 10).unwrap();
}

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
    let steps_of = if cfg!(miri) { 2_000 } else { 24 };
    for bytes in (16..=8 << 10).step_by(steps_of) {
        for budget_bytes in [0, 200, 2_000, 1 << 20] {
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

#[test]
fn random_runs_agree_with_a_map() {
    let (seeds, steps) = if cfg!(miri) { (2, 60) } else { (600, 600) };
    for seed in 0..seeds {
        play(Rng::with_seed(seed), steps);
    }
}

/// Sizes that are hard on an allocator, in an arena of 4 MiB, with the real budget.
mod hostile {
    use super::*;

    struct Total {
        insertions: u64,
        freed: u64,
        freed_max: u64,
        moved_bytes: u64,
        inserted_bytes: u64,
    }

    /// Stores records of the sizes, each for the next owner. Everything stays within bounds.
    fn store(live_percent: usize, fill: bool, sizes: impl Fn(usize, &mut Rng) -> usize) -> Total {
        const OWNERS: usize = 30_000;
        let insertions = if cfg!(miri) { 20 } else { 20_000 };

        let mut random = Rng::with_seed(7);
        let mut run = Run::new(4 << 20, live_percent, OWNERS);
        run.check_every = usize::MAX;
        if fill {
            for number in 0..OWNERS.min(insertions * 2) {
                let record = Lengths::new(20, 80).unwrap();
                run.insert(owner(number), record, &mut random);
            }
            (0..OWNERS).step_by(2).for_each(|number| run.vacate(owner(number)));
        }
        let mut total =
            Total { insertions: 0, freed: 0, freed_max: 0, moved_bytes: 0, inserted_bytes: 0 };
        for step in 0..insertions {
            let bytes = sizes(step, &mut random);
            let lengths = Lengths::new(20, bytes - 20).unwrap();
            let id = owner(step * 2 % OWNERS);
            run.vacate(id);
            let work = run.insert(id, lengths, &mut random);
            assert!(work.moved_bytes <= Claim::budget_bytes(lengths) as u64, "{work:?}");
            total.insertions += 1;
            total.freed += work.freed;
            total.freed_max = total.freed_max.max(work.freed);
            total.moved_bytes += work.moved_bytes;
            total.inserted_bytes += bytes as u64;
            if step % 1_000 == 0 {
                run.check();
            }
        }
        run.check();
        total
    }

    fn report(name: &str, total: &Total) {
        let count = total.insertions as f64;
        println!(
            "{name}: {:.2} freed, at most {}; {:.0} bytes moved, {:.3} a byte",
            total.freed as f64 / count,
            total.freed_max,
            total.moved_bytes as f64 / count,
            total.moved_bytes as f64 / total.inserted_bytes as f64
        );
    }

    #[test]
    fn every_other_small_record_is_freed_then_larger_ones_come() {
        let total = store(95, true, |_, _| 10_000);
        report("10 kB between small ones", &total);
        assert!(total.moved_bytes <= total.inserted_bytes);
    }

    #[test]
    fn one_of_two_hundred_thousand_bytes_among_fifty_small_ones() {
        let total = store(95, false, |step, _| if step % 50 == 0 { 200_000 } else { 100 });
        report("one of 200 kB among fifty", &total);
        assert!(total.moved_bytes <= total.inserted_bytes);
    }

    #[test]
    fn growing() {
        // Nothing is free but what was freed for the newcomer, if all may be live.
        for (live_percent, moved_a_byte_max) in [(95, 1), (97, 2), (100, 20)] {
            let total = store(live_percent, false, |step, _| 100 + step * 49 / 200);
            report(&format!("growing, {live_percent} % live"), &total);
            assert!(total.moved_bytes <= moved_a_byte_max * total.inserted_bytes);
        }
    }

    #[test]
    fn small_or_large_at_random() {
        let total = store(95, false, |_, random| if random.bool() { 60 } else { 3_000 });
        report("60 or 3,000 at random", &total);
        assert!(total.moved_bytes <= total.inserted_bytes);
    }
}
