//! See `filch_fuzz::targets::codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::codec::run(data));
