//! The task that splits one file: reads its blocks, makes chunks, and hands them to the file's
//! owner.

use std::sync::Arc;

use schemas::arrival::Reason;
use schemas::{FileId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use topic::Log;

use crate::bucket::{self, Bucket, Object};
use crate::container::Limits;
use crate::content::{self, Blocks};
use crate::feed::{Config, Feed};
use crate::known::OBJECT_GONE;
use crate::lag::Lag;
use crate::pick::{self, Pick, Picked};
use crate::split::{self, Broken, Chunk, Split};
use crate::step::Step;

/// How many chunks of one file may be made and not yet published, whatever the others have: another
/// one is in the making meanwhile.
const CHUNKS_AHEAD: usize = 1;

/// How many more where there is room for them: chunks that wait are published together, as a
/// publish over many partitions costs as much for one as for four of them.
const CHUNKS_MORE: usize = 7;

/// How many of those there may be of all files: some tens of megabytes.
pub(crate) const CHUNKS_ROOM: usize = 12;

/// A file with no more records than this never waits for the shards.
const SMALL_FILE_RECORDS: i64 = 10_000;

/// What a splitter hands to the file's owner.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) file_id: FileId,
    /// Which run of splitting it is of: what is left of one that was stopped is not published.
    pub(crate) generation: u64,
    pub(crate) result: Result<Made, Ended>,
    /// To be dropped once it is published: the splitter goes on then.
    pub(crate) place: Vec<OwnedSemaphorePermit>,
}

/// What a splitter makes of a file.
#[derive(Debug)]
pub(crate) enum Made {
    /// A chunk of its records.
    Chunk(Box<Chunk>),
    /// The records that were to be read again.
    Picked(Vec<Picked>),
}

/// One reading of a file.
#[derive(Debug)]
pub(crate) enum Pass {
    /// From a checkpoint on, chunk by chunk.
    Split(Box<Split>),
    /// Some records, all at once.
    Pick(Box<Pick>),
}

impl Pass {
    fn next_block(&self) -> u64 {
        match self {
            Self::Split(split) => split.next_block(),
            Self::Pick(pick) => pick.next_block(),
        }
    }

    fn feed(&mut self, block: &content::Block) -> Result<(), Broken> {
        match self {
            Self::Split(split) => split.feed(block),
            Self::Pick(pick) => pick.feed(block),
        }
    }

    /// What was made; none where the next block is needed for it.
    fn next(&mut self, now: Timestamp) -> Result<Option<Made>, Broken> {
        Ok(match self {
            Self::Split(split) => match split.next(now)? {
                split::Next::Block => None,
                split::Next::Chunk(chunk) => Some(Made::Chunk(chunk)),
            },
            Self::Pick(pick) => match pick.next()? {
                pick::Next::Block => None,
                pick::Next::Picked(picked) => Some(Made::Picked(picked)),
            },
        })
    }
}

/// Why a splitter ends before its file does.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The file can't go on.
    Failed(Reason),
    /// Its object can't be read for now: it goes on later, and others have its place meanwhile.
    Away(bucket::Error),
}

/// Splits one file from its checkpoint to its end.
pub(crate) struct Splitter<L> {
    pub(crate) config: Arc<Config>,
    pub(crate) bucket: Bucket,
    pub(crate) limits: Limits,
    pub(crate) object: Object,
    /// Where the object may be once its file was reconciled.
    pub(crate) archive: Option<Bucket>,
    pub(crate) file_id: FileId,
    pub(crate) generation: u64,
    /// Cancelled where the file is not to be split on.
    pub(crate) cancel: CancellationToken,
    /// The size of the blocks that were verified.
    pub(crate) block_bytes: u64,
    /// Records of the file.
    pub(crate) records: i64,
    /// None only while a thread works on it.
    pub(crate) pass: Option<Pass>,
    pub(crate) produce: mpsc::Sender<Produced>,
    /// For chunks of all files that wait to be published.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) lag: Arc<Lag<L>>,
}

/// Places for chunks of one file that are made and not yet published.
struct Places {
    own: Arc<Semaphore>,
    more: Arc<Semaphore>,
    /// Shared with other files.
    room: Arc<Semaphore>,
}

impl Places {
    fn new(room: &Arc<Semaphore>) -> Self {
        let own = Arc::new(Semaphore::new(CHUNKS_AHEAD));
        Self { own, more: Arc::new(Semaphore::new(CHUNKS_MORE)), room: Arc::clone(room) }
    }

    /// Waits for a place of the file's own, or for one that others leave.
    async fn take(&self) -> Vec<OwnedSemaphorePermit> {
        let acquire = |places: &Arc<Semaphore>| Arc::clone(places).acquire_owned();
        let more = async {
            let more = acquire(&self.more).await;
            more.into_iter().chain(acquire(&self.room).await).collect()
        };
        tokio::select! {
            biased;
            own = acquire(&self.own) => own.into_iter().collect(),
            more = more => more,
        }
    }
}

impl<L: Log> Splitter<L> {
    /// Splits until the file ends, can't go on, is stopped, or its owner is gone.
    pub(crate) async fn run(mut self) {
        let (file_id, generation) = (self.file_id, self.generation);
        let (produce, cancel) = (self.produce.clone(), self.cancel.clone());
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            ended = self.split() => ended,
        };
        if let Err(Stop::Ended(ended)) = ended {
            let failed = Produced { file_id, generation, result: Err(ended), place: Vec::new() };
            // Nobody listens where the owner is gone; the next one begins from the checkpoint.
            let _ = produce.send(failed).await;
        }
    }

    async fn split(&mut self) -> Result<(), Stop> {
        let places = Places::new(&self.room);
        let mut blocks: Option<Blocks> = None;
        loop {
            let now = (self.config.clock)();
            let Some(made) = self.work(move |pass| pass.next(now)).await? else {
                self.feed(&mut blocks).await?;
                continue;
            };
            self.config.step(Step::Encoded);
            let is_last = match &made {
                Made::Chunk(chunk) => chunk.is_last,
                Made::Picked(_) => true,
            };
            // A small file never waits for the shards.
            if SMALL_FILE_RECORDS < self.records {
                self.lag.wait().await;
            }
            let place = places.take().await;
            let (file_id, generation) = (self.file_id, self.generation);
            let produced = Produced { file_id, generation, result: Ok(made), place };
            self.produce.send(produced).await.map_err(|_| Stop::OwnerGone)?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reads the next block and gives it to the split: where the object isn't in its bucket any
    /// more, from the feed's archive.
    async fn feed(&mut self, blocks: &mut Option<Blocks>) -> Result<(), Stop> {
        let block = loop {
            match self.read(blocks).await {
                Ok(Some(block)) => break block,
                Ok(None) => return Err(self.gone()),
                Err(content::Error::Container(error)) => {
                    return Err(Stop::failed("container_damaged", "as verified", error));
                }
                Err(content::Error::Bucket(bucket::Error::Gone { .. })) => {
                    *blocks = None;
                    if !self.go_to_archive().await? {
                        return Err(self.gone());
                    }
                }
                Err(content::Error::Bucket(error)) => return Err(Stop::away(error)),
            }
        };
        self.config.step(Step::BlockRead);
        self.work(move |pass| pass.feed(&block)).await
    }

    /// Has the object be read from the feed's archive, if it is there; that its bytes are those
    /// that were verified is checked as ever.
    async fn go_to_archive(&mut self) -> Result<bool, Stop> {
        let Some(archive) = self.archive.take() else { return Ok(false) };
        let key = Feed::archived_key(&self.file_id, &self.object.key);
        match archive.find(&key).await {
            Ok(Some(found)) => {
                (self.bucket, self.object) = (archive.patient(), found);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => Err(Stop::away(error)),
        }
    }

    async fn read(
        &self,
        blocks: &mut Option<Blocks>,
    ) -> Result<Option<content::Block>, content::Error> {
        if blocks.is_none() {
            let first = self.pass.as_ref().map(Pass::next_block).unwrap_or_default();
            let size = Some(self.block_bytes);
            let opened = Blocks::open(&self.bucket, &self.object, self.limits, size, first).await?;
            *blocks = Some(opened);
        }
        match blocks {
            Some(blocks) => blocks.next().await,
            None => Ok(None),
        }
    }

    /// Has a thread for blocking work do something with the pass.
    async fn work<T: Send + 'static>(
        &mut self,
        what: impl FnOnce(&mut Pass) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, Stop> {
        let Some(mut pass) = self.pass.take() else { return Err(Stop::OwnerGone) };
        let work = move || {
            let done = what(&mut pass);
            (pass, done)
        };
        // Joining fails only where the runtime is shutting down.
        let Ok((pass, done)) = tokio::task::spawn_blocking(work).await else {
            return Err(Stop::OwnerGone);
        };
        self.pass = Some(pass);
        done.map_err(|broken| match broken {
            Broken::OtherBytes { .. } => self.gone(),
            Broken::NotReadable { expected, found } => {
                Stop::failed("not_readable", &expected, found)
            }
            fault => Stop::failed("internal_fault", "the same reading as in verification", fault),
        })
    }

    fn gone(&self) -> Stop {
        let reason = Reason::new(OBJECT_GONE)
            .expected_found(
                format!("{} as it was verified", self.object.key),
                "that it is gone or was replaced",
            )
            .remedy(
                "put the same bytes there again, under any name, or `batchless cancel` gives it up",
            );
        Stop::Ended(Ended::Failed(reason))
    }
}

/// Why splitting ends before the file does.
enum Stop {
    /// The owner must know.
    Ended(Ended),
    /// Somebody else will go on from the checkpoint.
    OwnerGone,
}

impl Stop {
    fn failed(code: &str, expected: &str, found: impl std::fmt::Display) -> Self {
        let reason = Reason::new(code).expected_found(expected, found.to_string());
        Self::Ended(Ended::Failed(reason))
    }

    fn away(error: bucket::Error) -> Self {
        Self::Ended(Ended::Away(error))
    }
}
