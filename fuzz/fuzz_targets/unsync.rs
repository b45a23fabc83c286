//! See `punctual::fuzz::unsync`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::unsync(bytes));
