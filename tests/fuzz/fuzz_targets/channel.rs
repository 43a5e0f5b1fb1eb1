//! See `filch_fuzz::targets::channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::channel::run(data));
