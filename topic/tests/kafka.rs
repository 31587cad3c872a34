//! The log on a real Kafka: it keeps the rules of all logs, and what only it has to show.
//!
//! `eval "$(engines/up)"` starts the broker and says where it is; `./test` does so itself. Each log
//! has a prefix of its own, and its topics are deleted afterwards.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its surroundings fail")]

#[path = "kafka/cluster.rs"]
mod cluster;
#[path = "kafka/compaction.rs"]
mod compaction;
#[path = "kafka/fencing.rs"]
mod fencing;
#[path = "kafka/opening.rs"]
mod opening;
#[path = "kafka/outage.rs"]
mod outage;
#[path = "kafka/rebalance.rs"]
mod rebalance;
#[path = "kafka/registered.rs"]
mod registered;
#[path = "kafka/silence.rs"]
mod silence;

use topic::conformance::{Subject, layout, run_all};
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;

use cluster::Ledger;

/// Makes a ledger for each log.
#[derive(Default)]
struct Kafka {
    made: std::sync::Mutex<Vec<Ledger>>,
}

impl Subject for Kafka {
    type Log = KafkaLog;

    async fn log(&self) -> KafkaLog {
        let ledger = Ledger::create(layout(), &Policy::default()).await;
        let log = ledger.open().await;
        self.made.lock().unwrap().push(ledger);
        log
    }

    // A broker compacts when it sees fit; see `compaction` for one that is made to.
    async fn compact(&self, _: &KafkaLog) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_kafka_keeps_the_rules() {
    let subject = Kafka::default();
    let results = run_all(&subject).await;
    let made = std::mem::take(&mut *subject.made.lock().unwrap());
    for ledger in made {
        ledger.delete().await;
    }
    let broken: Vec<String> = (results.into_iter())
        .filter_map(|(rule, result)| Some(format!("{rule}: {}", result.err()?)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
