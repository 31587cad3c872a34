//! The formats: bytes in; a record with its byte range, a reject, or a refusal out.
//!
//! A reader is a state machine without I/O. It is given the content from where it stands on, says
//! how much of it it has used, and what it has found there. Its state is a plain value, so that
//! reading can stop after any record and go on elsewhere.

use schemas::file::ControlTotal;
use schemas::{AccountText, ClearingRecord, arrival::Reason};

/// What one step of a reader found.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The input ends before the next record does. Never at the end of the content.
    More,
    /// A record is in the draft.
    Record,
    /// A record can't be read: the draft holds its position, and `code` where that could be read.
    Rejected(Reject),
    /// The content is over, whole and in balance. The summary is there.
    End,
}

/// A record as its format tells it: the event before it has a place in a ledger.
///
/// The reader sets all of `record` but `file_id`, `sequence`, `feed` and `account`, which whoever
/// reads adds: a format knows neither ledgers nor keys. Used again for each record, so that its
/// buffers are kept.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The event so far.
    pub record: ClearingRecord,
    /// The account's number in clear, by its canonical text; empty where it concerns none.
    pub account: AccountText,
    /// What the record adds to the file's own totals.
    pub control: Control,
}

/// What a record adds to the totals that the file states about itself, in the file's own counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Added to the total of debits.
    pub debits: i64,
    /// Added to the total of credits.
    pub credits: i64,
    /// Added to a total without direction.
    pub unsigned: i64,
}

/// A record that can't be read, and why. The record before it and after it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// A code to count by, such as `not_digits`.
    pub reason: &'static str,
    /// The field, as the format calls it.
    pub field: &'static str,
    /// What was expected there.
    pub expected: String,
    /// What was found; masked.
    pub found: String,
    /// What it adds to the file's own totals; none where that can't be read, and then the totals
    /// can't be proved.
    pub control: Option<Control>,
}

/// A file that can't be read: nothing of it is published.
///
/// The reason has a code, a place, and what was expected and found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Reason);

/// What a file says of itself, once it is read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The file's own identifier; the same one with other content is held.
    pub identifier: Option<String>,
    /// The file's own totals (file level), each beside what was counted. None disagrees: that
    /// would have been a refusal; one that can't be proved says so.
    pub control_totals: Vec<ControlTotal>,
    /// The sums it states, to be compared with those of what was published: see [`Control`].
    pub claimed_debits: Option<i64>,
    /// As above, credits.
    pub claimed_credits: Option<i64>,
    /// As above, without direction.
    pub claimed_unsigned: Option<i64>,
    /// What is odd but refuses nothing.
    pub warnings: Vec<Reason>,
}
