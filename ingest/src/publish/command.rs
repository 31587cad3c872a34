//! Commands to files: taken in their order, each answered in its file's row.

use std::collections::HashMap;

use schemas::FileId;
use schemas::Topic;
use schemas::codec::{Codec, EventType};
use schemas::command::{FileCommand, PublishFile, SegmentApplied};
use schemas::file::{Answer, AnswerKind, Checkpoint, File, FileState};
use topic::{Log, Received};

use super::{FileOwner, ROWS_BYTES, row_of, size_of};
use crate::attempt::Failure;
use crate::reconcile::{open_shards, reconcile, take_answer};

impl<L: Log> FileOwner<'_, L> {
    /// Answers commands: their rows and the position behind them are one publish.
    pub(super) async fn answer(&mut self, received: &[Received]) -> Result<(), Failure> {
        let codec = Codec::built_in();
        let mut changed: HashMap<FileId, File> = HashMap::new();
        let mut begun = Vec::new();
        for message in received {
            let Some(value) = &message.value else { continue };
            match codec.event_type(value)? {
                EventType::PublishFile => {
                    let command: PublishFile = codec.decode(value)?;
                    let known = self.row(&changed, &command.file_id).await?;
                    let file = take_file(known, command, &mut begun);
                    changed.insert(file.file_id, file);
                }
                EventType::SegmentApplied => {
                    let answer: SegmentApplied = codec.decode(value)?;
                    match self.row(&changed, &answer.file_id).await? {
                        Some(mut file) => {
                            take_answer(&mut file, answer.segment);
                            conclude(&mut file);
                            changed.insert(file.file_id, file);
                        }
                        None => tracing::error!(
                            file_id = %answer.file_id,
                            "a shard answers for a file that is not known"
                        ),
                    }
                }
                EventType::FileCommand => {
                    let command: FileCommand = codec.decode(value)?;
                    if let Some(mut file) = self.row(&changed, &command.file_id).await? {
                        file.answers.push(not_taken(command));
                        changed.insert(file.file_id, file);
                    }
                }
                other => tracing::error!(event = other.name(), "not a command"),
            }
        }
        if let Some(last) = received.last() {
            self.position = last.offset.saturating_add(1);
        }
        self.publish(Vec::new(), changed.into_values().collect()).await?;
        for file_id in begun {
            if let Some(file) = self.open.get(&file_id) {
                self.waiting.push(size_of(file), file_id);
            }
        }
        Ok(())
    }

    /// The newest row of a file, wherever it stands.
    async fn row(
        &mut self,
        changed: &HashMap<FileId, File>,
        file_id: &FileId,
    ) -> Result<Option<File>, Failure> {
        if let Some(row) = changed.get(file_id).or_else(|| self.open.get(file_id)) {
            return Ok(Some(row.clone()));
        }
        let Some(offset) = self.ended.get(file_id).copied() else { return Ok(None) };
        let end = offset.saturating_add(1);
        let read = self.log.read(Topic::Files, self.partition, offset..end, ROWS_BYTES).await?;
        match read.first() {
            Some(message) => row_of(message),
            None => Ok(None),
        }
    }
}

/// The row of a file that is handed to us: a new one, a failed one whose bytes are there again, or
/// one that came before, which is counted.
fn take_file(known: Option<File>, command: PublishFile, begun: &mut Vec<FileId>) -> File {
    match known {
        None => {
            let state = if command.held.is_some() { FileState::HELD } else { FileState::VERIFIED };
            if state == FileState::VERIFIED {
                begun.push(command.file_id);
            }
            File {
                file_id: command.file_id,
                feed: command.feed,
                object: command.object,
                version: command.version,
                state,
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
            }
        }
        Some(mut file) if file.state == FileState::FAILED => {
            begun.push(file.file_id);
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

/// Concludes a published file once every shard that it touches has answered.
pub(super) fn conclude(file: &mut File) {
    if file.state != FileState::PUBLISHED || open_shards(file).next().is_some() {
        return;
    }
    let (file_id, object) = (file.file_id, file.object.as_str());
    match reconcile(file) {
        Ok(()) => {
            let records = file.verdict.records;
            tracing::info!(%file_id, object, records, "file reconciled");
            file.state = FileState::RECONCILED;
        }
        Err(reason) => {
            tracing::error!(%file_id, object, reason = %reason, "file does not reconcile");
            file.state = FileState::UNBALANCED;
            file.reason = Some(*reason);
        }
    }
}

fn not_taken(command: FileCommand) -> Answer {
    Answer {
        command_id: command.command_id,
        action: command.action.as_str().to_owned(),
        by: command.by,
        why: command.why,
        outcome: AnswerKind::REFUSED,
        detail: "this version knows no such command".to_owned(),
        at: command.at,
    }
}
