//! The ledger in a data directory, opened to work on it: its key, its log, its store, and the proof
//! that they belong together.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use processors::store::sqlite::SqliteStore;
use processors::store::{Store as _, View as _};
use schemas::codec::{Codec, Event as _, EventType};
use schemas::ledger::Ledger;
use schemas::{AccountKey, Timestamp, Topic};
use topic::embedded::EmbeddedLog;
use topic::{Batch, Layout, Log as _, Message, MessageSet, Writer as _, cloud_events};

use crate::config::{Config, LedgerConfig};
use crate::data::{DataDirectory, Lock};

/// How many owners of feeds there may be. Feeds are few, and an owner works on several at once.
const ARRIVAL_PARTITIONS: u32 = 4;

/// The key of the descriptor's row on `files`, and the partition that it is in.
const DESCRIPTOR_KEY: &str = "ledger";
const DESCRIPTOR_PARTITION: u32 = 0;

/// A ledger that this process alone works on.
#[derive(Debug)]
pub(crate) struct OpenLedger {
    /// What is fixed of it.
    pub(crate) descriptor: Ledger,
    /// Its key.
    pub(crate) key: AccountKey,
    /// Its log.
    pub(crate) log: EmbeddedLog,
    /// Its store.
    pub(crate) store: SqliteStore,
    /// Its data directory, held as long as this lives.
    #[expect(dead_code, reason = "held, never read")]
    lock: Lock,
}

/// Opens the ledger that the configuration names, and makes it where there is none.
///
/// # Errors
///
/// Where another process works on it, it is another ledger than the configuration's, or something
/// of it can't be used.
pub(crate) async fn open(config: &Config, now: Timestamp) -> anyhow::Result<OpenLedger> {
    let data = DataDirectory::create(&config.data)?;
    let lock = data.lock()?;
    data.draw_key(config.ledger.key_file.as_deref())?;
    let ledger = open_locked(config, &data, lock, now).await?;
    data.keep_config(&config.with_ledger(&ledger.descriptor)?.to_toml(false))?;
    Ok(ledger)
}

/// Opens the ledger in a data directory whose lock is taken.
///
/// # Errors
///
/// As [`open`].
pub(crate) async fn open_locked(
    config: &Config,
    data: &DataDirectory,
    lock: Lock,
    now: Timestamp,
) -> anyhow::Result<OpenLedger> {
    let key = data.key(config.ledger.key_file.as_deref())?;
    let layout = layout(data, &config.ledger)?;
    let log = EmbeddedLog::open(data.log(), layout)?;
    let expected = Ledger {
        name: config.ledger.name.0.clone(),
        shards: count(layout.partitions(Topic::Records))?,
        file_partitions: count(layout.partitions(Topic::Files))?,
        key_check_value: key.check_value(),
    };
    let descriptor = match read_descriptor(&log).await? {
        Some(found) => {
            compare(&config.ledger, &expected, &found)?;
            found
        }
        None => {
            // The log gets its descriptor before the store does.
            if data.accounts().exists()
                && let Some(known) =
                    SqliteStore::open(&data.accounts())?.view().await?.ledger().await?
            {
                bail!(
                    "the accounts of the ledger {} are in {}, but its log {} is new; restore the \
                     log that belongs to them, or give another --data",
                    known.name,
                    data.accounts().display(),
                    data.log().display()
                );
            }
            write_descriptor(&log, &expected, now).await?;
            expected
        }
    };
    let store = SqliteStore::open(&data.accounts())?;
    store.open_ledger(&descriptor).await?;
    Ok(OpenLedger { descriptor, key, log, store, lock })
}

fn count(partitions: u32) -> anyhow::Result<i32> {
    i32::try_from(partitions).context("more partitions than 31 bits can count")
}

/// The layout of the log that is there; where there is none, the configuration's.
///
/// # Errors
///
/// Where the configuration says another one than the log has.
fn layout(data: &DataDirectory, config: &LedgerConfig) -> anyhow::Result<Layout> {
    let Some(layout) = EmbeddedLog::layout_in(data.log())? else {
        return Ok(Layout::new(ARRIVAL_PARTITIONS, config.file_partitions.0, config.shards.0));
    };
    for (name, (said, by_somebody), topic) in [
        ("ledger.shards", config.shards, Topic::Records),
        ("ledger.file_partitions", config.file_partitions, Topic::Files),
    ] {
        let found = layout.partitions(topic);
        if by_somebody && said != found {
            bail!(
                "{name}: the ledger was made with {found}, and the configuration says {said}; it \
                 can't be changed later, so take the key out of the configuration"
            );
        }
    }
    Ok(layout)
}

/// Refuses another ledger than the one that the configuration means.
fn compare(config: &LedgerConfig, expected: &Ledger, found: &Ledger) -> anyhow::Result<()> {
    if config.name.1 && expected.name != found.name {
        bail!(
            "the data directory holds the ledger {}, and the configuration says {}; give another \
             --data, or the ledger's own name",
            found.name,
            expected.name
        );
    }
    if expected.key_check_value != found.key_check_value {
        bail!(
            "the key is another ledger's: its check value is {}, and this ledger's is {}; restore \
             the key that the ledger was made with",
            expected.key_check_value,
            found.key_check_value
        );
    }
    Ok(())
}

async fn read_descriptor(log: &EmbeddedLog) -> anyhow::Result<Option<Ledger>> {
    let codec = Codec::built_in();
    let mut found = None;
    let take = |message: topic::Received| -> anyhow::Result<()> {
        if let Some(value) = &message.value
            && codec.event_type(value)? == EventType::Ledger
        {
            found = Some(codec.decode(value)?);
        }
        Ok(())
    };
    topic::read_all(log, Topic::Files, DESCRIPTOR_PARTITION, 0, take).await?;
    Ok(found)
}

async fn write_descriptor(
    log: &EmbeddedLog,
    descriptor: &Ledger,
    now: Timestamp,
) -> anyhow::Result<()> {
    let source = source(&descriptor.name);
    let message = Message {
        id: Bytes::from_static(DESCRIPTOR_KEY.as_bytes()),
        key: Bytes::from_static(DESCRIPTOR_KEY.as_bytes()),
        value: Some(Codec::built_in().encode(descriptor)?.into()),
    };
    let set = MessageSet {
        topic: Topic::Files,
        partition: DESCRIPTOR_PARTITION,
        headers: Arc::clone(&cloud_events(Ledger::TYPE, &source, DESCRIPTOR_KEY, now)),
        messages: vec![message],
    };
    let mut writer = log.writer(DESCRIPTOR_KEY).await?;
    Ok(writer.publish(Batch { sets: vec![set], consumed: None }).await?)
}

/// Who says what is published: the header `ce_source`.
pub(crate) fn source(ledger: &str) -> String {
    format!("/batchless/{ledger}")
}
