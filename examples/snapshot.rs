//! A snapshot of a cache, restored by the next run into a larger one; and a cache that is resized.
//!
//! ```sh
//! cargo run --release --example snapshot
//! ```
//!
//! Each line of the file is an entry in JSON, with the time of the wall clock at which it expires:
//! the cache's own clock means nothing to another process. What has expired between the runs is
//! skipped. serde is a dependency of this example, not of the crate.
//!
//! The capacity of a cache is fixed. To resize it, build another and move what it holds.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use punctual::Cache;
use serde::{Deserialize, Serialize};

type Users = Cache<u64, User>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    born: u16,
}

/// A line of the file. `U` is a reference where it is written.
#[derive(Serialize, Deserialize)]
struct Line<U> {
    id: u64,
    user: U,
    /// By the wall clock; `None` for never.
    expires_at_unix_ms: Option<u64>,
}

/// What has become of the lines of a file.
#[derive(Debug, PartialEq)]
struct Restored {
    inserted: usize,
    expired: usize,
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Writes all live entries. Returns how many.
fn write_snapshot(users: &Users, path: &Path) -> io::Result<usize> {
    // The closure runs under a lock, for 64 entries at a time: it only fills a buffer, and the
    // file is written without it.
    let (mut lines, mut count, mut failure) = (Vec::new(), 0, None);
    let now = unix_now();
    users.for_each_entry(|entry| {
        let left = entry.ttl_left();
        let expires_at_unix_ms =
            (left < Duration::MAX).then(|| now.saturating_add(left).as_millis() as u64);
        let line = Line { id: *entry.key(), user: entry.value(), expires_at_unix_ms };
        match serde_json::to_writer(&mut lines, &line) {
            Ok(()) => count += 1,
            Err(error) => failure = Some(error),
        }
        lines.push(b'\n');
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    // Whoever reads the file finds a whole one, even if this process dies here.
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, lines)?;
    fs::rename(&unfinished, path)?;
    Ok(count)
}

/// Inserts what has not expired since, with what is left of its TTL.
fn restore(users: &Users, path: &Path) -> io::Result<Restored> {
    let mut restored = Restored { inserted: 0, expired: 0 };
    let now = unix_now();
    for line in BufReader::new(File::open(path)?).lines() {
        let Line { id, user, expires_at_unix_ms } = serde_json::from_str(&line?)?;
        let left = match expires_at_unix_ms {
            Some(at) => Duration::from_millis(at).saturating_sub(now),
            None => Duration::MAX,
        };
        if left.is_zero() {
            restored.expired += 1;
        } else if users.insert_if_absent_with_ttl(id, user, left).is_ok() {
            // What has been inserted since the start is newer, and stays.
            restored.inserted += 1;
        }
    }
    Ok(restored)
}

/// Moves all live entries to a cache of another capacity.
fn resized(users: &Users, capacity: usize) -> Result<Users, punctual::BuildError> {
    let larger = Users::builder().capacity(capacity).build()?;
    // It may call another cache: nothing calls the two in the opposite order.
    users.for_each_entry(|entry| {
        larger.insert_with_ttl(*entry.key(), entry.value().clone(), entry.ttl_left());
    });
    Ok(larger)
}

fn user(id: u64) -> User {
    User { name: format!("user {id}"), born: 1815 + (id % 100) as u16 }
}

fn main() -> Result<(), Box<dyn Error>> {
    let unique = RandomState::new().hash_one(unix_now());
    let path = std::env::temp_dir().join(format!("punctual-{unique:016x}.jsonl"));

    // The first run.
    let users = Users::builder().capacity(2_000).build()?;
    for id in 0..300 {
        users.insert(id, user(id));
    }
    for id in 300..600 {
        users.insert_with_ttl(id, user(id), Duration::from_secs(600));
    }
    for id in 600..1_000 {
        users.insert_with_ttl(id, user(id), Duration::from_millis(200));
    }
    let written = write_snapshot(&users, &path)?;
    println!(
        "wrote {written} entries, {} bytes, to {}",
        fs::metadata(&path)?.len(),
        path.display()
    );
    drop(users);

    // Between the runs.
    thread::sleep(Duration::from_millis(250));

    // The second run, with more room.
    let users = Users::builder().capacity(4_000).build()?;
    let restored = restore(&users, &path)?;
    fs::remove_file(&path)?;
    println!("restored {}, skipped {} that had expired", restored.inserted, restored.expired);
    assert_eq!(restored.inserted + restored.expired, written);
    assert_eq!(restored.inserted, 600);
    assert_eq!(users.get(&299), Some(user(299)));
    assert_eq!(users.expires_in(&299), Some(Duration::MAX));
    let left = users.expires_in(&300).ok_or("it has minutes left")?;
    assert!(left < Duration::from_millis(599_800));
    println!("the TTL of 600 s has {:.1} s left", left.as_secs_f64());

    // It turns out to be too small.
    let larger = resized(&users, 100_000)?;
    println!("moved {} of {} entries to a capacity of 100,000", larger.len(), users.len());
    assert_eq!(larger.len(), users.len());
    assert!(larger.expires_in(&300) <= Some(left));
    Ok(())
}
