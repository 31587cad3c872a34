//! SIGTERM at any moment: the work in hand ends, is committed and published, and nothing is done
//! again.

use std::collections::{BTreeMap, HashSet};

use rusqlite::Connection;

use crate::oracle::topics;
use crate::sender::{Dice, Sent};
use crate::site::{Site, wait_until};

/// How often it is told to stop.
const STOPS: usize = 100;

/// How many records a file has.
const RECORDS: u64 = 3_000;

/// How many files are dropped before the first start, so that seldom all are at an end.
const AHEAD: usize = 3;

/// A run is stopped before the log has been given so many record batches more: about as many as one
/// file makes, so that mostly there is more to do.
const BATCHES_MAX: u64 = 50;

/// A file that nobody dropped before.
fn file(number: usize) -> Sent {
    let seed = 9_000 + number as u64;
    match number % 3 {
        0 => Sent::nacha(&format!("payments-{number}.ach"), seed, RECORDS),
        1 => Sent::ipm(&format!("cards-{number}.ipm"), seed, RECORDS),
        _ => Sent::nacha("", seed, RECORDS).gzipped(&format!("packed-{number}.ach.gz")),
    }
}

/// How many record batches the log has been given.
fn batches(log: &Connection) -> u64 {
    let newest = "SELECT coalesce(max(id), 0) FROM batches";
    let newest: i64 = log.query_row(newest, [], |row| row.get(0)).unwrap();
    newest.unsigned_abs()
}

/// Numbers by shard.
fn by_shard(database: &Connection, sql: &str) -> BTreeMap<i64, i64> {
    let mut query = database.prepare(sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Nothing is left between applied and published, and the group's position says how far it is: so
/// nothing is given again to whoever goes on.
fn assert_nothing_is_in_flight(site: &Site) {
    let (store, log) = (site.database("accounts.db"), site.database("log.db"));
    let applied = by_shard(&store, "SELECT shard, next_offset FROM shards WHERE next_offset > 0");
    let position = "SELECT partition, next FROM positions JOIN partitions USING (place)
                    WHERE topic = 'records' AND group_name = 'processors' AND next > 0";
    assert_eq!(by_shard(&log, position), applied, "positions are what is applied");
    let numbered = by_shard(&store, "SELECT shard, next_number FROM shards WHERE next_number > 0");
    let published = "SELECT partition, max(next) FROM batches JOIN partitions USING (place)
                     WHERE topic = 'postings' GROUP BY partition";
    assert_eq!(by_shard(&log, published), numbered, "every outcome is published");
}

/// Every record came once and is applied once, each shard answered once for each file, every
/// outcome is published once, and no id is used twice.
fn assert_once(site: &Site, records: u64) {
    let (store, log) = (site.database("accounts.db"), site.database("log.db"));
    let count = |sql: &str| -> i64 { store.query_row(sql, [], |row| row.get(0)).unwrap() };
    let applied = count("SELECT sum(applied) FROM runs").unsigned_abs();
    assert_eq!((applied, count("SELECT sum(rejected + duplicates) FROM runs")), (records, 0));
    let numbered = count("SELECT count(*) FROM outcomes WHERE sequence IS NULL");
    assert_eq!(numbered, count("SELECT count(*) FROM runs"), "one answer a shard and file");
    let mut seen = HashSet::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for topic in ["commands", "records", "rejects", "postings"] {
        topics::each_batch(&log, Some(topic), |batch| {
            for message in batch.messages() {
                let is_new = seen.insert(format!("{topic} {}", message.id));
                assert!(is_new && !message.replayed, "{topic}: {} came again", message.id);
                *counts.entry(topic.to_owned()).or_default() += 1;
                if topic == "postings" {
                    assert_eq!(message.id, format!("{}/{}", batch.partition, message.offset));
                }
            }
        });
    }
    let answers = numbered.unsigned_abs();
    assert_eq!(counts["records"], records + answers);
    assert_eq!(counts["postings"], records + answers);
}

/// A hundred times, each after a random amount of progress with more files under way: it ends in
/// order, and within 5 s, or its exit code would be another.
#[test]
fn told_to_stop_a_hundred_times_nothing_is_done_again() {
    let site = Site::new();
    site.configure("data = \"data\"\n", "data = \"data\"\nstop.grace_seconds = 5\n");
    let mut dice = Dice::new(7);
    let (mut before, mut in_the_middle) = (0, 0);
    let mut files: Vec<Sent> = (0..AHEAD).map(file).collect();
    files.iter().for_each(|sent| site.drop_in(sent));
    for _ in 0..STOPS {
        let sent = file(files.len());
        site.drop_in(&sent);
        files.push(sent);
        let enough = before + dice.below(BATCHES_MAX);
        let working = site.start();
        wait_until("it has started", || working.has_started(), || working.said());
        let all_ended = || working.said().matches("file reconciled").count() == files.len();
        let log = site.database("log.db");
        let is_so = || batches(&log) >= enough || all_ended();
        wait_until("it is so far", is_so, || working.said());
        let said = working.terminate();
        assert_nothing_is_in_flight(&site);
        before = batches(&log);
        in_the_middle += usize::from(said.matches("file reconciled").count() < files.len());
    }
    let last = site.once();
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    assert_nothing_is_in_flight(&site);
    assert_once(&site, files.len() as u64 * RECORDS);

    let reconciled = site.states().iter().filter(|(_, state)| state == "reconciled").count();
    assert_eq!(reconciled, files.len());
    assert_eq!(site.differences(&files), [] as [String; 0]);
    let verify = site.batchless(&["verify", "--data", "data"]);
    assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
    println!("told to stop {STOPS} times, {in_the_middle} of them with files under way");
    assert!(in_the_middle * 2 >= STOPS, "{in_the_middle} of {STOPS} with files under way");
}
