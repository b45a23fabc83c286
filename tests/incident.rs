//! The example `incident`: its pieces, and the program itself on small traces.
//!
//! The whole incident takes too long for an unoptimised build; a small one with the same course
//! stands in for it here.

#![cfg(not(any(punctual_loom, miri)))]

#[path = "../examples/incident/plot.rs"]
mod plot;
#[path = "../examples/incident/replay.rs"]
mod replay;
#[path = "../examples/incident/report.rs"]
mod report;
#[path = "../examples/incident/subject.rs"]
mod subject;
#[path = "../examples/incident/trace.rs"]
mod trace;
#[path = "support/trace_input.rs"]
mod trace_input;
#[path = "../examples/incident/trace_replay.rs"]
mod trace_replay;
#[path = "../examples/incident/traffic.rs"]
mod traffic;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use punctual::ManualClock;

use crate::replay::Comparison;
use crate::report::thousands;
use crate::subject::{Deadlines, Original, Punctual, Subject};
use crate::trace::Request;
use crate::trace_input::gzip;
use crate::trace_replay::TraceRow;
use crate::traffic::{Direction, Scenario, Traffic};

/// A file of this test run. Each test uses names of its own.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("incident");
    fs::create_dir_all(&folder).expect("the build folder can be written");
    let path = folder.join(name);
    fs::write(&path, content).expect("the build folder can be written");
    path.into_os_string().into_string().expect("the build folder's name is UTF-8")
}

// ---- The reader of traces ----

const SMALL_TRACE: &str = "# at_ms,key,key_bytes,ttl_s\n0,0,16,2230\n0,1,19,0\n83,0,16,2230\n";

#[test]
fn a_trace_is_read_plain_and_in_gzip() {
    let request = |at_ms, key, ttl_s| Request {
        at: Duration::from_millis(at_ms),
        key,
        ttl: Duration::from_secs(ttl_s),
    };
    let expected = [request(0, 0, 2230), request(0, 1, 0), request(83, 0, 2230)];

    let windows = SMALL_TRACE.replace('\n', "\r\n");
    let without_last_newline = SMALL_TRACE.trim_end();
    // The names say nothing, or lie: only the content counts.
    for (name, content) in [
        ("plain", SMALL_TRACE.as_bytes().to_vec()),
        ("plain.gz", SMALL_TRACE.as_bytes().to_vec()),
        ("windows.csv", windows.into_bytes()),
        ("cut.csv", without_last_newline.as_bytes().to_vec()),
        ("gzip.csv", gzip(SMALL_TRACE.as_bytes())),
    ] {
        let requests = trace::read(file(name, content).as_ref()).expect(name);
        assert_eq!(requests, expected, "{name}");
    }
}

#[test]
fn the_extremes_of_each_field_are_read() {
    let path =
        file("extremes.csv", "0,0,0,0\n18446744073709551615,18446744073709551615,1,4294967295\n");
    let requests = trace::read(path.as_ref()).expect("both lines are well formed");
    assert_eq!(requests[1].at, Duration::from_millis(u64::MAX));
    assert_eq!(requests[1].key, u64::MAX);
    assert_eq!(requests[1].ttl, Duration::from_secs(u32::MAX.into()));
}

#[test]
fn a_malformed_line_is_named_with_its_file_and_what_was_expected() {
    for (number, (line, complaint)) in [
        ("1,2,3", "expected at_ms,key,key_bytes,ttl_s (four whole numbers), found 3 fields"),
        ("1,2,3,4,5", "found 5 fields in \"1,2,3,4,5\""),
        ("", "found 1 field in \"\""),
        ("at_ms,key,key_bytes,ttl_s", "at_ms is \"at_ms\"; expected a whole number from 0 to"),
        ("1,,3,4", "key is \"\""),
        ("1,2,x,4", "key_bytes is \"x\""),
        ("1,2,3,-4", "ttl_s is \"-4\""),
        ("1,2,3,+4", "ttl_s is \"+4\""),
        ("1,2,3,4 ", "ttl_s is \"4 \""),
        ("1,2,3,4.5", "ttl_s is \"4.5\""),
        ("1,2,3,4294967296", "expected a whole number from 0 to 4294967295"),
        ("18446744073709551616,2,3,4", "at_ms is \"18446744073709551616\""),
        ("0,2,3,4", "at_ms 0 comes after 1; expected lines sorted by time"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("malformed_{number}.csv");
        let path = file(&name, format!("# a comment counts as a line\n1,2,3,4\n{line}\n9,9,9,9\n"));
        let error = trace::read(path.as_ref()).expect_err(line).to_string();
        let place = format!("{path}: line 3: ");
        assert!(error.starts_with(&place), "{line:?} gave {error:?}");
        assert!(error.contains(complaint), "{line:?} gave {error:?}");
    }
}

#[test]
fn what_is_no_trace_is_an_error_of_bounded_length() {
    let whole_gzip = gzip(SMALL_TRACE.repeat(100).as_bytes());
    for (name, content, complaint) in [
        ("empty.csv", &b""[..], "holds no request"),
        ("one_byte.csv", b"\x1f", "line 1: "),
        ("comments.csv", b"# nothing\n# else\n", "holds no request"),
        ("long.csv", &[b'x'; 100_000], "line 1: "),
        ("binary.csv", b"1,2,3,4\n\xff\xfe\n", "line 2: cannot read: "),
        ("cut.csv.gz", &whole_gzip[..whole_gzip.len() / 2], "cannot read: "),
        ("broken.csv.gz", b"\x1f\x8b no more of gzip", "line 1: cannot read: "),
    ] {
        let path = file(name, content);
        let error = trace::read(path.as_ref()).expect_err(name).to_string();
        assert!(error.starts_with(&path), "{name} gave {error:?}");
        assert!(error.contains(complaint), "{name} gave {error:?}");
        assert!(error.len() < path.len() + 200, "{name} gave {error:?}");
    }
}

// ---- The replays ----

/// The body of the fuzz target `trace`, on random bytes.
#[test]
fn any_bytes_are_read_or_refused() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let length = random.usize(..400);
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        trace_input::check(&bytes);
    }
}

/// `live` of either cache against asking for every key there is.
#[test]
fn live_entries_are_counted_exactly() {
    const KEYS: u64 = 60;
    const CAPACITY: usize = 20;
    let clock = ManualClock::new();
    let mut deadlines = Deadlines::new(CAPACITY, usize::MAX);
    let mut original = Original::new(CAPACITY, &clock, &mut deadlines);
    let mut punctual = Punctual::new(CAPACITY, &clock).expect("the capacity is possible");
    let mut random = fastrand::Rng::with_seed(1);

    let mut expired_of_original = 0;
    for step in 0..20_000 {
        clock.advance(Duration::from_millis(random.u64(0..400)));
        let key = random.u64(0..KEYS);
        let ttl = Duration::from_secs(random.u64(0..8));
        let subjects: [&mut dyn Subject<u64, ()>; 2] = [&mut original, &mut punctual];
        for (subject, name) in subjects.into_iter().zip(["original", "punctual"]) {
            if !subject.answers(&key) {
                subject.store(key, (), ttl);
            }
            let found = (0..KEYS).filter(|key| subject.answers(key)).count();
            assert_eq!(subject.live(), found, "{name}, step {step}");
            assert!(subject.held() <= CAPACITY, "{name}, step {step}");
        }
        punctual.tick();
        assert_eq!(Subject::<u64, ()>::held(&punctual), punctual.live(), "step {step}");
        expired_of_original += original.held() - original.live();
    }
    assert!(expired_of_original > 0, "the original never held anything expired");
}

/// Full within minutes, and cheap enough for a build without optimisation.
const SMALL_INCIDENT: Scenario = Scenario {
    capacity: 2_000,
    ttl_seconds: 60,
    hours: 1,
    requests_per_second: 40,
    users: 10_000,
    seed: 1,
};

#[test]
fn a_small_incident_takes_the_course_of_the_large_one() {
    let mut hours_heard = Vec::new();
    let comparison = Comparison::run(SMALL_INCIDENT, |name, hour| {
        hours_heard.push((name.to_owned(), hour));
    })
    .expect("the capacity is possible");
    assert_eq!(hours_heard.len() as u64, Comparison::REPLAYS, "{hours_heard:?}");

    let start = comparison.original[0];
    assert_eq!((start.at_seconds, start.held, start.lookups), (0, 0, 0));
    let original = comparison.original.last().expect("there is a sample at the end");
    let punctual = comparison.punctual.samples.last().expect("there is a sample at the end");
    assert_eq!(original.at_seconds, 3_600);
    assert_eq!(original.lookups, 40 * 3_600);
    assert_eq!(punctual.lookups, original.lookups);
    assert_eq!(original.held, 2 * SMALL_INCIDENT.capacity, "the original is full");
    assert!(original.live < SMALL_INCIDENT.capacity, "{original:?}");
    assert!(punctual.hits >= original.hits, "{punctual:?} {original:?}");

    for samples in [&comparison.punctual.samples, &comparison.recommended.samples] {
        for (sample, beside) in samples.iter().zip(&comparison.original) {
            assert_eq!(sample.expired(), 0, "{sample:?}");
            assert_eq!(sample.live, beside.live, "{sample:?} {beside:?}");
        }
    }
    assert!(comparison.recommended.capacity < SMALL_INCIDENT.capacity / 2);
    assert!(comparison.recommended.footprint_bytes < comparison.punctual.footprint_bytes / 2);
    assert_eq!(comparison.recommended.evicted, 0);

    let mut text = Vec::new();
    report::scenario(&mut text, &comparison.scenario).expect("writing to memory cannot fail");
    report::over_time(&mut text, &comparison).expect("writing to memory cannot fail");
    report::totals(&mut text, &comparison).expect("writing to memory cannot fail");
    report::recommendation(&mut text, &comparison).expect("writing to memory cannot fail");
    assert_at_most_100_columns(&String::from_utf8(text).expect("text is UTF-8"));

    let picture = plot::svg(&comparison);
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for text in [
        "simulated time (hours)",
        "Memory held (MiB)",
        "Entries held",
        "of what the old cache holds, none of",
        "original, 2 × 2,000: ",
        "punctual, 2 × 2,000: ",
        &format!("punctual, 2 × {}: ", thousands(comparison.recommended.capacity)),
        "original: 4,000",
        "expired: ",
    ] {
        assert!(picture.contains(text), "the plot lacks {text:?}");
    }
}

#[test]
fn requests_are_the_stated_ones() {
    let scenario = Scenario::INCIDENT;
    let mut traffic = Traffic::new(&scenario);
    let mut repeated = Traffic::new(&scenario);
    let (mut of_first_user, mut of_display_ids) = (0, 0);
    let draws = 200_000;
    for _ in 0..draws {
        let (user, direction) = traffic.next_request();
        assert_eq!((user, direction), repeated.next_request());
        assert!((1..=scenario.users).contains(&user), "{user}");
        of_first_user += u32::from(user == 1);
        of_display_ids += u32::from(direction == Direction::DisplayToUser);
    }
    let share = |count| f64::from(count) / f64::from(draws);
    let first_user_expected = 2_f64.ln() / f64::from(scenario.users).ln();
    assert!((share(of_first_user) / first_user_expected - 1.0).abs() < 0.05);
    assert!((share(of_display_ids) - 0.5).abs() < 0.01);
}

#[test]
fn ids_look_like_the_incidents() {
    let mut id = String::from("what was there before");
    traffic::write_user_id(&mut id, 12_345);
    assert_eq!(id, "user_id_000000012345");
    traffic::write_display_id(&mut id, 26 * 26 + 1);
    assert_eq!(id, "display_id_AAAAABAB");
    assert_eq!(id.len(), 19);
}

#[test]
fn large_numbers_are_grouped() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(thousands(number), text);
    }
}

/// The trace with real TTLs, where it is at hand: it is not this project's to ship. The figures of
/// `docs/original.md` are those of its replay.
#[test]
fn the_dns_trace_favours_punctual() {
    let folder = env::var_os("PUNCTUAL_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"),
        PathBuf::from,
    );
    let path = folder.join("dns.csv.gz");
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return;
    }
    let requests = trace::read(&path).expect("the trace is well formed");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/original.md");
    let page = fs::read_to_string(page).expect("the page can be read");
    for capacity in [100, 200, 400, 800, 2_000] {
        let row = TraceRow::replay(&requests, capacity).expect("the capacity is possible");
        let (original, punctual) = (row.original, row.punctual);
        let published = format!(
            "| {} | {:.2} % | {:.2} % | {:.2} % | 0 | {} |",
            thousands(capacity),
            100.0 * original.hit_ratio(),
            100.0 * original.expired_share(),
            100.0 * punctual.hit_ratio(),
            row.recommended_capacity.map_or("none".to_owned(), thousands),
        );
        assert!(page.contains(&published), "docs/original.md lacks {published}");
        assert!(punctual.hit_ratio() >= original.hit_ratio(), "{capacity}: {row:?}");
        assert_eq!(punctual.expired_share(), 0.0, "{capacity}: {row:?}");
        assert!(punctual.occupancy() <= 1.0, "{capacity}: {row:?}");
        assert!(original.expired_share() > 0.05, "{capacity}: {row:?}");
    }
}

// ---- The program ----

/// Where cargo puts the example, which `cargo test` builds; where only this test was asked for, it
/// is built here.
fn program() -> PathBuf {
    let this_test = env::current_exe().expect("a test knows its path");
    let profile_folder = this_test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests into <target>/<profile>/deps");
    let program =
        profile_folder.join("examples").join(format!("incident{}", env::consts::EXE_SUFFIX));
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--example", "incident", "--target-dir"])
            .arg(profile_folder.parent().expect("a profile's folder lies in a target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if !profile_folder.ends_with("debug") {
            cargo.arg("--profile").arg(profile_folder.file_name().expect("a folder has a name"));
        }
        assert!(cargo.status().expect("cargo can be run").success());
    }
    program
}

/// Runs the program, which must end with that exit code; returns its standard output and error.
fn run(arguments: &[impl AsRef<OsStr>], code: i32) -> (String, String) {
    let output = Command::new(program()).args(arguments).output().expect("the example can be run");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("text is UTF-8");
    (text(output.stdout), text(output.stderr))
}

fn assert_at_most_100_columns(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too long: {line}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let (stdout, stderr) = run(&["--help"], 0);
    assert!(stdout.contains("--trace FILE") && stdout.contains("--capacity N"), "{stdout}");
    assert_at_most_100_columns(&stdout);
    assert_eq!(stderr, "");
}

#[test]
fn wrong_arguments_end_with_2() {
    for (arguments, complaint) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["-x"], "-x"),
        (&["trace.csv"], "trace.csv"),
        (&["--trace"], "--trace"),
        (&["--capacity"], "--capacity"),
        (&["--capacity", "10"], "--capacity needs --trace"),
        (&["--trace", "a", "--trace", "b"], "only once"),
        (&["--trace", "a", "--capacity", "0"], "a whole number above 0, not \"0\""),
        (&["--trace", "a", "--capacity", "-1"], "not \"-1\""),
        (&["--trace", "a", "--capacity", "many"], "not \"many\""),
        (&["--trace", "a", "--capacity=1.5"], "not \"1.5\""),
    ] {
        let (stdout, stderr) = run(arguments, 2);
        assert!(stderr.starts_with("error: "), "{arguments:?}: {stderr}");
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn an_impossible_capacity_is_a_wrong_argument() {
    let path = file("impossible_capacity.csv", SMALL_TRACE);
    let (_, stderr) = run(&["--trace", &path, "--capacity", "18446744073709551615"], 2);
    assert!(stderr.contains("--capacity 18446744073709551615: "), "{stderr}");
}

#[test]
fn an_unusable_trace_ends_with_1() {
    let malformed = file("malformed.csv", "0,0,16,2230\n5,1,nineteen,60\n");
    let place = format!("error: {malformed}: line 2: key_bytes is \"nineteen\"");
    for (path, complaint) in [
        (&*malformed, &*place),
        ("no/such/file.csv", "error: no/such/file.csv: cannot read: "),
        (env!("CARGO_TARGET_TMPDIR"), "cannot read: "),
    ] {
        let (stdout, stderr) = run(&["--trace", path], 1);
        assert!(stderr.contains(complaint), "{path}: {stderr}");
        assert_eq!(stdout, "", "{path}");
    }
}

/// Ten keys in turn, one each second. Each has expired when its turn comes again.
fn rotating_trace() -> String {
    (0..1_000).map(|second| format!("{},{},16,5\n", 1_000 * second, second % 10)).collect()
}

#[test]
fn a_trace_gives_a_row_for_each_capacity() {
    let path = file("rotating.csv.gz", gzip(rotating_trace().as_bytes()));
    let (stdout, _) = run(&["--trace", &path, "--capacity", "10", "--capacity", "1000"], 0);
    assert_at_most_100_columns(&stdout);
    assert!(stdout.contains("1,000 requests, 10 keys"), "{stdout}");
    let rows: Vec<&str> = stdout.lines().filter(|line| line.contains('%')).collect();
    assert_eq!(rows.len(), 2, "{stdout}");
    assert!(rows[0].trim_start().starts_with("10 |"), "{rows:?}");
    assert!(rows[1].trim_start().starts_with("1,000 |"), "{rows:?}");

    // Without --capacity it chooses for itself, and the same on every run.
    let (stdout, _) = run(&["--trace", &path], 0);
    assert!(stdout.lines().filter(|line| line.contains('%')).count() >= 3);
    assert_eq!(stdout, run(&["--trace", &path], 0).0);
}

#[test]
fn a_ttl_of_zero_is_not_stored() {
    let path = file("zero_ttl.csv", "0,7,16,0\n".repeat(100));
    let requests = trace::read(path.as_ref()).expect("the trace is well formed");
    let row = TraceRow::replay(&requests, 10).expect("the capacity is possible");
    for outcome in [row.original, row.punctual] {
        assert_eq!(outcome.hit_ratio(), 0.0, "{row:?}");
        assert_eq!(outcome.occupancy(), 0.0, "{row:?}");
        assert_eq!(outcome.expired_share(), 0.0, "{row:?}");
    }
}

#[test]
fn the_table_of_a_trace_fits_its_columns() {
    let path = file("table.csv", rotating_trace());
    let requests = trace::read(path.as_ref()).expect("the trace is well formed");
    let keys = trace_replay::distinct_keys(&requests);
    assert_eq!(keys, 10);
    let mut row = TraceRow::replay(&requests, 3).expect("the capacity is possible");
    assert_eq!(row.recommended_capacity, None, "it had to evict");
    row.capacity = 999_999_999;
    row.recommended_capacity = Some(999_999_999);
    let mut text = Vec::new();
    report::trace_table(&mut text, Path::new("x"), requests.len(), keys, &[row])
        .expect("writing to memory cannot fail");
    assert_at_most_100_columns(std::str::from_utf8(&text).expect("text is UTF-8"));
}

/// As in `incident --trace FILE | head -n 0`.
#[test]
fn a_closed_standard_output_is_no_panic() {
    let path = file("closed_output.csv", rotating_trace());
    let mut child = Command::new(program())
        .arg("--trace")
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example can be run");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the example ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
