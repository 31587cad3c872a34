//! Any bytes as a file of a mainframe, in every numeric form and every way to cut records.

#![no_main]

use std::sync::{Arc, LazyLock};

use ingest::format::Layout;

/// The first byte of the content chooses one.
const CUTS: [&str; 6] = [
    "cut = \"fixed\"\nlength = 47",
    "cut = \"rdw\"\nprefix_includes_itself = true",
    "cut = \"rdw\"\nprefix_includes_itself = false",
    "cut = \"rdw_little\"\nprefix_includes_itself = true",
    "cut = \"rdw_little\"\nprefix_includes_itself = false",
    "cut = \"bdw_rdw\"",
];

static LAYOUTS: LazyLock<Vec<Arc<Layout>>> = LazyLock::new(|| {
    let text = include_str!("numbers.toml");
    let layouts = CUTS.iter().map(|cut| Layout::parse(&text.replace("cut = \"fixed\"", cut)));
    layouts.map(|layout| Arc::new(layout.expect("numbers.toml is a layout"))).collect()
});

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    if let [first, content @ ..] = content {
        fuzz::as_layout(&LAYOUTS[usize::from(*first) % CUTS.len()], content);
    }
});
