//! See `punctual::fuzz::arena`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::arena(bytes));
