//! The ledger, opened to work on it: its key, its log, its store, and the proof that they belong
//! together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use processors::store::{Store as _, View as _};
use schemas::codec::{Codec, Event as _, EventType};
use schemas::ledger::Ledger;
use schemas::{AccountKey, Timestamp, Topic};
use topic::{Batch, Error, Layout, Log as _, Message, MessageSet, Writer as _, cloud_events};

use crate::config::{Config, LedgerConfig};
use crate::data::{DataDirectory, Lock, configured_key};
use crate::engine::{self, AnyLog, AnyStore, kafka};
use crate::owners::Part;

/// How many owners of feeds there may be. Feeds are few, and an owner works on several at once.
const ARRIVAL_PARTITIONS: u32 = 4;

/// The key of the descriptor's row on `files`, and the partition that it is in.
const DESCRIPTOR_KEY: &str = "ledger";
const DESCRIPTOR_PARTITION: u32 = 0;

/// How often the descriptor is tried to be written: as often as processes that start at one moment
/// may come between.
const DESCRIPTOR_TRIES_MAX: u32 = 64;

/// How long between two of these tries.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(100);

/// How long a log that can't be used for now is waited for at the start: a broker that is started
/// anew at that moment is back by then, and knows its partitions a moment later.
const LOG_PATIENCE: Duration = Duration::from_secs(15);

/// How long between two tries to use it.
const LOG_RETRY: Duration = Duration::from_millis(500);

/// A ledger that this process works on.
#[derive(Debug)]
pub(crate) struct OpenLedger {
    /// What is fixed of it.
    pub(crate) descriptor: Ledger,
    /// Its key.
    pub(crate) key: AccountKey,
    /// Its log.
    pub(crate) log: AnyLog,
    /// Its store; none for whoever works on no accounts.
    pub(crate) store: Option<AnyStore>,
    /// Its data directory where it has one, held as long as this lives.
    #[expect(dead_code, reason = "held, never read")]
    lock: Option<Lock>,
}

impl OpenLedger {
    /// Its store.
    ///
    /// # Errors
    ///
    /// Where it was opened without.
    pub(crate) fn store(&self) -> anyhow::Result<&AnyStore> {
        self.store.as_ref().context("the ledger was opened without its store")
    }
}

/// Opens the ledger that the configuration names, for one part of the work, and makes it where
/// there is none.
///
/// # Errors
///
/// Where another process works on its data directory, it is another ledger than the
/// configuration's, or something of it can't be used.
pub(crate) async fn open(
    config: &Config,
    part: Part,
    now: Timestamp,
) -> anyhow::Result<OpenLedger> {
    let is_embedded =
        config.topics.is_embedded() || (part.processes() && config.store.is_embedded());
    if !is_embedded {
        return open_patiently(config, part, now).await;
    }
    let data = DataDirectory::create(&config.data)?;
    let lock = data.lock()?;
    if configured_key(config)?.is_none() {
        data.draw_key()?;
    }
    let ledger = open_parts(config, part, Some(&data), Some(lock), now).await?;
    data.keep_config(&config.with_ledger(&ledger.descriptor)?)?;
    Ok(ledger)
}

/// Opens the ledger in a data directory whose lock is taken, to work on it until commands are
/// answered.
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
    open_parts(config, Part::Answers, Some(data), Some(lock), now).await
}

/// Opens a ledger that is on servers; one whose log can't be used for now again and again, for some
/// seconds.
async fn open_patiently(config: &Config, part: Part, now: Timestamp) -> anyhow::Result<OpenLedger> {
    let begin = tokio::time::Instant::now();
    let mut is_first = true;
    loop {
        let error = match open_parts(config, part, None, None, now).await {
            Ok(ledger) => return Ok(ledger),
            Err(error) => error,
        };
        let is_passing = matches!(error.downcast_ref::<Error>(), Some(Error::Retry { .. }))
            || error.is::<kafka::Away>();
        if !is_passing || LOG_PATIENCE < begin.elapsed() {
            return Err(error);
        }
        let error = format!("{error:#}");
        if std::mem::take(&mut is_first) {
            tracing::warn!(error, "the log can't be used for now, waiting for it");
        } else {
            tracing::debug!(error, "the log can't be used for now");
        }
        tokio::time::sleep(LOG_RETRY).await;
    }
}

async fn open_parts(
    config: &Config,
    part: Part,
    data: Option<&DataDirectory>,
    lock: Option<Lock>,
    now: Timestamp,
) -> anyhow::Result<OpenLedger> {
    let key = key(config, data)?;
    let log = engine::open_log(config, data, |found| layout(&config.ledger, found)).await?;
    let layout = log.layout();
    let expected = Ledger {
        name: config.ledger.name.0.clone(),
        shards: count(layout.partitions(Topic::Records))?,
        file_partitions: count(layout.partitions(Topic::Files))?,
        key_check_value: key.check_value(),
    };
    let store = match part.processes() {
        true => Some(engine::open_store(config, data).await?),
        false => None,
    };
    let descriptor = match read_descriptor(&log).await? {
        Some(found) => found,
        None => {
            // The log gets its descriptor before the store does.
            if let Some(store) = &store
                && let Some(known) = store.view().await?.ledger().await?
            {
                bail!(
                    "the accounts of the ledger {} are in {}, but its log {} is new; restore the \
                     log that belongs to them, or give another {}",
                    known.name,
                    engine::store_name(config),
                    engine::log_name(config),
                    if config.store.is_embedded() { "--data" } else { "store.location" },
                );
            }
            write_descriptor(&log, &expected, now).await?
        }
    };
    compare(config, &descriptor)?;
    match configured_key(config)? {
        None => compare_key(&key, &descriptor)?,
        Some(_) => compare_key(&key, &descriptor).context("ledger.key_file")?,
    }
    if let Some(store) = &store {
        let opened = store.open_ledger(&descriptor).await;
        match config.store.is_embedded() {
            true => opened?,
            false => opened.context("store.location")?,
        }
    }
    Ok(OpenLedger { descriptor, key, log, store, lock })
}

/// The ledger's key: as it was configured, else the one in the data directory.
///
/// # Errors
///
/// Where there is none, or it isn't one.
pub(crate) fn key(config: &Config, data: Option<&DataDirectory>) -> anyhow::Result<AccountKey> {
    if let Some(key) = configured_key(config)? {
        return Ok(key);
    }
    let is_drawn = config.topics.is_embedded() && config.store.is_embedded();
    match data.filter(|_| is_drawn) {
        Some(data) => data.key(),
        None => bail!(
            "ledger.key_file is missing: where log or store is a server, no key is drawn; put 64 \
             hexadecimal digits into a file (`openssl rand -hex 32` gives some) and name it, or \
             set BATCHLESS_LEDGER_KEY"
        ),
    }
}

fn count(partitions: u32) -> anyhow::Result<i32> {
    i32::try_from(partitions).context("more partitions than 31 bits can count")
}

/// The layout of the log that is there; where there is none, the configuration's.
///
/// # Errors
///
/// Where the configuration says another one than the log has.
fn layout(config: &LedgerConfig, found: Option<Layout>) -> anyhow::Result<Layout> {
    let Some(layout) = found else { return Ok(configured_layout(config)) };
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

/// The layout that a ledger of this configuration gets when it is made.
pub(crate) fn configured_layout(config: &LedgerConfig) -> Layout {
    Layout::new(ARRIVAL_PARTITIONS, config.file_partitions.0, config.shards.0)
}

/// What is fixed of a ledger whose data directory keeps it.
///
/// # Errors
///
/// Where its numbers can't be counted.
pub(crate) fn kept(config: &Config, key: &AccountKey) -> anyhow::Result<Ledger> {
    Ok(Ledger {
        name: config.ledger.name.0.clone(),
        shards: count(config.ledger.shards.0)?,
        file_partitions: count(config.ledger.file_partitions.0)?,
        key_check_value: key.check_value(),
    })
}

/// Refuses another ledger than the one that the configuration means.
///
/// # Errors
///
/// Where it is another.
pub(crate) fn compare(config: &Config, found: &Ledger) -> anyhow::Result<()> {
    let (name, by_somebody) = &config.ledger.name;
    if *by_somebody && *name != found.name {
        let (holder, other) = match config.topics.is_embedded() {
            true => ("the data directory holds", "--data"),
            false => ("topics.location: its topics hold", "topics.prefix"),
        };
        bail!(
            "{holder} the ledger {}, and the configuration says {name}; give another {other}, or \
             the ledger's own name",
            found.name,
        );
    }
    Ok(())
}

/// Refuses another key than the ledger's.
///
/// # Errors
///
/// Where it is another.
pub(crate) fn compare_key(key: &AccountKey, ledger: &Ledger) -> anyhow::Result<()> {
    let check_value = key.check_value();
    if check_value != ledger.key_check_value {
        bail!(
            "the key is another ledger's: its check value is {check_value}, and this ledger's is \
             {}; restore the key that the ledger was made with",
            ledger.key_check_value
        );
    }
    Ok(())
}

/// The descriptor in the log, where there is one.
///
/// # Errors
///
/// Where the log can't be read.
pub(crate) async fn read_descriptor(log: &AnyLog) -> anyhow::Result<Option<Ledger>> {
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

/// Writes the descriptor where there is none still, and gives the one that is there then: of
/// processes that start at one moment, the one that opened the writer last decides.
async fn write_descriptor(
    log: &AnyLog,
    descriptor: &Ledger,
    now: Timestamp,
) -> anyhow::Result<Ledger> {
    let mut tries = 1;
    loop {
        let written = async {
            let mut writer = log.writer(DESCRIPTOR_KEY).await?;
            if let Some(found) = read_descriptor(log).await? {
                return Ok(found);
            }
            let sets = vec![descriptor_set(descriptor, now)?];
            writer.publish(Batch { sets, consumed: None }).await?;
            anyhow::Ok(descriptor.clone())
        };
        let error = match written.await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let is_passing = matches!(
            error.downcast_ref::<Error>(),
            Some(Error::Fenced { .. } | Error::Retry { .. } | Error::Indefinite { .. })
        );
        if !is_passing || tries == DESCRIPTOR_TRIES_MAX {
            return Err(error.context("the ledger can't be made"));
        }
        tries += 1;
        tokio::time::sleep(DESCRIPTOR_RETRY).await;
    }
}

fn descriptor_set(descriptor: &Ledger, now: Timestamp) -> anyhow::Result<MessageSet> {
    let source = source(&descriptor.name);
    let message = Message {
        id: Bytes::from_static(DESCRIPTOR_KEY.as_bytes()),
        key: Bytes::from_static(DESCRIPTOR_KEY.as_bytes()),
        value: Some(Codec::built_in().encode(descriptor)?.into()),
    };
    Ok(MessageSet {
        topic: Topic::Files,
        partition: DESCRIPTOR_PARTITION,
        headers: Arc::clone(&cloud_events(Ledger::TYPE, &source, DESCRIPTOR_KEY, now)),
        messages: vec![message],
    })
}

/// Who says what is published: the header `ce_source`.
pub(crate) fn source(ledger: &str) -> String {
    format!("/batchless/{ledger}")
}
