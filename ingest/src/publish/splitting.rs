//! The files that are being read again, and what is made of them.

use std::sync::Arc;

use schemas::arrival::Reason;
use schemas::codec::{Codec, Event};
use schemas::command::Action;
use schemas::file::{AnswerKind, File, FileState};
use schemas::{ClearingRecord, CommandId, FileId, RecordRejected, Topic};
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use topic::{Log, Message, MessageSet, cloud_events};

use super::operate::{Ask, closes};
use super::work::{answer, end_if_answered, fail, published_again, replay_end};
use super::{FileOwner, SETTINGS_CHANGED, is_held_for_settings, size_of};
use crate::attempt::Failure;
use crate::bucket::{self, Object};
use crate::feed::After;
use crate::format::revision;
use crate::pick::{Pick, Picked, Read, Wanted};
use crate::split::{Chunk, Plan, Split};
use crate::splitter::{Pass, Splitter};
use crate::step::Step;

/// How long a file rests whose object can't be read.
const REST: Duration = Duration::from_secs(2);

/// How many records an answer names; of more it says how many.
const RECORDS_NAMED: usize = 10;

/// What a file is read again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To publish it.
    Publish,
    /// To publish a part of it once more.
    Replay(CommandId),
    /// To try rejected records again.
    Resubmit(CommandId),
}

/// A file that is being read again. Dropping it stops that.
#[derive(Debug)]
pub(super) struct Splitting {
    pub(super) purpose: Purpose,
    pub(super) generation: u64,
    _stop: DropGuard,
}

/// What a file is to be read again for, by its row; none where it isn't to be. One that is held for
/// its settings is tried: it goes on once they are the same again.
fn purpose(file: &File) -> Option<Purpose> {
    match &file.work {
        Some(work) if work.action == Action::REPLAY && work.checkpoint.is_some() => {
            Some(Purpose::Replay(work.command_id))
        }
        Some(work) if work.action == Action::RESUBMIT => Some(Purpose::Resubmit(work.command_id)),
        _ => {
            let is_open = [FileState::VERIFIED, FileState::PUBLISHING].contains(&file.state);
            (is_open || is_held_for_settings(file)).then_some(Purpose::Publish)
        }
    }
}

impl<L: Log> FileOwner<'_, L> {
    /// Takes up all that is unfinished.
    pub(super) fn take_up(&mut self) {
        let is_unfinished = |file: &&File| purpose(file).is_some();
        let mut unfinished: Vec<&File> = self.open.values().filter(is_unfinished).collect();
        unfinished.sort_by_key(|file| (file.arrived_at, file.file_id));
        for file in unfinished {
            self.waiting.push(size_of(file), file.file_id);
        }
    }

    /// Stops what reads a file for something that its row doesn't want any more, and has the file
    /// wait for a place where it is to be read.
    pub(super) fn follow_row(&mut self, file_id: FileId) {
        let file = self.open.get(&file_id);
        let wanted = file.and_then(purpose);
        let splitting = self.splitting.get(&file_id);
        if splitting.is_some_and(|splitting| Some(splitting.purpose) != wanted) {
            self.splitting.remove(&file_id);
        }
        let is_waiting = self.waiting.first(|waiting| *waiting == file_id).is_some();
        let is_resting = self.resting.iter().any(|(_, resting)| *resting == file_id);
        if let (Some(file), Some(_)) = (file, wanted)
            && !is_waiting
            && !is_resting
            && !self.splitting.contains_key(&file_id)
        {
            self.waiting.push(size_of(file), file_id);
        }
    }

    /// Gives free places to files that wait for one.
    pub(super) async fn start_splitting(&mut self) -> Result<(), Failure> {
        while self.splitting.len() < super::OPEN_FILES {
            let free = super::OPEN_FILES.saturating_sub(self.splitting.len());
            let Some(file_id) = self.waiting.take(free, |_| true) else { break };
            let Some(file) = self.open.get(&file_id) else { continue };
            let Some(purpose) = purpose(file) else { continue };
            if self.splitting.contains_key(&file_id) {
                continue;
            }
            let mut file = file.clone();
            let reason = match self.pass(&file, purpose) {
                Ok(pass) => {
                    self.split(&file, purpose, pass);
                    continue;
                }
                Err(reason) => *reason,
            };
            if purpose != Purpose::Publish {
                fail(&mut file, &reason, (self.config.clock)());
            } else if file.state == FileState::HELD && file.reason.as_ref() == Some(&reason) {
                continue;
            } else {
                tracing::warn!(%file_id, %reason, "file held");
                file.state = FileState::HELD;
                file.reason = Some(reason);
            }
            self.publish(Vec::new(), vec![file]).await?;
        }
        Ok(())
    }

    /// Begins to read a file.
    fn split(&mut self, file: &File, purpose: Purpose, pass: Pass) {
        // The pass is there because the feed is.
        let Some(feed) = self.config.feed(&file.feed) else { return };
        let cancel = CancellationToken::new();
        self.generation = self.generation.wrapping_add(1);
        let splitter = Splitter {
            config: Arc::clone(self.config),
            bucket: feed.bucket.patient(),
            archive: match &feed.after {
                After::Archive(archive) => Some(archive.clone()),
                After::Keep | After::Delete => None,
            },
            limits: feed.limits,
            object: Object {
                key: file.object.clone(),
                version: file.version.clone(),
                size: u64::try_from(file.verdict.size_bytes).unwrap_or_default(),
            },
            file_id: file.file_id,
            generation: self.generation,
            cancel: cancel.clone(),
            block_bytes: u64::try_from(file.verdict.block_bytes).unwrap_or_default(),
            records: file.verdict.records,
            pass: Some(pass),
            produce: self.produce.clone(),
            room: Arc::clone(&self.shared.room),
            lag: Arc::clone(&self.shared.lag),
        };
        let (generation, _stop) = (self.generation, cancel.drop_guard());
        self.splitting.insert(file.file_id, Splitting { purpose, generation, _stop });
        self.splitters.spawn(splitter.run());
    }

    /// What reads a file for this purpose, or why that isn't possible under today's settings.
    fn pass(&self, file: &File, purpose: Purpose) -> Result<Pass, Box<Reason>> {
        let (Purpose::Resubmit(_), Some(work)) = (purpose, &file.work) else {
            return self.split_pass(file, purpose);
        };
        if let Some(reason) = self.other_reader(file) {
            return Err(reason);
        }
        // Of the same reader means that the feed is there.
        let Some(feed) = self.config.feed(&file.feed) else {
            return Err(unusable("settings_unusable", "no such feed"));
        };
        let numbers = work.indices.iter().zip(&work.byte_offsets).zip(&work.attempts);
        let wanted = numbers.map(|((index, byte_offset), attempt)| {
            let attempt = u32::try_from(*attempt).unwrap_or(u32::MAX);
            Wanted { index: *index, byte_offset: *byte_offset, attempt }
        });
        let first_id = file.first_id(&self.config.ledger);
        let pick = Pick::new(file, first_id, feed, &self.config.key, wanted.collect());
        let pick = pick.map_err(|error| unusable("settings_unusable", error))?;
        Ok(Pass::Pick(Box::new(pick)))
    }

    /// Why a file's records may be counted otherwise today than when it was verified: by another
    /// format, or another revision of its reader. None where they are not.
    pub(super) fn other_reader(&self, file: &File) -> Option<Box<Reason>> {
        let verdict = &file.verdict;
        let Some(feed) = self.config.feed(&file.feed) else {
            return Some(unusable("settings_unusable", "no such feed"));
        };
        let format = &feed.settings.format;
        let today = (format, revision(&feed.settings).unwrap_or_default());
        if today == (&verdict.format, verdict.reader_revision) {
            return None;
        }
        let say = |(format, revision): (&String, i32)| format!("{format}, revision {revision}");
        Some(Box::new(
            Reason::new("other_reader")
                .expected_found(say((&verdict.format, verdict.reader_revision)), say(today))
                .remedy("a record may have another index by now: ask the sender for a new file"),
        ))
    }

    fn split_pass(&self, file: &File, purpose: Purpose) -> Result<Pass, Box<Reason>> {
        if let Some(reason) = self.unpinned(file) {
            return Err(reason);
        }
        // Pinned means that the feed is there.
        let Some(feed) = self.config.feed(&file.feed) else {
            return Err(unusable("settings_unusable", "no such feed"));
        };
        let plan = Plan {
            file_id: file.file_id,
            first_id: file.first_id(&self.config.ledger),
            partition: self.partition,
            feed: file.feed.clone(),
            settings: feed.settings.clone(),
            verdict: file.verdict.clone(),
            key: self.config.key.clone(),
            source: self.config.source.clone(),
        };
        let replay = file.work.as_ref().filter(|_| purpose != Purpose::Publish);
        let split = match replay {
            None => Split::new(plan, file.checkpoint.clone()),
            Some(work) => {
                let records = work.first_index..replay_end(file, work);
                let checkpoint = work.checkpoint.clone().unwrap_or_default();
                Split::new(plan, checkpoint).map(|split| split.replay(records))
            }
        };
        let split = split.map_err(|error| unusable("checkpoint_unreadable", error))?;
        let split = split.chunked(self.config.chunk_records);
        Ok(Pass::Split(Box::new(split.unchecked(self.config.is_unchecked))))
    }

    /// Why a file would not read today as it did when it was verified; none where it would.
    pub(super) fn unpinned(&self, file: &File) -> Option<Box<Reason>> {
        let changed = |expected: String, found: String| {
            Some(Box::new(
                Reason::new(SETTINGS_CHANGED)
                    .expected_found(expected, found)
                    .remedy("restore the settings that it was verified under, and start again"),
            ))
        };
        let Some(feed) = self.config.feed(&file.feed) else {
            return changed(format!("the feed `{}`", file.feed), "no such feed".to_owned());
        };
        let verdict = &file.verdict;
        let pins = [
            ("shards", verdict.shard_events.len().to_string(), self.config.shards.to_string()),
            ("settings", verdict.settings_digest.clone(), feed.settings.digest()),
            (
                "reader revision",
                verdict.reader_revision.to_string(),
                revision(&feed.settings).unwrap_or_default().to_string(),
            ),
        ];
        let differs = pins.into_iter().find(|(_, pinned, today)| pinned != today);
        differs.and_then(|(name, pinned, today)| changed(format!("{name} {pinned}"), today))
    }

    /// Has a file give its place to others, as its object can't be read for now.
    pub(super) fn rest(&mut self, file_id: FileId, error: &bucket::Error) {
        // That the bucket is away is told by itself.
        if !error.is_outage() && self.unreadable.insert(file_id) {
            tracing::warn!(%file_id, %error, "the object can't be read; trying again");
        }
        self.splitting.remove(&file_id);
        self.resting.push((Instant::now() + REST, file_id));
    }

    /// Has those wait for a place again that have rested.
    pub(super) fn wake_resting(&mut self) {
        let now = Instant::now();
        let rested: Vec<FileId> =
            self.resting.extract_if(.., |(until, _)| *until <= now).map(|(_, one)| one).collect();
        rested.into_iter().for_each(|file_id| self.follow_row(file_id));
    }

    /// Publishes a chunk of a replay. Behind the last one the shards are asked what they have now,
    /// unless the file was not published to its end before.
    pub(super) async fn publish_replayed(
        &mut self,
        mut file: File,
        chunk: Chunk,
    ) -> Result<(), Failure> {
        let Chunk { mut sets, checkpoint, is_last } = chunk;
        let Some(work) = &mut file.work else { return Ok(()) };
        work.checkpoint = (!is_last).then_some(checkpoint);
        let command_id = work.command_id;
        if is_last {
            self.splitting.remove(&file.file_id);
            let now = (self.config.clock)();
            let published = [FileState::PUBLISHED, FileState::RECONCILED, FileState::UNBALANCED];
            if published.contains(&file.state) {
                sets.extend(self.close(&file, Some(command_id))?);
                end_if_answered(&mut file, now);
            } else if let Some(work) = file.work.take() {
                let detail = published_again(&file, &work);
                file.answers.push(answer(work, AnswerKind::DONE, detail, now));
            }
        }
        self.publish(sets, vec![file]).await?;
        self.config.step(if is_last { Step::Closed } else { Step::ChunkPublished });
        Ok(())
    }

    pub(super) async fn publish_failed(
        &mut self,
        mut file: File,
        purpose: Purpose,
        reason: Reason,
    ) -> Result<(), Failure> {
        let file_id = file.file_id;
        self.splitting.remove(&file_id);
        if purpose == Purpose::Publish {
            tracing::error!(%file_id, %reason, "file can't go on");
            file.state = FileState::FAILED;
            file.reason = Some(reason);
        } else {
            tracing::error!(%file_id, %reason, "the file of a command can't be read again");
            fail(&mut file, &reason, (self.config.clock)());
        }
        self.publish(Vec::new(), vec![file]).await
    }

    /// Publishes records that were read again, each with the row of the file that it is the only
    /// one of, and the answer to the command.
    pub(super) async fn publish_picked(
        &mut self,
        mut file: File,
        picked: Vec<Picked>,
    ) -> Result<(), Failure> {
        self.splitting.remove(&file.file_id);
        let (Some(feed), Some(work)) = (self.config.feed(&file.feed), file.work.take()) else {
            return Ok(());
        };
        let now = (self.config.clock)();
        let mut sets = Vec::with_capacity(picked.len());
        let mut rows = Vec::with_capacity(picked.len() + 1);
        for one in &picked {
            let too_large = |error| {
                Failure::Log(topic::Error::Fatal {
                    what: "a record's amount does not fit".to_owned(),
                    source: Some(Box::new(error)),
                })
            };
            let row = one.row(&file, feed, now).map_err(too_large)?;
            sets.push(self.picked(one)?);
            sets.extend(self.close(&row, None)?);
            rows.push(row);
        }
        file.answers.push(answer(work, AnswerKind::DONE, resubmitted(&picked), now));
        rows.push(file);
        self.publish(sets, rows).await
    }

    /// A record that was read again, as a message.
    fn picked(&self, picked: &Picked) -> Result<MessageSet, Failure> {
        let codec = Codec::built_in();
        let now = (self.config.clock)();
        let file_id = picked.file_id().to_string();
        let source = &self.config.source;
        let (topic, partition, event, key, value) = match &picked.read {
            Read::Record(record, shard) => {
                let key = record.account.as_ref().map_or(file_id.clone(), ToString::to_string);
                let value = codec.encode(&**record)?;
                (Topic::Records, *shard, ClearingRecord::TYPE, key, value)
            }
            Read::Rejected(rejected) => {
                let value = codec.encode(&**rejected)?;
                (Topic::Rejects, self.partition, RecordRejected::TYPE, file_id.clone(), value)
            }
        };
        let headers = cloud_events(event, source, &file_id, now);
        let id = format!("{file_id}/0").into();
        let messages = vec![Message { id, key: key.into(), value: Some(value.into()) }];
        Ok(MessageSet { topic, partition, headers, messages })
    }

    /// The end of a file's run, for each shard that it touches.
    pub(super) fn close(
        &self,
        file: &File,
        command_id: Option<CommandId>,
    ) -> Result<Vec<MessageSet>, Failure> {
        let answer_to = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let closes = closes(file, true, command_id, answer_to);
        self.ask(&file.file_id, closes.into_iter().map(Ask::Close).collect())
    }
}

/// What became of records that were resubmitted, in words.
fn resubmitted(picked: &[Picked]) -> String {
    let unread = picked.iter().filter(|one| matches!(one.read, Read::Rejected(_))).count();
    let published = picked.len().saturating_sub(unread);
    let mut detail = format!("{published} published again, {unread} can't be read again:");
    for one in picked.iter().take(RECORDS_NAMED) {
        let (index, file_id) = (one.wanted.index, one.file_id());
        let end = match &one.read {
            Read::Record(..) => "published",
            Read::Rejected(_) => "rejected",
        };
        detail.push_str(&format!(" record {index} {end} as file {file_id};"));
    }
    let more = picked.len().saturating_sub(RECORDS_NAMED);
    if 0 < more {
        detail.push_str(&format!(" and {more} more"));
    }
    detail.trim_end_matches([';', ':']).to_owned()
}

fn unusable(code: &str, error: impl std::fmt::Display) -> Box<Reason> {
    Box::new(Reason::new(code).expected_found("what can be read", error.to_string()))
}
