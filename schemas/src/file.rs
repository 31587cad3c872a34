//! What the owner of a file knows of it: the verdict it is bound to, and how far it is.

use serde::{Deserialize, Serialize};

use crate::arrival::Reason;
use crate::command::Action;
use crate::{CommandId, Digest, FileId, Sums, Timestamp};

crate::vocabulary! {
    /// Where a file stands. A state never goes backwards except by a command.
    FileState {
        /// Verified whole, and not yet begun.
        VERIFIED = "verified",
        /// Its records are being published.
        PUBLISHING = "publishing",
        /// Every record is published; shards have still to answer.
        PUBLISHED = "published",
        /// Every shard has answered and every total agrees.
        RECONCILED = "reconciled",
        /// Every shard has answered and a total does not agree; the reason names the difference.
        UNBALANCED = "unbalanced",
        /// An operator must decide before it goes on.
        HELD = "held",
        /// It can't go on: its object is gone or was replaced.
        FAILED = "failed",
        /// Given up by an operator; what was applied is undone.
        CANCELLED = "cancelled",
        /// Being undone.
        REVERSING = "reversing",
        /// Undone.
        REVERSED = "reversed",
    }
}

impl FileState {
    /// True where the file's owner has nothing more to do unless a command comes.
    pub fn is_end(&self) -> bool {
        [
            Self::RECONCILED,
            Self::UNBALANCED,
            Self::HELD,
            Self::FAILED,
            Self::CANCELLED,
            Self::REVERSED,
        ]
        .contains(self)
    }
}

/// A row of `files`. Schema: `avro/File.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct File {
    pub file_id: FileId,
    pub feed: String,
    pub object: String,
    pub version: String,
    pub state: FileState,
    pub reason: Option<Reason>,
    pub verdict: Verdict,
    pub checkpoint: Checkpoint,
    pub segments: Vec<Segment>,
    pub duplicates: i64,
    pub answers: Vec<Answer>,
    pub work: Option<Work>,
    pub resubmits: Option<Resubmits>,
    pub arrived_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What verification found of a file, and what publishing it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Verdict {
    pub content_digest: Digest,
    pub occurrence: i32,
    pub format: String,
    pub container: String,
    pub identifier: Option<String>,
    pub identifiers: Vec<String>,
    pub size_bytes: i64,
    pub content_bytes: i64,
    pub records: i64,
    pub rejects: i64,
    pub shard_events: Vec<i64>,
    pub sums: Sums,
    pub claimed_debits: Option<i64>,
    pub claimed_credits: Option<i64>,
    pub claimed_unsigned: Option<i64>,
    pub control_totals: Vec<ControlTotal>,
    pub warnings: Vec<Reason>,
    pub settings_digest: String,
    pub reader_revision: i32,
    pub block_bytes: i64,
    #[serde(with = "serde_bytes")]
    pub block_digests: Vec<u8>,
}

impl File {
    /// True where nothing more happens to the file by itself: its state is an end, and no command
    /// is under way.
    pub fn is_at_end(&self) -> bool {
        self.state.is_end() && self.work.is_none()
    }

    /// True where the file has ended and nothing of it is applied: what it held may be tried again.
    pub fn has_ended_without_effect(&self) -> bool {
        let ends = [FileState::RECONCILED, FileState::CANCELLED, FileState::REVERSED];
        let is_undone = |segment: &Segment| segment.applied == segment.reversed;
        self.work.is_none() && ends.contains(&self.state) && self.segments.iter().all(is_undone)
    }

    /// How many of its records were rejected so far: what publishing could not read, and what
    /// shards could not apply.
    pub fn rejected(&self) -> i64 {
        let by_shards: i64 = self.segments.iter().map(|segment| segment.rejected).sum();
        self.checkpoint.rejected.saturating_add(by_shards)
    }

    /// The id of the first occurrence of its content: all of them, and what is resubmitted of
    /// them, lie in the partition of `files` that this one belongs to.
    pub fn first_id(&self, ledger: &str) -> FileId {
        FileId::new(ledger, 0, &self.verdict.content_digest)
    }
}

impl Verdict {
    /// True where every control total of the file could be proved.
    pub fn is_proven(&self) -> bool {
        self.control_totals.iter().all(|total| total.proven)
    }
}

/// A count, sum or hash that a file states about itself, beside what was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct ControlTotal {
    pub name: String,
    pub claimed: i64,
    pub seen: i64,
    pub proven: bool,
}

/// How far publishing is: the position, and what it covers, as one fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Checkpoint {
    pub byte_offset: i64,
    pub next_index: i64,
    pub sequences: Vec<i64>,
    pub published: i64,
    pub rejected: i64,
    pub sums: Sums,
    pub shard_sums: Vec<Sums>,
    pub control_debits: i64,
    pub control_credits: i64,
    pub control_unsigned: i64,
    #[serde(with = "serde_bytes")]
    pub reader: Vec<u8>,
}

/// What a shard answered about a file's run on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Segment {
    pub shard: i32,
    pub number: i64,
    pub complete: bool,
    pub events: i64,
    pub applied: i64,
    pub rejected: i64,
    pub reversed: i64,
    pub duplicates: i64,
    pub applied_sums: Sums,
    pub rejected_sums: Sums,
    pub reversed_sums: Sums,
}

/// What became of a command to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Answer {
    pub command_id: CommandId,
    pub action: String,
    pub by: String,
    pub why: String,
    pub outcome: AnswerKind,
    pub detail: String,
    pub at: Timestamp,
}

crate::vocabulary! {
    /// What became of a command.
    AnswerKind {
        /// All of it was done.
        DONE = "done",
        /// It was not taken, and nothing was changed.
        REFUSED = "refused",
        /// It was taken and could not be ended; what is done of it is said.
        FAILED = "failed",
    }
}

/// A command that takes a while, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Work {
    pub command_id: CommandId,
    pub action: Action,
    pub first_index: i64,
    pub last_index: i64,
    pub indices: Vec<i64>,
    pub byte_offsets: Vec<i64>,
    pub attempts: Vec<i32>,
    pub by: String,
    pub why: String,
    pub state_before: FileState,
    pub checkpoint: Option<Checkpoint>,
    pub segments: Vec<Segment>,
}

/// A record of another file that was rejected, and is tried again as a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Resubmits {
    pub file_id: FileId,
    pub index: i64,
    pub attempt: i32,
}
