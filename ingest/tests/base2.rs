//! Visa BASE II as another parser reads it: the same fields, counts and sums. Its files are our own:
//! no licensed public sample exists, and that parser writes none.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

#[path = "formats/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ingest::format::{Encoding, Framing};
use ingest::generate::{Plan, generate};
use schemas::Date;

use crate::whole::{Found, Whole, read, settings, text};

/// Some of them are messages, which the other parser passes over: ten thousand are left.
const RECORDS: u64 = 10_250;

fn written(format: &str, encoding: Encoding) -> Vec<u8> {
    let plan = Plan {
        format: format.to_owned(),
        encoding,
        framing: Framing::Auto,
        records: RECORDS,
        accounts: 1_000,
        seed: 42,
        bad_per_million: 0,
        file_number: 1,
        date: Date::new(2026, 7, 22).unwrap(),
    };
    let mut bytes = Vec::new();
    generate(&plan, &mut bytes).unwrap();
    bytes
}

fn ours(format: &str, encoding: Encoding, content: &[u8]) -> Whole {
    read(&settings(format, encoding), content)
        .unwrap_or_else(|refusal| panic!("{format} in {encoding}: {}", refusal.0))
}

/// What the other parser reads in a file: a row a transaction.
fn theirs(file: &Path) -> Vec<Vec<String>> {
    #[expect(clippy::disallowed_methods, reason = "./test says where its Python is")]
    let python = std::env::var("BATCHLESS_PYTHON");
    let python = python.unwrap_or_else(|_| {
        panic!(
            "BATCHLESS_PYTHON names no Python that has visa-clearing-file-parser; run ./test, \
             which makes one"
        )
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/base2.py");
    let output = Command::new(python).arg(script).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().map(|row| row.split('\t').map(str::to_owned).collect()).collect()
}

/// A record's fields as they stand in the file, in the order of the other parser's.
fn fields(found: &Found) -> Vec<String> {
    let record = &found.draft.record;
    let account = found.draft.account.reveal().strip_prefix("card:").unwrap();
    let (card, extension) = account.split_at(16);
    let extension = if extension.is_empty() { "000" } else { extension };
    let amount = |role: &str| {
        let amount = record.amounts.iter().find(|amount| amount.role == role).unwrap();
        let currency = match amount.currency.as_str() {
            "BRL" => "986",
            "JPY" => "392",
            "USD" => "840",
            other => panic!("{other}"),
        };
        (format!("{:012}", amount.amount_minor), currency.to_owned())
    };
    let (billed, billed_currency) = amount("billing");
    let (source, source_currency) = amount("transaction");
    let occurred = record.occurred_at.unwrap().to_string();
    // The day of the file is the 203rd of the year 2026.
    assert_eq!(record.value_date, Date::new(2026, 7, 22));
    assert!(occurred.starts_with("2026-"), "{occurred}");
    let attribute = |wanted: &str| {
        let found = record.attributes.iter().find(|(name, _)| *name == wanted);
        found.map_or_else(String::new, |(_, value)| value.to_owned())
    };
    vec![
        record.code.clone(),
        card.to_owned(),
        extension.to_owned(),
        record.reference.clone().unwrap(),
        attribute("acquirer"),
        format!("{}{}", &occurred[5..7], &occurred[8..10]),
        billed,
        billed_currency,
        source,
        source_currency,
        record.counterparty.clone().unwrap(),
        attribute("city"),
        attribute("country"),
        attribute("merchant_category"),
        attribute("usage"),
        attribute("message_reason"),
        attribute("settlement_indicator"),
        attribute("approval_code"),
        attribute("point_of_service"),
        "6203".to_owned(),
        attribute("merchant"),
        attribute("terminal"),
        attribute("transaction_identifier"),
        attribute("clearing_sequence"),
        attribute("clearing_count"),
    ]
}

/// How many transactions a code has, and their sums at the destination and the source.
fn sums(rows: &[Vec<String>]) -> BTreeMap<&str, (u64, i64, i64)> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let sum: &mut (u64, i64, i64) = sums.entry(row[0].as_str()).or_default();
        sum.0 += 1;
        sum.1 += row[6].parse::<i64>().unwrap();
        sum.2 += row[8].parse::<i64>().unwrap();
    }
    sums
}

#[test]
fn ten_thousand_transactions_are_what_another_parser_reads() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in [Encoding::Ascii, Encoding::Cp500] {
        let content = written("base2", encoding);
        let file = folder.path().join(format!("{encoding}.ctf"));
        std::fs::write(&file, &content).unwrap();
        let theirs = theirs(&file);
        assert!(theirs.len() >= 10_000, "{}", theirs.len());

        let whole = ours("base2", encoding, &content);
        let drafts = whole.found.iter().filter(|found| found.draft.record.code != "33");
        let rows: Vec<Vec<String>> = drafts.map(fields).collect();
        assert!(rows == theirs, "the fields differ in {encoding}");
        let (ours, theirs) = (sums(&rows), sums(&theirs));
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 12, "every code is there: {ours:?}");

        // And both are what the file states.
        let stated = |name: &str| {
            let mut totals = whole.summary.control_totals.iter();
            let total = totals.find(|total| total.name == name).unwrap();
            assert!(total.proven);
            total.claimed
        };
        let count: u64 = theirs.values().map(|(count, ..)| *count).sum();
        assert_eq!(stated("monetary transactions of the file"), i64::try_from(count).unwrap());
        let destination: i64 = theirs.values().map(|(_, destination, _)| *destination).sum();
        assert_eq!(stated("destination amount of the file"), destination);
        let source: i64 = theirs.values().map(|(.., source)| *source).sum();
        assert_eq!(stated("source amount of the file"), source);
        assert_eq!(whole.summary.claimed_unsigned, Some(source));
        assert!(!text(&Ok(whole)).contains("400000000"), "a card number is shown");
    }
}

/// The other parser reads no files as they are received, so they are compared with those as sent.
#[test]
fn what_is_received_gives_the_events_of_what_was_sent() {
    let without_place = |whole: Whole| -> Vec<_> {
        let records = whole.found.into_iter().map(|found| {
            let mut record = found.draft.record;
            (record.byte_offset, record.byte_length, record.line) = (0, 0, None);
            assert_eq!(found.reject, None);
            (found.draft.account.reveal().to_owned(), record)
        });
        records.collect()
    };
    let sent = without_place(ours("base2", Encoding::Ascii, &written("base2", Encoding::Ascii)));
    for encoding in [Encoding::Ascii, Encoding::Cp037, Encoding::Cp1140] {
        let mut blocks = written("base2_itf", encoding);
        let received = without_place(ours("base2_itf", encoding, &blocks));
        assert!(received == sent, "other events in {encoding}");
        let line_end = if encoding.is_ebcdic() { 0x15 } else { b'\n' };
        let lines: Vec<u8> =
            blocks.chunks(170).flat_map(|block| [block, &[line_end]].concat()).collect();
        assert!(without_place(ours("base2_itf", encoding, &lines)) == sent, "lines in {encoding}");
        // The bytes of check may be any, also those that end lines.
        for (at, block) in blocks.chunks_mut(170).enumerate() {
            block[2..4].copy_from_slice(&u16::try_from(at * 257 % 65_536).unwrap().to_le_bytes());
        }
        assert!(without_place(ours("base2_itf", encoding, &blocks)) == sent, "any bytes of check");
    }
    let lines = written("base2", Encoding::Ascii);
    let blocks: Vec<u8> = lines.iter().copied().filter(|byte| *byte != b'\n').collect();
    assert!(without_place(ours("base2", Encoding::Ascii, &blocks)) == sent, "blocks as sent");
}

/// The layout of what is received is that of what is sent, with two columns more behind the second.
#[test]
fn the_two_layouts_differ_by_two_columns() {
    let layout = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layouts").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.join("\n")
    };
    let shifted = |columns: &str| {
        let columns = columns.split('-').map(|column| {
            let column: usize = column.parse().unwrap();
            (if column > 2 { column + 2 } else { column }).to_string()
        });
        columns.collect::<Vec<_>>().join("-")
    };
    let is_columns = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_digit())
            && text.bytes().all(|letter| letter.is_ascii_digit() || letter == b'-')
    };
    // What stands in quotes behind `at =`, or before `=`, are columns.
    let sent = layout("base2.toml");
    let parts: Vec<&str> = sent.split('"').collect();
    let mut expected = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let is_place = parts[..at].last().is_some_and(|before| before.ends_with("at = "));
        let is_key = parts.get(at + 1).is_some_and(|behind| behind.starts_with(" = "));
        expected.push(match at % 2 == 1 && (is_place || is_key) && is_columns(part) {
            true => shifted(part),
            false => (*part).to_owned(),
        });
    }
    let expected = expected
        .join("\"")
        .replace("\"base2\"", "\"base2_itf\"")
        .replace("168 characters (CTF)", "170 characters (ITF)")
        .replace("length = 168", "length = 170")
        .replace("encoding = \"latin1\"", "encoding = \"cp500\"");
    // And that it says of those two that they are no text.
    let check = "check = { at = \"3-4\", type = \"binary\", signed = false }\n";
    let received = layout("base2_itf.toml").replace(check, "");
    assert_eq!(received.trim(), expected.trim());
}
