//! Ledgers of a test's own on a real broker.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use schemas::Topic;
use topic::kafka::admin::{self, Policy};
use topic::kafka::{KafkaLog, SESSION_TIMEOUT, Security, Settings, TRANSACTION_TIMEOUT};
use topic::{Batch, Layout, Message, MessageSet};

/// The topics of a test.
pub(crate) struct Ledger {
    pub(crate) settings: Settings,
    pub(crate) layout: Layout,
}

impl Ledger {
    /// Topics that nobody else has, on the broker that all tests share.
    pub(crate) async fn create(layout: Layout, policy: &Policy) -> Self {
        Self::create_at(&brokers(), layout, policy).await
    }

    /// Topics that nobody else has.
    pub(crate) async fn create_at(brokers: &str, layout: Layout, policy: &Policy) -> Self {
        let settings = settings(brokers);
        admin::create(&settings, layout, policy).await.unwrap();
        Self { settings, layout }
    }

    pub(crate) async fn open(&self) -> KafkaLog {
        KafkaLog::open(self.settings.clone(), self.layout).await.unwrap()
    }

    pub(crate) async fn delete(self) {
        admin::delete(&self.settings).await.unwrap();
    }
}

/// Where the broker is that all tests share.
#[expect(clippy::disallowed_methods, reason = "where the engines are is said in the environment")]
pub(crate) fn brokers() -> String {
    std::env::var("BATCHLESS_TEST_KAFKA").expect("start the engines: eval \"$(engines/up)\"")
}

/// Settings with a prefix that was never used before.
pub(crate) fn settings(brokers: &str) -> Settings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    // A process's number comes again, and topics stay where a test was killed.
    let drawn = std::collections::hash_map::RandomState::new();
    let drawn = std::hash::BuildHasher::hash_one(&drawn, process);
    Settings {
        brokers: brokers.to_owned(),
        prefix: format!("topic-{drawn:x}-{count}."),
        security: Security::default(),
        registry: None,
        session_timeout: SESSION_TIMEOUT,
        transaction_timeout: TRANSACTION_TIMEOUT,
    }
}

/// Settings with a prefix that is in use.
pub(crate) fn settings_of(brokers: &str, prefix: &str) -> Settings {
    Settings { prefix: prefix.to_owned(), ..settings(brokers) }
}

/// Messages whose id, key and value are their number.
pub(crate) fn numbered(numbers: Range<usize>) -> Vec<Message> {
    let one = |number: usize| {
        let text = Bytes::from(number.to_string());
        Message { id: text.clone(), key: text.clone(), value: Some(text) }
    };
    numbers.map(one).collect()
}

/// A batch for one partition of `records`.
pub(crate) fn batch(partition: u32, messages: Vec<Message>) -> Batch {
    let headers = Arc::from([]);
    let set = MessageSet { topic: Topic::Records, partition, headers, messages };
    Batch { sets: vec![set], consumed: None }
}

/// The numbers that are in a partition of `records`.
pub(crate) async fn values(log: &KafkaLog, partition: u32) -> Vec<usize> {
    numbers(log, Topic::Records, partition).await
}

/// The numbers that are in a partition.
pub(crate) async fn numbers(log: &KafkaLog, topic: Topic, partition: u32) -> Vec<usize> {
    let mut found = Vec::new();
    let mut offsets = Vec::new();
    topic::read_all(log, topic, partition, 0, |message| {
        offsets.push(message.offset);
        let value = String::from_utf8(message.value.unwrap().to_vec()).unwrap();
        found.push(value.parse().unwrap());
        Ok::<(), topic::Error>(())
    })
    .await
    .unwrap();
    assert!(offsets.is_sorted_by(|a, b| a < b), "offsets don't ascend");
    found
}

/// A broker of a test's own, which it may kill. Gone with the test.
pub(crate) struct Broker {
    instance: &'static str,
    port: u16,
    extra: String,
}

impl Broker {
    /// Starts one, with more lines of configuration.
    pub(crate) fn start(instance: &'static str, port: u16, extra: &str) -> Self {
        let broker = Self { instance, port, extra: extra.to_owned() };
        broker.engine(&["wipe"]);
        broker.up();
        broker
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn up(&self) {
        self.engine(&["up", &self.port.to_string()]);
    }

    pub(crate) fn kill(&self) {
        self.engine(&["kill9"]);
    }

    /// Runs the engine's script on it.
    pub(crate) fn engine(&self, arguments: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../engines/kafka.sh");
        let done = Command::new(script)
            .args(arguments)
            .env("KAFKA_INSTANCE", self.instance)
            .env("KAFKA_EXTRA", &self.extra)
            .env("KAFKA_HEAP", "256m")
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "kafka.sh {arguments:?}: {says}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.engine(&["wipe"]);
        }
    }
}
