//! IPM as another library writes it: the same events from every page and framing, and the count and
//! sum that the library reads itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

#[path = "formats/whole.rs"]
mod whole;

use std::collections::BTreeSet;
use std::process::Command;

use ingest::format::{Encoding, Settings};
use schemas::{Attributes, ClearingRecord};

use crate::whole::{Found, Whole, read, settings, text};

/// A file, and what cardutil says of it.
struct Written {
    name: String,
    settings: Settings,
    content: Vec<u8>,
    count: usize,
    sum: i64,
}

fn write_all(folder: &std::path::Path) -> Vec<Written> {
    #[expect(clippy::disallowed_methods, reason = "./test says where its Python is")]
    let python = std::env::var("BATCHLESS_PYTHON");
    let python = python.unwrap_or_else(|_| {
        panic!("BATCHLESS_PYTHON names no Python that has cardutil and ebcdic; run ./test, which makes one")
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cardutil.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let rows = output.lines().map(|row| {
        let columns: Vec<&str> = row.split(' ').collect();
        let encoding = match columns[1] {
            "latin_1" => Encoding::Latin1,
            page => page.parse().unwrap(),
        };
        Written {
            name: columns[0].to_owned(),
            settings: Settings {
                framing: columns[2].parse().unwrap(),
                ..settings("ipm", encoding)
            },
            content: std::fs::read(folder.join(columns[0])).unwrap(),
            count: columns[3].parse().unwrap(),
            sum: columns[4].parse().unwrap(),
        }
    });
    rows.collect()
}

/// A record without what differs by page and framing: where its bytes are, and the page's name.
fn without_place(found: &Found) -> (String, ClearingRecord) {
    let mut record = found.draft.record.clone();
    (record.byte_offset, record.byte_length) = (0, 0);
    let mut attributes = Attributes::default();
    for (name, value) in record.attributes.iter().filter(|(name, _)| *name != "encoding") {
        attributes.set(Box::leak(name.to_owned().into_boxed_str()), value);
    }
    record.attributes = attributes;
    assert_eq!(found.reject, None);
    (found.draft.account.reveal().to_owned(), record)
}

/// Where in a record, length included, a block ends.
fn edges(whole: &Whole) -> BTreeSet<i64> {
    let mut edges = BTreeSet::new();
    for found in &whole.found {
        let record = &found.draft.record;
        let edge = 1_012 - record.byte_offset % 1_014;
        if edge < record.byte_length {
            edges.insert(edge);
        }
    }
    edges
}

#[test]
fn every_page_and_framing_gives_the_events_that_cardutil_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_all(folder.path());
    assert_eq!(files.len(), 10);
    let mut expected: [Option<Vec<_>>; 2] = [None, None];
    for file in &files {
        let whole = read(&file.settings, &file.content);
        let whole = whole.unwrap_or_else(|refusal| panic!("{}: {}", file.name, refusal.0));
        assert_eq!(whole.found.len(), file.count, "{}", file.name);
        let amounts = whole.found.iter().flat_map(|found| &found.draft.record.amounts);
        let transactions = amounts.filter(|amount| amount.role == "transaction");
        let sum: i64 = transactions.map(|amount| amount.amount_minor).sum();
        assert_eq!(sum, file.sum, "{}", file.name);
        assert_eq!(whole.summary.claimed_unsigned, Some(file.sum), "{}", file.name);
        if file.name.contains("blocked") && file.count == 20_000 {
            // Every byte of a length and of a message is somewhere the last one before an edge.
            let edges = edges(&whole);
            assert!((1..=250).all(|edge| edges.contains(&edge)), "{edges:?}");
        }

        // Another feed may leave the framing to detection.
        let detected = ingest::format::detect(&file.content).unwrap();
        assert_eq!(detected.framing, file.settings.framing, "{}", file.name);
        assert_eq!(detected.encoding.is_ebcdic(), file.settings.encoding.is_ebcdic());

        let events: Vec<_> = whole.found.iter().map(without_place).collect();
        let expected = &mut expected[usize::from(file.count == 20_000)];
        match expected {
            None => *expected = Some(events),
            Some(expected) => assert!(*expected == events, "{}: other events", file.name),
        }
        assert!(!text(&Ok(whole)).contains("5413330"), "a card number is shown");
    }
}
