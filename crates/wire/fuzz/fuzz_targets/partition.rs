//! See `wire_fuzz::damaged_partition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire_fuzz::damaged_partition(bytes));
