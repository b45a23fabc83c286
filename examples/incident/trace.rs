//! Reads a request trace with TTLs: lines of `at_ms,key,key_bytes,ttl_s`, plain or in gzip.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;

/// What a line has to look like, for messages.
const FORMAT: &str = "at_ms,key,key_bytes,ttl_s (four whole numbers)";
/// The first bytes of every gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The longest piece of an offending line that a message quotes.
const QUOTED_CHARS_MAX: usize = 40;

/// One lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// When it was made, counted from the trace's own origin.
    pub(crate) at: Duration,
    pub(crate) key: u64,
    /// How long the answer may be kept. Zero: it must not be kept at all.
    pub(crate) ttl: Duration,
}

/// Why a trace cannot be used. Its text names the file and, where there is one, the line.
#[derive(Debug)]
pub(crate) struct TraceError {
    path: PathBuf,
    line_number: Option<usize>,
    problem: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.path.display())?;
        if let Some(line_number) = self.line_number {
            write!(out, "line {line_number}: ")?;
        }
        out.write_str(&self.problem)
    }
}

impl std::error::Error for TraceError {}

/// Reads the trace at `path` to its end. What is gzip is told from its first bytes, not its name.
pub(crate) fn read(path: &Path) -> Result<Vec<Request>, TraceError> {
    match File::open(path) {
        Ok(file) => read_from(path, BufReader::new(file)),
        Err(error) => Err(TraceError {
            path: path.to_owned(),
            line_number: None,
            problem: format!("cannot read: {error}"),
        }),
    }
}

/// Reads a trace from any source; `path` is what errors call it.
pub(crate) fn read_from(path: &Path, mut file: impl BufRead) -> Result<Vec<Request>, TraceError> {
    let of_file =
        |problem: String| TraceError { path: path.to_owned(), line_number: None, problem };
    let cannot_read = |error: io::Error| of_file(format!("cannot read: {error}"));

    let mut first_bytes = Vec::new();
    file.by_ref()
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut first_bytes)
        .map_err(cannot_read)?;
    let is_gzip = first_bytes == GZIP_MAGIC;
    let whole = io::Cursor::new(first_bytes).chain(file);
    let lines: Box<dyn BufRead + '_> = if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(whole)))
    } else {
        Box::new(whole)
    };

    let requests = parse(lines).map_err(|(line_number, problem)| TraceError {
        path: path.to_owned(),
        line_number: Some(line_number),
        problem,
    })?;
    if requests.is_empty() {
        return Err(of_file(format!("holds no request; expected lines of {FORMAT}")));
    }
    Ok(requests)
}

/// An error is the number of the offending line, from 1, and what is wrong with it.
fn parse(lines: impl BufRead) -> Result<Vec<Request>, (usize, String)> {
    let mut requests: Vec<Request> = Vec::new();
    for (line_number, line) in (1..).zip(lines.lines()) {
        let line = line.map_err(|error| (line_number, format!("cannot read: {error}")))?;
        if line.starts_with('#') {
            continue;
        }
        let request = parse_line(&line).map_err(|problem| (line_number, problem))?;
        // The caches' clock is set from the trace, and time that runs back has no meaning there.
        let previous_at = requests.last().map_or(Duration::ZERO, |previous| previous.at);
        if request.at < previous_at {
            let problem = format!(
                "at_ms {} comes after {}; expected lines sorted by time",
                request.at.as_millis(),
                previous_at.as_millis(),
            );
            return Err((line_number, problem));
        }
        requests.push(request);
    }
    Ok(requests)
}

fn parse_line(line: &str) -> Result<Request, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[at_ms, key, key_bytes, ttl_s] = fields.as_slice() else {
        return Err(format!(
            "expected {FORMAT}, found {} field{} in {}",
            fields.len(),
            if fields.len() == 1 { "" } else { "s" },
            quoted(line),
        ));
    };
    let at_ms = number("at_ms", at_ms, u64::MAX)?;
    let key = number("key", key, u64::MAX)?;
    // Not needed here, but a line whose third field is no number is not a line of this format.
    number("key_bytes", key_bytes, u64::MAX)?;
    // 32 bits as in DNS, where TTLs come from: 136 years. It keeps deadlines within `Duration`.
    let ttl_s = number("ttl_s", ttl_s, u64::from(u32::MAX))?;
    Ok(Request { at: Duration::from_millis(at_ms), key, ttl: Duration::from_secs(ttl_s) })
}

fn number(name: &str, text: &str, max: u64) -> Result<u64, String> {
    // `parse` would allow a sign.
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if all_digits && number <= max => Ok(number),
        _ => Err(format!(
            "{name} is {}; expected a whole number from 0 to {max} in a line of {FORMAT}",
            quoted(text),
        )),
    }
}

/// `text` as a literal, on one line and of bounded length, whatever is in it.
fn quoted(text: &str) -> String {
    if text.chars().nth(QUOTED_CHARS_MAX).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{start:?}...")
}
