//! See `filch_fuzz::targets::wait_queue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| filch_fuzz::targets::wait_queue::run(data));
