//! What the owner of a file must do or know.

use serde::{Deserialize, Serialize};

use crate::file::{Segment, Verdict};
use crate::{CommandId, FileId, Timestamp};

crate::vocabulary! {
    /// What an operator asks of a file's owner.
    Action {
        /// Stop at the next chunk.
        HOLD = "hold",
        /// Go on after a hold.
        RELEASE = "release",
        /// Give up, and undo what was applied.
        CANCEL = "cancel",
        /// Take a content again on purpose.
        ACCEPT = "accept",
        /// Publish again what was published before.
        REPLAY = "replay",
        /// Undo what was applied.
        REVERSE = "reverse",
        /// Read rejected records again.
        RESUBMIT = "resubmit",
    }
}

/// Hands a verified file to its owner. Schema: `avro/PublishFile.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct PublishFile {
    pub file_id: FileId,
    pub feed: String,
    pub object: String,
    pub version: String,
    pub held: Option<crate::arrival::Reason>,
    pub verdict: Verdict,
    pub arrived_at: Timestamp,
}

/// What an operator asks of a file's owner. Schema: `avro/FileCommand.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct FileCommand {
    pub command_id: CommandId,
    pub file_id: FileId,
    pub action: Action,
    pub first_index: Option<i64>,
    pub last_index: Option<i64>,
    pub indices: Vec<i64>,
    pub byte_offsets: Vec<i64>,
    pub object: Option<String>,
    pub version: Option<String>,
    pub size_bytes: Option<i64>,
    pub by: String,
    pub why: String,
    pub at: Timestamp,
}

/// A shard's answer to `SegmentClosed`, and to `Reversal`. Schema: `avro/SegmentApplied.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct SegmentApplied {
    pub file_id: FileId,
    pub segment: Segment,
    pub command_id: Option<CommandId>,
}
