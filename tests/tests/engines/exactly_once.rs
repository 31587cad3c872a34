//! The test that Kafka holds its own exactly-once to, in its shape: 100,000 records in chunks of
//! 750, while the broker and the clients are each bounced three times, clean and hard; a reader of
//! committed messages beside it.

use super::cluster::{Cluster, Plan};
use super::crew::Crew;
use super::evidence::{Retries, judge};
use super::own::{Kind, Own, SHORT_SESSION, SHORT_SESSIONS};
use super::{Shared, is_full};
use crate::sender::Sent;

/// How many records, over all files.
const RECORDS: u64 = 100_000;

/// How many files: each partition of `files` has some.
const FILES: u64 = 4;

/// What is bounced, and how.
#[derive(Clone, Copy, Debug)]
enum Bounce {
    Broker { hard: bool },
    Clients { hard: bool },
}

/// Three of each kind, one after the other.
const ALL: [Bounce; 4] = [
    Bounce::Broker { hard: false },
    Bounce::Clients { hard: true },
    Bounce::Broker { hard: true },
    Bounce::Clients { hard: false },
];

#[test]
fn bounced_brokers_and_clients_lose_and_double_nothing() {
    let _alone = super::alone();
    let rows: Vec<Vec<Bounce>> = match is_full() {
        true => ALL.iter().map(|bounce| vec![*bounce; 3]).collect(),
        false => vec![(0..3).flat_map(|_| ALL).collect()],
    };
    let mut retries = Retries::default();
    for (seed, bounces) in (1..).zip(rows) {
        retries.add(&bounced(seed, &bounces));
    }
    assert!(retries.all() > 0, "nothing had to be tried again: {retries}");
}

fn bounced(seed: u64, bounces: &[Bounce]) -> Retries {
    let kafka = Own::start(Kind::Kafka, &[SHORT_SESSIONS]);
    let engines = Shared { kafka: kafka.address.clone(), ..Shared::engines() };
    let lines = format!("topics.chunk_records = 750\n{SHORT_SESSION}");
    let cluster = Cluster::new(Plan { engines, shards: 8, lines, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let of_file = |number| {
        let name = format!("payments-{number}.ach");
        Sent::nacha(&name, 600 + seed * 10 + number, RECORDS / FILES)
    };
    let files: Vec<Sent> = (0..FILES).map(of_file).collect();
    let mut retries = Retries::default();
    let mut crew = Crew::start(&cluster, 2, 2);
    files.iter().for_each(|sent| cluster.drop_in(sent));
    for (number, bounce) in (1..).zip(bounces) {
        let so_far = RECORDS * number / (bounces.len() as u64 + 1);
        crew.wait_until_applied(so_far);
        match *bounce {
            Bounce::Broker { hard } => {
                if hard {
                    kafka.kill9()
                } else {
                    kafka.down()
                }
                kafka.up();
            }
            Bounce::Clients { hard } => crew.bounce(hard),
        }
    }
    crew.wait_until_reconciled(&files);
    crew.terminate();
    let checks = cluster.assert_verified();
    let observed = observer.end();
    let ids = observed.ids("records", "/closed/");
    let report = judge(&cluster, &files, observed);
    retries.count(&cluster, &report);
    assert!(report.is_clean(), "{:#?}", report.told);
    println!(
        "exactly once: {} bounces ({}), chunks of 750, input {} = output {ids}; {report}; \
         {checks} checks; {retries}",
        bounces.len(),
        said(bounces),
        report.records,
    );
    assert_eq!((report.records, ids, report.applied), (RECORDS, RECORDS, RECORDS));
    retries
}

fn said(bounces: &[Bounce]) -> String {
    let count = |it: fn(&Bounce) -> bool| bounces.iter().filter(|bounce| it(bounce)).count();
    format!(
        "broker {} clean, {} hard; clients {} clean, {} hard",
        count(|it| matches!(it, Bounce::Broker { hard: false })),
        count(|it| matches!(it, Bounce::Broker { hard: true })),
        count(|it| matches!(it, Bounce::Clients { hard: false })),
        count(|it| matches!(it, Bounce::Clients { hard: true })),
    )
}
