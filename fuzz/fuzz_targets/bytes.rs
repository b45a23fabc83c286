//! See `punctual::fuzz::bytes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::bytes(bytes));
