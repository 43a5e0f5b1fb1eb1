//! See `filch_fuzz::targets::wheel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::wheel::run(data));
