//! See `tests/src/fuzz/wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sidetrail_tests::fuzz::check("wire", input));
