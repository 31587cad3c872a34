//! The account store deleted, and made again from the log: not a row is another. And the order in
//! which files arrive changes no balance.

use std::collections::BTreeSet;
use std::fs;

use rusqlite::Connection;

use crate::operator;
use crate::sender::{Clearing, Page, Payments, Sent};
use crate::site::{Site, wait_until};

/// Both formats, with records that can't be read.
fn files(records: u64) -> Vec<Sent> {
    let mut payments = Payments::drawn(201, records);
    payments.entries[70].spoilt = Some((12, 'X'));
    let mut cards = Clearing::drawn(201, records);
    cards.cards[7].processing = "990000";
    vec![
        Sent { name: "payments.ach".to_owned(), feed: "ach", bytes: payments.bytes() },
        Sent { name: "cards.ipm".to_owned(), feed: "cards", bytes: cards.bytes() },
    ]
}

/// A file of cards of which nobody knows some: where its feed opens no accounts, they are rejected
/// while they are applied.
fn unknown_cards() -> Sent {
    let mut clearing = Clearing { page: Page::Ebcdic, ..Clearing::drawn(202, 500) };
    for card in clearing.cards.iter_mut().step_by(5) {
        card.pan = card.pan.replace("541333", "541444");
    }
    let name = "unknown.ipm".to_owned();
    Sent { name, feed: "cards-ebcdic", bytes: clearing.bytes() }
}

/// A site with files applied, records rejected before and while they were applied, files that came
/// again, records published again, a range undone and a file undone.
fn applied(records: u64) -> Site {
    let site = Site::with(&files(records));
    site.configure(
        "encoding = \"cp500\"\n",
        "encoding = \"cp500\"\nunknown_accounts = \"reject\"\n",
    );
    assert_eq!(site.once().code, Some(3));
    for sent in files(records) {
        site.drop_in(&sent.renamed(&format!("again-{}", sent.name)));
    }
    site.drop_in(&unknown_cards());
    assert_eq!(site.once().code, Some(3));
    for command in [
        &["reverse", "payments.ach", "--records", "10..500"][..],
        &["replay", "cards.ipm", "--records", "100..199"],
        &["reverse", "unknown.ipm"],
    ] {
        operator::execute(&site, command);
    }
    let row = site.file("unknown.ipm").unwrap();
    assert!(number_of(&site, "reversed") > 800 && number_of(&site, "duplicates") == 100, "{row}");
    assert!(row["rejected"].as_i64() > Some(50) && row["applied"].as_i64() > Some(300), "{row}");
    site
}

/// A sum over what the shards have of all files.
fn number_of(site: &Site, column: &str) -> i64 {
    let sum = format!("SELECT sum({column}) FROM runs");
    site.database("accounts.db").query_row(&sum, [], |row| row.get(0)).unwrap()
}

/// The rows of the store, but for the spans, which say how events were grouped into commits.
fn rows(site: &Site) -> Vec<String> {
    site.stored_rows().into_iter().filter(|row| !row.starts_with("spans")).collect()
}

/// Fails unless each row is there before and after, and says which are not.
fn assert_equal(before: &[String], after: &[String]) {
    let missing = |from: &[String], rows: &[String]| -> Vec<String> {
        let rows: BTreeSet<&String> = rows.iter().collect();
        from.iter().filter(|row| !rows.contains(row)).take(3).cloned().collect()
    };
    let (lost, new) = (missing(before, after), missing(after, before));
    assert!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}, new: {new:#?}");
    assert_eq!(before.len(), after.len());
}

fn delete_store(site: &Site) {
    for name in ["accounts.db", "accounts.db-wal", "accounts.db-shm"] {
        let path = site.data().join(name);
        assert!(name != "accounts.db" || path.is_file());
        drop(fs::remove_file(path));
    }
}

/// How many outcomes the store has; none while it is being made.
fn outcomes(site: &Site) -> i64 {
    let count = |store: Connection| {
        store.query_row("SELECT count(*) FROM outcomes", [], |row| row.get(0)).ok()
    };
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = Connection::open_with_flags(site.data().join("accounts.db"), flags).ok();
    store.and_then(count).unwrap_or_default()
}

/// One more file, and all is as if nothing had happened.
fn assert_goes_on(site: &Site) {
    let later = Sent::nacha("later.ach", 203, 500);
    site.drop_in(&later);
    assert_eq!(site.once().code, Some(0));
    assert!(site.is("later.ach", "reconciled"), "{:?}", site.states());
    let verify = site.batchless(&["verify", "--data", "data"]);
    assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
}

#[test]
fn a_store_that_is_gone_is_made_again() {
    let site = applied(3_000);
    let before = rows(&site);
    delete_store(&site);
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_equal(&before, &rows(&site));
    assert_goes_on(&site);
}

/// Killed again and again while the store is made: each time it goes on where it was.
#[test]
fn killed_while_the_store_is_made_it_goes_on() {
    let site = applied(20_000);
    let before = rows(&site);
    let all = outcomes(&site);
    delete_store(&site);
    let mut partial = 0;
    for tenths in [0, 1, 3, 5, 8] {
        let working = site.start();
        let is_so = || outcomes(&site) >= all * tenths / 10;
        wait_until("so much is made", is_so, || working.said());
        working.kill();
        partial += usize::from((1..all).contains(&outcomes(&site)));
    }
    println!("killed {partial} times between the first outcome and the last");
    assert!(partial >= 2, "killed in the middle");
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_equal(&before, &rows(&site));
    assert_goes_on(&site);
}

/// Balances by shard, account and currency.
fn balances(site: &Site) -> Vec<(i64, String, String, i64, i64)> {
    let store = site.database("accounts.db");
    let sql = "SELECT shard, account, currency, debits_minor, credits_minor FROM balances";
    let mut query = store.prepare(sql).unwrap();
    let rows = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Two ledgers of one key, the same files in two orders: each account has the same balances.
#[test]
fn the_order_of_arrival_changes_no_balance() {
    let mut files = files(3_000);
    files.extend((0..3).flat_map(|more| {
        let name = |ending: &str| format!("more-{more}.{ending}");
        [Sent::nacha(&name("ach"), 210 + more, 400), Sent::ipm(&name("ipm"), 210 + more, 400)]
    }));
    let one = Site::new();
    for sent in &files {
        one.drop_in(sent);
        assert!(matches!(one.once().code, Some(0 | 3)));
    }
    let other = Site::new();
    let key =
        format!("data = \"data\"\nledger.key_file = \"{}\"\n", one.data().join("key").display());
    other.configure("data = \"data\"\n", &key);
    for sent in files.iter().rev() {
        other.drop_in(sent);
        assert!(matches!(other.once().code, Some(0 | 3)));
    }
    let ours = balances(&one);
    assert!(ours.len() > 250, "{}", ours.len());
    assert!(ours == balances(&other), "each account has the same balances");
    assert_eq!(one.differences(&files), [] as [String; 0]);
}
