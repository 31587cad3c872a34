//! The main job: files dropped into folders become balances, exactly once.

use crate::oracle;
use crate::sender::{Clearing, Page, Sent};
use crate::site::Site;

/// Files of both formats on every page, framing and container.
pub(crate) fn every_kind(seed: u64) -> Vec<Sent> {
    let card_file = |name: &str, number: u64, page: Page, blocked: bool| {
        let drawn = Clearing::drawn(seed * 10 + number, 150);
        let feed = if page == Page::Ascii { "cards" } else { "cards-ebcdic" };
        let bytes = Clearing { page, blocked, ..drawn }.bytes();
        Sent { name: name.to_owned(), feed, bytes }
    };
    vec![
        Sent::nacha("payments.ach", seed * 10, 300),
        Sent::nacha("", seed * 10 + 1, 200).gzipped("packed.ach.gz"),
        card_file("blocked.ipm", 2, Page::Ascii, true),
        card_file("plain.ipm", 3, Page::Ascii, false),
        card_file("", 4, Page::Ascii, true).gzipped("packed.ipm.gz"),
        card_file("blocked-ebcdic.ipm", 5, Page::Ebcdic, true),
        card_file("plain-ebcdic.ipm", 6, Page::Ebcdic, false),
    ]
}

/// Every file is reconciled, its records and totals are the oracle's, so are all balances, and they
/// sum to zero per currency.
#[test]
fn files_become_balances() {
    for seed in 1..=3 {
        let files = every_kind(seed);
        let site = Site::with(&files);
        let run = site.once();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        site.assert_whole(&files);
        for sent in &files {
            let reading = oracle::read(sent.format(), &sent.bytes);
            let row = site.file(&sent.name).unwrap();
            assert_eq!(row["records"], reading.records, "{row}");
            assert_eq!(row["published"], reading.records, "{row}");
            assert_eq!(row["applied"], reading.records, "{row}");
            assert_eq!(row["rejected"], 0, "{row}");
            assert_eq!(row["size_bytes"], sent.bytes.len(), "{row}");
            let total = |key: &str| -> i128 {
                let totals = row["totals"].as_array().unwrap();
                totals.iter().map(|total| i128::from(total[key].as_i64().unwrap())).sum()
            };
            let houses = reading.books.houses.iter().filter(|((name, _), _)| name != "clearing");
            let of_records = reading.books.customers.iter().chain(houses).map(|(_, sides)| sides);
            let (debits, credits) = of_records
                .fold((0, 0), |(debits, credits), s| (debits + s.debits, credits + s.credits));
            assert_eq!((total("debits_minor"), total("credits_minor")), (debits, credits), "{row}");
        }
    }
}

/// The control: the comparison is red where one file more or less was expected than was applied.
#[test]
fn a_file_too_many_is_a_difference() {
    let files = every_kind(4);
    let site = Site::with(&files);
    site.once();
    let mut more = files.clone();
    more.push(Sent::nacha("another.ach", 9, 1));
    assert!(!site.differences(&more).is_empty());
    assert!(!site.differences(&files[1..]).is_empty());
    assert!(site.differences(&files).is_empty());
}

/// Flags stand in for a configuration file.
#[test]
fn flags_stand_in_for_a_file() {
    let payments = Sent::nacha("payments.ach", 1, 100);
    let cards = Sent::ipm("cards.ipm", 1, 100);
    let site = Site::with(&[payments.clone(), cards.clone()]);
    for (format, sent, applied) in [
        ("nacha", &payments, vec![payments.clone()]),
        ("ipm", &cards, vec![payments.clone(), cards.clone()]),
    ] {
        let arguments =
            ["run", "--inbox", sent.feed, "--format", format, "--data", "data", "--once"];
        let run = site.batchless(&arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        site.assert_whole(&applied);
    }
}
