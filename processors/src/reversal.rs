//! Reversals: what a shard undoes of a file, and how far it is.
//!
//! A reversal is taken up as an event; from then on each round undoes a slice of it, until nothing
//! of its range is left. What a slice undoes is read into memory first, so that undoing it is as
//! pure as applying is.

use std::collections::BTreeMap;

use schemas::outcome::{Outcome, OutcomeKind};
use schemas::{CommandId, Currency, Direction, FileId, Sums, record};
use serde::{Deserialize, Serialize};

use crate::account::{Posting, Slot};
use crate::apply::{Error, Shard, not_loaded, reason};
use crate::outcome::{self, Place};

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

/// The open reversals of a shard, in the order in which they were taken up.
#[derive(Debug, Default)]
pub struct Reversals {
    /// Their files, by the number of the outcome that took them up; none until the store was asked.
    open: Option<BTreeMap<i64, FileId>>,
    /// The first of them, and below which number nothing was looked at yet: what is not to be
    /// undone leaves no outcome, and is not to be looked at in every round.
    looked: Option<(i64, i64)>,
    slice: Option<Slice>,
}

/// What is undone next: the applied outcomes of a stretch of numbers.
#[derive(Debug)]
pub struct Slice {
    /// The number of the outcome that took the reversal up.
    pub begun_number: i64,
    /// The file.
    pub file: FileId,
    /// What to undo, the newest last.
    pub applied: Vec<Applied>,
    /// Below this number nothing was looked at yet; none where nothing of the range is left.
    pub below: Option<i64>,
}

/// An applied outcome, as far as undoing it needs.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented field by field in schemas/avro/Outcome.avsc")]
pub struct Applied {
    pub number: i64,
    pub index: i64,
    pub direction: Direction,
    pub amount_minor: i64,
    pub currency: Option<Currency>,
    pub exponent: i32,
    pub legs: Vec<AppliedLeg>,
}

/// A leg of an applied outcome; its account is in memory or wanted.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented field by field in schemas/avro/Outcome.avsc")]
pub struct AppliedLeg {
    pub account: Slot,
    pub direction: Direction,
    pub amount_minor: i64,
    pub currency: Currency,
    pub exponent: i32,
}

impl Reversals {
    /// True once the open ones are known.
    pub fn is_loaded(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the open ones from the store: their files, and the numbers of the outcomes that took
    /// them up.
    pub fn load(&mut self, open: impl IntoIterator<Item = (i64, FileId)>) {
        self.open = Some(open.into_iter().collect());
    }

    /// The one that is worked: the number of the outcome that took it up, and its file.
    pub fn first(&self) -> Option<(i64, FileId)> {
        self.open.as_ref()?.first_key_value().map(|(begun_number, file)| (*begun_number, *file))
    }

    /// Below which number the first one goes on; its reversal stands at `stands_at`.
    pub fn looks_below(&self, begun_number: i64, stands_at: i64) -> i64 {
        self.looked.filter(|(of, _)| *of == begun_number).map_or(stands_at, |(_, below)| below)
    }

    /// True where a slice is in memory.
    pub fn has_slice(&self) -> bool {
        self.slice.is_some()
    }

    /// Takes what the first one undoes next.
    pub fn load_slice(&mut self, slice: Slice) {
        self.slice = Some(slice);
    }
}

impl Shard {
    /// Takes a reversal up, once a command.
    pub(crate) fn begin_reversal(
        &mut self,
        place: Place,
        asked: &record::Reversal,
    ) -> Result<Outcome, Error> {
        let run = self.runs.get(&asked.file_id).ok_or_else(|| not_loaded("the file"))?;
        let answer = || Some(run.answer(place.shard, place.number, run.next_sequence));
        if let Some(before) = run.reversals.iter().find(|it| it.command_id == asked.command_id) {
            let answer = if before.is_open() { None } else { answer() };
            return Ok(outcome::of_reversal(place, asked, OutcomeKind::DUPLICATE, None, answer));
        }
        if run.may_grow() {
            let why = reason("file_open", || "the file has not ended here".to_owned());
            let rejected = OutcomeKind::REJECTED;
            return Ok(outcome::of_reversal(place, asked, rejected, Some(why), answer()));
        }
        // From here on nothing can fail.
        let reversal = Reversal {
            command_id: asked.command_id,
            first_index: asked.first_index,
            last_index: asked.last_index,
            begun_number: place.number,
            below: Some(place.number),
            reversed: 0,
            reversed_sums: Sums::new(),
            answer_to: asked.answer_to,
        };
        self.runs.begin_reversal(&asked.file_id, reversal);
        if let Some(open) = &mut self.reversals.open {
            open.insert(place.number, asked.file_id);
        }
        Ok(outcome::of_reversal(place, asked, OutcomeKind::REVERSAL_BEGUN, None, None))
    }

    /// Undoes one outcome of the slice in memory, wholly or not at all; or ends the reversal where
    /// nothing of it is left. None where the slice is done.
    ///
    /// # Errors
    ///
    /// Where the state contradicts itself; nothing is changed then.
    pub fn undo(&mut self) -> Result<Option<Outcome>, Error> {
        let Some(slice) = &mut self.reversals.slice else { return Ok(None) };
        let (file, begun_number) = (slice.file, slice.begun_number);
        let applied = slice.applied.pop();
        if applied.is_none()
            && let Some(below) = slice.below
        {
            self.reversals.looked = Some((begun_number, below));
            self.reversals.slice = None;
            return Ok(None);
        }
        let numbers = || Error::Numbers { shard: self.id };
        let next_number = self.next_number.checked_add(1).ok_or_else(numbers)?;
        // It answers no event of its own: it stands where the last one applied does.
        let offset = self.next_offset.saturating_sub(1);
        let place = Place { shard: self.id, number: self.next_number, offset };
        let outcome = match applied {
            Some(applied) => self.undo_one(place, file, begun_number, &applied)?,
            None => self.end_reversal(place, file, begun_number)?,
        };
        self.next_number = next_number;
        Ok(Some(outcome))
    }

    /// Posts the opposite of every leg, the last first, or none where a counter would overflow:
    /// then the record stays applied, and its outcome says so.
    fn undo_one(
        &mut self,
        place: Place,
        file: FileId,
        begun_number: i64,
        applied: &Applied,
    ) -> Result<Outcome, Error> {
        let is_loaded = |leg: &AppliedLeg| self.accounts.get(leg.account).is_some();
        if !applied.legs.iter().all(is_loaded) {
            return Err(not_loaded("an account"));
        }
        let reversal = self.runs.reversal(&file, begun_number);
        let command_id = reversal.ok_or_else(|| not_loaded("the reversal"))?.command_id;
        let mut scope = self.accounts.scope();
        let mut legs = Vec::with_capacity(applied.legs.len());
        for leg in applied.legs.iter().rev() {
            let posting = Posting {
                direction: leg.direction.opposite(),
                amount_minor: leg.amount_minor,
                currency: leg.currency,
                exponent: leg.exponent,
                number: place.number,
                label: None,
            };
            let Ok(leg) = scope.post(leg.account, &posting) else { break };
            legs.push(leg);
        }
        // From here on nothing can fail.
        let is_whole = legs.len() == applied.legs.len();
        let why = if is_whole {
            scope.keep();
            None
        } else {
            drop(scope);
            legs.clear();
            Some(reason("counter_overflow", || "a counter does not fit in 64 bits".to_owned()))
        };
        self.runs.undo(&file, begun_number, applied, is_whole);
        Ok(outcome::of_undone(place, file, command_id, applied, why, legs))
    }

    fn end_reversal(
        &mut self,
        place: Place,
        file: FileId,
        begun_number: i64,
    ) -> Result<Outcome, Error> {
        let ended = self.runs.end_reversal(&file, begun_number, place.shard, place.number);
        let (reversal, answer) = ended.ok_or_else(|| not_loaded("the reversal"))?;
        // From here on nothing can fail.
        self.reversals.slice = None;
        self.reversals.looked = None;
        if let Some(open) = &mut self.reversals.open {
            open.remove(&begun_number);
        }
        Ok(outcome::of_reversal_ended(place, file, reversal, answer))
    }
}
