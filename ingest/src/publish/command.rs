//! Commands to files: taken in their order, each answered in its file's row.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use schemas::codec::{Codec, Event, EventType};
use schemas::command::{Action, FileCommand, PublishFile, SegmentApplied};
use schemas::file::{Checkpoint, File, FileState};
use schemas::record::{Reversal, SegmentClosed};
use schemas::{FileId, Topic};
use topic::{Log, Message, MessageSet, Received, cloud_events};

use super::operate::{Ask, Given, Taken, may_be_taken, take};
use super::work::take_segment;
use super::{FileOwner, Place, ROWS_BYTES, row_of};
use crate::attempt::Failure;
use crate::step::Step;

/// Rows that are changed and not published yet, in the order in which they were first changed.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) rows: Vec<File>,
    at: HashMap<FileId, usize>,
}

impl Changed {
    pub(super) fn get(&self, file_id: &FileId) -> Option<&File> {
        self.at.get(file_id).and_then(|at| self.rows.get(*at))
    }

    pub(super) fn insert(&mut self, row: File) {
        let at = *self.at.entry(row.file_id).or_insert(self.rows.len());
        match self.rows.get_mut(at) {
            Some(former) => *former = row,
            None => self.rows.push(row),
        }
    }
}

impl<L: Log> FileOwner<'_, L> {
    /// Answers commands: their rows and the position behind them are one publish. What an operator
    /// asks is a publish of its own, with what the shards are asked for.
    pub(super) async fn answer(&mut self, received: &[Received]) -> Result<(), Failure> {
        let codec = Codec::built_in();
        let mut changed = Changed::default();
        let mut steps = Vec::new();
        let mut published = self.position;
        for message in received {
            let behind = message.offset.saturating_add(1);
            let event = message.value.as_ref().map(|value| (codec.event_type(value), value));
            match event {
                Some((Ok(EventType::PublishFile), value)) => {
                    let command: PublishFile = codec.decode(value)?;
                    let known = self.row(&changed, &command.file_id).await?;
                    if known.is_none() {
                        steps.push(Step::RowWritten);
                    }
                    changed.insert(take_file(known, command));
                }
                Some((Ok(EventType::SegmentApplied), value)) => {
                    let answer: SegmentApplied = codec.decode(value)?;
                    let file_id = answer.file_id;
                    match self.row(&changed, &file_id).await? {
                        Some(mut file) => {
                            take_segment(&mut file, answer, (self.config.clock)());
                            changed.insert(file);
                            steps.push(Step::Answered);
                        }
                        None => {
                            tracing::error!(%file_id, "a shard answers for a file not known");
                        }
                    }
                }
                Some((Ok(EventType::FileCommand), value)) => {
                    if published < self.position {
                        self.publish_changed(&mut changed, &mut steps).await?;
                    }
                    self.position = behind;
                    match codec.decode(value) {
                        Ok(command) => {
                            self.operate(command).await?;
                            published = behind;
                        }
                        // Nobody can be answered, and the next owner could read it no better.
                        Err(error) => {
                            let (partition, offset) = (self.partition, message.offset);
                            tracing::error!(partition, offset, %error, "a command passed over");
                        }
                    }
                }
                Some((Ok(other), _)) => tracing::error!(event = other.name(), "not a command"),
                Some((Err(error), _)) => return Err(error.into()),
                None => (),
            }
            self.position = behind;
        }
        if published < self.position {
            self.publish_changed(&mut changed, &mut steps).await?;
        }
        Ok(())
    }

    async fn publish_changed(
        &mut self,
        changed: &mut Changed,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failure> {
        let rows = std::mem::take(changed).rows;
        self.publish(Vec::new(), rows).await?;
        steps.dedup();
        steps.drain(..).for_each(|step| self.config.step(step));
        Ok(())
    }

    /// Takes what an operator asks, or refuses it: one publish of the row, what the shards are
    /// asked for, and the position behind the command.
    async fn operate(&mut self, command: FileCommand) -> Result<(), Failure> {
        let (file_id, action) = (command.file_id, command.action.clone());
        let Some(file) = self.row(&Changed::default(), &file_id).await? else {
            tracing::error!(%file_id, %action, "a command to a file that is not known");
            return self.publish(Vec::new(), Vec::new()).await;
        };
        let given = self.given(&file, &command).await?;
        let Some(Taken { file, accepted, asks }) = take(file, command, &given) else {
            return self.publish(Vec::new(), Vec::new()).await;
        };
        tracing::info!(%file_id, %action, state = %file.state, "a command is taken");
        let sets = self.ask(&file_id, asks)?;
        self.publish(sets, [file].into_iter().chain(accepted).collect()).await?;
        self.config.step(Step::CommandTaken);
        Ok(())
    }

    /// What the table of commands asks of the surroundings.
    async fn given(&mut self, file: &File, command: &FileCommand) -> Result<Given, Failure> {
        let mut given = Given {
            now: (self.config.clock)(),
            answer_to: i32::try_from(self.partition).unwrap_or(i32::MAX),
            unpinned: self.unpinned(file).map(|reason| *reason),
            other_reader: self.other_reader(file).map(|reason| *reason),
            next_occurrence: None,
            on_its_way: None,
            stands: None,
            attempts: Vec::new(),
        };
        if command.action == Action::ACCEPT {
            let occurrences = self.occurrences(file).await?;
            given.next_occurrence = self.occurrence(file, occurrences.len());
            given.on_its_way = later_on_its_way(file, &occurrences);
            given.stands = standing(command, &occurrences);
        }
        if command.action == Action::RESUBMIT && may_be_taken(file, command) {
            for index in &command.indices {
                given.attempts.push(self.latest_attempt(file, *index).await?);
            }
        }
        Ok(given)
    }

    /// The rows of a content's occurrences, the first to the last.
    async fn occurrences(&mut self, file: &File) -> Result<Vec<File>, Failure> {
        let mut rows = Vec::new();
        while let Some((file_id, _)) = self.occurrence(file, rows.len()) {
            let Some(row) = self.row(&Changed::default(), &file_id).await? else { break };
            rows.push(row);
        }
        Ok(rows)
    }

    /// The id and the number of a content's occurrence; none beyond the last number there is.
    fn occurrence(&self, file: &File, number: usize) -> Option<(FileId, i32)> {
        let number = i32::try_from(number).ok()?;
        let content = &file.verdict.content_digest;
        Some((FileId::new(&self.config.ledger, u32::try_from(number).ok()?, content), number))
    }

    /// The row of a record's latest attempt, where it was resubmitted before.
    async fn latest_attempt(&mut self, file: &File, index: i64) -> Result<Option<File>, Failure> {
        let attempts = (1..).map(|number| FileId::resubmitted(&file.file_id, index, number));
        match attempts.take_while(|file_id| self.has_row(file_id)).last() {
            Some(latest) => self.row(&Changed::default(), &latest).await,
            None => Ok(None),
        }
    }

    fn has_row(&self, file_id: &FileId) -> bool {
        self.open.contains_key(file_id) || self.ended.contains_key(file_id)
    }

    /// What shards are asked for, as messages.
    pub(super) fn ask(&self, file_id: &FileId, asks: Vec<Ask>) -> Result<Vec<MessageSet>, Failure> {
        let codec = Codec::built_in();
        let now = (self.config.clock)();
        let key = file_id.to_string();
        let headers = |event| cloud_events(event, &self.config.source, &key, now);
        let (ends, reversals) = (headers(SegmentClosed::TYPE), headers(Reversal::TYPE));
        let mut sets = Vec::with_capacity(asks.len());
        for ask in asks {
            let (shard, headers, id, value) = match ask {
                Ask::Close(closed) => {
                    let shard = closed.shard;
                    let id = match &closed.command_id {
                        None => format!("{key}/closed/{shard}"),
                        Some(command_id) => format!("{command_id}/closed/{shard}"),
                    };
                    (shard, &ends, id, codec.encode(&closed)?)
                }
                Ask::Reverse(shard, reversal) => {
                    let id = format!("{}/{shard}", reversal.command_id);
                    (shard, &reversals, id, codec.encode(&reversal)?)
                }
            };
            let message =
                Message { id: id.into(), key: Bytes::from(key.clone()), value: Some(value.into()) };
            sets.push(MessageSet {
                topic: Topic::Records,
                partition: u32::try_from(shard).unwrap_or(u32::MAX),
                headers: Arc::clone(headers),
                messages: vec![message],
            });
        }
        Ok(sets)
    }

    /// The newest row of a file, wherever it stands.
    async fn row(&mut self, changed: &Changed, file_id: &FileId) -> Result<Option<File>, Failure> {
        if let Some(row) = changed.get(file_id).or_else(|| self.open.get(file_id)) {
            return Ok(Some(row.clone()));
        }
        let Some(Place { mut from, digest }) = self.ended.get(file_id).copied() else {
            return Ok(None);
        };
        let key = file_id.to_string();
        let is_it = |message: &&Received| {
            message.key == key.as_bytes()
                && message.value.as_ref().is_some_and(|value| super::digest(value) == digest)
        };
        let end = self.log.end(Topic::Files, self.partition).await?;
        loop {
            let read = self.log.read(Topic::Files, self.partition, from..end, ROWS_BYTES).await?;
            if let Some(message) = read.iter().find(is_it) {
                return row_of(message);
            }
            let Some(last) = read.last() else {
                // It is published; a log may take a moment to show it.
                let what = format!("the row of file {file_id} is not to be seen yet");
                return Err(topic::Error::Retry { what, source: None }.into());
            };
            from = last.offset.saturating_add(1);
        }
    }
}

/// A later occurrence of a file's content that has not ended, or waits and may go on.
fn later_on_its_way(file: &File, occurrences: &[File]) -> Option<(FileId, FileState)> {
    let may_go_on = |row: &&File| {
        let waits = [FileState::HELD, FileState::FAILED].contains(&row.state);
        file.verdict.occurrence < row.verdict.occurrence && (waits || !row.is_at_end())
    };
    occurrences.iter().find(may_go_on).map(|row| (row.file_id, row.state.clone()))
}

/// The occurrence that was taken from the very object that is to be taken again, and is not undone.
fn standing(command: &FileCommand, occurrences: &[File]) -> Option<(FileId, FileState)> {
    let stands = |row: &&File| {
        let is_undone = [FileState::CANCELLED, FileState::REVERSED].contains(&row.state);
        command.object.as_ref() == Some(&row.object)
            && command.version.as_ref() == Some(&row.version)
            && !is_undone
    };
    occurrences.iter().find(stands).map(|row| (row.file_id, row.state.clone()))
}

/// The row of a file that is handed to us: a new one, a failed one whose bytes are there again, or
/// one that came before, which is counted.
fn take_file(known: Option<File>, command: PublishFile) -> File {
    match known {
        None => File {
            file_id: command.file_id,
            feed: command.feed,
            object: command.object,
            version: command.version,
            state: if command.held.is_some() { FileState::HELD } else { FileState::VERIFIED },
            reason: command.held,
            verdict: command.verdict,
            checkpoint: Checkpoint::default(),
            segments: Vec::new(),
            duplicates: 0,
            answers: Vec::new(),
            work: None,
            resubmits: None,
            arrived_at: command.arrived_at,
            updated_at: command.arrived_at,
        },
        Some(mut file) if file.state == FileState::FAILED => {
            file.object = command.object;
            file.version = command.version;
            file.verdict.size_bytes = command.verdict.size_bytes;
            file.state = FileState::PUBLISHING;
            file.reason = None;
            file
        }
        Some(mut file) => {
            file.duplicates = file.duplicates.saturating_add(1);
            file
        }
    }
}
