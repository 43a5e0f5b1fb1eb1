//! See `filch_fuzz::targets::builder`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::builder::run(data));
