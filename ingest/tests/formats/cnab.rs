//! CNAB as banks and other programs write it.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::path::Path;

use ingest::format::Encoding;
use schemas::Direction;

use crate::corpus::corpus;
use crate::whole::{Whole, read, settings};

/// A file of a bank: its layout, its titles, their sums in cents as another reader gives them, its
/// lines, and the field whose contradiction refuses it.
type Row = (&'static str, &'static str, usize, i64, i64, usize, Option<&'static str>);

const FILES: &[Row] = &[
    ("CNAB240.RET", "cnab240", 35, 2_188_094, 2_188_094, 74, None),
    ("CNAB240AILOS.RET", "cnab240", 3, 600, 600, 10, None),
    (
        "CNAB240SANTANDER.RET",
        "cnab240",
        2,
        2_000,
        2_000,
        8,
        Some("batch trailer of titles: records of the batch"),
    ),
    ("CNAB240SICOOB.RET", "cnab240", 3, 600, 600, 10, None),
    ("CNAB240SICREDI.CRT", "cnab240", 2, 1_990, 0, 8, None),
    ("CBR64310.RET", "cnab400", 26, 1_005_183, 1_005_183, 28, None),
    ("CNAB400.RET", "cnab400", 52, 268_896, 254_832, 54, None),
    ("CNAB400ITAU.RET", "cnab400", 52, 268_896, 254_832, 54, None),
    ("CNAB400SANTANDER.RET", "cnab400", 53, 268_896, 254_832, 55, None),
    ("CNAB400BRADESCO.RET", "cnab400", 6, 293_000, 145_000, 8, None),
    ("CNAB400BANRISUL.RET", "cnab400", 1, 145_000, 145_000, 3, None),
    ("CNAB400BANCONORDESTE.RET", "cnab400", 1, 17_500, 17_500, 3, None),
    ("CNAB400CREDISIS.RET", "cnab400", 1, 5_005_001, 44_400, 3, None),
    ("CNAB400BANCOBRASILIA.RET", "cnab400", 1, 26_492, 26_492, 3, Some("file trailer: sequence")),
    ("CNAB400UNICRED.RET", "cnab400", 1, 44_400, 44_400, 3, Some("file trailer: sequence")),
];

/// The sum of an amount of this role over all titles.
fn sum(whole: &Whole, role: &str) -> i64 {
    let amounts = whole.found.iter().flat_map(|found| &found.draft.record.amounts);
    amounts.filter(|amount| amount.role == role).map(|amount| amount.amount_minor).sum()
}

/// Every title is read with the sums of an independent reader; what contradicts itself is refused
/// by the field that does, and reads equally once that field is made right.
#[test]
fn files_of_banks_are_read_with_the_sums_of_another_reader() {
    let Some(corpus) = corpus("cnab") else { return };
    let mut refused = 0;
    for (file, format, titles, nominal, paid, lines, contradicted) in FILES {
        let mut content = std::fs::read(corpus.join(file)).unwrap();
        assert_eq!(content.iter().filter(|byte| **byte == b'\n').count(), *lines, "{file}");
        let settings = settings(format, Encoding::Latin1);
        if let Some(field) = contradicted {
            let refusal = read(&settings, &content).unwrap_err();
            assert_eq!(refusal.0.field.as_deref(), Some(*field), "{file}");
            assert!(refusal.0.expected.is_some() && refusal.0.found.is_some(), "{file}");
            refused += 1;
            content = mended(&content);
        }
        let whole = read(&settings, &content).unwrap();
        assert!(whole.found.iter().all(|found| found.reject.is_none()), "{file}");
        let totals = &whole.summary.control_totals;
        assert!(totals.iter().all(|total| total.proven), "{file}: {totals:?}");
        let found = (whole.found.len(), sum(&whole, "nominal"), sum(&whole, "paid"));
        assert_eq!(found, (*titles, *nominal, *paid), "{file}");
        is_posted_by_its_code(&whole, file);
    }
    assert_eq!((FILES.len(), refused), (15, 3));
}

/// What moves money is what was paid, by the codes that say so; everything else moves nothing.
fn is_posted_by_its_code(whole: &Whole, file: &str) {
    for found in &whole.found {
        let record = &found.draft.record;
        let paid = record.amounts.iter().find(|amount| amount.role == "paid");
        let paid = paid.map_or(0, |amount| amount.amount_minor);
        let posts = record.code == "06" || (record.code == "17" && file == "CNAB240.RET");
        let expected = if posts { (Direction::CREDIT, paid) } else { (Direction::NONE, 0) };
        assert_eq!((record.direction.clone(), record.amount_minor), expected, "{file}");
        assert_eq!(found.draft.account.is_empty(), record.code == "pix2", "{file}");
    }
}

/// The file with the numbers that contradict its records made right.
fn mended(content: &[u8]) -> Vec<u8> {
    let text: String = content.iter().copied().map(char::from).collect();
    let text = match text.split_once("03396925         000004000065") {
        // Of the bank's file only two titles were kept, and the trailer is that of the whole.
        Some((before, behind)) => {
            let rest = behind.strip_prefix("00000000001190475").unwrap();
            format!("{before}03396925         00000600000200000000000002000{rest}")
        }
        None => text.replace("000030\r\n", "000003\r\n").replace("000030\n", "000003\n"),
    };
    let text = text.replace("000016\r\n", "000003\r\n").replace("000016\n", "000003\n");
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

/// What `ingest/tests/pycobranca.py` gave to the library: three titles of these cents, due then,
/// and with these numbers.
const WRITTEN: &[(i64, &str, &str)] =
    &[(10_010, "2026-12-20", "500"), (10_110, "2026-12-21", "501"), (10_210, "2026-12-22", "502")];

/// Files that pycobranca wrote are read back as it was told to write them.
#[test]
fn what_another_library_wrote_is_read_back_equal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sample-files");
    for (file, format) in [
        ("cnab240/by-pycobranca-banco-do-brasil.rem", "cnab240"),
        ("cnab240/by-pycobranca-sicoob.rem", "cnab240"),
        ("cnab400/by-pycobranca-bradesco.rem", "cnab400"),
        ("cnab400/by-pycobranca-itau.rem", "cnab400"),
        ("cnab400/by-pycobranca-santander.rem", "cnab400"),
    ] {
        let content = std::fs::read(folder.join(file)).unwrap();
        let whole = read(&settings(format, Encoding::Latin1), &content).unwrap();
        let found: Vec<_> = whole
            .found
            .iter()
            .map(|found| {
                assert_eq!(found.reject, None, "{file}");
                let record = &found.draft.record;
                assert_eq!((record.code.as_str(), record.amount_minor), ("01", 0), "{file}");
                let nominal = record.amounts.iter().find(|amount| amount.role == "nominal");
                let document = record.attributes.get("document").or(record.reference.as_deref());
                let document = document.unwrap().trim_start_matches('0');
                (nominal.unwrap().amount_minor, record.attributes.get("due").unwrap(), document)
            })
            .collect();
        assert_eq!(found, WRITTEN, "{file}");
        assert!(whole.summary.control_totals.iter().all(|total| total.proven), "{file}");
    }
}

/// Programs write another movement in Q than in P, which moves nothing.
#[test]
fn a_title_whose_segments_ask_for_different_things_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sample-files");
    let mut content = std::fs::read(folder.join("cnab240/by-pycobranca-sicoob.rem")).unwrap();
    let mut changed = 0;
    for line in content.chunks_mut(242).filter(|line| line[13] == b'Q') {
        line[15..17].copy_from_slice(b"06");
        changed += 1;
    }
    let whole = read(&settings("cnab240", Encoding::Latin1), &content).unwrap();
    assert!(whole.found.iter().all(|found| found.reject.is_none()));
    assert_eq!((whole.found.len(), changed), (3, 3));
}
