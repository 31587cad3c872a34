//! A record that can't be read: its position and reason, never its bytes.

use serde::{Deserialize, Serialize};

use crate::{Direction, FileId};

/// A record of an accepted file that can't be read. Schema: `avro/RecordRejected.avsc`.
///
/// `found` is masked by whoever makes it: it names the kind of what was found (`a letter`,
/// `11 digits`), not a number that may be an account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct RecordRejected {
    pub file_id: FileId,
    pub index: i64,
    pub byte_offset: i64,
    pub byte_length: i64,
    pub line: Option<i64>,
    pub feed: String,
    pub format: String,
    pub code: Option<String>,
    pub reason: String,
    pub field: String,
    pub expected: String,
    pub found: String,
    pub direction: Direction,
    pub control_amount: Option<i64>,
}
