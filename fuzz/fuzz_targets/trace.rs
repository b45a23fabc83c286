//! The reader of request traces, which is part of the example `incident`.
#![no_main]

#[allow(dead_code, reason = "bytes come from the fuzzer here, not from files")]
#[path = "../../examples/incident/trace.rs"]
mod trace;
#[path = "../../tests/support/trace_input.rs"]
mod trace_input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trace_input::check(bytes));
