//! What the embedded log costs, for one message: `cargo run --release -p topic --example bare`.
//!
//! Events of 269 bytes over 16 partitions, 4,000 messages a publish, each publish durable; beside
//! it what the same disk takes for a bare append and sync of the same values.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example that measures")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use schemas::Topic;
use tokio::task::JoinSet;
use topic::embedded::EmbeddedLog;
use topic::memory::MemoryLog;
use topic::{Batch, Error, Header, Layout, Log, Message, MessageSet, Writer, read_all};

const SHARDS: u32 = 16;
const MESSAGES: usize = 4_000;
const PUBLISHES: usize = 250;
const VALUE_BYTES: usize = 269;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let batches: Vec<Batch> = (0..PUBLISHES).map(batch).collect();
    let small: Vec<Batch> = (0..500).map(one).collect();
    say("bare append and sync", PUBLISHES * MESSAGES, bare(directory.path(), &batches));

    let path = directory.path().join("log.db");
    let log = EmbeddedLog::open(&path, Layout::new(1, 4, SHARDS)).unwrap();
    say("embedded, one writer", PUBLISHES * MESSAGES, publish(&log, &batches).await);
    let size = std::fs::metadata(&path).unwrap().len();
    println!("{:>24}: {:.0} bytes a message on the disk", "", size / (PUBLISHES * MESSAGES) as u64);
    say("embedded, read", PUBLISHES * MESSAGES, read(&log).await);
    say("embedded, four writers", 4 * PUBLISHES * MESSAGES, publish_together(&log, &batches).await);
    say("embedded, one by one", small.len(), publish(&log, &small).await);
    log.close().await;

    let log = MemoryLog::new(Layout::new(1, 4, SHARDS));
    say("memory, one writer", PUBLISHES * MESSAGES, publish(&log, &batches).await);
    say("memory, read", PUBLISHES * MESSAGES, read(&log).await);
}

fn say(what: &str, messages: usize, took: Duration) {
    let nanoseconds = took.as_nanos() / messages as u128;
    println!("{what:>24}: {nanoseconds:>8} ns a message, {:.2} s in all", took.as_secs_f64());
}

/// Values that compress about as well as events do: much of an event is ids and amounts.
fn batch(publish: usize) -> Batch {
    let mut state = publish as u64 + 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 24
    };
    let mut sets = Vec::new();
    for partition in 0..SHARDS {
        let mut messages = Vec::new();
        for index in 0..MESSAGES / SHARDS as usize {
            let id = format!("5f0c8e2a11d94c7b8e2a11d94c7b5f0c/{}", publish * MESSAGES + index);
            let mut value = Vec::with_capacity(VALUE_BYTES + 8);
            while value.len() < VALUE_BYTES {
                value.extend_from_slice(&noise().to_be_bytes());
                value.extend_from_slice(b"clearing:mastercard 986 2026-11-22");
            }
            value.truncate(VALUE_BYTES);
            let key = format!("card:{:016x}{:016x}", noise(), noise());
            messages.push(Message { id: id.into(), key: key.into(), value: Some(value.into()) });
        }
        let headers: Arc<[Header]> = Arc::from([Header {
            name: "ce_type".to_owned(),
            value: Bytes::from_static(b"ClearingRecord"),
        }]);
        sets.push(MessageSet { topic: Topic::Records, partition, headers, messages });
    }
    Batch { sets, consumed: None }
}

/// A batch of a single message.
fn one(publish: usize) -> Batch {
    let mut batch = batch(publish);
    batch.sets.truncate(1);
    batch.sets[0].messages.truncate(1);
    batch
}

fn bare(directory: &Path, batches: &[Batch]) -> Duration {
    let mut file = std::fs::File::create(directory.join("bare")).unwrap();
    let start = Instant::now();
    for batch in batches {
        let messages = batch.sets.iter().flat_map(|set| &set.messages);
        let values: Vec<&[u8]> = messages.filter_map(|it| it.value.as_deref()).collect();
        file.write_all(&values.concat()).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

async fn publish<L: Log>(log: &L, batches: &[Batch]) -> Duration {
    let mut writer = log.writer("w").await.unwrap();
    let start = Instant::now();
    for batch in batches {
        writer.publish(batch.clone()).await.unwrap();
    }
    start.elapsed()
}

async fn publish_together<L: Log>(log: &L, batches: &[Batch]) -> Duration {
    let batches: Arc<[Batch]> = batches.into();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for name in 0..4 {
        let mut writer = log.writer(&format!("w{name}")).await.unwrap();
        let batches = Arc::clone(&batches);
        tasks.spawn(async move {
            for batch in batches.iter() {
                writer.publish(batch.clone()).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    start.elapsed()
}

async fn read<L: Log>(log: &L) -> Duration {
    let start = Instant::now();
    let mut count = 0;
    for partition in 0..SHARDS {
        read_all(log, Topic::Records, partition, 0, |_| {
            count += 1;
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
    }
    assert_eq!(count, PUBLISHES * MESSAGES);
    start.elapsed()
}
