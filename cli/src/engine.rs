//! The engines under a ledger: which log and which store, as the configuration says. Everything
//! above them is one and the same.

pub(crate) mod kafka;
mod log;
mod postgres;
mod store;

use anyhow::{Context as _, anyhow};
use processors::store::postgres::PostgresStore;
use processors::store::sqlite::SqliteStore;
use topic::Layout;
use topic::embedded::EmbeddedLog;
use topic::kafka::KafkaLog;

use crate::config::Config;
use crate::config::engines::{StoreConfig, TopicsConfig};
use crate::data::DataDirectory;

pub(crate) use log::AnyLog;
pub(crate) use store::AnyStore;

/// Opens the log to work on it. `layout` is told the one that is there, if any, and says which it
/// must be.
///
/// # Errors
///
/// Where it can't be used: one sentence that names the setting and what to do.
pub(crate) async fn open_log(
    config: &Config,
    data: Option<&DataDirectory>,
    layout: impl FnOnce(Option<Layout>) -> anyhow::Result<Layout>,
) -> anyhow::Result<AnyLog> {
    match &config.topics {
        TopicsConfig::Embedded => {
            let path = data.context("the embedded log needs a data directory")?.log();
            let layout = layout(EmbeddedLog::layout_in(&path)?)?;
            Ok(AnyLog::Embedded(EmbeddedLog::open(path, layout)?))
        }
        TopicsConfig::Kafka(kafka) => {
            let settings = kafka::settings(config, kafka)?;
            let found = KafkaLog::layout_in(&settings).await.map_err(kafka::sentence)?;
            let layout = layout(Some(found.ok_or_else(|| no_topics(&kafka.prefix))?))?;
            Ok(AnyLog::Kafka(KafkaLog::open(settings, layout).await.map_err(kafka::sentence)?))
        }
    }
}

/// Opens the log to read beside whoever works on it, and to publish commands where it is a server.
///
/// # Errors
///
/// As [`open_log`].
pub(crate) async fn open_log_beside(
    config: &Config,
    data: Option<&DataDirectory>,
) -> anyhow::Result<AnyLog> {
    match &config.topics {
        TopicsConfig::Embedded => {
            let path = data.context("the embedded log needs a data directory")?.log();
            Ok(AnyLog::Embedded(EmbeddedLog::open_read_only(path)?))
        }
        TopicsConfig::Kafka(_) => {
            let there = |found: Option<Layout>| found.context("the topics have no layout");
            open_log(config, None, there).await
        }
    }
}

fn no_topics(prefix: &str) -> anyhow::Error {
    anyhow!(
        "topics.prefix: no topic begins with `{prefix}` there; `batchless topics create` makes \
         them, or give another prefix"
    )
}

/// Opens the store to work on it.
///
/// # Errors
///
/// As [`open_log`].
pub(crate) async fn open_store(
    config: &Config,
    data: Option<&DataDirectory>,
) -> anyhow::Result<AnyStore> {
    match &config.store {
        StoreConfig::Embedded => {
            let path = data.context("the embedded store needs a data directory")?.accounts();
            Ok(AnyStore::Sqlite(SqliteStore::open(&path)?))
        }
        StoreConfig::Postgres(at) => {
            let opened = PostgresStore::open(postgres::settings(config, at)?).await;
            Ok(AnyStore::Postgres(opened.map_err(|error| postgres::sentence(&error))?))
        }
    }
}

/// Opens the store to read beside whoever works on it.
///
/// # Errors
///
/// As [`open_log`].
pub(crate) async fn open_store_beside(
    config: &Config,
    data: Option<&DataDirectory>,
) -> anyhow::Result<AnyStore> {
    match &config.store {
        StoreConfig::Embedded => {
            let data = data.context("the embedded store needs a data directory")?;
            Ok(AnyStore::Sqlite(data.open_accounts()?))
        }
        StoreConfig::Postgres(at) => {
            let opened = PostgresStore::open_read_only(postgres::settings(config, at)?).await;
            Ok(AnyStore::Postgres(opened.map_err(|error| postgres::sentence(&error))?))
        }
    }
}

/// Where the log is, for people.
pub(crate) fn log_name(config: &Config) -> String {
    match &config.topics {
        TopicsConfig::Embedded => config.data.join("log.db").display().to_string(),
        TopicsConfig::Kafka(kafka) => format!("kafka://{}", kafka.brokers),
    }
}

/// Where the store is, for people.
pub(crate) fn store_name(config: &Config) -> String {
    match &config.store {
        StoreConfig::Embedded => config.data.join("accounts.db").display().to_string(),
        StoreConfig::Postgres(at) => format!("postgres://{}:{}/{}", at.host, at.port, at.database),
    }
}

/// An error and all that it comes from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some show their source themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
