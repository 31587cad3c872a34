//! The owner of files: publishes each verified file chunk by chunk, and reconciles it.
//!
//! One task owns partition p of `commands` and of `files`. Its state is a row per file; each
//! publish holds events, the row *with the checkpoint*, and the position in `commands` that it
//! answers, so that the position and what it covers are one fact.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use schemas::codec::{Codec, Event, EventType};
use schemas::file::{File, FileState};
use schemas::{FileId, Topic};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use topic::{
    Batch, Consumed, Log, Membership, Message, MessageSet, PartitionReader, ReaderOf, Received,
    Writer, cloud_events,
};

use crate::attempt::{Error, Failure, Outage, broken, until_done};
use crate::fair::Waiting;
use crate::feed::Config;
use crate::lag::Lag;
use crate::splitter::{CHUNKS_ROOM, Produced};
use crate::step::Step;
use crate::watch::until;
use splitting::Splitting;

mod command;
mod operate;
mod splitting;
mod together;
mod work;

/// The consumer group whose members share the files.
pub const FILES_GROUP: &str = "files";

/// How many files of a partition are open at once. Each holds some chunks in memory; the last place
/// is for the smallest file that waits.
const OPEN_FILES: usize = 4;

/// How many bytes of rows are read at once.
const ROWS_BYTES: usize = 4 << 20;

/// Publishes all files whose partitions the group gives this process, until `cancel`.
///
/// # Errors
///
/// Where the group can't be joined. An owner that stops by itself is reported to `stopped`.
pub async fn run<L: Log>(
    log: L,
    config: Arc<Config>,
    cancel: &CancellationToken,
    stopped: impl Fn(u32, Error),
) -> Result<(), topic::Error> {
    let shared = Shared {
        room: Arc::new(Semaphore::new(CHUNKS_ROOM)),
        lag: Arc::new(Lag::new(log.clone(), &config.processors_group)),
        outage: Arc::new(Outage::default()),
    };
    let own = |assignment: topic::Assignment<ReaderOf<L>>, token| {
        own(log.clone(), Arc::clone(&config), shared.clone(), assignment, token)
    };
    topic::own_partitions(&log, FILES_GROUP, Topic::Commands, cancel, own, stopped).await
}

async fn own<L: Log>(
    log: L,
    config: Arc<Config>,
    shared: Shared<L>,
    assignment: topic::Assignment<ReaderOf<L>>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let partition = assignment.partition;
    let attempt = |mut assignment: topic::Assignment<ReaderOf<L>>| async {
        let worked = match FileOwner::begin(&log, &config, &shared, &mut assignment).await {
            Ok(mut owner) => owner.work(&mut assignment.messages, &cancel).await,
            Err(failure) => Err(failure),
        };
        (assignment, worked)
    };
    let outage = &shared.outage;
    until_done(("files", partition), outage, config.patience, &cancel, assignment, attempt).await
}

/// What all owners of files in this process share.
#[derive(Clone)]
struct Shared<L> {
    /// For chunks that wait to be published.
    room: Arc<Semaphore>,
    lag: Arc<Lag<L>>,
    /// Which of them wait for the log.
    outage: Arc<Outage>,
}

/// Owns the files of one partition.
struct FileOwner<'a, L: Log> {
    log: &'a L,
    config: &'a Arc<Config>,
    shared: &'a Shared<L>,
    partition: u32,
    writer: L::Writer,
    membership: Membership,
    /// The position in `commands`: what is below it is answered.
    position: i64,
    /// Rows of files that go on.
    open: HashMap<FileId, File>,
    /// Where to find the newest row of every other file.
    ended: HashMap<FileId, Place>,
    /// An end of this partition of `files`: rows that are published from now on stand behind it.
    rows_end: i64,
    /// Files that wait for a place.
    waiting: Waiting<FileId>,
    /// Files whose object can't be read for now, and until when they are let be.
    resting: Vec<(Instant, FileId)>,
    /// Files of which it is told that their object can't be read.
    unreadable: HashSet<FileId>,
    /// Files that are being read again.
    splitting: HashMap<FileId, Splitting>,
    /// How many runs of splitting were begun.
    generation: u64,
    splitters: JoinSet<()>,
    produced: mpsc::Receiver<Produced>,
    produce: mpsc::Sender<Produced>,
}

impl<'a, L: Log> FileOwner<'a, L> {
    /// Fences the former owner, reads what it left, and takes up what it had not finished.
    async fn begin(
        log: &'a L,
        config: &'a Arc<Config>,
        shared: &'a Shared<L>,
        assignment: &mut topic::Assignment<ReaderOf<L>>,
    ) -> Result<Self, Failure> {
        let partition = assignment.partition;
        let writer = log.writer(&format!("files-{partition}")).await?;
        let positions = log.committed(FILES_GROUP, Topic::Commands).await?;
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let position = positions.get(at).copied().flatten().unwrap_or_default();
        assignment.messages.seek(position).await?;
        // Whoever has a place for a chunk can hand it over.
        let (produce, produced) = mpsc::channel(OPEN_FILES + CHUNKS_ROOM);
        let mut owner = Self {
            log,
            config,
            shared,
            partition,
            writer,
            membership: assignment.membership.clone(),
            position,
            open: HashMap::new(),
            ended: HashMap::new(),
            rows_end: 0,
            waiting: Waiting::default(),
            resting: Vec::new(),
            unreadable: HashSet::new(),
            splitting: HashMap::new(),
            generation: 0,
            splitters: JoinSet::new(),
            produced,
            produce,
        };
        owner.read_rows().await?;
        owner.take_up();
        Ok(owner)
    }

    async fn read_rows(&mut self) -> Result<(), Failure> {
        let (log, partition) = (self.log, self.partition);
        let keep = |message: Received| {
            if let Some(row) = row_of(&message)? {
                let value = message.value.as_deref().unwrap_or_default();
                self.keep(row, Place { from: message.offset, digest: digest(value) });
            }
            Ok::<(), Failure>(())
        };
        self.rows_end = topic::read_all(log, Topic::Files, partition, 0, keep).await?;
        Ok(())
    }

    /// Keeps a row that is published there.
    fn keep(&mut self, row: File, place: Place) {
        let file_id = row.file_id;
        // A file that is held for its settings goes on by itself once they are the same again.
        if row.is_at_end() && !is_held_for_settings(&row) {
            self.open.remove(&file_id);
            self.ended.insert(file_id, place);
        } else {
            self.ended.remove(&file_id);
            self.open.insert(file_id, row);
        }
    }

    async fn work(
        &mut self,
        commands: &mut ReaderOf<L>,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        loop {
            self.wake_resting();
            self.start_splitting().await?;
            let woken = self.resting.iter().map(|(until, _)| *until).min();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                received = commands.next() => self.answer(&received?).await?,
                Some(produced) = self.produced.recv() => self.publish_produced(produced).await?,
                () = until(woken) => (),
                Some(ended) = self.splitters.join_next() => {
                    ended.map_err(|error| broken("the splitting of a file", error))?;
                }
            }
        }
    }

    /// Publishes events, the rows that cover them, and the position in `commands`.
    async fn publish(
        &mut self,
        mut sets: Vec<MessageSet>,
        mut rows: Vec<File>,
    ) -> Result<(), Failure> {
        let codec = Codec::built_in();
        let now = (self.config.clock)();
        let mut messages = Vec::with_capacity(rows.len());
        let mut places = Vec::with_capacity(rows.len());
        for row in &mut rows {
            row.updated_at = now;
            let key = Bytes::from(row.file_id.to_string());
            let id = Bytes::from(format!("{}/row/{}", row.file_id, now.0));
            let value = codec.encode(row)?;
            places.push(Place { from: self.rows_end, digest: digest(&value) });
            messages.push(Message { id, key, value: Some(value.into()) });
        }
        let partition = self.partition;
        if !messages.is_empty() {
            let headers = cloud_events(File::TYPE, &self.config.source, Topic::Files.name(), now);
            sets.push(MessageSet { topic: Topic::Files, partition, headers, messages });
        }
        let consumed = Consumed {
            membership: self.membership.clone(),
            positions: vec![(Topic::Commands, partition, self.position)],
        };
        self.writer.publish(Batch { sets, consumed: Some(consumed) }).await?;
        // Those rows are there, whatever comes of the rest. A log may say an older end for a
        // moment, which is one all the same.
        self.rows_end = self.log.end(Topic::Files, partition).await?.max(self.rows_end);
        for (place, row) in places.into_iter().zip(rows) {
            let file_id = row.file_id;
            let former = self.open.get(&file_id);
            let had_work = former.is_some_and(|former| former.work.is_some());
            let was = former.map(|former| former.state.clone());
            let is_answered = had_work && row.work.is_none();
            let is_reconciled = was.is_some_and(|was| was != FileState::RECONCILED)
                && row.state == FileState::RECONCILED;
            self.keep(row, place);
            self.follow_row(file_id);
            if is_answered {
                self.config.step(Step::CommandAnswered);
            }
            if is_reconciled {
                self.config.step(Step::Reconciled);
            }
        }
        Ok(())
    }
}

/// Where to find a row that was published.
///
/// Its offset can't be told from how many rows were published: other writers' markers and what was
/// compacted away leave holes.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// An offset that it doesn't stand below.
    from: i64,
    /// Of its bytes: the first row of its file from there on with these bytes is the one.
    digest: u64,
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The reason code of a file that is held because its feed's settings are others now.
const SETTINGS_CHANGED: &str = "settings_changed";

pub(crate) fn is_held_for_settings(file: &File) -> bool {
    let code = file.reason.as_ref().map(|reason| reason.code.as_str());
    file.state == FileState::HELD && code == Some(SETTINGS_CHANGED)
}

fn size_of(file: &File) -> u64 {
    u64::try_from(file.verdict.content_bytes).unwrap_or_default()
}

fn row_of(message: &Received) -> Result<Option<File>, Failure> {
    let codec = Codec::built_in();
    match &message.value {
        // The ledger's descriptor stands in the same topic.
        Some(value) if codec.event_type(value)? == EventType::File => {
            Ok(Some(codec.decode(value)?))
        }
        _ => Ok(None),
    }
}
