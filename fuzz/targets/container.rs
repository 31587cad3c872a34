//! Any bytes as something packed.

#![no_main]
libfuzzer_sys::fuzz_target!(|packed: &[u8]| fuzz::as_container(packed));
