//! Any text as a layout, and what it reads of content that may be of it.

#![no_main]

use std::sync::Arc;

use ingest::format::Layout;

/// Lines, rows and blocks.
const CONTENTS: &[&[u8]] = &[include_bytes!("../../sample-files/layouts/harbour/movements.txt")];

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Layout::parse(text) {
        Ok(layout) => {
            let layout = Arc::new(layout);
            for content in CONTENTS {
                fuzz::as_layout(&layout, content);
            }
        }
        Err(mistakes) => assert!(!mistakes.is_empty()),
    }
});
