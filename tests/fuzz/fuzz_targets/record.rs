//! See `tests/src/fuzz/record.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sidetrail_tests::fuzz::check("record", input));
