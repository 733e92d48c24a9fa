#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| messenger_gateway::fuzz::handshakes(bytes));
