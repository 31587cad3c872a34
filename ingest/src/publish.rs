//! The owner of files: publishes each verified file chunk by chunk, and reconciles it.
//!
//! One task owns partition p of `commands` and of `files`. Its state is a row per file; each
//! publish holds events, the row *with the checkpoint*, and the position in `commands` that it
//! answers, so that the position and what it covers are one fact.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use schemas::arrival::Reason;
use schemas::codec::{Codec, Event, EventType};
use schemas::file::{File, FileState};
use schemas::record::SegmentClosed;
use schemas::{FileId, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use topic::{
    Batch, Consumed, Log, Membership, Message, MessageSet, PartitionReader, ReaderOf, Received,
    Writer, cloud_events,
};

use crate::attempt::{Error, Failure, broken, until_done};
use crate::fair::Waiting;
use crate::feed::Config;
use crate::format::revision;
use crate::split::{Chunk, Plan, Split};
use crate::splitter::{Failed, Produced, Splitter};

mod command;

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
    let own = |assignment: topic::Assignment<ReaderOf<L>>, token| {
        own(log.clone(), Arc::clone(&config), assignment, token)
    };
    topic::own_partitions(&log, FILES_GROUP, Topic::Commands, cancel, own, stopped).await
}

async fn own<L: Log>(
    log: L,
    config: Arc<Config>,
    assignment: topic::Assignment<ReaderOf<L>>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let partition = assignment.partition;
    let attempt = |mut assignment: topic::Assignment<ReaderOf<L>>| async {
        let worked = match FileOwner::begin(&log, &config, &mut assignment).await {
            Ok(mut owner) => owner.work(&mut assignment.messages, &cancel).await,
            Err(failure) => Err(failure),
        };
        (assignment, worked)
    };
    until_done("files", partition, config.patience, &cancel, assignment, attempt).await
}

/// Owns the files of one partition.
struct FileOwner<'a, L: Log> {
    log: &'a L,
    config: &'a Arc<Config>,
    partition: u32,
    writer: L::Writer,
    membership: Membership,
    /// The position in `commands`: what is below it is answered.
    position: i64,
    /// Rows of files that go on.
    open: HashMap<FileId, File>,
    /// Where the newest row of every other file stands.
    ended: HashMap<FileId, i64>,
    /// Files that wait for a place.
    waiting: Waiting<FileId>,
    /// Files that are being split.
    splitting: HashSet<FileId>,
    splitters: JoinSet<()>,
    produced: mpsc::Receiver<Produced>,
    produce: mpsc::Sender<Produced>,
}

impl<'a, L: Log> FileOwner<'a, L> {
    /// Fences the former owner, reads what it left, and takes up what it had not finished.
    async fn begin(
        log: &'a L,
        config: &'a Arc<Config>,
        assignment: &mut topic::Assignment<ReaderOf<L>>,
    ) -> Result<Self, Failure> {
        let partition = assignment.partition;
        let writer = log.writer(&format!("files-{partition}")).await?;
        let positions = log.committed(FILES_GROUP, Topic::Commands).await?;
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let position = positions.get(at).copied().flatten().unwrap_or_default();
        assignment.messages.seek(position).await?;
        // Two chunks of each open file may wait.
        let (produce, produced) = mpsc::channel(OPEN_FILES * 2);
        let mut owner = Self {
            log,
            config,
            partition,
            writer,
            membership: assignment.membership.clone(),
            position,
            open: HashMap::new(),
            ended: HashMap::new(),
            waiting: Waiting::default(),
            splitting: HashSet::new(),
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
                self.keep(row, message.offset);
            }
            Ok::<(), Failure>(())
        };
        topic::read_all(log, Topic::Files, partition, 0, keep).await?;
        Ok(())
    }

    /// Keeps a row that is published at this offset.
    fn keep(&mut self, row: File, offset: i64) {
        let file_id = row.file_id;
        // A file that is held for its settings goes on by itself once they are the same again.
        if row.is_at_end() && !is_held_for_settings(&row) {
            self.open.remove(&file_id);
            self.ended.insert(file_id, offset);
        } else {
            self.ended.remove(&file_id);
            self.open.insert(file_id, row);
        }
    }

    /// Takes up all that is unfinished.
    fn take_up(&mut self) {
        let mut unfinished: Vec<&File> = self.open.values().collect();
        unfinished.sort_by_key(|file| (file.arrived_at, file.file_id));
        for file in unfinished {
            if file.state != FileState::PUBLISHED {
                self.waiting.push(size_of(file), file.file_id);
            }
        }
    }

    async fn work(
        &mut self,
        commands: &mut ReaderOf<L>,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        loop {
            self.start_splitting().await?;
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                received = commands.next() => self.answer(&received?).await?,
                Some(produced) = self.produced.recv() => self.publish_produced(produced).await?,
                Some(ended) = self.splitters.join_next() => {
                    ended.map_err(|error| broken("the splitting of a file", error))?;
                }
            }
        }
    }

    /// Gives free places to files that wait for one.
    async fn start_splitting(&mut self) -> Result<(), Failure> {
        while self.splitting.len() < OPEN_FILES {
            let free = OPEN_FILES.saturating_sub(self.splitting.len());
            let Some(file_id) = self.waiting.take(free, |_| true) else { break };
            let Some(file) = self.open.get(&file_id) else { continue };
            match self.splitter(file) {
                Ok(splitter) => {
                    self.splitting.insert(file_id);
                    self.splitters.spawn(splitter.run());
                }
                Err(reason) => {
                    let (state, reason) = (FileState::HELD, Some(*reason));
                    if file.state == state && file.reason == reason {
                        continue;
                    }
                    let mut file = file.clone();
                    tracing::warn!(%file_id, "file held: it was verified under other settings");
                    file.state = state;
                    file.reason = reason;
                    self.publish(Vec::new(), vec![file]).await?;
                }
            }
        }
        Ok(())
    }

    /// What splits a file on, or why that isn't possible under today's settings.
    fn splitter(&self, file: &File) -> Result<Splitter<L>, Box<Reason>> {
        let held = |expected: String, found: String| {
            Box::new(
                Reason::new(SETTINGS_CHANGED)
                    .expected_found(expected, found)
                    .remedy("restore the settings that it was verified under, and start again"),
            )
        };
        let Some(feed) = self.config.feed(&file.feed) else {
            return Err(held(format!("the feed `{}`", file.feed), "no such feed".to_owned()));
        };
        let verdict = &file.verdict;
        let pins = [
            ("shards", verdict.shard_events.len().to_string(), self.config.shards.to_string()),
            ("settings", verdict.settings_digest.clone(), feed.settings.digest()),
            (
                "reader revision",
                verdict.reader_revision.to_string(),
                revision(&feed.settings.format).unwrap_or_default().to_string(),
            ),
        ];
        for (name, pinned, today) in pins {
            if pinned != today {
                return Err(held(format!("{name} {pinned}"), today));
            }
        }
        let plan = Plan {
            file_id: file.file_id,
            partition: self.partition,
            feed: file.feed.clone(),
            settings: feed.settings.clone(),
            verdict: verdict.clone(),
            key: self.config.key.clone(),
            source: self.config.source.clone(),
        };
        let broken = |error: crate::split::Broken| {
            Box::new(
                Reason::new("checkpoint_unreadable").expected_found("a state", error.to_string()),
            )
        };
        let split = Split::new(plan, file.checkpoint.clone()).map_err(broken)?;
        Ok(Splitter {
            log: self.log.clone(),
            config: Arc::clone(self.config),
            bucket: feed.bucket.clone(),
            limits: feed.limits,
            object: crate::bucket::Object {
                key: file.object.clone(),
                version: file.version.clone(),
                size: u64::try_from(verdict.size_bytes).unwrap_or_default(),
            },
            file_id: file.file_id,
            block_bytes: u64::try_from(verdict.block_bytes).unwrap_or_default(),
            records: verdict.records,
            split: Some(split),
            produce: self.produce.clone(),
            moved: Vec::new(),
        })
    }

    /// Publishes what a splitter made: a chunk, or that it can't go on.
    async fn publish_produced(&mut self, produced: Produced) -> Result<(), Failure> {
        let Produced { file_id, result, place } = produced;
        let Some(mut file) = self.open.get(&file_id).cloned() else { return Ok(()) };
        match result {
            Ok(chunk) => {
                let Chunk { mut sets, checkpoint, is_last } = *chunk;
                file.checkpoint = checkpoint;
                file.state = FileState::PUBLISHING;
                file.reason = None;
                if is_last {
                    self.splitting.remove(&file_id);
                    sets.extend(self.close(&file)?);
                    file.state = FileState::PUBLISHED;
                    command::conclude(&mut file);
                }
                self.publish(sets, vec![file]).await?;
            }
            Err(Failed(reason)) => {
                tracing::error!(%file_id, reason = %reason, "file can't go on");
                self.splitting.remove(&file_id);
                file.state = FileState::FAILED;
                file.reason = Some(reason);
                self.publish(Vec::new(), vec![file]).await?;
            }
        }
        drop(place);
        Ok(())
    }

    /// The end of a file's run, for each shard that it touches.
    fn close(&self, file: &File) -> Result<Vec<MessageSet>, Failure> {
        let codec = Codec::built_in();
        let now = (self.config.clock)();
        let file_id = file.file_id.to_string();
        let headers = cloud_events(SegmentClosed::TYPE, &self.config.source, &file_id, now);
        let mut sets = Vec::new();
        let shards = (0_u32..).zip(&file.checkpoint.sequences).zip(&file.checkpoint.shard_sums);
        for ((shard, events), sums) in shards.filter(|((_, events), _)| **events > 0) {
            let closed = SegmentClosed {
                file_id: file.file_id,
                shard: i32::try_from(shard).unwrap_or(i32::MAX),
                complete: true,
                events: *events,
                sums: sums.clone(),
                command_id: None,
                answer_to: i32::try_from(self.partition).unwrap_or(i32::MAX),
            };
            let message = Message {
                id: Bytes::from(format!("{file_id}/closed/{shard}")),
                key: Bytes::from(file_id.clone()),
                value: Some(codec.encode(&closed)?.into()),
            };
            sets.push(MessageSet {
                topic: Topic::Records,
                partition: shard,
                headers: Arc::clone(&headers),
                messages: vec![message],
            });
        }
        Ok(sets)
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
        for row in &mut rows {
            row.updated_at = now;
            let key = Bytes::from(row.file_id.to_string());
            let id = Bytes::from(format!("{}/row/{}", row.file_id, now.0));
            messages.push(Message { id, key, value: Some(codec.encode(row)?.into()) });
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
        // The rows just written are the partition's newest, and this is its only writer.
        let mut offset = self.log.end(Topic::Files, partition).await?;
        for row in rows.into_iter().rev() {
            offset = offset.saturating_sub(1);
            self.keep(row, offset);
        }
        Ok(())
    }
}

/// The reason code of a file that is held because its feed's settings are others now.
const SETTINGS_CHANGED: &str = "settings_changed";

fn is_held_for_settings(file: &File) -> bool {
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
