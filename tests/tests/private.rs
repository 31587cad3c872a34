//! No account number is anywhere but in the input: not in what is printed, and not in what is kept.
//!
//! Every site of the suite is scanned at its end. Here everything is asked that prints, and the
//! scanner itself is shown to find what is planted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::batchless::{self, Run};
use crate::scanner::Scanner;
use crate::sender::{Clearing, Page, Payments, Sent};
use crate::site::Site;

/// Good files and some with bad records: in their account fields too, where a reject is tempted to
/// show what it found.
fn files() -> Vec<Sent> {
    let mut payments = Payments::drawn(101, 200);
    payments.entries[5].spoilt = Some((12, 'X'));
    payments.entries[6].spoilt = Some((20, '\u{7f}'));
    payments.entries[7].spoilt = Some((2, '9'));
    let mut cards = Clearing::drawn(101, 200);
    cards.cards[5].processing = "990000";
    cards.cards[6].pan = "54133300890I0012".to_owned();
    cards.cards[7].kind = ("1240", "999");
    let ebcdic = Clearing { page: Page::Ebcdic, ..Clearing::drawn(103, 100) };
    let torn = Sent::ipm("", 102, 100);
    vec![
        Sent { name: "payments.ach".to_owned(), feed: "ach", bytes: payments.bytes() },
        Sent { name: "cards.ipm".to_owned(), feed: "cards", bytes: cards.bytes() },
        Sent { name: "ebcdic.ipm".to_owned(), feed: "cards-ebcdic", bytes: ebcdic.bytes() },
        torn.cut("torn.ipm", torn.bytes.len() / 2),
    ]
}

/// Lets every command print that lists, the loudest run, and single records; the site keeps it.
fn print(site: &Site) {
    let mut command = batchless::command(site.path());
    command.env("BATCHLESS_LOG_FILTER", "trace");
    let run = command.args(["run", "--config", "batchless.toml", "--once"]).output().unwrap();
    let run = Run::from(run);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    site.keep(&run);
    let ask = |arguments: &[&str]| {
        let run = site.batchless(arguments);
        assert!(matches!(run.code, Some(0 | 3)), "{arguments:?}: {run:?}");
        assert!(!run.stdout.is_empty(), "{arguments:?}: {run:?}");
    };
    for output in ["json", "table"] {
        for command in ["files", "accounts", "rejects", "verify"] {
            ask(&[command, "--data", "data", "--output", output]);
        }
        for index in ["0", "1", "5", "6", "7", "199"] {
            ask(&["records", "payments.ach", index, "--data", "data", "--output", output]);
            ask(&["records", "cards.ipm", index, "--data", "data", "--output", output]);
        }
    }
    for file in ["ach/payments.ach", "cards/cards.ipm", "cards/torn.ipm"] {
        ask(&["parse", file]);
    }
}

#[test]
fn no_account_number_is_printed_or_kept() {
    let files = files();
    let site = Site::with(&files);
    print(&site);
    let scan = site.scan();
    assert_eq!(scan.found, [] as [String; 0]);
    assert!(scan.bytes > 1_000_000 && scan.batches > 40, "{scan:?}");

    // The control: the same scan finds them where they are, in each of the inboxes.
    for feed in ["ach", "cards", "cards-ebcdic"] {
        let copy = site.path().join(format!("copy-of-{feed}"));
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(site.path().join(feed)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        assert_eq!(site.scan().found.len(), fs::read_dir(&copy).unwrap().count(), "{feed}");
        fs::remove_dir_all(copy).unwrap();
    }
}

const PLANTED: &str = "5413330089012345";

fn scanner() -> Scanner {
    Scanner::of(&BTreeSet::from([PLANTED.to_owned(), "704918253667".to_owned()]))
}

/// Two digits a byte, after so many halves of bytes that are none.
fn packed(digits: &str, halves: usize) -> Vec<u8> {
    let digits = digits.bytes().map(|digit| digit & 0x0f);
    let halves: Vec<u8> = std::iter::repeat_n(0x0f, halves).chain(digits).chain([0x0f]).collect();
    halves.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0x0f)).collect()
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks(3).flat_map(|three| {
        let three = [three[0], *three.get(1).unwrap_or(&0), *three.get(2).unwrap_or(&0)];
        let [a, b, c] = three.map(usize::from);
        [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63]
    });
    groups.map(|six| LETTERS[six]).collect()
}

/// Every way to write a number, and what the scanner calls it.
fn written() -> Vec<(&'static str, Vec<u8>)> {
    let ebcdic = |digits: &str| digits.bytes().map(|digit| digit | 0xf0).collect::<Vec<u8>>();
    let mut all = vec![
        ("ASCII", format!("WARN card={PLANTED} unknown").into_bytes()),
        ("ASCII", format!("only {} of it", &PLANTED[4..13]).into_bytes()),
        ("EBCDIC", [&[0x40][..], &ebcdic(PLANTED), &[0x40]].concat()),
        ("EBCDIC", ebcdic(&PLANTED[7..])),
    ];
    for place in 0..4 {
        all.push(("packed", packed(PLANTED, place)));
        all.push(("packed", packed("704918253667", place)));
        all.push(("base64", base64(&format!("{}{PLANTED} unknown", &"card"[..place]))));
        all.push(("base64", base64(&format!("{}{}", &"card"[..place], &PLANTED[2..11]))));
    }
    all
}

#[test]
fn a_number_is_found_however_it_is_written() {
    let scanner = scanner();
    assert_eq!(scanner.known(), 12);
    for (expected, bytes) in written() {
        let found = scanner.find(&bytes).unwrap_or_default();
        assert!(found.starts_with(expected), "{expected}: {found:?} in {bytes:02x?}");
        let among = [&[0xfe; 100][..], &bytes, &[0xfe; 100]].concat();
        assert!(scanner.find(&among).is_some(), "{expected} among others");
    }
    // Eight digits of it, other digits, and its digits with something between are none.
    for text in ["54133300", "541333009", "5413 3300 8901", "123456789012345678901234567890"] {
        assert_eq!(scanner.find(text.as_bytes()), None, "{text}");
    }
}

/// Bytes packed by LZ4 so that the number in them does not stand in a row any more.
fn compressed() -> (usize, Vec<u8>) {
    let (front, back) = PLANTED.split_at(8);
    let body = format!("first {front}, then {back}, then {PLANTED} whole");
    let packed = lz4_flex::block::compress(body.as_bytes());
    assert_eq!(scanner().find(&packed), None, "{packed:02x?}");
    (body.len(), packed)
}

fn planted_in_log(path: &Path) {
    let (size, body) = compressed();
    let log = Connection::open(path).unwrap();
    let sql = "INSERT INTO batches (place, base, next, size, crc, body)
               VALUES (0, 1000000, 1000001, ?1, 0, ?2)";
    log.execute(sql, rusqlite::params![i64::try_from(size).unwrap(), body]).unwrap();
}

/// What is planted among what a run leaves behind is found: in a log, in a file of its own, in a
/// cell of a database, in a write-ahead log, in a compressed record batch of the log.
#[test]
fn a_planted_number_is_found_among_what_is_left_behind() {
    let sent = Sent::nacha("payments.ach", 104, 50);
    let site = Site::with(std::slice::from_ref(&sent));
    assert_eq!(site.once().code, Some(0));
    let is_clean = || scanner().scan(site.path(), &["ach"]).found.is_empty();
    assert!(is_clean());
    let (log, said) = (site.data().join("log.db"), site.path().join("stderr.txt"));
    let (whole, before) = (fs::read(&log).unwrap(), fs::read(&said).unwrap());
    for (number, (written, bytes)) in written().into_iter().enumerate() {
        fs::write(&said, [&before[..], &bytes].concat()).unwrap();
        assert!(!is_clean(), "{written} in what was printed");
        fs::write(&said, &before).unwrap();
        let database = site.data().join(format!("planted-{number}.db"));
        let planted = Connection::open(&database).unwrap();
        planted.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b BLOB)").unwrap();
        planted.execute("INSERT INTO a VALUES (?1)", [&bytes]).unwrap();
        assert!(!is_clean(), "{written} in a cell");
        drop(planted);
        fs::remove_file(database).unwrap();
        assert!(is_clean());
    }
    planted_in_log(&log);
    let found = scanner().scan(site.path(), &["ach"]).found;
    assert!(found.len() == 1 && found[0].starts_with("arrivals/0"), "{found:?}");
    fs::write(&log, whole).unwrap();
}
