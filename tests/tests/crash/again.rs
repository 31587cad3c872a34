//! A writer of the tests' own: says again what was said, and sets positions back.

use std::sync::Arc;

use schemas::Topic;
use schemas::codec::{Codec, EventType};
use topic::{
    Batch, Change, Consumed, Log, Message, MessageSet, Received, Subscription as _, Writer as _,
};

/// Every message of a partition.
async fn all<L: Log>(log: &L, topic: Topic, partition: u32) -> Vec<Received> {
    let mut found = Vec::new();
    let keep = |received| {
        found.push(received);
        Ok::<(), topic::Error>(())
    };
    topic::read_all(log, topic, partition, 0, keep).await.unwrap();
    found
}

async fn say<L: Log>(log: &L, topic: Topic, partition: u32, messages: &[Received]) {
    let sets = messages.iter().map(|received| MessageSet {
        topic,
        partition,
        headers: Arc::clone(&received.headers),
        messages: vec![Message {
            id: received.id.clone(),
            key: received.key.clone(),
            value: received.value.clone(),
        }],
    });
    let sets = sets.collect();
    log.writer("again").await.unwrap().publish(Batch { sets, consumed: None }).await.unwrap();
}

/// Publishes every message of `records` once more, each to where it was; gives how many of them are
/// records.
pub(crate) async fn publish_again<L: Log>(log: &L) -> u64 {
    let mut records = 0;
    for shard in 0..log.partitions(Topic::Records) {
        records += publish_some_again(log, shard, usize::MAX).await;
    }
    records
}

/// Publishes the newest messages of a shard's `records` once more; gives how many of them are
/// records.
pub(crate) async fn publish_some_again<L: Log>(log: &L, shard: u32, max: usize) -> u64 {
    let messages = all(log, Topic::Records, shard).await;
    let messages = &messages[messages.len().saturating_sub(max)..];
    let is_record = |received: &&Received| {
        let value = received.value.as_deref().unwrap();
        Codec::built_in().event_type(value).unwrap() == EventType::ClearingRecord
    };
    say(log, Topic::Records, shard, messages).await;
    u64::try_from(messages.iter().filter(is_record).count()).unwrap()
}

/// Publishes the row of each file again as it was when `is_it` was true of it first: an older
/// checkpoint becomes the newest. Gives how many there are.
pub(crate) async fn put_rows_back<L: Log>(
    log: &L,
    is_it: impl Fn(&schemas::file::File) -> bool,
) -> u64 {
    let mut count = 0;
    for partition in 0..log.partitions(Topic::Files) {
        let mut back: Vec<Received> = Vec::new();
        for received in all(log, Topic::Files, partition).await {
            let value = received.value.as_deref().unwrap();
            if Codec::built_in().event_type(value).unwrap() != EventType::File {
                continue;
            }
            let row = Codec::built_in().decode(value).unwrap();
            if is_it(&row) && back.iter().all(|before| before.key != received.key) {
                back.push(received);
            }
        }
        count += back.len();
        say(log, Topic::Files, partition, &back).await;
    }
    u64::try_from(count).unwrap()
}

/// Sets the positions of the files' and shards' owners back to the first message, as their only
/// member.
pub(crate) async fn set_positions_back<L: Log>(log: &L) {
    let groups =
        [(ingest::publish::FILES_GROUP, Topic::Commands), (processors::GROUP, Topic::Records)];
    for (group, topic) in groups {
        let mut member = log.subscribe(group, topic).await.unwrap();
        let Change::Assigned(assigned) = member.next().await.unwrap() else {
            unreachable!("the only member is given all")
        };
        assert_eq!(assigned.len(), usize::try_from(log.partitions(topic)).unwrap());
        let mut writer = log.writer("again").await.unwrap();
        for assignment in assigned {
            let positions = vec![(topic, assignment.partition, 0)];
            let consumed = Some(Consumed { membership: assignment.membership, positions });
            writer.publish(Batch { sets: Vec::new(), consumed }).await.unwrap();
        }
        let positions = log.committed(group, topic).await.unwrap();
        assert!(positions.iter().all(|position| *position == Some(0)), "{positions:?}");
    }
}
