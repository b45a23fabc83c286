//! See `punctual::fuzz::shared`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::shared(bytes));
