//! Processes that stand still for longer than their session, wake up, and find that others have
//! taken their work.

use super::Shared;
use super::cluster::{Cluster, Member, Plan};
use super::crew::Crew;
use super::evidence::judge;
use super::own::{Kind, Own, SHORT_SESSION, SHORT_SESSIONS};
use super::patiently;
use crate::sender::Sent;

/// How many stand still.
const ZOMBIES: usize = 20;

/// Shards: each of them has at least one.
const SHARDS: u32 = 40;

/// How many take over.
const HEIRS: usize = 3;

/// How many records a file has: enough that all are in the middle of it.
const RECORDS: u64 = 60_000;

#[test]
fn who_wakes_up_too_late_is_fenced_and_does_nothing() {
    let _alone = super::alone();
    let kafka = Own::start(Kind::Kafka, &[SHORT_SESSIONS]);
    let engines = Shared { kafka: kafka.address.clone(), ..Shared::engines() };
    let lines = SHORT_SESSION.to_owned();
    let cluster = Cluster::new(Plan { engines, shards: SHARDS, lines, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let mut watch = Crew::start(&cluster, 1, 0);
    let mut zombies = Crew::start(&cluster, 0, ZOMBIES);
    wait_until_shared_out(&cluster, &zombies.members);

    let file =
        |number: u64| Sent::nacha(&format!("payments-{number}.ach"), 8_000 + number, RECORDS);
    let mut files = vec![file(0), file(1)];
    files.iter().for_each(|sent| cluster.drop_in(sent));
    zombies.wait_until_applied(RECORDS / 4);
    zombies.members.iter().for_each(|zombie| zombie.signal("STOP"));
    let before = cluster.applied();
    let mut heirs = Crew::start(&cluster, 0, HEIRS);
    heirs.wait_until_reconciled(&files);

    // Nothing is under way any more: whatever is written from here on is written by a zombie.
    let written = || {
        let state = "SELECT sum(next_number), sum(next_offset), (SELECT count(*) FROM outcomes),
                            (SELECT sum(version) FROM balances) FROM shards";
        cluster.sql(state)
    };
    let at_rest = written();
    zombies.members.iter().for_each(|zombie| zombie.signal("CONT"));
    let has_said = |zombie: &Member| zombie.said().contains("fenced");
    patiently(
        "every zombie says that it is fenced",
        || zombies.members.iter().all(has_said),
        || cluster.situation(),
    );
    let fenced = zombies.members.iter().filter(|zombie| has_said(zombie)).count();
    assert_eq!(written(), at_rest, "a zombie has written something");

    // They are members as all others from here on.
    files.push(file(2));
    cluster.drop_in(&files[2]);
    heirs.wait_until_reconciled(&files);
    assert!(zombies.members.iter_mut().all(|zombie| zombie.ended().is_none()));
    zombies.terminate();
    heirs.terminate();
    watch.members.iter_mut().for_each(Member::terminate);
    cluster.assert_verified();
    let report = judge(&cluster, &files, observer.end());
    assert!(report.is_clean(), "{:#?}", report.told);
    println!(
        "zombies: {ZOMBIES} woken (stopped after {before} records were applied), {fenced} fenced, \
         0 effects; {report}"
    );
}

/// Waits until each has a shard to itself.
fn wait_until_shared_out(cluster: &Cluster, members: &[Member]) {
    let _ = members;
    let owned = || cluster.number("SELECT count(*) FROM shards WHERE epoch > 0");
    patiently("all shards have an owner", || owned() == i64::from(SHARDS), || cluster.situation());
}
