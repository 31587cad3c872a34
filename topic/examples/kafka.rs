//! What the log on Kafka does in a second: `cargo run --release -p topic --example kafka [BROKERS]`
//! (127.0.0.1:19092 where none are given). Its topics are deleted afterwards.
//!
//! Events of 200 bytes with seven headers and an id, over 16 partitions.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example that measures")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use schemas::Topic;
use tokio::task::JoinSet;
use topic::kafka::admin::{self, Policy};
use topic::kafka::{KafkaLog, SESSION_TIMEOUT, Security, Settings, TRANSACTION_TIMEOUT};
use topic::{
    Batch, Change, Consumed, Header, Layout, Log, Membership, Message, MessageSet, PartitionReader,
    Subscription, Writer, read_all,
};

const SHARDS: u32 = 16;
const VALUE_BYTES: usize = 200;

#[expect(clippy::disallowed_methods, reason = "an example's arguments")]
fn main() {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:19092".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(brokers));
}

async fn measure(brokers: String) {
    let settings = Settings {
        brokers,
        prefix: format!("bench-{}.", std::process::id()),
        security: Security::default(),
        registry: None,
        session_timeout: SESSION_TIMEOUT,
        transaction_timeout: TRANSACTION_TIMEOUT,
    };
    let layout = Layout::new(1, 4, SHARDS);
    admin::create(&settings, layout, &Policy::default()).await.unwrap();
    let log = KafkaLog::open(settings.clone(), layout).await.unwrap();

    let mut published = 0;
    publish(&log, "warm", 5_000, 4, None).await;
    published += 20_000;
    for chunk in [1_000, 5_000, 10_000, 20_000] {
        let rounds = 400_000 / chunk;
        publish(&log, "one writer", chunk, rounds, None).await;
        published += chunk * rounds;
    }
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for name in ["a", "b", "c", "d"] {
        let log = log.clone();
        tasks.spawn(async move { publish(&log, name, 10_000, 20, None).await });
    }
    tasks.join_all().await;
    published += 800_000;
    say("four writers together", 800_000, began);

    let mut subscription = log.subscribe("bench", Topic::Records).await.unwrap();
    let Change::Assigned(mut held) = subscription.next().await.unwrap() else { return };
    let membership = held[0].membership.clone();
    publish(&log, "with positions", 10_000, 40, Some(membership)).await;
    published += 400_000;

    let began = Instant::now();
    let mut read = 0;
    for partition in 0..SHARDS {
        let count = |_| {
            read += 1;
            Ok::<(), topic::Error>(())
        };
        read_all(&log, Topic::Records, partition, 0, count).await.unwrap();
    }
    assert_eq!(read, published);
    say("read, one by one", read, began);

    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut assignment in held.drain(..) {
        let end = log.end(Topic::Records, assignment.partition).await.unwrap();
        tasks.spawn(async move {
            let mut read = 0;
            // The last is the end of a transaction.
            let mut next = 0;
            while next < end - 1 {
                let messages = assignment.messages.next().await.unwrap();
                next = messages.last().unwrap().offset + 1;
                read += messages.len();
            }
            read
        });
    }
    let read: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(read, published);
    say("read, as a group", read, began);

    drop(subscription);
    log.close().await;
    admin::delete(&settings).await.unwrap();
}

/// Publishes chunks, one after the other.
async fn publish(
    log: &KafkaLog,
    what: &str,
    chunk: usize,
    rounds: usize,
    membership: Option<Membership>,
) {
    let mut writer = log.writer(what).await.unwrap();
    let batches: Vec<Batch> = (0..rounds).map(|round| batch(round, chunk)).collect();
    let began = Instant::now();
    for mut batch in batches {
        let positions = vec![(Topic::Records, 0, 0)];
        batch.consumed = membership.clone().map(|membership| Consumed { membership, positions });
        writer.publish(batch).await.unwrap();
    }
    let a_publish = began.elapsed() / u32::try_from(rounds).unwrap();
    println!("{what:>24}: chunks of {chunk:>6}, {:>5} ms each", a_publish.as_millis());
    say(what, chunk * rounds, began);
}

fn say(what: &str, messages: usize, began: Instant) {
    let took = began.elapsed();
    let a_second = messages as u128 * 1_000_000 / took.as_micros().max(1);
    println!("{what:>24}: {a_second:>8} a second, {messages} in {:.2} s", took.as_secs_f64());
}

/// Values that compress about as well as events do: much of an event is ids and amounts.
fn batch(round: usize, chunk: usize) -> Batch {
    let mut state = round as u64 + 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 24
    };
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    let headers: Arc<[Header]> = Arc::from([
        header("ce_specversion", "1.0"),
        header("ce_type", "batchless.ClearingRecord"),
        header("ce_source", "/ledgers/main/files/3"),
        header("ce_subject", "4f1c9a2b7d3e5f60718293a4b5c6d7e8"),
        header("ce_time", "2026-01-02T03:04:05.678Z"),
        header("content-type", "application/avro"),
        header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]);
    let mut messages: Vec<Vec<Message>> = (0..SHARDS).map(|_| Vec::new()).collect();
    for index in 0..chunk {
        let mut value = vec![0; 5];
        while value.len() < VALUE_BYTES {
            if value.len().is_multiple_of(3) {
                value.extend_from_slice(b"presentment USD 840 card:");
            } else {
                value.extend_from_slice(&noise().to_le_bytes());
            }
        }
        let id = format!("4f1c9a2b7d3e5f60718293a4b5c6d7e8/{}", round * chunk + index);
        let key = format!("card:{:032x}", u128::from(noise()) << 64 | u128::from(noise()));
        let shard = index % SHARDS as usize;
        messages[shard].push(Message { id: id.into(), key: key.into(), value: Some(value.into()) });
    }
    let set = |(partition, messages): (u32, Vec<Message>)| MessageSet {
        topic: Topic::Records,
        partition,
        headers: Arc::clone(&headers),
        messages,
    };
    Batch { sets: (0..).zip(messages).map(set).collect(), consumed: None }
}
