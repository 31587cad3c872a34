//! No account number is anywhere but in the input: not in what is printed, and not in what is kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::batchless;
use crate::oracle;
use crate::sender::{Clearing, Payments, Sent};
use crate::site::Site;

/// So many digits of a number in a row would be too many: the label that may travel has four.
const DIGITS: usize = 9;

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
    let torn = Sent::ipm("", 102, 100);
    vec![
        Sent { name: "payments.ach".to_owned(), feed: "ach", bytes: payments.bytes() },
        Sent { name: "cards.ipm".to_owned(), feed: "cards", bytes: cards.bytes() },
        torn.cut("torn.ipm", torn.bytes.len() / 2),
    ]
}

/// Every run of nine digits of every account number in these files.
fn numbers(files: &[Sent]) -> BTreeSet<Vec<u8>> {
    let mut numbers = BTreeSet::from([b"541333008".to_vec()]);
    for sent in files {
        let books = oracle::read(sent.format(), &sent.bytes).books;
        for (account, _) in books.customers.keys() {
            let number = account.rsplit(':').next().unwrap();
            numbers.extend(number.as_bytes().windows(DIGITS).map(<[u8]>::to_vec));
        }
    }
    numbers
}

/// Where a text holds any of the numbers.
fn found(numbers: &BTreeSet<Vec<u8>>, what: &str, bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(DIGITS).position(|window| numbers.contains(window))?;
    Some(format!("{what}, byte {at}"))
}

/// What is printed by every command that lists, by the loudest run, and for single records.
fn printed(site: &Site) -> Vec<(String, Vec<u8>)> {
    let mut command = batchless::command(site.path());
    command.env("BATCHLESS_LOG_FILTER", "trace");
    let run = command.args(["run", "--config", "batchless.toml", "--once"]).output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    let mut printed = vec![("run".to_owned(), [run.stdout, run.stderr].concat())];
    let mut ask = |arguments: &[&str]| {
        let run = site.batchless(arguments);
        assert!(matches!(run.code, Some(0 | 3)), "{arguments:?}: {run:?}");
        printed.push((arguments.join(" "), (run.stdout + &run.stderr).into_bytes()));
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
    printed
}

/// Every file below a folder, as bytes; databases as the text of their rows too.
fn kept(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            kept.extend(self::kept(&path));
            continue;
        }
        if name.ends_with(".db") {
            kept.push((format!("rows of {name}"), rows(&path)));
        }
        kept.push((name, fs::read(&path).unwrap()));
    }
    kept
}

/// All cells of all tables.
fn rows(database: &Path) -> Vec<u8> {
    use rusqlite::types::Value;
    let connection = rusqlite::Connection::open(database).unwrap();
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut bytes = Vec::new();
    for table in tables {
        let mut query = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = query.column_count();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get::<_, Value>(column).unwrap() {
                    Value::Text(text) => bytes.extend(text.into_bytes()),
                    Value::Blob(blob) => bytes.extend(blob),
                    _ => (),
                }
                bytes.push(b'\n');
            }
        }
    }
    bytes
}

#[test]
fn no_account_number_is_printed_or_kept() {
    let files = files();
    let numbers = numbers(&files);
    assert!(numbers.len() > 300);
    let site = Site::with(&files);
    let mut texts = printed(&site);
    assert!(texts.iter().all(|(_, text)| !text.is_empty()));
    texts.extend(kept(&site.data()));
    assert!(texts.iter().any(|(name, _)| name.starts_with("rows of ")));
    let leaks: Vec<String> =
        texts.iter().filter_map(|(what, bytes)| found(&numbers, what, bytes)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");

    // The controls: the input has them, and so has a log line and a database that tell one.
    for sent in &files {
        assert!(found(&numbers, &sent.name, &sent.bytes).is_some(), "{}", sent.name);
    }
    assert!(found(&numbers, "planted", b"WARN card=5413330089010012 unknown").is_some());
    let planted = site.data().join("planted.db");
    let database = rusqlite::Connection::open(&planted).unwrap();
    database
        .execute_batch("CREATE TABLE a (b TEXT); INSERT INTO a VALUES ('5413330089010012')")
        .unwrap();
    assert!(found(&numbers, "planted", &rows(&planted)).is_some());
}
