//! Contracts, one each; and random runs against a map of records ([`fuzz`](super::fuzz)).

mod claims;
// Millions of bytes, which take Miri too long.
#[cfg(not(miri))]
mod hostile;

use fastrand::Rng;

use super::claim::{Claim, Step};
use super::fuzz::play;
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
            assert_eq!(requested_bytes, Arena::BYTES_MAX.saturating_add(16));
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

#[test]
fn random_runs_agree_with_a_map() {
    let (seeds, steps) = if cfg!(miri) { (2, 60) } else { (600, 600) };
    for seed in 0..seeds {
        play(Rng::with_seed(seed), steps);
    }
}
