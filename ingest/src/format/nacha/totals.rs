//! Control totals: what a batch and a file state about themselves, beside what was counted.

use schemas::file::ControlTotal;
use serde::{Deserialize, Serialize};

use super::layout::{adv_batch_control, adv_file_control, batch_control, file_control};
use super::line::LENGTH;
use crate::format::columns::{Column, masked, number};
use crate::format::fault::refusal;
use crate::format::{Control, Refusal};

/// Only the low ten digits of a hash are kept.
const HASH_MODULUS: i64 = 10_000_000_000;

/// Totals of a batch or a file, as they are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    /// Entries and addenda.
    pub(super) count: i64,
    /// Sum of the RDFIs, of which ten digits are kept.
    pub(super) hash: i64,
    /// Sum of the debits in cents.
    pub(super) debits: i64,
    /// Sum of the credits in cents.
    pub(super) credits: i64,
    /// True where an RDFI could not be read, so that the hash can't be proved.
    pub(super) hash_unknown: bool,
    /// True where an amount or its side could not be read, so that the sums can't be proved.
    pub(super) sums_unknown: bool,
}

impl Totals {
    /// Counts an entry with `records` records, itself included; none where a sum doesn't fit.
    pub(super) fn add(
        &mut self,
        records: i64,
        rdfi: Option<i64>,
        control: Option<Control>,
    ) -> Option<()> {
        self.count = self.count.checked_add(records)?;
        match rdfi {
            Some(rdfi) => self.hash = self.hash.checked_add(rdfi)? % HASH_MODULUS,
            None => self.hash_unknown = true,
        }
        match control {
            Some(control) => {
                self.debits = self.debits.checked_add(control.debits)?;
                self.credits = self.credits.checked_add(control.credits)?;
            }
            None => self.sums_unknown = true,
        }
        Some(())
    }

    /// Adds a batch to its file; none where a sum doesn't fit.
    pub(super) fn merge(&mut self, batch: &Self) -> Option<()> {
        self.count = self.count.checked_add(batch.count)?;
        self.hash = self.hash.checked_add(batch.hash)? % HASH_MODULUS;
        self.debits = self.debits.checked_add(batch.debits)?;
        self.credits = self.credits.checked_add(batch.credits)?;
        self.hash_unknown |= batch.hash_unknown;
        self.sums_unknown |= batch.sums_unknown;
        Some(())
    }
}

/// The columns of a control's four totals: count, hash, debits, credits.
type Columns = [Column; 4];

/// The columns of a batch control.
pub(super) fn batch_columns(is_adv: bool) -> Columns {
    if is_adv {
        use adv_batch_control::{COUNT, CREDITS, DEBITS, HASH};
        [COUNT, HASH, DEBITS, CREDITS]
    } else {
        use batch_control::{COUNT, CREDITS, DEBITS, HASH};
        [COUNT, HASH, DEBITS, CREDITS]
    }
}

/// The columns of a file control.
pub(super) fn file_columns(is_adv: bool) -> Columns {
    if is_adv {
        use adv_file_control::{COUNT, CREDITS, DEBITS, HASH};
        [COUNT, HASH, DEBITS, CREDITS]
    } else {
        use file_control::{COUNT, CREDITS, DEBITS, HASH};
        [COUNT, HASH, DEBITS, CREDITS]
    }
}

/// Compares the four totals of a control with what was counted.
///
/// # Errors
///
/// Where one is not written in digits, or does not agree. One that can't be proved must at least
/// not be smaller than what was counted of it.
pub(super) fn compare(
    line: &[u8; LENGTH],
    columns: Columns,
    seen: &Totals,
) -> Result<[ControlTotal; 4], Refusal> {
    let [count, hash, debits, credits] = columns;
    Ok([
        agree(line, count, seen.count, true)?,
        // A hash is cut to ten digits, so one that misses an entry may be larger or smaller.
        agree(line, hash, seen.hash, !seen.hash_unknown).or_else(|refusal| {
            match number(hash.of(line)) {
                Some(claimed) if seen.hash_unknown => Ok(ControlTotal {
                    name: hash.name.to_owned(),
                    claimed,
                    seen: seen.hash,
                    proven: false,
                }),
                _ => Err(refusal),
            }
        })?,
        agree(line, debits, seen.debits, !seen.sums_unknown)?,
        agree(line, credits, seen.credits, !seen.sums_unknown)?,
    ])
}

/// Compares one total.
///
/// # Errors
///
/// As of [`compare`].
pub(super) fn agree(
    line: &[u8; LENGTH],
    column: Column,
    seen: i64,
    proven: bool,
) -> Result<ControlTotal, Refusal> {
    let found = column.of(line);
    let Some(claimed) = number(found) else {
        return Err(refusal("not_digits", column.name, "digits", masked(found)));
    };
    if claimed == seen || (!proven && claimed > seen) {
        return Ok(ControlTotal { name: column.name.to_owned(), claimed, seen, proven });
    }
    Err(refusal(
        "totals_differ",
        column.name,
        format!("{seen} as counted"),
        format!("{claimed} as stated"),
    ))
}
