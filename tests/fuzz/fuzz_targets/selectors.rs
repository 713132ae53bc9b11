//! See `tests/src/fuzz/selectors.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sidetrail_tests::fuzz::check("selectors", input));
