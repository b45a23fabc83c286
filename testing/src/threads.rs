//! The same in many threads.

use std::sync::Barrier;
use std::thread;

/// Runs `act` in so many threads, which all begin at once, each with its number, and
/// returns what they return.
///
/// # Panics
///
/// If one of the threads panics.
pub fn in_threads<R: Send>(threads: u64, act: impl Fn(u64) -> R + Sync) -> Vec<R> {
    let begin = Barrier::new(threads as usize);
    let act = &|number| {
        begin.wait();
        act(number)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|it| scope.spawn(move || act(it))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
