//! What a file states about itself: running numbers, counts and sums.

use schemas::Direction;

use super::{FieldRef, Test};

/// A number that must run from the first one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The field that has it, in each family that has one.
    pub(crate) fields: Vec<FieldRef>,
    /// Where it begins again.
    pub(crate) scope: Scope,
    /// The first one.
    pub(crate) first: i64,
}

/// What a number or a total is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The file.
    File,
    /// A batch, from its header to its trailer, both included.
    Batch,
}

/// What the file states about itself, and what is counted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is stated, added up where that is in several fields: all of the same record, which
    /// is compared as it is met.
    pub(crate) stated: Vec<FieldRef>,
    /// What it is where no field states it, because it is the same in every file.
    pub(crate) always: Option<i64>,
    /// What it is of.
    pub(crate) scope: Scope,
    /// What is counted.
    pub(crate) counted: Counted,
    /// Only of records of these families; all of them where it is empty. Of [`Counted::Records`]
    /// and [`Counted::Events`], whose records are those that begin them.
    pub(crate) families: Vec<usize>,
    /// Only of records for which these hold.
    pub(crate) only: Vec<Test>,
    /// Only of events of this direction.
    pub(crate) direction: Option<Direction>,
    /// The total is there where these hold as it is stated.
    pub(crate) when: Vec<Test>,
    /// Added to what is counted.
    pub(crate) plus: i64,
    /// The remainder of this counts, where what doesn't fit was cut off.
    pub(crate) modulus: Option<i64>,
    /// True where zero, or a blank field, means that it isn't filled in.
    pub(crate) zero_is_blank: bool,
    /// What it is in the reconciliation of the whole file.
    pub(crate) claims: Option<Claims>,
    /// True where a difference is a warning; else it refuses the file.
    pub(crate) is_warning: bool,
}

/// What a total counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Records: units, whatever their role.
    Records,
    /// Events, rejected ones included.
    Events,
    /// Batches.
    Batches,
    /// The sum of some fields, less that of others.
    Sum {
        /// Added.
        plus: Vec<FieldRef>,
        /// Taken away.
        minus: Vec<FieldRef>,
    },
    /// The difference, without sign, of a field's sums over debits and over credits.
    Difference(FieldRef),
}

/// Which of the file's sums a total is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// Debits.
    Debits,
    /// Credits.
    Credits,
    /// A sum without direction.
    Unsigned,
}
