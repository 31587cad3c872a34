//! Any text as a layout, and what it reads of content that may be of it.

#![no_main]

use std::sync::Arc;

use ingest::format::Layout;

/// Files of the layouts that inputs begin with.
const CONTENTS: &[&[u8]] = &[
    include_bytes!("../../sample-files/layouts/harbour/movements.txt"),
    include_bytes!("../../sample-files/base2/sales.ctf"),
    include_bytes!("../../sample-files/cnab240/payments.ret"),
    include_bytes!("../../sample-files/statement_csv/movements.csv"),
];

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
