//! Members come and go while messages flow, and each message has one effect.

use std::sync::Arc;
use std::time::Duration;

use schemas::Topic;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use topic::conformance::{SHARDS, layout};
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;
use topic::{
    Assignment, Batch, Consumed, Error, Log, Message, MessageSet, PartitionReader, ReaderOf,
    Writer, own_partitions,
};

use crate::cluster::{Ledger, batch, numbered, numbers};

const GROUP: &str = "movers";
const MESSAGES: usize = 20_000;
const CHUNK: usize = 100;
const MOVES: usize = 6;

/// Passes each message of its partition on to `postings`, with its position.
async fn own(
    log: KafkaLog,
    mut assignment: Assignment<ReaderOf<KafkaLog>>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    while !cancel.is_cancelled() {
        match pass_on(&log, &mut assignment, &cancel).await {
            // Somebody else has it now, or it is to be begun again.
            Err(Error::Fenced { .. } | Error::Retry { .. } | Error::Indefinite { .. }) => (),
            ended => return ended,
        }
    }
    Ok(())
}

async fn pass_on(
    log: &KafkaLog,
    assignment: &mut Assignment<ReaderOf<KafkaLog>>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let partition = assignment.partition;
    let mut writer = log.writer(&format!("shard-{partition}")).await?;
    let positions = log.committed(GROUP, Topic::Records).await?;
    assignment.messages.seek(positions[partition as usize].unwrap_or(0)).await?;
    loop {
        let read = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            read = assignment.messages.next() => read?,
        };
        let Some(last) = read.last().map(|last| last.offset) else { continue };
        let message = |it: topic::Received| Message { id: it.id, key: it.key, value: it.value };
        let messages = read.into_iter().map(message).collect();
        let (topic, headers) = (Topic::Postings, Arc::from([]));
        let sets = vec![MessageSet { topic, partition, headers, messages }];
        let positions = vec![(Topic::Records, partition, last + 1)];
        let consumed = Some(Consumed { membership: assignment.membership.clone(), positions });
        writer.publish(Batch { sets, consumed }).await?;
    }
}

/// A member that owns what it is given until it is cancelled.
fn join(tasks: &mut JoinSet<Result<(), Error>>, log: KafkaLog) -> CancellationToken {
    let cancel = CancellationToken::new();
    let until = cancel.clone();
    tasks.spawn(async move {
        let owner = |assignment, cancel| own(log.clone(), assignment, cancel);
        let stopped = |partition, error| panic!("the owner of {partition}: {error}");
        own_partitions(&log, GROUP, Topic::Records, &until, owner, stopped).await
    });
    cancel
}

/// Two members, of which the second leaves and joins again, at last for good: everything that was
/// published comes out once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_has_one_effect_while_members_come_and_go() {
    let ledger = Ledger::create(layout(), &Policy::default()).await;
    let (first, second, third) = (ledger.open().await, ledger.open().await, ledger.open().await);
    let mut tasks = JoinSet::new();
    let stays = join(&mut tasks, first);

    let source = third.clone();
    let mut publishing = JoinSet::new();
    publishing.spawn(async move {
        let mut writer = source.writer("source").await.unwrap();
        for number in 0..MESSAGES / CHUNK {
            for partition in 0..SHARDS {
                let chunk = numbered(number * CHUNK..(number + 1) * CHUNK);
                writer.publish(batch(partition, chunk)).await.unwrap();
            }
        }
    });
    let passed = |partition| {
        let log = third.clone();
        async move { log.end(Topic::Postings, partition).await.unwrap() }
    };
    // A move is made whenever some more has come out: so each is made while messages flow.
    let mut seen = 0;
    for _ in 0..MOVES {
        let comes = join(&mut tasks, second.clone());
        for is_in in [true, false] {
            let want = seen + 200;
            while seen < want && (passed(0).await as usize) < MESSAGES {
                tokio::time::sleep(Duration::from_millis(5)).await;
                seen = passed(0).await;
            }
            if !is_in {
                comes.cancel();
            }
        }
    }
    publishing.join_next().await.unwrap().unwrap();
    for partition in 0..SHARDS {
        let done = third.committed(GROUP, Topic::Records);
        let mut done = done.await.unwrap()[partition as usize];
        let end = third.end(Topic::Records, partition).await.unwrap();
        while done.is_none_or(|done| done < end - 1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            done = third.committed(GROUP, Topic::Records).await.unwrap()[partition as usize];
        }
    }
    stays.cancel();
    for ended in tasks.join_all().await {
        ended.unwrap();
    }
    for partition in 0..SHARDS {
        let found = numbers(&third, Topic::Postings, partition).await;
        let first_wrong = found.iter().zip(0..).find(|&(&found, expected)| found != expected);
        assert_eq!(first_wrong, None, "partition {partition}");
        assert_eq!(found.len(), MESSAGES, "partition {partition}");
    }
    ledger.delete().await;
}
