//! Reversals: what a shard undoes of a file, and how far it is.

use schemas::{CommandId, Sums};
use serde::{Deserialize, Serialize};

/// A reversal that a shard took up.
///
/// - It undoes what was applied of its records before it: outcomes with an index in `first_index`
///   to `last_index`, and a number below `begun_number`.
/// - A file's reversals are worked in the order in which they were taken up, one after the other,
///   each from the newest outcome to the oldest. So what one that has ended covers, no other
///   touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    /// The command. It is taken up once.
    pub command_id: CommandId,
    /// The first record of the range.
    pub first_index: i64,
    /// The last one, inclusive.
    pub last_index: i64,
    /// The number of the outcome that took it up.
    pub begun_number: i64,
    /// Outcomes below this number are still to be undone; none once it has ended.
    ///
    /// It begins as `begun_number`, and then is the outcome that was undone last (or could not be).
    pub below: Option<i64>,
    /// Records undone.
    pub reversed: i64,
    /// Their sums.
    pub reversed_sums: Sums,
    /// The partition of `commands` that its answer goes to.
    pub answer_to: i32,
}

impl Reversal {
    /// True until it has ended.
    pub fn is_open(&self) -> bool {
        self.below.is_some()
    }

    /// True where this outcome of a record of its file is among those that it undoes.
    pub fn covers(&self, index: i64, number: i64) -> bool {
        (self.first_index..=self.last_index).contains(&index) && number < self.begun_number
    }
}
