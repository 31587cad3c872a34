//! What is generated reads back as it was planned.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::collections::BTreeSet;

use ingest::format::{Encoding, Framing, Settings};
use ingest::generate::{Generated, Plan, generate};
use schemas::Date;

use crate::whole::{read, settings};

/// A plan for tests.
pub(crate) fn plan(format: &str, records: u64) -> Plan {
    Plan {
        format: format.to_owned(),
        encoding: Encoding::Ascii,
        framing: Framing::Blocked,
        records,
        accounts: 1_000,
        seed: 42,
        bad_per_million: 0,
        file_number: 1,
        date: Date::new(2026, 7, 22).unwrap(),
    }
}

/// The bytes of a plan.
pub(crate) fn bytes(plan: &Plan) -> (Vec<u8>, Generated) {
    let mut bytes = Vec::new();
    let generated = generate(plan, &mut bytes).unwrap();
    assert_eq!(generated.bytes, u64::try_from(bytes.len()).unwrap());
    (bytes, generated)
}

/// The settings that read a plan's file.
pub(crate) fn settings_of(plan: &Plan) -> Settings {
    Settings { framing: plan.framing, ..settings(&plan.format, plan.encoding) }
}

/// Every format that files are generated of.
fn formats() -> &'static [&'static str] {
    ingest::format::names()
}

/// Those whose files have no identifier of their own.
const UNIDENTIFIED: [&str; 2] = ["adyen_settlement", "paypal_stl"];

const ENCODINGS: [Encoding; 6] = [
    Encoding::Ascii,
    Encoding::Latin1,
    Encoding::Utf8,
    Encoding::Cp037,
    Encoding::Cp500,
    Encoding::Cp1047,
];

#[test]
fn every_format_page_and_framing_reads_back_whole() {
    for format in formats() {
        for encoding in ENCODINGS {
            for framing in [Framing::Vbs, Framing::Blocked, Framing::Rdw] {
                let plan = Plan { encoding, framing, ..plan(format, 2_500) };
                if let Some(why) = settings_of(&plan).misfit() {
                    let refused = generate(&plan, &mut Vec::new()).unwrap_err();
                    assert_eq!(refused.to_string(), why);
                    continue;
                }
                let (bytes, generated) = bytes(&plan);
                let whole = read(&settings_of(&plan), &bytes).unwrap();
                assert_eq!(whole.found.len(), 2_500);
                assert!(whole.found.iter().all(|found| found.reject.is_none()));
                assert_eq!(whole.summary.identifier.is_none(), UNIDENTIFIED.contains(format));
                assert_eq!(whole.summary.identifier, generated.identifier);
                assert!(whole.summary.control_totals.iter().all(|total| total.proven));
                assert_eq!(whole.summary.warnings, []);
            }
        }
    }
}

/// Who reads a file that nobody named finds its format, and the page as far as it can be told.
#[test]
fn every_format_is_told_from_its_first_bytes() {
    for format in formats() {
        for encoding in [Encoding::Ascii, Encoding::Cp500] {
            let (bytes, _) = bytes(&Plan { encoding, ..plan(format, 20) });
            // What a feed refuses a file by is certain, or nothing.
            let certain = ingest::format::detect(&bytes);
            assert!(certain.is_none_or(|found| found.format == *format), "{format}");
            let found = ingest::format::guess(&bytes);
            let found = found.map(|found| (found.format, found.encoding.is_ebcdic()));
            assert_eq!(found, Some((*format, encoding.is_ebcdic())));
        }
    }
}

#[test]
fn bad_records_are_rejects_and_the_totals_stay_proven() {
    for format in formats() {
        let plan = Plan { bad_per_million: 100_000, ..plan(format, 5_000) };
        let (bytes, generated) = bytes(&plan);
        let whole = read(&settings_of(&plan), &bytes).unwrap();
        let rejects = whole.found.iter().filter(|found| found.reject.is_some()).count();
        assert_eq!(u64::try_from(rejects).unwrap(), generated.bad);
        assert!((400..600).contains(&rejects), "{rejects}");
        assert!(whole.summary.control_totals.iter().all(|total| total.proven));
    }
}

#[test]
fn the_same_plan_is_the_same_file_and_each_number_another_identifier() {
    for format in formats() {
        let one = plan(format, 100);
        assert_eq!(bytes(&one).0, bytes(&one).0);
        let numbers = [0, 1, 1_439, 1_440, 51_839, 51_840, 99_999, 100_000, u32::MAX];
        let files: Vec<(Vec<u8>, Generated)> = numbers
            .iter()
            .map(|file_number| bytes(&Plan { file_number: *file_number, ..one.clone() }))
            .collect();
        let contents: BTreeSet<&[u8]> = files.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        assert_eq!(contents.len(), numbers.len());
        if !UNIDENTIFIED.contains(format) {
            let identifiers: BTreeSet<&str> =
                files.iter().filter_map(|(_, file)| file.identifier.as_deref()).collect();
            assert_eq!(identifiers.len(), numbers.len(), "{format}");
        }
        assert_ne!(bytes(&Plan { seed: 43, ..one.clone() }).0, bytes(&one).0);
    }
}

#[test]
fn a_plan_out_of_range_says_which_number() {
    let known = ingest::format::names().join(", ");
    let unknown = format!("no such format: expected one of {known}, found \"bai2\"");
    for (plan, expected) in [
        (Plan { records: 0, ..plan("ipm", 1) }, "records: expected 1 to 4500000, found 0"),
        (Plan { accounts: 0, ..plan("ipm", 1) }, "accounts: expected 1 to 1000000000, found 0"),
        (plan("adyen_settlement", 1), "records: expected 2 to 4500000, found 1"),
        (plan("paypal_stl", 1_000_001), "records: expected 1 to 1000000, found 1000001"),
        (plan("bai2", 1), unknown.as_str()),
    ] {
        let error = generate(&plan, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
