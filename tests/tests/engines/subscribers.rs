//! Subscribers that are not ours: a script in Python that decodes every value with the registry's
//! schema (`subscribers/read.py`), and kcat for the headers.
//!
//! They know the published schemas and nothing of the product; what they read is compared with what
//! the oracle makes of the input files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::cluster::{Cluster, KEY, Plan};
use crate::main_job::every_kind;
use crate::oracle::audit::file_id;
use crate::oracle::books::{Books, Direction, LedgerKey};
use crate::oracle::{self, Reading};
use crate::sender::{Payments, Sent};

/// The headers of every event, in the order of names.
const HEADERS: [&str; 7] =
    ["ce_id", "ce_source", "ce_specversion", "ce_subject", "ce_time", "ce_type", "content-type"];

/// A message as `read.py` prints it.
#[derive(Clone, Debug)]
struct Row {
    /// Its topic, without the prefix.
    topic: String,
    partition: u64,
    offset: u64,
    key: String,
    headers: BTreeMap<String, String>,
    /// The name of its schema in the registry; empty where the message removes its key.
    name: String,
    event: Value,
}

impl Row {
    fn text(&self, field: &str) -> &str {
        self.event[field].as_str().unwrap_or_default()
    }

    fn number(&self, field: &str) -> i64 {
        self.event[field].as_i64().unwrap_or(-1)
    }
}

/// What is to be read: the files, and which of them was undone afterwards.
struct Expected {
    ledger: String,
    files: BTreeMap<String, Reading>,
    undone: String,
    commands: u64,
    changes: u64,
}

/// Every topic is read, every type of event decodes with the schema of its id, and what is read
/// is what the oracle expects: how many of each type, the fields of every record, and the balances
/// that follow from the postings.
#[test]
fn subscribers_that_are_not_ours_read_every_topic() {
    let _alone = super::alone();
    let cluster = Cluster::new(Plan::shared());
    let (files, expected) = work(&cluster);

    let rows = read(&cluster);
    let off = differences(&expected, &rows);
    assert!(off.is_empty(), "{off:#?}");
    let (messages, off) = compare_headers(&cluster, &rows);
    assert!(off.is_empty(), "{off:#?}");
    assert_eq!(messages, rows.len());
    assert_private(&files, &rows);

    let types: BTreeSet<_> = rows.iter().map(|row| &row.name).filter(|it| !it.is_empty()).collect();
    println!(
        "subscribers: {} messages of {} types on {} topics decoded by fastavro with the registry's \
         schemas, {messages} with all headers by kcat; balances from the postings are the oracle's",
        rows.len(),
        types.len(),
        rows.iter().map(|row| &row.topic).collect::<BTreeSet<_>>().len(),
    );

    // The controls: an event less, an event twice, and another amount are found.
    let at = rows.iter().position(|row| row.name == "batchless.ClearingRecord").unwrap();
    let without: Vec<Row> =
        rows.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, row)| row.clone()).collect();
    let twice = [&rows[..], &[rows[at].clone()]].concat();
    let mut other = rows.clone();
    other[at].event["amount_minor"] = 1.into();
    for changed in [without, twice, other] {
        assert!(!differences(&expected, &changed).is_empty());
    }
}

/// Has everything said that there is to say: files of all kinds, bad records among them, a file
/// that is undone, an account that is frozen and freed.
fn work(cluster: &Cluster) -> (Vec<Sent>, Expected) {
    let undone = Sent::ipm("undone.ipm", 701, 120);
    let mut payments = Payments::drawn(702, 200);
    for entry in payments.entries.iter_mut().take(2) {
        entry.spoilt = Some((12, 'X'));
    }
    let spoilt = Sent { name: "spoilt.ach".to_owned(), feed: "ach", bytes: payments.bytes() };
    let files = [every_kind(7), vec![undone.clone(), spoilt]].concat();
    files.iter().for_each(|sent| cluster.drop_in(sent));

    let mut working = cluster.start("run");
    cluster.wait_until_reconciled(&files);
    let done = |arguments: &[&str]| {
        let run = cluster.batchless(&[arguments, &["--output", "json"]].concat());
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run.objects().pop().unwrap()
    };
    let reverse = ["reverse", "undone.ipm"];
    let plan = done(&reverse);
    let token = plan["token"].as_str().unwrap();
    let answer = done(&[&reverse[..], &["--execute", token]].concat());
    assert_eq!(answer["outcome"], "done", "{answer}");
    let accounts = cluster.list("accounts");
    let customer = accounts.iter().find(|row| row["owner"] == "customer").unwrap();
    let account = customer["account"].as_str().unwrap();
    for (word, state) in [("freeze", "frozen"), ("unfreeze", "open")] {
        assert_eq!(done(&["accounts", word, account])["state"], state);
    }
    working.terminate();

    let id = |sent: &Sent| file_id(&cluster.name, 0, &sent.bytes);
    let expected = Expected {
        ledger: cluster.name.clone(),
        files: files.iter().map(|it| (id(it), oracle::read(it.format(), &it.bytes))).collect(),
        undone: id(&undone),
        commands: 1,
        changes: 2,
    };
    (files, expected)
}

/// Reads all topics by the script.
fn read(cluster: &Cluster) -> Vec<Row> {
    let python = std::env::var("BATCHLESS_PYTHON").unwrap_or_else(|_| {
        panic!("BATCHLESS_PYTHON names no Python with fastavro and confluent-kafka; run ./test")
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/subscribers/read.py");
    let (engines, prefix) = (&cluster.plan.engines, cluster.prefix());
    let output = Command::new(python)
        .arg(script)
        .args([&engines.kafka, &prefix, &engines.registry])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| row(&prefix, &serde_json::from_str(line).unwrap())).collect()
}

fn row(prefix: &str, line: &Value) -> Row {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = line["headers"].as_object().unwrap();
    Row {
        topic: text(&line["topic"]).strip_prefix(prefix).unwrap().to_owned(),
        partition: line["partition"].as_u64().unwrap(),
        offset: line["offset"].as_u64().unwrap(),
        key: text(&line["key"]),
        headers: headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        name: text(&line["type"]),
        event: line["event"].clone(),
    }
}

/// What differs between what was read and what the oracle expects.
fn differences(expected: &Expected, rows: &[Row]) -> Vec<String> {
    let mut off = counts(expected, rows);
    off.extend(records(expected, rows));
    off.extend(balances(expected, rows));
    off.extend(last_rows(expected, rows));
    off
}

/// How many events of each type there are, on the topic where they belong.
fn counts(expected: &Expected, rows: &[Row]) -> Vec<String> {
    let records = rows.iter().filter(|row| row.name == "batchless.ClearingRecord");
    let touched: BTreeSet<_> = records.map(|row| (row.text("file_id"), row.partition)).collect();
    let closed = touched.len() as u64;
    let reversals = touched.iter().filter(|(file, _)| *file == expected.undone).count() as u64;
    let bad: u64 = expected.files.values().map(|reading| reading.bad.len() as u64).sum();
    let good = |reading: &Reading| reading.records - reading.bad.len() as u64;
    let applied: u64 = expected.files.values().map(good).sum();
    let undone = good(&expected.files[&expected.undone]);
    let outcomes = applied + closed + undone + 2 * reversals + expected.changes;
    let exactly = [
        ("commands", "FileCommand", expected.commands),
        ("commands", "PublishFile", expected.files.len() as u64),
        ("commands", "SegmentApplied", closed + reversals),
        ("files", "Ledger", 1),
        ("records", "ClearingRecord", applied),
        ("records", "SegmentClosed", closed),
        ("records", "Reversal", reversals),
        ("records", "AccountChanged", expected.changes),
        ("rejects", "RecordRejected", bad),
        ("postings", "Outcome", outcomes),
    ];
    let mut found: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in rows {
        let name = row.name.strip_prefix("batchless.").unwrap_or(&row.name);
        *found.entry((&row.topic, name)).or_default() += 1;
    }
    let mut off = Vec::new();
    for (topic, name, wanted) in exactly {
        let count = found.remove(&(topic, name)).unwrap_or_default();
        if count != wanted {
            off.push(format!("{topic}: expected {wanted} events {name}, found {count}"));
        }
    }
    // Rows are written as often as something changes; at the end of each file and object they are
    // looked at one by one.
    for often in [("files", "File"), ("arrivals", "Arrival")] {
        if found.remove(&often).is_none() {
            off.push(format!("{}: expected events {}, found none", often.0, often.1));
        }
    }
    off.extend(found.keys().map(|(topic, name)| format!("{topic}: an event {name:?}")));
    off
}

/// Every record is there once, with the account, direction, amount and currency of its file.
fn records(expected: &Expected, rows: &[Row]) -> Vec<String> {
    let key = LedgerKey::new(KEY);
    let mut found: BTreeMap<(&str, i64), &Row> = BTreeMap::new();
    let mut off = Vec::new();
    for row in rows.iter().filter(|row| row.name == "batchless.ClearingRecord") {
        let place = (row.text("file_id"), row.number("index"));
        if found.insert(place, row).is_some() {
            off.push(format!("record {place:?} is there twice"));
        }
        if row.headers["ce_id"] != format!("{}/{}", place.0, place.1) {
            off.push(format!("record {place:?} is called {}", row.headers["ce_id"]));
        }
    }
    for (file, reading) in &expected.files {
        for index in (0..reading.records).filter(|index| !reading.bad.contains(index)) {
            let Some(row) = found.remove(&(file.as_str(), index.cast_signed())) else {
                off.push(format!("record {file}/{index} is not there"));
                continue;
            };
            let Some(effect) = reading.effects.get(&index) else { continue };
            let direction = match effect.direction {
                Direction::Debit => "debit",
                Direction::Credit => "credit",
            };
            let mut is_so = i128::from(row.number("amount_minor")) == effect.amount
                && row.text("currency") == effect.currency;
            if !effect.is_house {
                let token = key.token(&effect.account);
                is_so &= row.text("direction") == direction;
                is_so &= row.text("account") == token && row.key == token;
            }
            if !is_so {
                off.push(format!("record {file}/{index}: expected {effect:?}, found {row:?}"));
            }
        }
    }
    off.extend(found.keys().map(|place| format!("record {place:?} is in no file")));
    off
}

/// The legs of all postings come to the balances that the files make, without the one undone.
fn balances(expected: &Expected, rows: &[Row]) -> Vec<String> {
    let key = LedgerKey::new(KEY);
    let mut books = Books::default();
    let left = expected.files.iter().filter(|(file, _)| **file != expected.undone);
    left.for_each(|(_, reading)| books.add(&reading.books));
    let mut sums: BTreeMap<(String, String), i128> = BTreeMap::new();
    for ((account, currency), sides) in &books.customers {
        *sums.entry((key.token(account), currency.clone())).or_default() +=
            sides.credits - sides.debits;
    }
    for (house, sides) in &books.houses {
        *sums.entry(house.clone()).or_default() += sides.credits - sides.debits;
    }
    for row in rows.iter().filter(|row| row.name == "batchless.Outcome") {
        for leg in row.event["legs"].as_array().unwrap() {
            let text = |field: &str| leg[field].as_str().unwrap();
            let account = match text("account").split_once(':') {
                Some((house, _)) if text("owner") == "house" => house,
                _ => text("account"),
            };
            let amount = i128::from(leg["amount_minor"].as_i64().unwrap());
            let entry = sums.entry((account.to_owned(), text("currency").to_owned()));
            // What was read is taken from what is expected: nothing must be left.
            *entry.or_default() -= if text("direction") == "credit" { amount } else { -amount };
        }
    }
    let left = sums.into_iter().filter(|(_, sum)| *sum != 0);
    left.map(|(entry, sum)| format!("balance of {entry:?}: {sum} too little")).collect()
}

/// The newest row of each file and object says how it ended.
fn last_rows(expected: &Expected, rows: &[Row]) -> Vec<String> {
    let mut off = Vec::new();
    let newest = |name: &str| -> BTreeMap<&str, &Row> {
        let rows = rows.iter().filter(|row| row.name == name);
        rows.map(|row| (row.key.as_str(), row)).collect()
    };
    let files = newest("batchless.File");
    for file in expected.files.keys() {
        let state = files.get(file.as_str()).map_or("", |row| row.text("state"));
        let wanted = if *file == expected.undone { "reversed" } else { "reconciled" };
        if state != wanted {
            off.push(format!("file {file}: expected {wanted}, found {state:?}"));
        }
    }
    let arrivals = newest("batchless.Arrival");
    let verified = arrivals.values().filter(|row| row.text("state") == "verified").count();
    if files.len() != expected.files.len() || verified != expected.files.len() {
        off.push(format!("{} files, {verified} verified objects", files.len()));
    }
    let ledger = rows.iter().find(|row| row.name == "batchless.Ledger");
    if ledger.is_none_or(|row| row.text("name") != expected.ledger) {
        off.push(format!("ledger: expected {}, found {ledger:?}", expected.ledger));
    }
    off
}

/// Reads every topic by kcat, and compares its headers with what they must be. Gives how many
/// messages kcat read, and what is off.
fn compare_headers(cluster: &Cluster, rows: &[Row]) -> (usize, Vec<String>) {
    let by_place: BTreeMap<_, _> =
        rows.iter().map(|row| ((row.topic.as_str(), row.partition, row.offset), row)).collect();
    let topics: BTreeSet<_> = rows.iter().map(|row| row.topic.as_str()).collect();
    let (mut messages, mut off) = (0, Vec::new());
    for topic in topics {
        for line in kcat(cluster, topic).lines() {
            let [partition, offset, headers] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                off.push(format!("{topic}: kcat prints {line}"));
                continue;
            };
            messages += 1;
            let place = (topic, partition.parse().unwrap(), offset.parse().unwrap());
            let headers: BTreeMap<&str, &str> =
                headers.split(',').filter_map(|header| header.split_once('=')).collect();
            match by_place.get(&place) {
                None => off.push(format!("{place:?} is read by kcat alone")),
                Some(row) if is_cloud_event(cluster, row, &headers) => (),
                Some(row) => off.push(format!("{place:?}: {headers:?} of {}", row.name)),
            }
        }
    }
    (messages, off)
}

fn kcat(cluster: &Cluster, topic: &str) -> String {
    let topic = format!("{}{topic}", cluster.prefix());
    let output = Command::new("kcat")
        .args(["-C", "-q", "-e", "-o", "beginning", "-X", "isolation.level=read_committed"])
        .args(["-b", &cluster.plan.engines.kafka, "-t", &topic, "-f", "%p %o %h\\n"])
        .output()
        .expect("kcat, which ./test installs");
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// CloudEvents 1.0 in binary mode, and nothing else.
fn is_cloud_event(cluster: &Cluster, row: &Row, headers: &BTreeMap<&str, &str>) -> bool {
    let is = |name: &str, value: &str| headers.get(name) == Some(&value);
    let is_said = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    let is_type = match row.name.as_str() {
        // What removes a row is of the row's type.
        "" => is("ce_type", "batchless.Arrival"),
        name => is("ce_type", name),
    };
    headers.keys().copied().eq(HEADERS)
        && is("ce_specversion", "1.0")
        && is("ce_source", &format!("/batchless/{}", cluster.name))
        && is("content-type", "application/avro")
        && is_said("ce_id")
        && is_said("ce_subject")
        && is_type
        && headers.get("ce_time").is_some_and(|time| is_moment(time))
        && headers.iter().all(|(name, value)| row.headers.get(*name).is_some_and(|it| it == value))
}

/// RFC 3339 in UTC: `2025-11-20T10:11:12.345Z`.
fn is_moment(text: &str) -> bool {
    let Some((seconds, fraction)) = text.strip_suffix('Z').and_then(|it| it.split_at_checked(19))
    else {
        return false;
    };
    let shape: String =
        seconds.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    let is_fraction = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    shape == "0000-00-00T00:00:00"
        && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(is_fraction))
}

/// No number of an account or a card is in what was read.
fn assert_private(files: &[Sent], rows: &[Row]) {
    let numbers: BTreeSet<String> =
        files.iter().flat_map(|sent| oracle::numbers(&sent.bytes)).collect();
    assert!(!numbers.is_empty());
    // Short numbers turn up in sums by chance.
    let telling: Vec<&String> = numbers.iter().filter(|number| 12 <= number.len()).collect();
    for row in rows {
        let said = format!("{row:?}");
        for number in &telling {
            assert!(!said.contains(*number), "an account number is in {}", row.topic);
        }
    }
}
