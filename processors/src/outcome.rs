//! Outcomes: what became of an event, in the words that are stored and published.

use schemas::file::Segment;
use schemas::outcome::{Leg, Outcome, OutcomeKind};
use schemas::record::{self, AccountChanged, SegmentClosed};
use schemas::{CommandId, Currency, Direction, FileId};

use crate::account::Account;
use crate::event::Record;
use crate::reversal::{Applied, Reversal};

/// Where an outcome stands: its shard, its number, and the offset of the event that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard.
    pub shard: u32,
    /// The number of the outcome.
    pub number: i64,
    /// The event's offset.
    pub offset: i64,
}

/// Why an event was not applied: a code that is counted, and the same in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The code; see the ladder in [`crate::apply`].
    pub code: &'static str,
    /// What was expected and found, without any account number.
    pub detail: String,
}

/// A change of an account moves no money, so it is said in ISO 4217's code for no currency.
pub const NO_CURRENCY: &str = "XXX";

/// The outcome of a record.
pub fn of_record(
    place: Place,
    record: &Record,
    kind: OutcomeKind,
    reason: Option<Reason>,
    legs: Vec<Leg>,
) -> Outcome {
    let (code, detail) = split(reason);
    Outcome {
        kind,
        file_id: Some(record.file),
        index: Some(record.index),
        sequence: Some(record.sequence),
        fingerprint: Some(record.fingerprint),
        direction: record.direction.clone(),
        amount_minor: record.amount_minor,
        currency: record.currency,
        exponent: record.exponent,
        reason: code,
        detail,
        legs,
        ..empty(place)
    }
}

/// The outcome of the end of a segment; `answer` goes to the file's owner.
pub fn of_segment(
    place: Place,
    closed: &SegmentClosed,
    kind: OutcomeKind,
    reason: Option<Reason>,
    answer: Option<Segment>,
) -> Outcome {
    let (code, detail) = split(reason);
    Outcome {
        kind,
        file_id: Some(closed.file_id),
        reason: code,
        detail,
        segment: answer,
        command_id: closed.command_id.map(|command_id| command_id.to_string()),
        answer_to: Some(closed.answer_to),
        ..empty(place)
    }
}

/// The outcome of a change of an account.
///
/// Where it took effect it holds one leg of no amount in [`NO_CURRENCY`], which tells the account,
/// its state and its label after it: that is all that a rebuild needs.
pub fn of_change(
    place: Place,
    changed: &AccountChanged,
    kind: OutcomeKind,
    reason: Option<Reason>,
    account: Option<&Account>,
) -> Outcome {
    let (code, detail) = split(reason);
    let leg = account.zip(Currency::from_letters(NO_CURRENCY)).map(|(account, currency)| Leg {
        account: account.name.to_string(),
        label: account.label.as_deref().map(str::to_owned),
        owner: account.name.owner(),
        state: account.state.clone(),
        direction: Direction::NONE,
        amount_minor: 0,
        currency,
        exponent: 0,
        debits_minor: 0,
        credits_minor: 0,
        version: 0,
        previous_number: None,
    });
    Outcome {
        kind,
        reason: code,
        detail,
        legs: leg.into_iter().collect(),
        command_id: Some(changed.command_id.to_string()),
        ..empty(place)
    }
}

/// The outcome of being asked for a reversal; `answer` goes to the file's owner.
pub fn of_reversal(
    place: Place,
    asked: &record::Reversal,
    kind: OutcomeKind,
    reason: Option<Reason>,
    answer: Option<Segment>,
) -> Outcome {
    let (code, detail) = split(reason);
    Outcome {
        kind,
        file_id: Some(asked.file_id),
        index: Some(asked.first_index),
        last_index: Some(asked.last_index),
        reason: code,
        detail,
        segment: answer,
        command_id: Some(asked.command_id.to_string()),
        answer_to: Some(asked.answer_to),
        ..empty(place)
    }
}

/// The outcome of undoing one record: *reversed*, or *rejected* where there is a reason. It states
/// what the record posted; its legs are the opposite ones.
pub fn of_undone(
    place: Place,
    file: FileId,
    command_id: CommandId,
    applied: &Applied,
    reason: Option<Reason>,
    legs: Vec<Leg>,
) -> Outcome {
    let kind = if reason.is_none() { OutcomeKind::REVERSED } else { OutcomeKind::REJECTED };
    let (code, detail) = split(reason);
    Outcome {
        kind,
        file_id: Some(file),
        index: Some(applied.index),
        direction: applied.direction.clone(),
        amount_minor: applied.amount_minor,
        currency: applied.currency,
        exponent: applied.exponent,
        reason: code,
        detail,
        legs,
        command_id: Some(command_id.to_string()),
        number_reversed: Some(applied.number),
        ..empty(place)
    }
}

/// The outcome of the end of a reversal; `answer` goes to the file's owner.
pub fn of_reversal_ended(
    place: Place,
    file: FileId,
    reversal: &Reversal,
    answer: Segment,
) -> Outcome {
    Outcome {
        kind: OutcomeKind::REVERSAL_ENDED,
        file_id: Some(file),
        segment: Some(answer),
        command_id: Some(reversal.command_id.to_string()),
        answer_to: Some(reversal.answer_to),
        ..empty(place)
    }
}

/// The sequence that an outcome took; none where it took none. Applied and rejected records take
/// one, whatever else is said of a record does not.
pub fn sequence_taken(outcome: &Outcome) -> Option<i64> {
    let takes = [OutcomeKind::APPLIED, OutcomeKind::REJECTED].contains(&outcome.kind);
    outcome.sequence.filter(|_| takes)
}

/// The key under which an outcome is published: the customer's account that it posts to, else its
/// file, else its shard.
pub fn key(outcome: &Outcome) -> String {
    let customer = outcome.legs.iter().find(|leg| leg.owner == schemas::outcome::Owner::CUSTOMER);
    match (customer, &outcome.file_id) {
        (Some(leg), _) => leg.account.clone(),
        (None, Some(file)) => FileId::to_string(file),
        (None, None) => outcome.shard.to_string(),
    }
}

fn split(reason: Option<Reason>) -> (Option<String>, Option<String>) {
    reason.map_or((None, None), |reason| (Some(reason.code.to_owned()), Some(reason.detail)))
}

fn empty(place: Place) -> Outcome {
    Outcome {
        shard: i32::try_from(place.shard).unwrap_or(i32::MAX),
        number: place.number,
        kind: OutcomeKind::APPLIED,
        source_offset: place.offset,
        file_id: None,
        index: None,
        sequence: None,
        fingerprint: None,
        direction: Direction::NONE,
        amount_minor: 0,
        currency: None,
        exponent: 0,
        reason: None,
        detail: None,
        legs: Vec::new(),
        segment: None,
        command_id: None,
        number_reversed: None,
        last_index: None,
        answer_to: None,
    }
}
