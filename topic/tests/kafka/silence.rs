//! A partition with nothing in it is left in peace, however long.

use std::time::Duration;

use schemas::Topic;
use topic::conformance::layout;
use topic::kafka::admin::Policy;
use topic::{Change, Log, PartitionReader, Subscription, Writer};

use crate::cluster::{Ledger, batch, numbered};

/// More than twice as long as a reader waits before it doubts its client.
const SILENCE: Duration = Duration::from_secs(28);

/// A reader doubts a silent client, starts the partition anew, hears that there is nothing, and goes
/// on waiting: nobody is told to begin again. What is published then is read. That silence lasts is
/// what is tested; nothing is waited for by it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_read_is_no_failure() {
    let ledger = Ledger::create(layout(), &Policy::default()).await;
    let log = ledger.open().await;
    let mut member = log.subscribe("processors", Topic::Records).await.unwrap();
    let Change::Assigned(mut assigned) = member.next().await.unwrap() else {
        panic!("a first change that gives nothing");
    };
    let first = assigned.iter().position(|it| it.partition == 0).unwrap();
    let mut reader = assigned.swap_remove(first).messages;
    let silent = tokio::time::timeout(SILENCE, reader.next()).await;
    assert!(silent.is_err(), "it was to wait: {silent:?}");

    let mut writer = log.writer("shard-0").await.unwrap();
    writer.publish(batch(0, numbered(0..3))).await.unwrap();
    assert_eq!(reader.next().await.unwrap().len(), 3);
    log.close().await;
    ledger.delete().await;
}
