//! Any bytes as a file of this format.

#![no_main]
libfuzzer_sys::fuzz_target!(|content: &[u8]| fuzz::as_format("cnab400", content));
