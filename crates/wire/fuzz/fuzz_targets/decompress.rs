//! See `wire_fuzz::decompress_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire_fuzz::decompress_records(bytes));
