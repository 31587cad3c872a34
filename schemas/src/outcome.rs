//! What became of an event on its shard.

use serde::{Deserialize, Serialize};

use crate::file::Segment;
use crate::{Currency, Direction, FileId};

crate::vocabulary! {
    /// What became of an event.
    OutcomeKind {
        /// Every leg is posted.
        APPLIED = "applied",
        /// No leg is posted; the reason says why.
        REJECTED = "rejected",
        /// Applied or rejected before under the same sequence; nothing changed.
        DUPLICATE = "duplicate",
        /// The sequence was taken before by an event with another fingerprint; nothing changed.
        CONFLICT = "conflict",
        /// A sequence is missing before this one; nothing changed, and the file waits here.
        GAP = "gap",
        /// The file was closed on this shard before; nothing changed.
        CLOSED = "closed",
        /// The account's state or label is set.
        CHANGED = "changed",
        /// The file's run on this shard has ended; its answer is in `segment`.
        SEGMENT = "segment",
        /// A reversal is taken up.
        REVERSAL_BEGUN = "reversal_begun",
        /// One posting of a reversal.
        REVERSED = "reversed",
        /// A reversal has ended; its answer is in `segment`.
        REVERSAL_ENDED = "reversal_ended",
    }
}

/// An outcome, with all that the store keeps of it. Schema: `avro/Outcome.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Outcome {
    pub shard: i32,
    pub number: i64,
    pub kind: OutcomeKind,
    pub source_offset: i64,
    pub file_id: Option<FileId>,
    pub index: Option<i64>,
    pub sequence: Option<i64>,
    pub fingerprint: Option<i64>,
    pub direction: Direction,
    pub amount_minor: i64,
    pub currency: Option<Currency>,
    pub exponent: i32,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub legs: Vec<Leg>,
    pub segment: Option<Segment>,
    pub command_id: Option<String>,
    pub number_reversed: Option<i64>,
    pub last_index: Option<i64>,
    pub answer_to: Option<i32>,
}

crate::vocabulary! {
    /// Whose account it is.
    Owner {
        /// A customer's.
        CUSTOMER = "customer",
        /// Ours: clearing with a network, fees; one a shard.
        HOUSE = "house",
    }
}

crate::vocabulary! {
    /// Whether an account may be posted to.
    AccountState {
        /// It may.
        OPEN = "open",
        /// Not for now; reversals still are.
        FROZEN = "frozen",
        /// Never again; reversals still are.
        CLOSED = "closed",
    }
}

/// One posting on one account, and the account's balance in that currency after it.
///
/// `previous_number` is the outcome that changed the same balance before, so that an account's
/// postings can be walked back from its newest one without an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Leg {
    pub account: String,
    pub label: Option<String>,
    pub owner: Owner,
    pub state: AccountState,
    pub direction: Direction,
    pub amount_minor: i64,
    pub currency: Currency,
    pub exponent: i32,
    pub debits_minor: i64,
    pub credits_minor: i64,
    pub version: i64,
    pub previous_number: Option<i64>,
}
