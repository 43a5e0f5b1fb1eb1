//! See `filch_fuzz::targets::ring`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::ring::run(data));
