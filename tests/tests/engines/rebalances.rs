//! Members that come and go while events flow: nothing is done twice. And a rolling restart:
//! nothing is even delivered twice, and no shard stands still for long.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Plan};
use super::crew::Crew;
use super::evidence::{Retries, judge};
use super::observer::Observed;
use super::own::{Kind, Own, SHORT_SESSION, SHORT_SESSIONS};
use super::{Shared, is_full};
use crate::oracle::avro;
use crate::sender::{Dice, Sent};

/// How many events flow.
const EVENTS: u64 = 500_000;

/// In so many files.
const FILES: u64 = 10;

/// How often the members change.
const CHANGES: u64 = 50;

#[test]
fn fifty_rebalances_double_nothing() {
    let _alone = super::alone();
    let kafka = Own::start(Kind::Kafka, &[SHORT_SESSIONS]);
    let engines = Shared { kafka: kafka.address.clone(), ..Shared::engines() };
    let lines = SHORT_SESSION.to_owned();
    let cluster = Cluster::new(Plan { engines, shards: 16, lines, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let of_file =
        |number| Sent::nacha(&format!("payments-{number}.ach"), 5_000 + number, EVENTS / FILES);
    let files: Vec<Sent> = (0..FILES).map(of_file).collect();
    let mut crew = Crew::start(&cluster, 2, 2);
    let (mut changes, mut dice) = (BTreeMap::<&str, u64>::new(), Dice::new(50));
    files.iter().for_each(|sent| cluster.drop_in(sent));
    let all = if is_full() { 4 * CHANGES } else { CHANGES };
    for number in 1..=all {
        crew.wait_until_applied(EVENTS * number / (all + 2));
        // Mostly of those who apply: two to four of them, and one to three who watch.
        let (word, least, most) =
            if dice.below(4) == 0 { ("watch", 1, 3) } else { ("process", 2, 4) };
        let there = crew.members.iter().filter(|member| member.word == word).count();
        let change = match dice.below(3) {
            _ if there <= least => "joined",
            0 if there < most => "joined",
            1 => "left",
            _ => "killed",
        };
        match change {
            "joined" => crew.join(word),
            "left" => crew.leave(word, false),
            _ => crew.leave(word, true),
        }
        *changes.entry(change).or_default() += 1;
    }
    crew.wait_until_reconciled(&files);
    crew.terminate();
    let taken = cluster.number("SELECT sum(epoch) FROM shards");
    cluster.assert_verified();
    let report = judge(&cluster, &files, observer.end());
    let mut retries = Retries::default();
    retries.count(&cluster, &report);
    assert!(report.is_clean(), "{:#?}", report.told);
    println!("rebalances: {all} ({changes:?}), shards taken {taken} times; {report}; {retries}");
    assert_eq!(report.applied, EVENTS);
}

/// How many records flow while all are restarted.
const ROLLED: u64 = 120_000;

#[test]
fn a_rolling_restart_hands_over_cleanly() {
    let _alone = super::alone();
    let cluster = Cluster::new(Plan { shards: 8, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let of_file =
        |number: u64| Sent::nacha(&format!("payments-{number}.ach"), 5_100 + number, ROLLED / 6);
    let files: Vec<Sent> = (0..6).map(of_file).collect();
    let mut crew = Crew::start(&cluster, 2, 3);
    files.iter().for_each(|sent| cluster.drop_in(sent));
    crew.wait_until_applied(ROLLED / 10);
    let members = crew.members.len() as u64;
    for number in 1..=members {
        let word = crew.members[0].word.clone();
        crew.leave(&word, false);
        crew.join(&word);
        crew.wait_until_applied(ROLLED / 10 + ROLLED * 8 / 10 * number / members);
    }
    crew.wait_until_reconciled(&files);
    crew.terminate();
    cluster.assert_verified();
    let observed = observer.end();
    let (shard, longest) = longest_wait(&observed);
    let report = judge(&cluster, &files, observed);
    assert!(report.is_clean(), "{:#?}", report.told);
    println!(
        "rolling restart of {members} processes: {report}; re-delivered effects {}; longest time \
         without progress {}.{:03} s, on shard {shard}",
        report.recognised,
        longest / 1_000,
        longest % 1_000
    );
    assert_eq!((report.applied, report.recognised), (ROLLED, 0));
}

/// The longest that a shard had something to do and said nothing, in milliseconds: from when an
/// event was published, or the outcome before it where that was later, until its outcome was.
fn longest_wait(observed: &Observed) -> (usize, i64) {
    let mut longest = (0, 0);
    let outcomes = observed.topics["postings"].iter().zip(&observed.places["postings"]);
    for (shard, (messages, places)) in outcomes.enumerate() {
        let published: BTreeMap<i64, i64> =
            observed.places["records"][shard].iter().copied().collect();
        let mut before = i64::MIN;
        for (message, (_, time)) in messages.iter().zip(places) {
            let outcome = avro::read(message.value.as_deref().unwrap(), &["source_offset"]);
            let source = outcome.get("source_offset").long();
            if let Some(since) = source.and_then(|offset| published.get(&offset)) {
                let wait = time - before.max(*since);
                if wait > longest.1 {
                    longest = (shard, wait);
                }
            }
            before = *time;
        }
    }
    longest
}
