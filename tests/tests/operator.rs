//! An operator: undo, hold, cancel, replay, resubmit and accept, beside a run at work and without
//! one, and killed in the middle. Balances are the oracle's, to the minor unit.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use crate::oracle::books::{Books, Entry, LedgerKey};
use crate::oracle::{self, topics};
use crate::sender::{Dice, Payments, Sent};
use crate::site::{Site, Working, wait_until};

const DATA: [&str; 4] = ["--data", "data", "--output", "json"];

/// How many records are in one publish, at most.
/// What is published at once: at most four chunks, where as many wait.
const RECORDS_TOGETHER: i64 = 4 * 5_000;

/// What a command comes to that must be done.
fn done(site: &Site, command: &[&str]) -> Value {
    let run = site.batchless(&[command, &DATA].concat());
    assert_eq!(run.code, Some(0), "{command:?}: {run:?}");
    run.objects().pop().unwrap()
}

/// Why a command is refused.
fn refused(site: &Site, command: &[&str]) -> String {
    let run = site.batchless(&[command, &DATA].concat());
    assert_eq!(run.code, Some(1), "{command:?}: {run:?}");
    run.stderr
}

/// The token of a plan.
fn planned(site: &Site, command: &[&str]) -> String {
    done(site, command)["token"].as_str().unwrap().to_owned()
}

/// Plans, then executes.
pub(crate) fn execute(site: &Site, command: &[&str]) -> Value {
    let token = planned(site, command);
    let answer = done(site, &[command, &["--execute", &token]].concat());
    assert_eq!(answer["outcome"], "done", "{answer}");
    answer
}

/// Starts a command that may be killed.
fn begin(site: &Site, command: &[&str]) -> Working {
    site.start_with(&[command, &DATA].concat())
}

/// A file of payments without the records of these indices.
fn without(seed: u64, records: u64, out: std::ops::RangeInclusive<usize>) -> Sent {
    let mut payments = Payments::drawn(seed, records);
    payments.entries.drain(out);
    Sent { name: "rest.ach".to_owned(), feed: "ach", bytes: payments.bytes() }
}

/// Credits less debits by account and currency as the oracle has them, where that isn't zero;
/// house accounts by their kind.
fn expected(site: &Site, files: &[Sent]) -> BTreeMap<Entry, i128> {
    let mut books = Books::default();
    for sent in files {
        books.add(&oracle::read(sent.format(), &sent.bytes).books);
    }
    let key = LedgerKey::of(&site.data());
    let customers = books.customers.iter().map(|((account, currency), sides)| {
        ((key.token(account), currency.clone()), sides.credits - sides.debits)
    });
    let houses = books.houses.iter().map(|(e, sides)| (e.clone(), sides.credits - sides.debits));
    customers.chain(houses).filter(|(_, balance)| *balance != 0).collect()
}

/// The same as the store has them.
fn found(site: &Site) -> BTreeMap<Entry, i128> {
    let store = site.database("accounts.db");
    let sql = "SELECT account, currency, credits_minor - debits_minor FROM balances";
    let mut query = store.prepare(sql).unwrap();
    let mut rows = query.query([]).unwrap();
    let mut balances = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let (account, currency): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let house = account.split_once(':').filter(|_| account.contains('#'));
        let name = house.map_or(account.as_str(), |(kind, _)| kind).to_owned();
        *balances.entry((name, currency)).or_default() += i128::from(row.get::<_, i64>(2).unwrap());
    }
    balances.retain(|_, balance| *balance != 0);
    balances
}

/// Fails unless balances are what these files make of them, and `verify` finds nothing.
fn assert_balances(site: &Site, files: &[Sent]) {
    let (expected, found) = (expected(site, files), found(site));
    let off: Vec<_> = expected.iter().filter(|(e, b)| found.get(e) != Some(b)).take(3).collect();
    assert!(expected == found, "expected {off:?} and others");
    let verify = site.batchless(&["verify", "--data", "data"]);
    assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
}

/// A sum over what the shards have of all files; 0 while the store can't be read.
fn sum_of_runs(site: &Site, column: &str) -> i64 {
    let sum = format!("SELECT coalesce(sum({column}), 0) FROM runs");
    site.database("accounts.db").query_row(&sum, [], |row| row.get(0)).unwrap_or_default()
}

/// How many messages a topic was given.
fn messages(site: &Site, topic: &str) -> i64 {
    let count = "SELECT coalesce(sum(next - base), 0) FROM batches JOIN partitions USING (place)
                 WHERE topic = ?1";
    let log = site.database("log.db");
    log.query_row(count, [topic], |row| row.get(0)).unwrap_or_default()
}

fn number(row: &Value, key: &str) -> i64 {
    row[key].as_i64().unwrap_or_else(|| unreachable!("{key} of {row}"))
}

/// Waits until a file is in a state and no command to it is under way.
fn wait_for(site: &Site, working: &Working, name: &str, state: &str) {
    let is_so =
        || site.file(name).is_some_and(|row| row["state"] == state && row["work"] == Value::Null);
    wait_until(&format!("{name} is {state}"), is_so, || {
        format!("{:?}\n{}", site.states(), working.said())
    });
}

/// One record, a range and the rest of a file of 100,000 are undone, the last two by commands that
/// are killed again and again: each time balances are those of what is left.
#[test]
fn a_file_is_undone_to_the_minor_unit_whoever_is_killed() {
    let records = 100_000;
    let base = Sent::ipm("base.ipm", 301, 1_000);
    let large = Sent::nacha("large.ach", 302, records);
    let site = Site::with(&[base.clone(), large]);
    assert_eq!(site.once().code, Some(0));

    let whole = planned(&site, &["reverse", "large.ach"]);
    execute(&site, &["reverse", "large.ach", "--record", "17"]);
    assert_balances(&site, &[base.clone(), without(302, records, 17..=17)]);
    let why = refused(&site, &["reverse", "large.ach", "--record", "17"]);
    assert!(why.contains("nothing to undo"), "{why}");
    let why = refused(&site, &["reverse", "large.ach", "--execute", &whole]);
    assert!(why.contains("is not what would be done now"), "{why}");

    let mut killed = 0;
    for (selected, left) in [
        (
            &["reverse", "large.ach", "--records", "10..39999"][..],
            vec![without(302, records, 10..=39_999)],
        ),
        (&["reverse", "large.ach"], vec![]),
    ] {
        let plan = done(&site, selected);
        let execute = [selected, &["--execute", plan["token"].as_str().unwrap()]].concat();
        let before = sum_of_runs(&site, "reversed");
        for hundredths in [0, 1, 20, 60] {
            let working = begin(&site, &execute);
            let enough = before + number(&plan, "records") * hundredths / 100;
            let is_so = || sum_of_runs(&site, "reversed") >= enough;
            wait_until("so much is undone", is_so, || working.said());
            working.kill();
            let undone = sum_of_runs(&site, "reversed") - before;
            killed += usize::from((1..number(&plan, "records")).contains(&undone));
        }
        let answer = done(&site, &execute);
        assert_eq!(answer["outcome"], "done", "{answer}");
        assert_balances(&site, &[vec![base.clone()], left].concat());
        refused(&site, selected);
    }
    println!("killed {killed} times while records were undone");
    assert!(killed >= 3, "killed in the middle {killed} times");
    assert!(site.is("large.ach", "reversed"));
    assert_eq!(number(&site.file("large.ach").unwrap(), "reversed"), records.cast_signed());
}

/// The same beside a run that is killed meanwhile, while other files are applied.
#[test]
fn a_file_is_undone_beside_a_run_that_applies_others() {
    let site = Site::with(&[Sent::nacha("wrong.ach", 311, 40_000)]);
    assert_eq!(site.once().code, Some(0));
    let token = planned(&site, &["reverse", "wrong.ach"]);
    let mut others = Vec::new();
    let mut working = site.start();
    wait_until("it has started", || working.has_started(), || working.said());
    let mut command = begin(&site, &["reverse", "wrong.ach", "--execute", &token]);
    for (number, enough) in [(0, 1), (1, 5_000), (2, 20_000)] {
        others.push(Sent::ipm(&format!("other-{number}.ipm"), 312 + number, 2_000));
        site.drop_in(&others[others.len() - 1]);
        let is_so = || sum_of_runs(&site, "reversed") >= enough;
        wait_until("so much is undone", is_so, || working.said());
        working.kill();
        command.kill();
        working = site.start();
        wait_until("it has started", || working.has_started(), || working.said());
        command = begin(&site, &["reverse", "wrong.ach", "--execute", &token]);
    }
    assert_eq!(command.wait().code(), Some(0), "{}", command.said());
    wait_for(&site, &working, "wrong.ach", "reversed");
    for sent in &others {
        wait_for(&site, &working, &sent.name, "reconciled");
    }
    working.terminate();
    assert_balances(&site, &others);
    let why = refused(&site, &["reverse", "wrong.ach"]);
    assert!(why.contains("reversed") || why.contains("nothing to undo"), "{why}");
}

/// How many records were published after a command was.
fn published_after(site: &Site, command_id: &str) -> i64 {
    let log = site.database("log.db");
    let mut at = None;
    topics::each_batch(&log, Some("commands"), |batch| {
        let is_it = batch.messages().iter().any(|message| message.id == command_id);
        at = if is_it { Some(batch.id) } else { at };
    });
    let count = "SELECT coalesce(sum(next - base), 0) FROM batches JOIN partitions USING (place)
                 WHERE topic = 'records' AND id > ?1";
    log.query_row(count, [at.unwrap()], |row| row.get(0)).unwrap()
}

/// Held, it publishes no more than what is in hand, also after a kill; released, it goes on to
/// its end, also after a kill.
#[test]
fn a_file_is_held_behind_what_is_in_hand_and_released() {
    let large = Sent::nacha("large.ach", 321, 100_000);
    let site = Site::new();
    let working = site.start();
    wait_until("it has started", || working.has_started(), || working.said());
    site.drop_in(&large);
    wait_until("it is publishing", || messages(&site, "records") > 0, || working.said());
    let answer = done(&site, &["hold", "large.ach", "--why", "doubt"]);
    working.kill();
    assert_eq!((&answer["outcome"], &answer["state"]), (&"done".into(), &"held".into()));
    let after = published_after(&site, answer["command_id"].as_str().unwrap());
    assert!(after <= RECORDS_TOGETHER, "{after} records after the command");
    let published = messages(&site, "records");
    assert!(published < 100_000, "held in the middle: {published}");

    // Another goes through, and of the held one nothing more is published.
    let other = Sent::nacha("other.ach", 322, 500);
    site.drop_in(&other);
    let run = site.once();
    assert_eq!(run.code, Some(0), "nothing new is off: {}", run.stderr);
    let row = site.file("large.ach").unwrap();
    assert_eq!((&row["state"], number(&row, "published")), (&"held".into(), published));
    assert_eq!(number(&row, "applied"), published, "which shards have not answered yet");
    assert!(site.is("other.ach", "reconciled"));
    assert!(refused(&site, &["hold", "large.ach"]).contains("held"));

    let working = site.start();
    wait_until("it has started", || working.has_started(), || working.said());
    let answer = done(&site, &["release", "large.ach"]);
    working.kill();
    assert_eq!(answer["outcome"], "done", "{answer}");
    assert_eq!(site.once().code, Some(0));
    site.assert_whole(&[large, other]);
}

/// Cancelled at three points on its way, with the run killed at once: nothing of it is left.
#[test]
fn a_file_that_is_cancelled_leaves_every_balance_as_before() {
    let base = Sent::ipm("base.ipm", 331, 1_000);
    let site = Site::with(std::slice::from_ref(&base));
    assert_eq!(site.once().code, Some(0));
    for (number, enough) in [(0, 1), (1, 12_000), (2, 30_000)] {
        let name = format!("large-{number}.ach");
        let before = messages(&site, "records");
        let working = site.start();
        wait_until("it has started", || working.has_started(), || working.said());
        site.drop_in(&Sent::nacha(&name, 332 + number, 60_000));
        let is_so = || messages(&site, "records") >= before + enough;
        wait_until("so much is published", is_so, || working.said());
        let commands = messages(&site, "commands");
        let mut command = begin(&site, &["cancel", &name]);
        let is_asked = || messages(&site, "commands") > commands;
        wait_until("it is asked", is_asked, || command.said());
        working.kill();
        // Whoever asked takes the lock, and does it.
        assert_eq!(command.wait().code(), Some(0), "{}", command.said());
        let row = site.file(&name).unwrap();
        assert_eq!((&row["state"], &row["work"]), (&"cancelled".into(), &Value::Null), "{row}");
        assert_balances(&site, std::slice::from_ref(&base));
        refused(&site, &["cancel", &name]);
        refused(&site, &["release", &name]);
    }
    assert_eq!(site.once().code, Some(0));
    assert_balances(&site, &[base]);
}

/// Ranges of applied files, published again beside a run: nothing changes, and as many are
/// recognised as were asked for.
#[test]
fn a_replay_of_what_is_applied_changes_nothing() {
    let files = [Sent::nacha("payments.ach", 341, 12_000), Sent::ipm("cards.ipm", 341, 12_000)];
    let site = Site::with(&files);
    assert_eq!(site.once().code, Some(0));
    let before = found(&site);
    let working = site.start();
    wait_until("it has started", || working.has_started(), || working.said());
    let mut dice = Dice::new(341);
    for sent in files.iter().chain(&files) {
        let first = dice.below(12_000);
        let last = first + dice.below(12_000 - first);
        let known = number(&site.file(&sent.name).unwrap(), "duplicates_recognised");
        let range = format!("{first}..{last}");
        let answer = execute(&site, &["replay", &sent.name, "--records", &range]);
        let count = (last - first + 1).cast_signed();
        let row = site.file(&sent.name).unwrap();
        assert_eq!(number(&row, "duplicates_recognised"), known + count, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(&count.to_string()), "{count}: {detail}");
        assert!(found(&site) == before, "{range} of {}", sent.name);
    }
    working.terminate();
    site.assert_whole(&files);
}

/// How many events each shard has before it that are published.
fn lags(site: &Site) -> Vec<(i64, i64)> {
    let log = site.database("log.db");
    let ends = "SELECT partition, max(next) FROM batches JOIN partitions USING (place)
                WHERE topic = 'records' GROUP BY partition";
    let mut query = log.prepare(ends).unwrap();
    let ends = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let store = site.database("accounts.db");
    let lag = |(shard, end): (i64, i64)| {
        let next = "SELECT next_offset FROM shards WHERE shard = ?1";
        (shard, end - store.query_row(next, [shard], |row| row.get::<_, i64>(0)).unwrap())
    };
    ends.unwrap().map(Result::unwrap).map(lag).collect()
}

/// Takes away what the shard that lags most has before it in the log, as a log does that lost what
/// it had promised to keep; gives how many events that are.
fn lose(site: &Site) -> i64 {
    let (shard, _) = lags(site).into_iter().max_by_key(|(_, lag)| *lag).unwrap();
    let next = "SELECT next_offset FROM shards WHERE shard = ?1";
    let next: i64 =
        site.database("accounts.db").query_row(next, [shard], |row| row.get(0)).unwrap();
    let log = Connection::open(site.data().join("log.db")).unwrap();
    let lost = "FROM batches WHERE base >= ?2 AND place IN
                (SELECT place FROM partitions WHERE topic = 'records' AND partition = ?1)";
    let count = format!("SELECT coalesce(sum(next - base), 0) {lost}");
    let events = log.query_row(&count, [shard, next], |row| row.get(0)).unwrap();
    log.execute(&format!("DELETE {lost}"), [shard, next]).unwrap();
    events
}

/// A shard that lacks events: the file waits there, nothing else does, and a replay applies just
/// what was missing.
#[test]
fn a_replay_of_what_was_interrupted_applies_what_is_missing() {
    let (base, large) = (Sent::ipm("base.ipm", 350, 500), Sent::nacha("large.ach", 351, 60_000));
    let site = Site::with(std::slice::from_ref(&base));
    assert_eq!(site.once().code, Some(0));
    site.drop_in(&large);
    let (mut lost, before) = (0, messages(&site, "records"));
    // Until it is killed while a shard has events before it.
    while lost == 0 {
        let published = messages(&site, "records");
        assert!(published < before + 60_000, "killed each time after all was applied");
        let working = site.start();
        let is_so = || working.has_started() && messages(&site, "records") > published;
        wait_until("more is published", is_so, || working.said());
        working.kill();
        lost = lose(&site);
    }
    let other = Sent::nacha("other.ach", 352, 500);
    site.drop_in(&other);
    let working = site.start();
    wait_for(&site, &working, "other.ach", "reconciled");
    let is_published = || site.file("large.ach").is_some_and(|row| row["published"] == 60_000);
    wait_until("all is published", is_published, || working.said());
    let all_taken = || lags(&site).iter().all(|(_, lag)| *lag == 0);
    wait_until("every shard has taken what is published", all_taken, || working.said());
    assert!(!site.is("large.ach", "reconciled"));
    let applied = sum_of_runs(&site, "applied");
    let answer = execute(&site, &["replay", "large.ach"]);
    println!("{lost} events were lost: {}", answer["detail"]);
    wait_for(&site, &working, "large.ach", "reconciled");
    working.terminate();
    let missing = sum_of_runs(&site, "applied") - applied;
    let recognised = number(&site.file("large.ach").unwrap(), "duplicates_recognised");
    assert!(missing >= lost, "{missing} applied of {lost}");
    assert_eq!(recognised + missing, 60_000, "each is one or the other");
    assert_eq!(site.differences(&[base, large, other]), [] as [String; 0]);
    let verify = site.batchless(&[&["verify"], &DATA[..]].concat());
    assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
}

/// A frozen account rejects, whatever else the file does is applied; unfrozen, what was rejected is
/// resubmitted and applied once. Then the same content is accepted once more. All beside a run.
#[test]
fn rejected_records_are_resubmitted_once_and_a_content_accepted_again() {
    let first = Sent::nacha("first.ach", 361, 200);
    let second = Sent::nacha("second.ach", 362, 2_000);
    let site = Site::with(std::slice::from_ref(&first));
    assert_eq!(site.once().code, Some(0));
    let books = oracle::read("nacha", &first.bytes).books;
    let (account, _) = books.customers.keys().next().unwrap().clone();

    let working = site.start();
    wait_until("it has started", || working.has_started(), || working.said());
    let freeze = |word: &str| done(&site, &["accounts", word, "--number", &account]);
    assert_eq!(freeze("freeze")["state"], "frozen");
    site.drop_in(&second);
    wait_for(&site, &working, "second.ach", "reconciled");
    let rejected = number(&site.file("second.ach").unwrap(), "rejected");
    assert!(rejected > 0);
    assert!(!site.differences(&[first.clone(), second.clone()]).is_empty());

    assert_eq!(freeze("unfreeze")["state"], "open");
    let resubmit = ["rejects", "resubmit", "second.ach"];
    let token = planned(&site, &resubmit);
    let mut command = begin(&site, &[&resubmit[..], &["--execute", &token]].concat());
    command.wait();
    let answer = done(&site, &[&resubmit[..], &["--execute", &token]].concat());
    assert_eq!(answer["outcome"], "done", "{answer}");
    let why = refused(&site, &resubmit);
    assert!(why.contains("resubmitted"), "{why}");
    let applied = || {
        let rows = site.files();
        let tries = rows.iter().filter(|row| row["resubmits"].is_object());
        tries.filter(|row| row["applied"] == 1 && row["state"] == "reconciled").count()
    };
    let all = usize::try_from(rejected).unwrap();
    wait_until("all are applied", || applied() == all, || format!("{:?}", site.states()));
    assert_eq!(site.differences(&[first.clone(), second.clone()]), [] as [String; 0]);

    let why = refused(&site, &["accept", "first.ach"]);
    assert!(why.contains("in the ledger"), "{why}");
    site.drop_in(&first.renamed("again.ach"));
    wait_for(&site, &working, "again.ach", "duplicate");
    let answer = done(&site, &["accept", "again.ach"]);
    assert_eq!(answer["outcome"], "done", "{answer}");
    let again = [first.clone(), first, second];
    let is_so = || site.differences(&again).is_empty();
    wait_until("it is applied once more", is_so, || working.said());
    working.terminate();
    assert_balances(&site, &again);
}
