//! See `punctual::fuzz::wheel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::wheel(bytes));
