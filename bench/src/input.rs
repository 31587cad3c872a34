//! What the stages work on: one file in an inbox, its verdict, and the events in a log.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ingest::bucket::{Bucket, Object};
use ingest::container::Limits;
use ingest::content::Blocks;
use ingest::feed::{After, AtRest, Feed, RejectLimit};
use ingest::format::{Encoding, Framing, Posted, Settings, Side};
use ingest::generate;
use ingest::split::{Chunk, Next, Plan, Split};
use ingest::verify::Place;
use schemas::codec::Codec;
use schemas::command::PublishFile;
use schemas::file::Checkpoint;
use schemas::{AccountKey, Date, Timestamp, Topic};
use topic::embedded::EmbeddedLog;
use topic::{Layout, Log, Received};

/// Shards of the ledger, as `batchless` makes it unless told otherwise.
pub(crate) const SHARDS: u32 = 16;
const ARRIVALS: u32 = 4;
const FILES: u32 = 4;

/// The name of the file in its inbox.
pub(crate) const FILE: &str = "file";

const SEED: u64 = 7;

const LEDGER: &str = "main";
const SOURCE: &str = "bench";
const KEY: [u8; 32] = [7; 32];

/// The clock stands still: nothing here depends on it.
const NOW: Timestamp = Timestamp(0);

/// As much is read of a partition at once as its readers in a running ledger do.
const READ_BYTES: usize = 1 << 20;

/// Where the file arrives.
pub(crate) fn inbox(directory: &Path) -> PathBuf {
    directory.join("inbox")
}

/// Where the log is that splitting published to.
pub(crate) fn log(directory: &Path) -> PathBuf {
    directory.join("log.db")
}

/// The page of a format's text: IPM comes from hosts that speak EBCDIC.
pub(crate) fn encoding(format: &str) -> Encoding {
    if format == "ipm" { Encoding::Cp500 } else { Encoding::Ascii }
}

/// What a synthetic file of a format holds; `number` tells files of one size apart.
pub(crate) fn plan(
    format: &str,
    records: u64,
    accounts: u64,
    number: u32,
) -> anyhow::Result<generate::Plan> {
    Ok(generate::Plan {
        format: format.to_owned(),
        encoding: encoding(format),
        framing: Framing::Auto,
        records,
        accounts,
        seed: SEED,
        bad_per_million: 0,
        file_number: number,
        date: Date::new(2026, 11, 20).context("a date")?,
    })
}

/// The key of the ledger.
pub(crate) fn key() -> AccountKey {
    AccountKey::new(&KEY)
}

/// What of the ledger a verdict depends on.
pub(crate) fn place() -> Place {
    Place { ledger: LEDGER.to_owned(), key: key(), shards: SHARDS }
}

/// How many partitions the topics have, as `batchless` makes them unless told otherwise.
pub(crate) fn layout() -> Layout {
    Layout::new(ARRIVALS, FILES, SHARDS)
}

/// The feed that the file arrives in; its rules are those that `batchless` has unless told
/// otherwise.
pub(crate) fn feed(format: &str, directory: &Path) -> anyhow::Result<Feed> {
    Ok(Feed {
        name: format.to_owned(),
        bucket: Bucket::folder(&inbox(directory))?,
        settings: Settings {
            format: format.to_owned(),
            layout: None,
            encoding: encoding(format),
            framing: Framing::Auto,
            side: Side::Issuer,
            posted: Posted::Billing,
            record_bytes_max: 65_536,
        },
        at_rest: AtRest::Marker,
        look_every: std::time::Duration::from_millis(500),
        reject_limit: RejectLimit { percent: 50, records_min: 20 },
        serial: false,
        limits: Limits { bytes_max: 1 << 40, ratio_max: 200 },
        after: After::Keep,
    })
}

/// The file as its inbox lists it.
pub(crate) async fn object(feed: &Feed) -> anyhow::Result<Object> {
    let listed = feed.bucket.list().await?.objects;
    listed.into_iter().find(|object| object.key == FILE).context("the inbox is empty")
}

/// Keeps what verification found for the stages behind it.
pub(crate) fn keep(verified: &PublishFile, directory: &Path) -> anyhow::Result<()> {
    std::fs::write(directory.join("verified"), Codec::built_in().encode(verified)?)?;
    Ok(())
}

/// The file, being split again: block by block, chunk by chunk.
pub(crate) struct Chunks {
    split: Split,
    blocks: Blocks,
    is_over: bool,
}

impl Chunks {
    /// Begins at the beginning of the file that was verified.
    pub(crate) async fn open(format: &str, directory: &Path) -> anyhow::Result<Self> {
        let feed = feed(format, directory)?;
        let object = object(&feed).await?;
        let kept = std::fs::read(directory.join("verified"))?;
        let verified: PublishFile = Codec::built_in().decode(&kept)?;
        let plan = Plan {
            file_id: verified.file_id,
            first_id: verified.file_id,
            partition: 0,
            feed: feed.name.clone(),
            settings: feed.settings.clone(),
            verdict: verified.verdict,
            key: key(),
            source: SOURCE.to_owned(),
        };
        Ok(Self {
            split: Split::new(plan, Checkpoint::default())?,
            blocks: Blocks::open(&feed.bucket, &object, feed.limits, None, 0).await?,
            is_over: false,
        })
    }

    /// The next chunk; none after the last.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Chunk>> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            match self.split.next(NOW)? {
                Next::Chunk(chunk) => {
                    self.is_over = chunk.is_last;
                    return Ok(Some(*chunk));
                }
                Next::Block => {
                    let block = self.blocks.next().await?.context("the file has become shorter")?;
                    self.split.feed(&block)?;
                }
            }
        }
    }
}

/// The events of the log, so many of each shard at a time.
pub(crate) struct Events {
    log: EmbeddedLog,
    each: i64,
    from: i64,
}

impl Events {
    /// Begins at the first event of each shard.
    pub(crate) fn open(directory: &Path, each: usize) -> anyhow::Result<Self> {
        let log = EmbeddedLog::open_read_only(log(directory))?;
        Ok(Self { log, each: i64::try_from(each)?, from: 0 })
    }

    /// The next events of each shard, by shard; none after the last.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<Vec<Received>>>> {
        let mut shards = Vec::new();
        for shard in 0..SHARDS {
            let end = self.log.end(Topic::Records, shard).await?.min(self.from + self.each);
            let (mut from, mut events) = (self.from, Vec::new());
            while from < end {
                let read = self.log.read(Topic::Records, shard, from..end, READ_BYTES).await?;
                from = read.last().context("a hole in the log")?.offset + 1;
                events.extend(read);
            }
            shards.push(events);
        }
        self.from += self.each;
        Ok(shards.iter().any(|events| !events.is_empty()).then_some(shards))
    }
}
