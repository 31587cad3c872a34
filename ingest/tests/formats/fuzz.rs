//! Whatever the bytes, the format and the layout: no panic, and the same however it comes in.
//!
//! Samples, changed at random; `fuzz` beside this crate is led by what of the code is reached.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use ingest::format::{Layout, Settings, built_in, names};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::samples::{all, content, feed};
use crate::whole::{read, read_in_pieces};

/// The sample files of every format, good and bad, beside the settings that they are read by.
static SAMPLES: LazyLock<Vec<(Settings, Vec<u8>)>> =
    LazyLock::new(|| all().iter().map(|path| (feed(path), content(path))).collect());

/// The texts of the built-in layouts.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    names()
        .iter()
        .filter_map(|name| built_in(name))
        .map(|layout| layout.text().to_owned())
        .collect()
});

/// A change to content: where, how, and with what.
type Change = (Index, u8, Vec<u8>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let bytes = prop::collection::vec(any::<u8>(), 1..40);
    prop::collection::vec((any::<Index>(), 0..6_u8, bytes), 0..8)
}

/// Content with bytes overwritten, put in and taken out, and lines repeated, lost and moved.
fn changed(content: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut content = content.to_vec();
    for (at, how, bytes) in changes {
        let at = at.index(content.len().max(1)).min(content.len());
        let line_end = content[at..].iter().position(|byte| *byte == b'\n');
        let line_end = line_end.map_or(content.len(), |end| at + end + 1);
        match how {
            0 => {
                let to = content.len().min(at + bytes.len());
                content[at..to].copy_from_slice(&bytes[..to - at]);
            }
            1 => {
                content.splice(at..at, bytes.iter().copied());
            }
            2 => {
                content.drain(at..content.len().min(at + bytes.len()));
            }
            3 => content.truncate(at),
            4 => {
                content.drain(at..line_end);
            }
            _ => {
                let line = content[at..line_end].to_vec();
                content.extend(line);
            }
        }
    }
    content
}

/// A test a reader: any bytes read the same in any pieces.
macro_rules! readers {
    ($($format:ident),+) => {
        const FUZZED: &[&str] = &[$(stringify!($format)),+];

        proptest! {
            $(
                #[test]
                fn $format(
                    which in any::<Index>(),
                    changes in changes(),
                    pieces in prop::collection::vec(1_usize..2_000, 1..5),
                ) {
                    static OF_FORMAT: LazyLock<Vec<&(Settings, Vec<u8>)>> = LazyLock::new(|| {
                        let is_it = |of: &&(Settings, Vec<u8>)| of.0.format == stringify!($format);
                        SAMPLES.iter().filter(is_it).collect()
                    });
                    let (settings, content) = which.get(&OF_FORMAT);
                    let content = changed(content, &changes);
                    let whole = read(settings, &content);
                    prop_assert_eq!(read_in_pieces(settings, &content, &pieces), whole);
                }
            )+
        }
    };
}

readers!(
    nacha,
    ipm,
    cnab240,
    cnab400,
    base2,
    base2_itf,
    adyen_settlement,
    paypal_stl,
    statement_csv
);

/// A reader without its own is an error, here and where cargo-fuzz looks for it.
#[test]
fn every_reader_has_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for name in names() {
        assert!(FUZZED.contains(name), "{name}");
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        let target = std::fs::read_to_string(folder.join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("as_format(\"{name}\", content)")), "{name}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_layout_that_reads_or_is_told_its_mistakes(
        which in any::<Index>(),
        sample in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0..3_u8), 1..6),
        noise in "\\PC{0,80}",
    ) {
        // Lines of layouts lost, repeated and swapped, so that much of it is still one.
        let mut lines: Vec<&str> = which.get(&TEXTS).lines().collect();
        for (at, other, how) in &changes {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match how {
                0 => { lines.remove(at); }
                1 => lines.insert(at, lines[other]),
                _ => lines.swap(at, other),
            }
            if lines.is_empty() {
                lines.push("");
            }
        }
        let (settings, content) = sample.get(&SAMPLES);
        for text in [lines.join("\n"), format!("{}\n{noise}", lines.join("\n")), noise] {
            match Layout::parse(&text) {
                Ok(layout) => {
                    let layout = Some(Arc::new(layout));
                    let settings = Settings { layout, ..settings.clone() };
                    let whole = read(&settings, content);
                    prop_assert_eq!(read_in_pieces(&settings, content, &[7]), whole);
                }
                Err(mistakes) => prop_assert!(!mistakes.is_empty()),
            }
        }
    }
}
