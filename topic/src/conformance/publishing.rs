//! Rules of publishing.

use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;
use tokio::task::JoinSet;

use super::crew::Crew;
use super::{Broken, SHARDS, Subject, all, batch, ensure, ensure_eq, header, message, numbered};
use super::{position, set, texts, values};
use crate::{Batch, Log, Message, MessageSet, Writer};

/// Id, key, value and headers come back as they were, also empty ones and arbitrary bytes, and
/// offsets count from 0.
pub async fn what_is_published_is_read<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let every_byte = Bytes::from_iter(0..=u8::MAX);
    let contents = [
        (Bytes::from_static(b"1"), Bytes::from_static(b"key"), Some(every_byte.clone())),
        (every_byte.clone(), Bytes::new(), Some(Bytes::new())),
        (Bytes::from_static(b"3"), every_byte.clone(), None),
    ];
    let header_sets: [Arc<[_]>; 3] = [
        Arc::from([]),
        Arc::from([header("ce_type", b"a"), header("empty", b""), header("binary", &every_byte)]),
        Arc::from([header("ce_type", b"a"), header("ce_type", b"again")]),
    ];
    let mut sets = Vec::new();
    for headers in &header_sets {
        let messages = contents.iter().cloned();
        let messages = messages.map(|(id, key, value)| Message { id, key, value }).collect();
        let headers = Arc::clone(headers);
        sets.push(MessageSet { topic: Topic::Records, partition: 2, headers, messages });
    }
    log.writer("w").await?.publish(batch(sets)).await?;

    let found = all(&log, Topic::Records, 2).await?;
    ensure_eq!(found.len(), 9, "messages");
    for (index, message) in found.iter().enumerate() {
        let at = |n: usize, of: usize| n.checked_rem(of).unwrap_or(0);
        let (id, key, value) = &contents[at(index, 3)];
        ensure_eq!(message.offset, index as i64, "offset");
        ensure_eq!(message.id, *id, "id of {index}");
        ensure_eq!(message.key, *key, "key of {index}");
        ensure_eq!(message.value, *value, "value of {index}");
        ensure_eq!(message.headers, header_sets[index / 3], "headers of {index}");
    }
    Ok(())
}

/// One publish reaches several topics and partitions, and commits positions.
pub async fn a_batch_spans_topics_and_positions<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    super::fill(&log, 1, 3).await?;
    let mut crew = Crew::new("span");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (membership, _messages) = crew.take(1)?;
    let sets = vec![
        set(Topic::Postings, 0, numbered(0, 2)),
        set(Topic::Postings, 3, numbered(2, 3)),
        set(Topic::Commands, 1, numbered(3, 5)),
    ];
    let consumed = Some(position(&membership, 1, 2));
    log.writer("w").await?.publish(Batch { sets, consumed }).await?;
    ensure_eq!(values(&all(&log, Topic::Postings, 0).await?), texts(0..2), "postings-0");
    ensure_eq!(values(&all(&log, Topic::Postings, 3).await?), texts(2..3), "postings-3");
    ensure_eq!(values(&all(&log, Topic::Commands, 1).await?), texts(3..5), "commands-1");
    let committed = log.committed("span", Topic::Records).await?;
    ensure_eq!(committed, [None, Some(2), None, None], "positions");
    Ok(())
}

/// Sets of one partition are appended in the order of the batch, whatever lies between them.
pub async fn sets_of_one_partition_keep_their_order<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut sets = Vec::new();
    for number in 0..300 {
        sets.push(set(Topic::Records, 1, numbered(number * 2, number * 2 + 2)));
        sets.push(set(Topic::Records, 0, numbered(number, number + 1)));
    }
    log.writer("w").await?.publish(batch(sets)).await?;
    ensure_eq!(values(&all(&log, Topic::Records, 1).await?), texts(0..600), "records-1");
    ensure_eq!(values(&all(&log, Topic::Records, 0).await?), texts(0..300), "records-0");
    Ok(())
}

/// Each writer's messages of a partition are in its order, and offsets have no two owners.
pub async fn concurrent_writers_keep_order_in_a_partition<S: Subject>(
    subject: &S,
) -> Result<(), Broken> {
    const WRITERS: usize = 4;
    const PUBLISHES: usize = 40;
    let log = subject.log().await;
    let mut tasks = JoinSet::new();
    for name in 0..WRITERS {
        let mut writer = log.writer(&format!("w{name}")).await?;
        tasks.spawn(async move {
            for number in 0..PUBLISHES {
                let it = message("id", "key", &format!("{name} {number}"));
                writer.publish(batch(vec![set(Topic::Records, 3, vec![it])])).await?;
            }
            Ok::<(), crate::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|panic| Broken(panic.to_string()))??;
    }
    let found = all(&log, Topic::Records, 3).await?;
    ensure_eq!(found.len(), WRITERS * PUBLISHES, "messages");
    ensure!(found.windows(2).all(|it| it[0].offset < it[1].offset), "offsets don't ascend");
    for name in 0..WRITERS {
        let prefix = format!("{name} ");
        let mut of_one = values(&found);
        of_one.retain(|value| value.starts_with(&prefix));
        let expected: Vec<String> = (0..PUBLISHES).map(|it| format!("{name} {it}")).collect();
        ensure_eq!(of_one, expected, "messages of writer {name}");
    }
    Ok(())
}

/// A batch of many messages, and one of large messages, come back whole.
pub async fn a_large_batch_is_one_batch<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    let many: Vec<MessageSet> =
        (0..SHARDS).map(|shard| set(Topic::Records, shard, numbered(0, 20_000))).collect();
    writer.publish(batch(many)).await?;
    let large = "x".repeat(700 * 1024);
    let large: Vec<Message> =
        (0..5).map(|it| message(&it.to_string(), "k", &format!("{it}{large}"))).collect();
    writer.publish(batch(vec![set(Topic::Records, 0, large.clone())])).await?;
    for shard in 0..SHARDS {
        let found = all(&log, Topic::Records, shard).await?;
        let found: Vec<_> = found.into_iter().take(20_000).collect();
        ensure_eq!(values(&found), texts(0..20_000), "records-{shard}");
    }
    let found = all(&log, Topic::Records, 0).await?;
    let found: Vec<_> = found.into_iter().skip(20_000).map(|it| it.value).collect();
    let expected: Vec<_> = large.into_iter().map(|it| it.value).collect();
    ensure!(found == expected, "large messages differ");
    Ok(())
}

/// Whoever sees one part of a publish sees all of it: while batches of one message for each of two
/// partitions are published, the partition that is looked at later is never behind.
pub async fn half_a_publish_is_never_seen<S: Subject>(subject: &S) -> Result<(), Broken> {
    const PUBLISHES: usize = 100;
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for number in 0..PUBLISHES {
            let one = numbered(number, number + 1);
            let sets = vec![set(Topic::Records, 0, one.clone()), set(Topic::Files, 3, one)];
            writer.publish(batch(sets)).await?;
            tokio::task::yield_now().await;
        }
        Ok::<(), crate::Error>(())
    });
    let mut published = None;
    while published.is_none() {
        // Asked first, so that the last look comes after the last publish.
        published = tasks.try_join_next();
        // Each order in turn: whichever part is visible first would be caught by one of them.
        let records = all(&log, Topic::Records, 0).await?.len();
        let files = all(&log, Topic::Files, 3).await?.len();
        ensure!(files >= records, "records showed {records} publishes, files {files}");
        let records = all(&log, Topic::Records, 0).await?.len();
        ensure!(records >= files, "files showed {files} publishes, records {records}");
        tokio::task::yield_now().await;
    }
    match published {
        Some(Ok(published)) => published?,
        other => return Err(Broken(format!("the writer ended with {other:?}"))),
    }
    ensure_eq!(values(&all(&log, Topic::Files, 3).await?), texts(0..PUBLISHES), "files-3");
    Ok(())
}

/// A batch of nothing, and a set of nothing, are published without a trace.
pub async fn an_empty_batch_is_a_success<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    writer.publish(Batch::default()).await?;
    writer.publish(batch(vec![set(Topic::Records, 0, Vec::new())])).await?;
    ensure_eq!(log.end(Topic::Records, 0).await?, 0, "end");
    Ok(())
}
