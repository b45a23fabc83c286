//! In which order threads lock caches within one another's closures; in debug builds only.
//!
//! If one thread calls cache B in a closure of cache A, and another one A in a closure of B, each
//! may hold the lock that the other waits for. That takes bad luck, so tests rarely meet it. Here
//! every order is an edge of a graph, from the cache that is held to the one that is wanted. A
//! lock whose edge would close a circle is a panic, whether or not another thread is there.
//!
//! # Ground rules
//!
//! - A lock is checked before it is waited for, and its edges are not kept if it fails. So no
//!   edges ever make a circle.
//! - No callers' code runs while the graph is locked, and no other lock of this crate is taken.
//! - A lock that is taken with no other held does not come here. So nothing is allocated for it.
//! - Caches are known by address. A cache's edges leave before its memory does.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use forkguard::Guard;

/// From the cache that is held to the one that is wanted.
type Edges = BTreeMap<(usize, usize), Seen>;

/// How an order was seen first.
#[derive(Debug)]
struct Seen {
    /// The types of key and value of the cache that was wanted.
    entry: &'static str,
    /// Captured if the environment asks for backtraces.
    place: Backtrace,
}

#[derive(Debug)]
struct Graph {
    edges: Mutex<Edges>,
    /// Detects a forked child, where the lock may have been copied while it was held. `None`
    /// where a fork cannot be detected.
    process: Option<Guard>,
    /// The graph of a forked child, which begins empty.
    of_child: OnceLock<&'static Graph>,
}

static GRAPH: OnceLock<Graph> = OnceLock::new();

impl Graph {
    fn new() -> Self {
        let process = Guard::try_new().ok();
        Self { edges: Mutex::default(), process, of_child: OnceLock::new() }
    }

    /// Returns the graph of this process.
    fn get() -> &'static Self {
        let mut graph = GRAPH.get_or_init(Self::new);
        while graph.is_inherited() {
            graph = graph.of_child.get_or_init(|| Box::leak(Box::new(Self::new())));
        }
        graph
    }

    /// The same, if it has one.
    fn get_if_any() -> Option<&'static Self> {
        let mut graph = GRAPH.get()?;
        while graph.is_inherited() {
            graph = graph.of_child.get()?;
        }
        Some(graph)
    }

    /// Returns whether this is the graph of a parent process.
    fn is_inherited(&self) -> bool {
        self.process.as_ref().is_some_and(|guard| guard.clone().detected_fork())
    }

    fn lock(&self) -> MutexGuard<'_, Edges> {
        // Consistent even if it is poisoned: edges are added and removed one by one.
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that this thread is about to lock a cache of such entries while it holds others.
///
/// # Panics
///
/// If another order was seen before, by which threads could wait for one another.
pub(super) fn note(held: &[usize], wanted: usize, entry: &'static str) {
    // A model's caches are not shared between its runs, and loom does not know this lock.
    if held.is_empty() || cfg!(punctual_loom) {
        return;
    }
    let mut edges = Graph::get().lock();
    if held.iter().all(|&cache| edges.contains_key(&(cache, wanted))) {
        return;
    }
    if let Some(path) = path(&edges, wanted, held) {
        let message = message(&edges, &path, entry);
        drop(edges);
        panic!("{message}");
    }
    for &cache in held {
        // Not only from the innermost: that one may be dropped before the others.
        let seen = || Seen { entry, place: Backtrace::capture() };
        edges.entry((cache, wanted)).or_insert_with(seen);
    }
}

/// Forgets a cache that no caller can reach any more: another one may get its address.
pub(super) fn forget(cache: usize) {
    if let Some(graph) = Graph::get_if_any() {
        graph.lock().retain(|&(held, wanted), _| held != cache && wanted != cache);
    }
}

/// Returns the shortest path from a cache to one of several others, both ends included.
fn path(edges: &Edges, from: usize, to: &[usize]) -> Option<Vec<usize>> {
    let mut before = BTreeMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(mut cache) = queue.pop_front() {
        if to.contains(&cache) {
            let mut path = vec![cache];
            while cache != from {
                cache = before[&cache];
                path.push(cache);
            }
            path.reverse();
            return Some(path);
        }
        for &(_, next) in edges.range((cache, 0)..=(cache, usize::MAX)).map(|(edge, _)| edge) {
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                cache
            });
        }
    }
    None
}

/// Tells of a circle: of a path that was seen, whose first cache is now wanted while the last
/// one is held.
fn message(edges: &Edges, path: &[usize], entry: &str) -> String {
    let last = path.len();
    let mut text = format!(
        "punctual: a lock order that may deadlock: cache 1 is called within a closure (or a key's \
         `Eq` or a value's `Clone`) of cache {last}, but earlier, maybe on another thread,"
    );
    let seen = |position: usize| &edges[&(path[position - 1], path[position])];
    for number in 2..=last {
        let joint = if number == 2 { "" } else { ", and" };
        _ = write!(text, "{joint} cache {number} within one of cache {}", number - 1);
    }
    text += ". Threads that do so at once wait for each other for ever: call the caches in the same \
             order everywhere, or move the call outside the closure.";
    for (position, cache) in path.iter().enumerate() {
        let entry = if position == 0 { entry } else { seen(position).entry };
        _ = write!(text, "\n  cache {}: `{entry}` at {cache:#x}", position + 1);
    }
    for number in 2..=last {
        let place = &seen(number - 1).place;
        if place.status() == BacktraceStatus::Captured {
            _ = write!(text, "\ncache {number} within one of cache {}:\n{place}", number - 1);
        } else if number == 2 {
            text += "\n(with RUST_BACKTRACE=1 this shows where the earlier calls were made)";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Caches at addresses where there are none, of one test each: the graph is the process's.
    fn caches<const N: usize>(test: usize) -> [usize; N] {
        std::array::from_fn(|number| test * 100 + number + 1)
    }

    fn is_refused(held: &[usize], wanted: usize) -> bool {
        std::panic::catch_unwind(|| note(held, wanted, "(u64, u64)")).is_err()
    }

    fn edges_of(cache: usize) -> usize {
        let edges = Graph::get().lock();
        edges.keys().filter(|&&(held, wanted)| held == cache || wanted == cache).count()
    }

    #[test]
    fn a_circle_of_any_length_is_refused_and_not_kept() {
        for length in 2..8 {
            let all: [usize; 8] = caches(length);
            let all = &all[..length];
            for pair in all.windows(2) {
                assert!(!is_refused(&[pair[0]], pair[1]));
                assert!(!is_refused(&[pair[0]], pair[1]));
            }
            for _ in 0..2 {
                assert!(is_refused(&[all[length - 1]], all[0]));
                assert_eq!((edges_of(all[0]), edges_of(all[length - 1])), (1, 1));
            }
            // In the order that is known, any may be left out.
            assert!(!is_refused(&[all[0]], all[length - 1]));
            all.iter().for_each(|&cache| forget(cache));
            assert!(all.iter().all(|&cache| edges_of(cache) == 0));
        }
    }

    #[test]
    fn the_order_outlives_a_cache_between() {
        let [a, b, c] = caches(20);
        note(&[a], b, "");
        note(&[a, b], c, "");
        forget(b);
        assert!(is_refused(&[c], a));
        assert!(!is_refused(&[c], b));
        forget(a);
        assert!(!is_refused(&[c], a));
        [a, b, c].into_iter().for_each(forget);
    }

    /// One of several that are held closes the circle: no edge is kept from the others either.
    #[test]
    fn all_that_is_held_is_looked_at() {
        let [a, b, c] = caches(21);
        note(&[c], a, "");
        assert!(is_refused(&[a, b], c));
        assert_eq!(edges_of(b), 0);
        [a, b, c].into_iter().for_each(forget);
    }

    #[test]
    fn the_message_names_each_step() {
        let [a, b, c] = caches(22);
        note(&[a], b, "(B, B)");
        note(&[b], c, "(C, C)");
        let text = {
            let edges = Graph::get().lock();
            message(&edges, &path(&edges, a, &[c]).unwrap(), "(A, A)")
        };
        let parts = [
            "cache 1 is called within a closure (or a key's `Eq` or a value's `Clone`) of cache 3",
            "cache 2 within one of cache 1, and cache 3 within one of cache 2.",
            "cache 1: `(A, A)`",
            "cache 2: `(B, B)`",
            "cache 3: `(C, C)`",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        [a, b, c].into_iter().for_each(forget);
    }

    #[test]
    fn a_lock_within_no_other_is_not_noted() {
        let [a] = caches(23);
        note(&[], a, "");
        assert_eq!(edges_of(a), 0);
    }
}
