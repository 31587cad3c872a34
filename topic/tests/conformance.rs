//! Both logs keep the rules, the embedded one also while another publishes beside.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use schemas::Topic;
use tokio::task::JoinSet;
use topic::conformance::{Broken, FILES, Subject, layout, run_all};
use topic::embedded::{Beside, EmbeddedLog};
use topic::memory::MemoryLog;
use topic::{Message, MessageSet};

struct Memory;

impl Subject for Memory {
    type Log = MemoryLog;

    async fn log(&self) -> MemoryLog {
        MemoryLog::new(layout())
    }

    async fn compact(&self, log: &MemoryLog) {
        log.compact();
    }
}

struct Embedded {
    directory: tempfile::TempDir,
    count: std::sync::atomic::AtomicU32,
}

impl Subject for Embedded {
    type Log = EmbeddedLog;

    async fn log(&self) -> EmbeddedLog {
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.directory.path().join(format!("log-{number}.db"));
        EmbeddedLog::open(path, layout()).unwrap()
    }

    async fn compact(&self, log: &EmbeddedLog) {
        log.compact().await.unwrap();
    }
}

fn assert_kept(results: Vec<(&'static str, Result<(), Broken>)>) {
    let broken: Vec<String> = (results.into_iter())
        .filter_map(|(rule, result)| Some(format!("{rule}: {}", result.err()?)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn the_memory_log_keeps_the_rules() {
    assert_kept(run_all(&Memory).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_log_keeps_the_rules_on_many_threads() {
    assert_kept(run_all(&Memory).await);
}

fn embedded() -> Embedded {
    Embedded { directory: tempfile::tempdir().unwrap(), count: 0.into() }
}

#[tokio::test]
async fn the_embedded_log_keeps_the_rules() {
    assert_kept(run_all(&embedded()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_keeps_the_rules_on_many_threads() {
    assert_kept(run_all(&embedded()).await);
}

/// An embedded log to which somebody publishes beside without a pause, into a partition that no
/// rule looks at.
struct Disturbed {
    embedded: Embedded,
    others: Mutex<JoinSet<()>>,
}

impl Subject for Disturbed {
    type Log = EmbeddedLog;

    async fn log(&self) -> EmbeddedLog {
        let number = self.embedded.count.load(std::sync::atomic::Ordering::Relaxed);
        let log = self.embedded.log().await;
        let path = self.embedded.directory.path().join(format!("log-{number}.db"));
        let beside = Beside::open(path).unwrap();
        let mut others = self.others.lock().unwrap();
        // The one before has its log to itself no more: its rule has ended.
        others.abort_all();
        others.spawn(async move {
            let message = || {
                let (id, key) = (Bytes::from_static(b"id"), Bytes::from_static(b"key"));
                Message { id, key, value: None }
            };
            loop {
                let (topic, partition, headers) = (Topic::Commands, FILES - 1, Arc::from([]));
                let set = MessageSet { topic, partition, headers, messages: vec![message()] };
                beside.publish(vec![set]).await.unwrap();
            }
        });
        log
    }

    async fn compact(&self, log: &EmbeddedLog) {
        log.compact().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_keeps_the_rules_while_another_publishes_beside() {
    let subject = Disturbed { embedded: embedded(), others: Mutex::default() };
    assert_kept(run_all(&subject).await);
}
