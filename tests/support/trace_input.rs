//! Any bytes as a trace for the reader of `examples/incident/trace.rs`, held
//! against a reader that is as simple as can be.
//!
//! Shared by the fuzz target and the property test; both have the reader as
//! their module `trace`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::trace::{self, Request};

#[derive(Arbitrary, Debug)]
struct Input {
    form: Form,
    lines: Vec<Line>,
}

#[derive(Arbitrary, Debug)]
enum Form {
    Plain,
    Gzip,
    GzipMembers { first: u16 },
    CutGzip { bytes: u16 },
    WrongGzip { at: u16, xor: u8 },
}

#[derive(Arbitrary, Debug)]
enum Line {
    Later { by_ms: u16, key: u64, ttl_s: u32 },
    AtAnyTime { at_ms: u64, key: u64, ttl_s: u64, key_bytes: u64 },
    Comment(String),
    Text(String),
    Bytes(Vec<u8>),
}

/// Reads one input, and asserts that it is read as it should be.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let text = text(&input.lines);
    match input.form {
        Form::Plain if !text.starts_with(&[0x1f, 0x8b]) => assert_read(&text, &text),
        Form::Plain => any_answer(&text),
        Form::Gzip => assert_read(&gzip(&text), &text),
        Form::GzipMembers { first } => {
            let (first, second) = text.split_at(usize::from(first).min(text.len()));
            assert_read(&[gzip(first), gzip(second)].concat(), &text);
        }
        Form::CutGzip { bytes } => {
            let mut file = gzip(&text);
            file.truncate(bytes.into());
            any_answer(&file);
        }
        Form::WrongGzip { at, xor } => {
            let mut file = gzip(&text);
            let at = usize::from(at) % file.len();
            file[at] ^= xor;
            any_answer(&file);
        }
    }
    // And just as they are.
    any_answer(bytes);
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut at_ms = 0u64;
    for line in lines {
        match line {
            Line::Later { by_ms, key, ttl_s } => {
                at_ms = at_ms.saturating_add((*by_ms).into());
                text.extend(format!("{at_ms},{key},16,{ttl_s}").bytes());
            }
            Line::AtAnyTime { at_ms, key, ttl_s, key_bytes } => {
                text.extend(format!("{at_ms},{key},{key_bytes},{ttl_s}").bytes());
            }
            Line::Comment(comment) => text.extend(format!("#{comment}").bytes()),
            Line::Text(line) => text.extend(line.bytes()),
            Line::Bytes(bytes) => text.extend(bytes),
        }
        text.push(b'\n');
    }
    text
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}

/// An answer, and no panic; an error has a text of bounded length.
fn any_answer(file: &[u8]) {
    if let Err(error) = trace::read_from(Path::new("trace"), file) {
        let text = error.to_string();
        assert!(text.starts_with("trace: ") && text.chars().count() < 700, "{text}");
    }
}

fn assert_read(file: &[u8], text: &[u8]) {
    let read = trace::read_from(Path::new("trace"), file);
    match (read, requests(text)) {
        (Ok(read), Ok(expected)) => assert_eq!(read, expected),
        (Err(error), Err(line)) => {
            let start =
                line.map_or("trace: holds no".into(), |line| format!("trace: line {line}: "));
            assert!(error.to_string().starts_with(&start), "{error}, expected {start}");
        }
        (read, expected) => panic!("read as {read:?}, expected {expected:?}"),
    }
    any_answer(file);
}

/// The requests, or the number of the line that is wrong; none where there is
/// no request.
fn requests(text: &[u8]) -> Result<Vec<Request>, Option<usize>> {
    let mut requests: Vec<Request> = Vec::new();
    if text.is_empty() {
        return Err(None);
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| Some(number))?;
        if line.starts_with('#') {
            continue;
        }
        let is_digits = |field: &str| field.chars().all(|char| char.is_ascii_digit());
        let fields: Option<Vec<u128>> = line
            .split(',')
            .map(|field| if is_digits(field) { field.parse().ok() } else { None })
            .collect();
        let fields = fields.ok_or(Some(number))?;
        let &[at_ms, key, key_bytes, ttl_s] = fields.as_slice() else { return Err(Some(number)) };
        let fits = [at_ms, key, key_bytes].iter().all(|&field| field <= u64::MAX.into());
        let at = Duration::from_millis(at_ms as u64);
        let is_sorted = requests.last().is_none_or(|last| last.at <= at);
        if !fits || ttl_s > u32::MAX.into() || !is_sorted {
            return Err(Some(number));
        }
        requests.push(Request { at, key: key as u64, ttl: Duration::from_secs(ttl_s as u64) });
    }
    if requests.is_empty() { Err(None) } else { Ok(requests) }
}
