//! A broker that compacts: rows are found, whatever lies between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::Topic;
use topic::conformance::layout;
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;
use topic::{Batch, Log, MessageSet, Received, Writer};

use crate::cluster::{Ledger, numbered};

const KEYS: usize = 20;

fn rows() -> Batch {
    let (topic, headers) = (Topic::Files, Arc::from([]));
    let set = MessageSet { topic, partition: 1, headers, messages: numbered(0..KEYS) };
    Batch { sets: vec![set], consumed: None }
}

async fn all(log: &KafkaLog) -> Vec<Received> {
    let mut found = Vec::new();
    topic::read_all(log, Topic::Files, 1, 0, |message| {
        found.push(message);
        Ok::<(), topic::Error>(())
    })
    .await
    .unwrap();
    found
}

/// Rows are published again and again until the broker has removed some. Then each key is there
/// still, the end has not moved, and a read from any offset gives what follows it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_compacts_away_leaves_holes_only() {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let extra = vec![
        // A segment of its own for each publish, and all of them to be cleaned at once.
        setting("segment.ms", "1"),
        setting("min.cleanable.dirty.ratio", "0"),
        setting("max.compaction.lag.ms", "1"),
    ];
    let policy = Policy { extra, ..Policy::default() };
    let ledger = Ledger::create(layout(), &policy).await;
    let log = ledger.open().await;
    let mut writer = log.writer("files-1").await.unwrap();
    let mut published = 0;
    let after = loop {
        writer.publish(rows()).await.unwrap();
        published += KEYS;
        let found = all(&log).await;
        if found.len() + 2 * KEYS < published {
            break found;
        }
        // The cleaner looks once a second, and there are others to be served.
        assert!(published < 100_000, "the broker removed nothing of {published} rows");
    };
    let end = log.end(Topic::Files, 1).await.unwrap();
    let newest: BTreeMap<_, _> = after.iter().map(|it| (it.key.clone(), it.offset)).collect();
    assert_eq!(newest.len(), KEYS);
    assert!(
        newest.values().all(|&offset| end - offset <= KEYS as i64 + 1),
        "{newest:?}, end {end}"
    );
    assert!(after.is_sorted_by(|a, b| a.offset < b.offset));

    let first = after[0].offset;
    let froms = [0, first, first + 1, end - KEYS as i64 - 2, end - 2, end - 1, end];
    for from in froms {
        let found = log.read(Topic::Files, 1, from..i64::MAX, 1).await.unwrap();
        let found = found.first().map(|it| it.offset);
        // The cleaner may have gone on: what was first may be gone, what is last never is.
        let may_be = after.iter().find(|it| it.offset >= from).map(|it| it.offset);
        assert!(found >= may_be && found.is_some() == may_be.is_some(), "from {from}: {found:?}");
    }
    ledger.delete().await;
}
