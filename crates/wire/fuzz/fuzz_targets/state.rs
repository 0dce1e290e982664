//! See `wire_fuzz::state_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire_fuzz::state_records(bytes));
