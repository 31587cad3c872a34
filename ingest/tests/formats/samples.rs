//! The sample files: what each reads as stands beside it. `UPDATE_EXPECT=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use ingest::container::{Container, Limits};
use ingest::format::{Encoding, Framing, Settings, built_in, detect, names};
use ingest::generate::Plan;
use schemas::{AccountKey, Direction};

use crate::generated::{bytes, plan};
use crate::whole::{Whole, read, read_in_pieces, settings, text};
use ingest::format::Refusal;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sample-files")
}

/// Every sample of this test, in order: a folder a format, and `rejects`. The demo's own are told of
/// beside them.
pub(crate) fn all() -> Vec<PathBuf> {
    let folders = names().iter().chain(&["rejects"]).map(|name| folder().join(name));
    folders.filter(|folder| folder.is_dir()).flat_map(|folder| samples(&folder)).collect()
}

/// Every sample below a folder, in order.
fn samples(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(samples(&path));
        } else if !["expected", "md"]
            .iter()
            .any(|end| path.extension().is_some_and(|is| is == *end))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The settings of the feed that a sample is dropped into: by its folder its format, by its name
/// its page, where that is not its format's.
pub(crate) fn feed(path: &Path) -> Settings {
    let format = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    assert!(names().contains(&format), "{path:?} lies in the folder of no format");
    let name = path.file_name().unwrap().to_str().unwrap();
    let pages = [Encoding::Cp037, Encoding::Cp500, Encoding::Cp1047];
    let page = pages.into_iter().find(|page| name.contains(page.as_str()));
    let usual = built_in(format).map_or(Encoding::Ascii, |layout| layout.encoding());
    settings(format, page.unwrap_or(usual))
}

pub(crate) fn content(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let limits = Limits { bytes_max: 1 << 24, ratio_max: 200 };
    Container::detect(&bytes).decode_all(&bytes, limits).unwrap()
}

#[test]
fn each_sample_reads_as_it_is_written_beside_it() {
    let samples = all();
    assert!(samples.len() >= 20, "{samples:?}");
    for path in samples {
        let (settings, content) = (feed(&path), content(&path));
        let whole = read(&settings, &content);
        for size in [1, 5, 1_000] {
            assert_eq!(read_in_pieces(&settings, &content, &[size]), whole, "{path:?} by {size}");
        }
        let expected = format!("{}.expected", path.display());
        expect_file![expected].assert_eq(&text(&whole));
        is_as_its_folder_says(&path, &whole);
    }
}

/// Below `rejects` a file is refused or has a reject; elsewhere it has neither.
fn is_as_its_folder_says(path: &Path, whole: &Result<Whole, Refusal>) {
    let is_bad = path.components().any(|part| part.as_os_str() == "rejects");
    let is_read = match whole {
        Err(_) => false,
        Ok(whole) => whole.found.iter().all(|found| found.reject.is_none()),
    };
    assert_ne!(is_read, is_bad, "{path:?}");
    if !is_bad {
        // Layouts need not begin with anything by which content is known.
        let format = feed(path).format;
        match detect(&content(path)) {
            Some(detected) => assert_eq!(detected.format, format),
            None => assert!(built_in(&format).is_some(), "{path:?}"),
        }
    }
}

/// No record of a good sample is refused behind the verdict: where money moves, its account is one
/// that there can be, and the standard rules have one for its kind.
#[test]
fn each_good_sample_can_be_posted() {
    let key = AccountKey::new(&[7; 32]);
    let is_good = |path: &&PathBuf| !path.components().any(|part| part.as_os_str() == "rejects");
    for path in all().iter().filter(is_good) {
        for found in read(&feed(path), &content(path)).unwrap().found {
            let (record, text) = (&found.draft.record, &found.draft.account);
            if record.direction == Direction::NONE {
                continue;
            }
            let account = key.account(text);
            assert_eq!(account.is_some(), !text.is_empty(), "{path:?}: {text}");
            let fits = match record.kind.as_str() {
                "settlement" => account.is_none(),
                "fee" | "return" | "prenote" | "change" | "information" => true,
                _ => account.is_some(),
            };
            assert!(fits, "{path:?}, record {}: {} of {text}", record.index, record.kind);
        }
    }
}

#[test]
fn each_sample_has_a_row_in_the_readme() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for path in all() {
        let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
        assert!(readme.contains(&format!("| `{name}` |")), "no row for {name}");
    }
}

fn broken(plan: &Plan, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes(plan).0;
    change(&mut bytes);
    bytes
}

/// Every sample that `generate` makes; the rest of the folder is written by hand or by others.
fn made() -> Vec<(&'static str, Vec<u8>)> {
    [made_in_code(), made_of_cnab(), made_of_base2(), made_of_rows()].concat()
}

fn small(format: &str) -> Plan {
    Plan { accounts: 7, ..plan(format, 12) }
}

fn file(plan: Plan) -> Vec<u8> {
    bytes(&plan).0
}

fn bad(plan: &Plan, share: u32) -> Plan {
    Plan { bad_per_million: share, records: 40, ..plan.clone() }
}

/// A record of BASE II, and its line end.
const BASE2_LINE: usize = 169;

/// A column, from 1, of the first record of a transaction code.
fn base2_at<'a>(bytes: &'a mut [u8], code: &str, column: usize) -> &'a mut u8 {
    let line = bytes.chunks(BASE2_LINE).position(|line| line.starts_with(code.as_bytes()));
    &mut bytes[line.unwrap() * BASE2_LINE + column - 1]
}

fn made_of_base2() -> Vec<(&'static str, Vec<u8>)> {
    let sent = small("base2");
    let at = |code: &'static str, column: usize, change: fn(&mut u8)| {
        broken(&sent, |bytes| change(base2_at(bytes, code, column)))
    };
    // A sale without further records becomes a fee.
    let fee = broken(&sent, |bytes| {
        let is_alone =
            |lines: &[u8]| lines.starts_with(b"0500") && lines[BASE2_LINE..].get(3) == Some(&b'0');
        let mut starts = (0..bytes.len()).step_by(BASE2_LINE);
        let alone = starts.find(|at| is_alone(&bytes[*at..])).unwrap();
        bytes[alone..alone + 2].copy_from_slice(b"10");
    });
    vec![
        ("base2/sales.ctf", file(sent.clone())),
        ("base2/sales-unseparated.ctf", broken(&sent, |bytes| bytes.retain(|byte| *byte != b'\n'))),
        (
            "base2_itf/sales-cp500.itf",
            file(Plan { encoding: Encoding::Cp500, ..small("base2_itf") }),
        ),
        ("rejects/base2/torn.ctf", broken(&sent, |bytes| bytes.truncate(1_000))),
        (
            "rejects/base2/truncated.ctf",
            broken(&sent, |bytes| bytes.truncate(bytes.len() - BASE2_LINE)),
        ),
        ("rejects/base2/counts-differ.ctf", at("91", 42, |digit| *digit ^= 1)),
        ("rejects/base2/sums-differ.ctf", at("92", 116, |digit| *digit ^= 1)),
        ("rejects/base2/letter-in-amount.ctf", at("05", 88, |digit| *digit = b'X')),
        ("rejects/base2/fee.ctf", fee),
        (
            "rejects/base2/of-tests.ctf",
            broken(&sent, |bytes| bytes[29..33].copy_from_slice(b"TEST")),
        ),
        ("rejects/base2/some-bad.ctf", file(bad(&sent, 100_000))),
        (
            "rejects/base2/two-transactions.ctf",
            broken(&sent, |bytes| {
                let mut lines = bytes.chunks_mut(BASE2_LINE);
                let additional = lines.find(|line| line.starts_with(b"0501")).unwrap();
                additional[..2].copy_from_slice(b"06");
            }),
        ),
    ]
}

fn made_of_rows() -> Vec<(&'static str, Vec<u8>)> {
    let adyen = Plan { records: 24, ..small("adyen_settlement") };
    let (paypal, statement) = (small("paypal_stl"), small("statement_csv"));
    let torn = |plan: &Plan| broken(plan, |bytes| bytes.truncate(bytes.len() - 2));
    vec![
        ("adyen_settlement/two-batches.csv", file(adyen.clone())),
        ("paypal_stl/payments.csv", file(paypal.clone())),
        ("statement_csv/movements.csv", file(statement.clone())),
        ("rejects/adyen_settlement/cut-in-the-last-row.csv", torn(&adyen)),
        ("rejects/adyen_settlement/some-bad.csv", file(bad(&adyen, 100_000))),
        ("rejects/paypal_stl/some-bad.csv", file(bad(&paypal, 100_000))),
        ("rejects/statement_csv/some-bad.csv", file(bad(&statement, 100_000))),
    ]
}

fn made_of_cnab() -> Vec<(&'static str, Vec<u8>)> {
    let latin1 = |plan| Plan { encoding: Encoding::Latin1, ..plan };
    let (cnab240, cnab400) = (latin1(small("cnab240")), latin1(small("cnab400")));
    // A line of each, with its end.
    let (line_240, line_400) = (242, 402);
    vec![
        ("cnab240/titles.ret", file(cnab240.clone())),
        ("cnab400/titles.ret", file(cnab400.clone())),
        ("rejects/cnab240/some-bad.ret", file(bad(&cnab240, 100_000))),
        ("rejects/cnab240/sixty-percent-bad.ret", file(bad(&cnab240, 600_000))),
        (
            "rejects/cnab240/truncated.ret",
            broken(&cnab240, |bytes| bytes.truncate(bytes.len() - line_240)),
        ),
        (
            "rejects/cnab240/value-differs.ret",
            broken(&cnab240, |bytes| bytes[2 * line_240 + 95] ^= 1),
        ),
        (
            "rejects/cnab240/letter-in-nominal.ret",
            broken(&cnab240, |bytes| bytes[4 * line_240 + 90] = b'X'),
        ),
        // The batch in T, and the movement in U.
        ("rejects/cnab240/other-batch.ret", broken(&cnab240, |bytes| bytes[4 * line_240 + 6] ^= 3)),
        (
            "rejects/cnab240/two-movements.ret",
            broken(&cnab240, |bytes| bytes[5 * line_240 + 15] ^= 1),
        ),
        ("rejects/cnab240/not-cnab240.ret", file(cnab400.clone())),
        ("rejects/cnab400/some-bad.ret", file(bad(&cnab400, 100_000))),
        (
            "rejects/cnab400/line-missing.ret",
            broken(&cnab400, |bytes| {
                bytes.drain(4 * line_400..5 * line_400);
            }),
        ),
        (
            "rejects/cnab400/letter-in-paid.ret",
            broken(&cnab400, |bytes| bytes[3 * line_400 + 260] = b'X'),
        ),
    ]
}

fn made_in_code() -> Vec<(&'static str, Vec<u8>)> {
    let (nacha, ipm) = (small("nacha"), small("ipm"));
    vec![
        ("nacha/payments.ach", file(nacha.clone())),
        ("nacha/payments-cp037.ach", file(Plan { encoding: Encoding::Cp037, ..nacha.clone() })),
        ("nacha/two-batches.ach", file(Plan { records: 1_010, file_number: 2, ..nacha.clone() })),
        ("ipm/purchases-blocked.ipm", file(ipm.clone())),
        ("ipm/purchases-vbs.ipm", file(Plan { framing: Framing::Vbs, ..ipm.clone() })),
        ("ipm/purchases-rdw.ipm", file(Plan { framing: Framing::Rdw, ..ipm.clone() })),
        ("ipm/purchases-cp037.ipm", file(Plan { encoding: Encoding::Cp037, ..ipm.clone() })),
        ("ipm/purchases-cp500.ipm", file(Plan { encoding: Encoding::Cp500, ..ipm.clone() })),
        ("ipm/purchases-cp1047.ipm", file(Plan { encoding: Encoding::Cp1047, ..ipm.clone() })),
        ("rejects/nacha/torn.ach", broken(&nacha, |bytes| bytes.truncate(700))),
        (
            "rejects/nacha/truncated.ach",
            broken(&nacha, |bytes| {
                let lines = bytes.len() / 95;
                let nines = bytes.chunks(95).filter(|line| line.starts_with(b"9999")).count();
                bytes.truncate((lines - nines) * 95 - 41);
            }),
        ),
        ("rejects/nacha/totals-differ.ach", broken(&nacha, |bytes| bytes[190 + 38] ^= 1)),
        ("rejects/nacha/letter-in-amount.ach", broken(&nacha, |bytes| bytes[190 + 36] = b'X')),
        (
            "rejects/nacha/no-file-header.ach",
            broken(&nacha, |bytes| {
                bytes.drain(..95);
            }),
        ),
        ("rejects/nacha/wrong-page.ach", file(Plan { encoding: Encoding::Cp500, ..nacha.clone() })),
        ("rejects/nacha/some-bad.ach", file(bad(&nacha, 100_000))),
        ("rejects/nacha/sixty-percent-bad.ach", file(bad(&nacha, 600_000))),
        ("rejects/nacha/not-nacha.ach", file(ipm.clone())),
        ("rejects/ipm/torn.ipm", broken(&ipm, |bytes| bytes.truncate(1_500))),
        ("rejects/ipm/filler-damaged.ipm", broken(&ipm, |bytes| bytes[1_012] = 0)),
        (
            "rejects/ipm/totals-differ.ipm",
            broken(&Plan { framing: Framing::Vbs, ..ipm.clone() }, |bytes| {
                let at = bytes.len() - 4 - 8 - 15 - 2;
                bytes[at] ^= 1;
            }),
        ),
        ("rejects/ipm/wrong-page.ipm", file(Plan { encoding: Encoding::Cp500, ..ipm.clone() })),
        ("rejects/ipm/some-bad.ipm", file(bad(&ipm, 100_000))),
        ("rejects/ipm/sixty-percent-bad.ipm", file(bad(&ipm, 600_000))),
        ("rejects/ipm/not-ipm.ipm", file(nacha)),
    ]
}

/// The samples are what `generate` makes today; `UPDATE_EXPECT` writes them anew as well.
#[test]
fn generated_samples_are_up_to_date() {
    #[expect(clippy::disallowed_methods, reason = "the switch of expect-test")]
    let is_update = std::env::var("UPDATE_EXPECT").is_ok();
    for (name, bytes) in made() {
        let path = folder().join(name);
        if is_update {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}: set UPDATE_EXPECT=1");
    }
}
