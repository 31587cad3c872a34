//! Ledgers of a test's own on a real broker.

use std::sync::atomic::{AtomicU32, Ordering};

use topic::Layout;
use topic::kafka::admin::{self, Policy};
use topic::kafka::{KafkaLog, SESSION_TIMEOUT, Security, Settings, TRANSACTION_TIMEOUT};

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
