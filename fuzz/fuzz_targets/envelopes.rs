#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| messenger_common::fuzz::envelopes(bytes));
