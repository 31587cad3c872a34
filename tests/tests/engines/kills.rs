//! PostgreSQL and the broker, killed again and again under load.

use super::cluster::{Cluster, Plan};
use super::crew::Crew;
use super::evidence::{Retries, judge};
use super::own::{Kind, Own, SHORT_SESSION, SHORT_SESSIONS};
use super::{Shared, is_full};
use crate::oracle;
use crate::sender::{Dice, Sent};

/// How often each of them is killed.
const KILLS: u64 = 20;

/// How many records a file has.
const RECORDS: u64 = 4_000;

/// One is killed once so many records more are applied, at most.
const BETWEEN_MAX: u64 = 3_000;

/// Records that are dropped and not applied, at least, whenever one is killed.
const AHEAD: u64 = 6_000;

#[test]
fn killed_databases_and_brokers_lose_and_double_nothing() {
    let _alone = super::alone();
    let kills = if is_full() { 5 * KILLS } else { KILLS };
    // Java compiles less and starts sooner: here a broker is started all the time.
    let kafka = Own::start(
        Kind::Kafka,
        &[SHORT_SESSIONS, ("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")],
    );
    let postgres = Own::start(Kind::Postgres, &[]);
    let (at, base) = (kafka.address.clone(), postgres.address.clone());
    let engines = Shared { kafka: at, postgres: base, ..Shared::engines() };
    let cluster = Cluster::new(Plan { engines, lines: SHORT_SESSION.to_owned(), ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let mut crew = Crew::start(&cluster, 1, 2);
    let (mut files, mut dropped, mut dice) = (Vec::new(), 0, Dice::new(77));
    let (mut killed, mut applied) = ([0_u64; 2], 0);
    while killed.iter().sum::<u64>() < 2 * kills {
        while dropped < applied + BETWEEN_MAX + AHEAD {
            let number = files.len() as u64;
            let sent = Sent::nacha(&format!("payments-{number}.ach"), 7_000 + number, RECORDS);
            dropped += oracle::read(sent.format(), &sent.bytes).records;
            cluster.drop_in(&sent);
            files.push(sent);
        }
        crew.wait_until_applied(applied + 1 + dice.below(BETWEEN_MAX));
        applied = cluster.applied();
        // Alternately, so that each is killed while the other has just come back, too.
        let (victim, of) = if killed[0] <= killed[1] { (&postgres, 0) } else { (&kafka, 1) };
        victim.kill9();
        victim.up();
        killed[of] += 1;
    }
    crew.wait_until_reconciled(&files);
    crew.terminate();
    let checks = cluster.assert_verified();
    let report = judge(&cluster, &files, observer.end());
    let mut retries = Retries::default();
    retries.count(&cluster, &report);
    assert!(report.is_clean(), "{:#?}", report.told);
    println!(
        "killed: PostgreSQL {} times, the broker {} times; {report}; {checks} checks; {retries}",
        killed[0], killed[1]
    );
    assert_eq!(report.applied, dropped);
    assert!(retries.all() > 0, "nothing had to be tried again");
}
