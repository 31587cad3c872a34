//! A broker that stands still under load, and goes on: longer than a session, shorter than anybody's
//! patience, so that nobody is told that it is away and all that they were not heard of; and longer
//! than a transaction lives, so that all are told that theirs is over.

use std::thread::sleep;
use std::time::Duration;

use super::Shared;
use super::cluster::{Cluster, Plan};
use super::crew::Crew;
use super::evidence::judge;
use super::own::{Kind, Own, SHORT_SESSION, SHORT_SESSIONS};
use crate::sender::Sent;

/// How many seconds it stands still, each time. No test waits for anything by it: it is what is
/// tested.
const STILL_S: [u64; 6] = [9, 17, 9, 17, 9, 25];

/// How many records a file has.
const RECORDS: u64 = 30_000;

#[test]
fn a_broker_that_stands_still_holds_up_nothing_for_good() {
    let _alone = super::alone();
    let kafka = Own::start(Kind::Kafka, &[SHORT_SESSIONS]);
    let engines = Shared { kafka: kafka.address.clone(), ..Shared::engines() };
    let lines = SHORT_SESSION.to_owned();
    let cluster = Cluster::new(Plan { engines, shards: 16, lines, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let mut crew = Crew::start(&cluster, 1, 2);
    let file = |number| Sent::nacha(&format!("payments-{number}.ach"), 9_000 + number, RECORDS);
    let mut files = Vec::new();
    for (number, still) in (0..).zip(STILL_S) {
        files.push(file(number));
        cluster.drop_in(&files[files.len() - 1]);
        // In the middle of a file.
        crew.wait_until_applied(number * RECORDS + RECORDS / 10);
        kafka.script(&["pause"]);
        sleep(Duration::from_secs(still));
        kafka.script(&["resume"]);
        crew.wait_until_reconciled(&files);
    }
    crew.terminate();
    let checks = cluster.assert_verified();
    let report = judge(&cluster, &files, observer.end());
    assert!(report.is_clean(), "{:#?}", report.told);
    println!("standstills: of {STILL_S:?} s; {report}; {checks} checks");
}
