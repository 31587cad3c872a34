//! The stages, each as the program itself does it, and what limits it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use ingest::verify::{Finding, verify};
use processors::apply::{Checks, Settings, Shard, UnknownAccount};
use processors::event::Decoder;
use processors::posting::Rules;
use processors::round::{self, EVENTS_MAX};
use processors::store::Store;
use processors::store::sqlite::SqliteStore;
use schemas::codec::{Codec, Encoder};
use schemas::command::PublishFile;
use schemas::ledger::Ledger;
use schemas::outcome::Outcome;
use schemas::{Timestamp, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use topic::embedded::EmbeddedLog;
use topic::{Batch, Log, Received, Writer};

use crate::cost::{Cost, Meter};
use crate::input::{self, Chunks, SHARDS};
use crate::{limit, program};

/// Threads for work that blocks, as `batchless run` has them.
const BLOCKING_THREADS: usize = 4;

/// As much as the owner of a shard reads at once, or a little more.
const PAGE_BYTES: usize = 256 << 10;

/// A stage, or a limit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Pass 1: from the object to its verdict.
    Verify,
    /// Pass 2: from the object to events in the log.
    Split,
    /// Publishing chunks that lie in memory.
    Publish,
    /// Reading them back.
    Read,
    /// From events in the log to durable outcomes and balances, all shards side by side.
    Apply,
    /// From the dropped file to the reconciled one: `batchless run --once`.
    Whole,
    /// What the whole way applied is planned to be undone, and undone: `batchless reverse`.
    Reverse,
    /// Its totals alone, proven: `batchless parse --output none`.
    Parse,
    /// A file of some records, dropped while this one goes through: its time from drop to
    /// reconciled.
    Beside,
    /// Limit: one SHA-256 of the file.
    Sha256,
    /// Limit: the events appended to a file.
    Append,
    /// Limit: the events inserted into SQLite.
    Insert,
}

impl Stage {
    /// In an order in which each finds what it needs: the limits take the events that splitting
    /// published.
    pub(crate) const ALL: [Self; 12] = [
        Self::Parse,
        Self::Verify,
        Self::Split,
        Self::Publish,
        Self::Read,
        Self::Apply,
        Self::Whole,
        Self::Reverse,
        Self::Beside,
        Self::Sha256,
        Self::Append,
        Self::Insert,
    ];

    /// Reading a file, and what bounds it.
    pub(crate) const READING: [Self; 3] = [Self::Parse, Self::Verify, Self::Sha256];

    /// Applying, and what it needs.
    pub(crate) const APPLYING: [Self; 4] = [Self::Verify, Self::Split, Self::Apply, Self::Insert];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Split => "split and publish",
            Self::Publish => "log: publish",
            Self::Read => "log: read",
            Self::Apply => "apply",
            Self::Whole => "whole way",
            Self::Reverse => "reverse",
            Self::Parse => "parse",
            Self::Beside => "small file beside",
            Self::Sha256 => "SHA-256",
            Self::Append => "append and sync",
            Self::Insert => "SQLite insert",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// What a stage can't do without; the slowest of them binds it. A limit has none.
    pub(crate) fn limits(self) -> &'static [Self] {
        match self {
            Self::Verify | Self::Parse => &[Self::Sha256],
            Self::Split => &[Self::Sha256, Self::Append],
            Self::Publish => &[Self::Append],
            Self::Apply | Self::Reverse => &[Self::Insert],
            Self::Whole => &[Self::Sha256, Self::Append, Self::Insert],
            Self::Beside | Self::Read | Self::Sha256 | Self::Append | Self::Insert => &[],
        }
    }

    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::Sha256 | Self::Append | Self::Insert)
    }
}

/// Runs one stage in this process, which does nothing else.
pub(crate) fn run(stage: Stage, format: &str, directory: &Path) -> anyhow::Result<Cost> {
    match stage {
        Stage::Parse => return program::parse(format, directory),
        Stage::Whole => return program::whole(format, directory),
        Stage::Reverse => return program::reverse(directory),
        Stage::Beside => return program::beside(format, directory),
        _ => (),
    }
    // As `batchless run` does.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match stage {
            Stage::Verify => verify_file(format, directory).await,
            Stage::Split => split_and_publish(format, directory).await,
            Stage::Publish => publish(format, directory).await,
            Stage::Read => read(directory).await,
            Stage::Apply => apply(directory).await,
            Stage::Sha256 => limit::sha256(directory),
            Stage::Append => limit::append(directory).await,
            Stage::Insert => limit::insert(directory).await,
            Stage::Parse | Stage::Whole | Stage::Reverse | Stage::Beside => {
                bail!("not in this process")
            }
        }
    })
}

async fn verify_file(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let feed = input::feed(format, directory)?;
    let meter = Meter::started()?;
    let object = input::object(&feed).await?;
    let finding = verify(&feed, &object, input::place(), |_| ()).await?;
    let cost = meter.cost()?;
    let verified = match finding {
        Finding::Verified(verified) => verified,
        Finding::Refused(refused) => bail!("the file was refused: {}", refused.reason),
    };
    let command = PublishFile {
        file_id: verified.file_id,
        feed: feed.name,
        object: object.key,
        version: object.version,
        held: None,
        verdict: verified.verdict,
        arrived_at: Timestamp(0),
    };
    input::keep(&command, directory)?;
    Ok(cost)
}

/// One chunk is made while the one before it is published.
async fn split_and_publish(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let log = EmbeddedLog::open(input::log(directory), input::layout())?;
    let mut writer = log.writer("files-0").await?;
    let mut chunks = Chunks::open(format, directory).await?;
    let meter = Meter::started()?;
    let (made, mut to_publish) = mpsc::channel(1);
    let mut splitting: JoinSet<anyhow::Result<()>> = JoinSet::new();
    splitting.spawn(async move {
        while let Some(chunk) = chunks.next().await? {
            made.send(chunk).await?;
        }
        Ok(())
    });
    while let Some(chunk) = to_publish.recv().await {
        writer.publish(Batch { sets: chunk.sets, consumed: None }).await?;
    }
    while let Some(split) = splitting.join_next().await {
        split??;
    }
    log.close().await;
    meter.cost()
}

async fn publish(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let log = EmbeddedLog::open(directory.join("log-alone.db"), input::layout())?;
    let mut writer = log.writer("files-0").await?;
    let mut chunks = Chunks::open(format, directory).await?;
    let mut meter = Meter::default();
    while let Some(chunk) = chunks.next().await? {
        meter.start()?;
        writer.publish(Batch { sets: chunk.sets, consumed: None }).await?;
        meter.stop()?;
    }
    meter.start()?;
    log.close().await;
    meter.cost()
}

async fn read(directory: &Path) -> anyhow::Result<Cost> {
    let log = EmbeddedLog::open_read_only(input::log(directory))?;
    let meter = Meter::started()?;
    for shard in 0..SHARDS {
        topic::read_all(&log, Topic::Records, shard, 0, |event| {
            std::hint::black_box(&event);
            Ok::<(), topic::Error>(())
        })
        .await?;
    }
    meter.cost()
}

/// A shard and what its owner keeps.
struct Owner {
    shard: Shard,
    epoch: i64,
    decoder: Decoder,
    encoder: Encoder<Outcome>,
    settings: Arc<Settings>,
    store: SqliteStore,
}

/// All shards side by side, each at its own pace.
async fn apply(directory: &Path) -> anyhow::Result<Cost> {
    let store = SqliteStore::open(&directory.join("accounts.db"))?;
    let ledger = Ledger {
        name: input::place().ledger,
        shards: i32::try_from(SHARDS)?,
        file_partitions: i32::try_from(input::layout().partitions(Topic::Files))?,
        key_check_value: input::key().check_value(),
    };
    store.open_ledger(&ledger).await?;
    let settings = Arc::new(Settings {
        rules: Rules::standard(),
        unknown_accounts: std::collections::HashMap::new(),
        unknown_account_default: UnknownAccount::Open,
        checks: Checks::ALL,
    });
    let mut owners = Vec::new();
    for id in 0..SHARDS {
        let row = store.acquire(id).await?;
        owners.push(Owner {
            shard: Shard::new(id, SHARDS, row.next_offset, row.next_number),
            epoch: row.epoch,
            decoder: Decoder::new(Codec::built_in()),
            encoder: round::encoder(),
            settings: Arc::clone(&settings),
            store: store.clone(),
        });
    }
    let log = EmbeddedLog::open_read_only(input::log(directory))?;
    let meter = Meter::started()?;
    let mut working: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for owner in owners {
        working.spawn(owner.all(log.clone()));
    }
    while let Some(worked) = working.join_next().await {
        worked??;
    }
    // Dropping the last handle closes the store.
    drop(store);
    meter.cost()
}

impl Owner {
    /// All events of its shard, round after round, whatever the others do.
    async fn all(mut self, log: EmbeddedLog) -> anyhow::Result<()> {
        let end = log.end(Topic::Records, self.shard.id).await?;
        let mut from = 0;
        while from < end {
            let read = log.read(Topic::Records, self.shard.id, from..end, PAGE_BYTES).await?;
            from = read.last().context("a hole in the log")?.offset + 1;
            for some in read.chunks(EVENTS_MAX) {
                self.round(some).await?;
            }
        }
        Ok(())
    }

    /// One round, as the owner of a shard does it.
    async fn round(&mut self, received: &[Received]) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(received.len());
        for message in received {
            events.push(self.decoder.decode(message.offset, message.value.as_deref())?);
        }
        round::prepare(&self.store, &mut self.shard, &self.settings, &events).await?;
        let (round, stopped) = round::apply_all(
            &mut self.shard,
            self.epoch,
            &self.settings,
            &events,
            &mut self.encoder,
        );
        if let Some(error) = stopped {
            return Err(error.into());
        }
        if let Some(round) = round {
            self.store.commit(round.commit).await?;
        }
        if processors::ACCOUNTS_MAX < self.shard.accounts.len() {
            self.shard.accounts = Default::default();
        }
        Ok(())
    }
}
