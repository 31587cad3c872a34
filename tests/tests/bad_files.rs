//! What bad input gets: a refusal or a reject that names the place, while everything else goes on.

use std::fs;
use std::io::Write as _;

use serde_json::Value;

use crate::sender::{Clearing, Dice, Page, Payments, Sent};
use crate::site::{Site, wait_until};

/// A file that must be refused, and words that its reason must have.
struct Bad {
    sent: Sent,
    words: &'static [&'static str],
}

fn bad(name: &str, feed: &'static str, bytes: &[u8], words: &'static [&'static str]) -> Bad {
    Bad { sent: Sent { name: name.to_owned(), feed, bytes: bytes.to_vec() }, words }
}

/// Another text in the place of one that is there once.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    let [at] = at[..] else { unreachable!("{from} is there {} times", at.len()) };
    let mut other = bytes.to_vec();
    other[at..at + to.len()].copy_from_slice(to.as_bytes());
    other
}

/// Overwrites columns, from 1, of the one line that begins so.
fn with_columns(bytes: &[u8], begins: &str, column: usize, text: &str) -> Vec<u8> {
    let is_padding = |line: &str| line.bytes().all(|byte| byte == b'9');
    let lines = std::str::from_utf8(bytes).unwrap().lines().map(|line| {
        if line.starts_with(begins) && !is_padding(line) {
            format!("{}{text}{}\n", &line[..column - 1], &line[column - 1 + text.len()..])
        } else {
            format!("{line}\n")
        }
    });
    lines.collect::<String>().into_bytes()
}

fn garbage(length: usize) -> Vec<u8> {
    let mut dice = Dice::new(77);
    (0..length).map(|_| dice.below(256) as u8).collect()
}

fn without_file_control(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('9'));
    lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

/// A file of payments of which 60 in 100 have a wrong check digit.
fn mostly_bad_payments() -> Vec<u8> {
    let mut file = Payments::drawn(31, 100);
    for entry in file.entries.iter_mut().take(60) {
        entry.spoilt = Some((12, 'X'));
    }
    file.bytes()
}

/// A file of messages of which 60 in 100 have no such kind.
fn mostly_bad_messages() -> Vec<u8> {
    let mut file = Clearing::drawn(31, 100);
    for card in file.cards.iter_mut().take(60) {
        card.processing = "990000";
    }
    file.bytes()
}

fn bad_payments() -> Vec<Bad> {
    let good = Sent::nacha("", 30, 100);
    let bytes = &good.bytes;
    let cards = Sent::ipm("", 30, 20);
    let packed = good.gzipped("");
    let mut damaged = packed.bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0);
    vec![
        bad("torn.ach", "ach", &bytes[..50 * 95 + 40], &["byte", "record"]),
        bad("truncated.ach", "ach", &bytes[..50 * 95], &["byte"]),
        bad("no-trailer.ach", "ach", &without_file_control(bytes), &["byte", "file control"]),
        bad("debits.ach", "ach", &with_columns(bytes, "9", 32, "99"), &["line", "debit"]),
        bad("credits.ach", "ach", &with_columns(bytes, "9", 44, "99"), &["line", "credit"]),
        bad("hash.ach", "ach", &with_columns(bytes, "9", 22, "99"), &["line", "hash"]),
        bad("entries.ach", "ach", &with_columns(bytes, "9", 14, "99"), &["line", "entr"]),
        bad("batches.ach", "ach", &with_columns(bytes, "9", 2, "12"), &["line", "batch"]),
        bad("batch-debits.ach", "ach", &with_columns(bytes, "8", 21, "99"), &["line", "debit"]),
        bad("batch-hash.ach", "ach", &with_columns(bytes, "8", 11, "99"), &["line", "hash"]),
        bad("no-header.ach", "ach", &bytes[95..], &["line", "file header"]),
        bad("cards.ach", "ach", &cards.bytes, &["ipm", "nacha"]),
        bad("garbage.ach", "ach", &garbage(5_000), &["byte"]),
        bad("text.ach", "ach", b"Dear bank,\nplease find enclosed nothing.\n", &["line"]),
        bad("empty.ach", "ach", b"", &["no bytes"]),
        bad("cut.ach.gz", "ach", &packed.bytes[..packed.bytes.len() / 2], &["gzip"]),
        bad("damaged.ach.gz", "ach", &damaged, &["gzip"]),
        bad("mostly-bad.ach", "ach", &mostly_bad_payments(), &["record", "60"]),
    ]
}

fn bad_messages() -> Vec<Bad> {
    let plain = Clearing { blocked: false, ..Clearing::drawn(30, 100) };
    let bytes = plain.bytes();
    let blocked = Clearing::drawn(30, 100).bytes();
    let ebcdic = Clearing { page: Page::Ebcdic, ..plain.clone() }.bytes();
    let trailer = bytes.windows(7).rposition(|window| window == b"0301016").unwrap();
    let stated = std::str::from_utf8(&bytes[trailer..trailer + 23]).unwrap().to_owned();
    let other = format!("{}{}", &stated[..22], if stated.ends_with('1') { "2" } else { "1" });
    let payments = Sent::nacha("", 30, 20);
    vec![
        bad("torn.ipm", "cards", &bytes[..5_000], &["byte", "record"]),
        bad("torn-block.ipm", "cards", &blocked[..5_070], &["byte"]),
        bad("no-trailer.ipm", "cards", &bytes[..trailer - 60], &["byte"]),
        bad("amounts.ipm", "cards", &replaced(&bytes, &stated, &other), &["byte", "0301"]),
        bad(
            "count.ipm",
            "cards",
            &replaced(&bytes, "030600800000102", "030600800000103"),
            &["0306"],
        ),
        bad("payments.ipm", "cards", &payments.bytes, &["nacha", "ipm"]),
        bad("ebcdic.ipm", "cards", &ebcdic, &["EBCDIC", "ascii"]),
        bad("garbage.ipm", "cards", &garbage(5_000), &["byte"]),
        bad("empty.ipm", "cards", b"", &["no bytes"]),
        bad("mostly-bad.ipm", "cards", &mostly_bad_messages(), &["record", "60"]),
    ]
}

/// Every one is refused with its reason, its object stays as it is, nothing of it is published, and
/// the good files among them are applied.
#[test]
fn bad_files_are_refused_and_the_next_go_on() {
    let bad_files: Vec<Bad> = bad_payments().into_iter().chain(bad_messages()).collect();
    let good = vec![
        Sent::nacha("a-first.ach", 41, 60),
        Sent::nacha("z-last.ach", 42, 60),
        Sent::ipm("a-first.ipm", 41, 60),
        Sent::ipm("z-last.ipm", 42, 60),
    ];
    let site = Site::with(&good);
    for bad in &bad_files {
        site.drop_in(&bad.sent);
    }
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let mut off = Vec::new();
    for Bad { sent, words } in &bad_files {
        let row = site.file(&sent.name).unwrap_or(Value::Null);
        let reason = row["reason"].as_str().unwrap_or_default();
        if row["state"] != "refused" || row["published"] != 0 || row["applied"] != 0 {
            off.push(format!("{}: {row}", sent.name));
        }
        for word in words.iter().filter(|word| !reason.contains(**word)) {
            off.push(format!("{}: {word:?} is not in {reason:?}", sent.name));
        }
        assert_eq!(fs::read(site.object(sent)).unwrap(), sent.bytes, "{} is as it was", sent.name);
    }
    assert!(off.is_empty(), "{off:#?}");
    site.assert_whole(&good);
    assert_eq!(site.list("rejects"), [] as [Value; 0], "nothing of a refused file is published");

    // The sender's next try under the same name is whole.
    let mended = Sent::nacha("torn.ach", 30, 100);
    site.drop_in(&mended);
    assert_eq!(site.once().code, Some(0));
    site.assert_whole(&[good, vec![mended]].concat());
}

/// Bad records are rejects that say where and what; their neighbours are applied.
#[test]
fn a_bad_record_is_a_reject_and_its_neighbours_are_applied() {
    let mut payments = Payments::drawn(51, 100);
    for (index, spoilt) in [(3, (12, 'X')), (50, (2, '9')), (97, (79, '1'))] {
        payments.entries[index].addenda = None;
        payments.entries[index].code = "22";
        payments.entries[index].cents = 0;
        payments.entries[index].spoilt = Some(spoilt);
    }
    let mut cards = Clearing::drawn(51, 100);
    cards.cards[7].processing = "990000";
    cards.cards[70].kind = ("1240", "999");
    let files = vec![
        Sent { name: "payments.ach".to_owned(), feed: "ach", bytes: payments.bytes() },
        Sent { name: "cards.ipm".to_owned(), feed: "cards", bytes: cards.bytes() },
    ];
    let site = Site::with(&files);
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    site.assert_whole(&files);

    let row = site.file("payments.ach").unwrap();
    assert_eq!(
        (&row["records"], &row["applied"], &row["rejected"]),
        (&100.into(), &97.into(), &3.into())
    );
    let row = site.file("cards.ipm").unwrap();
    assert_eq!(
        (&row["records"], &row["applied"], &row["rejected"]),
        (&100.into(), &98.into(), &2.into())
    );
    let rejects = site.list("rejects");
    assert_eq!(rejects.len(), 5, "{rejects:#?}");
    for reject in &rejects {
        assert!(reject["byte_offset"].as_i64() > Some(0), "{reject}");
        for key in ["reason", "field", "expected", "found"] {
            assert!(!reject[key].as_str().unwrap_or_default().is_empty(), "{key} of {reject}");
        }
    }
    let of_payments = |index: i64| {
        let file = &site.file("payments.ach").unwrap()["file_id"];
        rejects.iter().find(|row| row["file_id"] == *file && row["index"] == index).unwrap()
    };
    for (index, field) in [(3, "check digit"), (50, "transaction code"), (97, "addenda")] {
        let reject = of_payments(index);
        let text = reject["field"].as_str().unwrap_or_default().replace('_', " ");
        assert!(text.contains(field), "{field}: {reject}");
        let at = usize::try_from(reject["byte_offset"].as_i64().unwrap()).unwrap();
        assert_eq!(files[0].bytes[at], b'6', "the reject points at its entry: {reject}");
    }
}

/// An amount that can't be read makes the totals unproven; the rest of the file is applied, and
/// every command that is asked says so.
#[test]
fn an_unreadable_amount_leaves_the_totals_unproven() {
    let mut payments = Payments::drawn(52, 100);
    payments.entries[9].code = "22";
    payments.entries[9].addenda = None;
    payments.entries[9].spoilt = Some((39, 'O'));
    let files = [Sent { name: "letter.ach".to_owned(), feed: "ach", bytes: payments.bytes() }];
    let site = Site::with(&files);
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(site.differences(&files), [] as [String; 0]);
    let rejects = site.list("rejects");
    assert_eq!(rejects.len(), 1, "{rejects:#?}");
    assert_eq!((&rejects[0]["index"], &rejects[0]["field"]), (&9.into(), &"amount".into()));
    let verify = site.batchless(&["verify", "--data", "data"]);
    assert_eq!(verify.code, Some(3), "{}", verify.stdout);
    assert!(verify.stdout.contains("unproven"), "{}", verify.stdout);
}

/// A file that grows while `run` looks: refused or waited for as long as it is not whole, then
/// applied once; nothing of it before.
#[test]
fn a_growing_file_is_applied_once_it_is_whole() {
    let sent = Sent::nacha("growing.ach", 53, 2_000);
    let site = Site::new();
    let working = site.start();
    let mut object = fs::File::create(site.object(&sent)).unwrap();
    let pieces: Vec<&[u8]> = sent.bytes.chunks(sent.bytes.len() / 20).collect();
    // The last piece may be padding alone: the one before it may make the file whole.
    for piece in &pieces[..18] {
        object.write_all(piece).unwrap();
        object.flush().unwrap();
        for (_, state) in site.states() {
            let waits = ["seen", "arrived", "verifying", "refused"].contains(&state.as_str());
            assert!(waits, "{state} before it is whole");
        }
    }
    for piece in &pieces[18..] {
        object.write_all(piece).unwrap();
    }
    drop(object);
    wait_until("it is reconciled", || site.is("growing.ach", "reconciled"), || working.said());
    working.terminate();
    site.assert_whole(&[sent]);
}
