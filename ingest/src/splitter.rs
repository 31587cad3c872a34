//! The task that splits one file: reads its blocks, makes chunks, and hands them to the file's
//! owner.

use std::sync::Arc;
use std::time::Duration;

use schemas::arrival::Reason;
use schemas::{FileId, Topic};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use topic::Log;

use crate::bucket::{self, Bucket, Object};
use crate::container::Limits;
use crate::content::{self, Blocks};
use crate::feed::Config;
use crate::split::{Broken, Chunk, Next, Split};

/// How many chunks of one file may be made and not yet published: one on its way, one in the
/// making. More would let a large file crowd out the others.
const CHUNKS_AHEAD: usize = 2;

/// How many events the shards may lag before a large file's next chunk waits: some seconds of work
/// for the shards, and small against any file that could fill the log.
const LAG_MAX: i64 = 200_000;

/// A file with no more records than this never waits for the shards.
const SMALL_FILE_RECORDS: i64 = 10_000;

/// Shards that have not moved for so long are down, and waiting for them would hold up ingest.
const STALLED_AFTER: Duration = Duration::from_secs(5);

const LAG_LOOK_EVERY: Duration = Duration::from_millis(50);

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a splitter hands to the file's owner.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) file_id: FileId,
    pub(crate) result: Result<Box<Chunk>, Failed>,
    /// To be dropped once it is published: the splitter goes on then.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Why a file can't go on.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Reason);

/// Splits one file from its checkpoint to its end.
pub(crate) struct Splitter<L> {
    pub(crate) log: L,
    pub(crate) config: Arc<Config>,
    pub(crate) bucket: Bucket,
    pub(crate) limits: Limits,
    pub(crate) object: Object,
    pub(crate) file_id: FileId,
    /// Records of the file.
    pub(crate) records: i64,
    /// None only while a thread works on it.
    pub(crate) split: Option<Split>,
    pub(crate) produce: mpsc::Sender<Produced>,
}

impl<L: Log> Splitter<L> {
    /// Splits until the file ends, can't go on, or its owner is gone.
    pub(crate) async fn run(mut self) {
        let file_id = self.file_id;
        let produce = self.produce.clone();
        if let Err(Stop::Failed(reason)) = self.split().await {
            let failed = Produced { file_id, result: Err(Failed(reason)), place: None };
            // Nobody listens where the owner is gone; the next one begins from the checkpoint.
            let _ = produce.send(failed).await;
        }
    }

    async fn split(&mut self) -> Result<(), Stop> {
        let places = Arc::new(Semaphore::new(CHUNKS_AHEAD));
        let mut blocks: Option<Blocks> = None;
        loop {
            let now = (self.config.clock)();
            match self.work(move |split| split.next(now)).await? {
                Next::Block => self.feed(&mut blocks).await?,
                Next::Chunk(chunk) => {
                    let is_last = chunk.is_last;
                    self.wait_for_shards().await;
                    let place = Arc::clone(&places).acquire_owned().await.ok();
                    let produced = Produced { file_id: self.file_id, result: Ok(chunk), place };
                    self.produce.send(produced).await.map_err(|_| Stop::OwnerGone)?;
                    if is_last {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reads the next block and gives it to the split. Tries again while the bucket is away.
    async fn feed(&mut self, blocks: &mut Option<Blocks>) -> Result<(), Stop> {
        let mut wait = RETRY_FIRST;
        let block = loop {
            match self.read(blocks).await {
                Ok(Some(block)) => break block,
                Ok(None) => return Err(self.gone()),
                Err(content::Error::Bucket(bucket::Error::Gone { .. })) => return Err(self.gone()),
                Err(content::Error::Container(error)) => {
                    return Err(Stop::failed("container_damaged", "as verified", error));
                }
                Err(content::Error::Bucket(error)) => {
                    if wait == RETRY_FIRST {
                        let file_id = self.file_id;
                        tracing::warn!(%file_id, %error, "the object can't be read; trying again");
                    }
                    *blocks = None;
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(RETRY_MAX);
                }
            }
        };
        self.work(move |split| split.feed(&block)).await
    }

    async fn read(
        &self,
        blocks: &mut Option<Blocks>,
    ) -> Result<Option<content::Block>, content::Error> {
        if blocks.is_none() {
            let first = self.split.as_ref().map(Split::next_block).unwrap_or_default();
            *blocks = Some(Blocks::open(&self.bucket, &self.object, self.limits, first).await?);
        }
        match blocks {
            Some(blocks) => blocks.next().await,
            None => Ok(None),
        }
    }

    /// Has a thread for blocking work do something with the split.
    async fn work<T: Send + 'static>(
        &mut self,
        what: impl FnOnce(&mut Split) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, Stop> {
        let Some(mut split) = self.split.take() else { return Err(Stop::OwnerGone) };
        let work = move || {
            let done = what(&mut split);
            (split, done)
        };
        // Joining fails only where the runtime is shutting down.
        let Ok((split, done)) = tokio::task::spawn_blocking(work).await else {
            return Err(Stop::OwnerGone);
        };
        self.split = Some(split);
        done.map_err(|broken| match broken {
            Broken::OtherBytes { .. } => self.gone(),
            fault => Stop::failed("internal_fault", "the same reading as in verification", fault),
        })
    }

    fn gone(&self) -> Stop {
        let reason = Reason::new("object_gone")
            .expected_found(
                format!("{} as it was verified", self.object.key),
                "that it is gone or was replaced",
            )
            .remedy("put the same bytes there again, under any name, or cancel the file");
        Stop::Failed(reason)
    }

    /// Waits while the shards lag far behind and do move.
    async fn wait_for_shards(&self) {
        if self.records <= SMALL_FILE_RECORDS {
            return;
        }
        let mut moved = (Instant::now(), None);
        loop {
            // A log that can't say is no reason to wait.
            let Ok((applied, lag)) = self.lag().await else { return };
            if moved.1 != Some(applied) {
                moved = (Instant::now(), Some(applied));
            }
            if lag <= LAG_MAX || moved.0.elapsed() > STALLED_AFTER {
                return;
            }
            tokio::time::sleep(LAG_LOOK_EVERY).await;
        }
    }

    /// How far the shards are, and how far behind, in events of all of them.
    async fn lag(&self) -> Result<(i64, i64), topic::Error> {
        let positions = self.log.committed(&self.config.processors_group, Topic::Records).await?;
        let (mut applied, mut lag) = (0_i64, 0_i64);
        for (shard, position) in (0..).zip(positions) {
            let position = position.unwrap_or_default();
            let end = self.log.end(Topic::Records, shard).await?;
            applied = applied.saturating_add(position);
            lag = lag.saturating_add(end.saturating_sub(position));
        }
        Ok((applied, lag))
    }
}

/// Why splitting ends before the file does.
enum Stop {
    /// The file can't go on.
    Failed(Reason),
    /// Somebody else will go on from the checkpoint.
    OwnerGone,
}

impl Stop {
    fn failed(code: &str, expected: &str, found: impl std::fmt::Display) -> Self {
        Self::Failed(Reason::new(code).expected_found(expected, found.to_string()))
    }
}
