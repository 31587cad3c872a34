//! Both logs keep the rules.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]

use topic::conformance::{Broken, Subject, layout, run_all};
use topic::embedded::EmbeddedLog;
use topic::memory::MemoryLog;

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
