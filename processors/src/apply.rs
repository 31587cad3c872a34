//! Applying an event: a ladder of checks, then the writes.
//!
//! # Contract
//!
//! Every event gets exactly one outcome. The checks are made in this order, and the first that
//! holds names the outcome and its reason; the order is part of the contract.
//!
//! | a record, when | outcome | reason |
//! |---|---|---|
//! | its file was cancelled on this shard | closed | `file_cancelled` |
//! | its sequence was taken before, by the same fingerprint | duplicate | |
//! | its sequence was taken before, by another fingerprint | conflict | `fingerprint_differs` |
//! | its file is complete on this shard | closed | `file_complete` |
//! | a sequence before it is missing | gap | `sequence_missing` |
//! | its amount is negative | rejected | `amount_negative` |
//! | its direction is no known word | rejected | `direction_unknown` |
//! | its exponent is not from 0 to 9 | rejected | `exponent_invalid` |
//! | its account belongs to another shard | rejected | `wrong_shard` |
//! | it moves nothing: no direction, no amount | applied | |
//! | it has an amount and no currency | rejected | `currency_missing` |
//! | no posting rule fits | rejected | `no_rule` |
//! | its account is unknown, and its feed wants that rejected | rejected | `account_unknown` |
//! | one of the accounts is closed | rejected | `account_closed` |
//! | one of the accounts is frozen | rejected | `account_frozen` |
//! | a counter of an account would overflow | rejected | `counter_overflow` |
//! | the file's sum of what is applied here would overflow | rejected | `sum_overflow` |
//! | else | applied | |
//!
//! A duplicate is told before a complete file, so that a replay of one is recognised; what a
//! complete file never had is *closed*. Applied and rejected take the sequence, the others don't:
//! after a gap the file waits for the sequence that is missing.
//!
//! | an end of segment, when | outcome | reason |
//! |---|---|---|
//! | it names another shard | rejected | `wrong_shard` |
//! | its file was cancelled here before, or now is | segment | |
//! | fewer events came than it says | gap | `events_missing` |
//! | more events came than it says | conflict | `events_differ` |
//! | else, also when it comes again | segment | |
//!
//! A *segment* answers the file's owner. An end that comes again, as it does after a replay,
//! answers again: with its own command, and with what is so by then. Where a command says it, it
//! also answers when it is refused, as not complete, so that the command ends; where the file ends
//! by itself, its owner waits for what is missing.
//!
//! | a reversal, when | outcome | reason |
//! |---|---|---|
//! | its command was taken up here before | duplicate | |
//! | its file has begun here and not ended | rejected | `file_open` |
//! | else, also where nothing of the file came here | reversal_begun | |
//!
//! All but *reversal_begun* answer the file's owner, a duplicate where that reversal has ended. One
//! that is begun is undone from its newest record to its oldest, in the rounds that follow:
//!
//! | an applied record of its range, when | outcome | reason |
//! |---|---|---|
//! | a reversal before covers it | none: that one undid it, or could not and said so | |
//! | a counter of an account would overflow | rejected | `counter_overflow` |
//! | else, also on frozen and closed accounts | reversed | |
//!
//! When none is left the outcome is *reversal_ended*, which answers. These outcomes stand at the
//! offset of the last event that was applied, and take no sequence.
//!
//! | a change of an account, when | outcome | reason |
//! |---|---|---|
//! | the account belongs to another shard | rejected | `wrong_shard` |
//! | the state is no known word | rejected | `state_unknown` |
//! | the account is closed, and the state is another | rejected | `account_closed` |
//! | else, also when it comes again | changed | |

use std::collections::HashMap;

use schemas::file::Segment;
use schemas::outcome::{AccountState, Leg, Outcome, OutcomeKind};
use schemas::record::{AccountChanged, SegmentClosed};
use schemas::{Currency, Direction, FileId};

use crate::account::{Accounts, Overflow, Posting, Slot};
use crate::event::{Event, Record, What};
use crate::outcome::{self, Place, Reason};
use crate::posting::{LegRule, Party, Rules};
use crate::reversal::Reversals;
use crate::run::{Runs, Taken};

/// What the configuration says about applying.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The posting rules.
    pub rules: Rules,
    /// What becomes of an unknown account, by feed.
    pub unknown_accounts: HashMap<String, UnknownAccount>,
    /// The same for a feed that isn't listed.
    pub unknown_account_default: UnknownAccount,
    /// The checks that are made.
    pub checks: Checks,
}

/// The checks of the ladder that can be left out: none in earnest. What is there to find a doubled
/// event is itself tested by leaving a check out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    sequence: bool,
}

impl Checks {
    /// Every check is made.
    pub const ALL: Self = Self { sequence: true };

    /// A record is applied whatever its sequence, also where it was applied before.
    #[doc(hidden)]
    #[must_use]
    pub fn without_sequence_check(self) -> Self {
        Self { sequence: false }
    }
}

impl Settings {
    fn unknown_account(&self, feed: &str) -> UnknownAccount {
        self.unknown_accounts.get(feed).copied().unwrap_or(self.unknown_account_default)
    }
}

/// What becomes of a record whose account the ledger doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAccount {
    /// The account is opened.
    Open,
    /// The record is rejected.
    Reject,
}

/// A shard as far as it is in memory: all that applying reads and writes.
#[derive(Debug)]
pub struct Shard {
    /// Which shard, from 0.
    pub id: u32,
    /// How many the ledger has.
    pub shards: u32,
    /// The offset of the next event.
    pub next_offset: i64,
    /// The number of the next outcome.
    pub next_number: i64,
    /// Its accounts.
    pub accounts: Accounts,
    /// What it has of files.
    pub runs: Runs,
    /// What of them is being undone.
    pub reversals: Reversals,
}

/// Applying can't go on: the state contradicts itself, and the shard stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An event was applied before.
    #[error("expected an event at offset {expected} or above, found one at {found}")]
    Offset {
        /// The next offset.
        expected: i64,
        /// The event's.
        found: i64,
    },
    /// There are no numbers left.
    #[error("expected numbers below the largest of 64 bits, found the last of shard {shard} used")]
    Numbers {
        /// The shard.
        shard: u32,
    },
    /// What an event needs was not asked of the store.
    #[error("expected {what} in memory, found it missing: the round was not prepared")]
    NotLoaded {
        /// What is missing.
        what: String,
    },
    /// The store lacks a fingerprint that its own counters promise.
    #[error(
        "expected the outcome of sequence {sequence} of file {file} on shard {shard}, found none: \
         the store lost it; rebuild it from the topic postings"
    )]
    FingerprintLost {
        /// The shard.
        shard: u32,
        /// The file.
        file: FileId,
        /// The sequence.
        sequence: i64,
    },
}

impl Shard {
    /// A shard of which nothing is in memory yet.
    pub fn new(id: u32, shards: u32, next_offset: i64, next_number: i64) -> Self {
        let (accounts, runs) = (Accounts::default(), Runs::default());
        let reversals = Reversals::default();
        Self { id, shards, next_offset, next_number, accounts, runs, reversals }
    }

    /// Notes the accounts and files that an event will need.
    pub fn want(&mut self, settings: &Settings, event: &Event) {
        match &event.what {
            What::Record(record) => {
                self.runs.want(record.file);
                if let Some(account) = &record.account {
                    self.accounts.want_customer(account);
                }
                for leg in rule(settings, record).unwrap_or_default() {
                    self.accounts.want_house(leg.party, &record.network, self.id);
                }
            }
            What::SegmentClosed(closed) => self.runs.want(closed.file_id),
            What::Reversal(reversal) => self.runs.want(reversal.file_id),
            What::AccountChanged(changed) => self.accounts.want_customer(&changed.account),
        }
    }

    /// Applies one event, wholly or not at all, and gives its outcome the next number.
    ///
    /// # Errors
    ///
    /// Where the state contradicts itself; nothing is changed then.
    pub fn apply(&mut self, settings: &Settings, event: &Event) -> Result<Outcome, Error> {
        if event.offset < self.next_offset {
            return Err(Error::Offset { expected: self.next_offset, found: event.offset });
        }
        let numbers = || Error::Numbers { shard: self.id };
        let next_offset = event.offset.checked_add(1).ok_or_else(numbers)?;
        let next_number = self.next_number.checked_add(1).ok_or_else(numbers)?;
        let place = Place { shard: self.id, number: self.next_number, offset: event.offset };
        let outcome = match &event.what {
            What::Record(record) => self.apply_record(settings, place, record)?,
            What::SegmentClosed(closed) => self.apply_end(place, closed)?,
            What::Reversal(reversal) => self.begin_reversal(place, reversal)?,
            What::AccountChanged(changed) => self.apply_change(place, changed)?,
        };
        (self.next_offset, self.next_number) = (next_offset, next_number);
        Ok(outcome)
    }

    fn apply_record(
        &mut self,
        settings: &Settings,
        place: Place,
        record: &Record,
    ) -> Result<Outcome, Error> {
        let run = self.runs.get(&record.file).ok_or_else(|| not_loaded("the file"))?;
        let expected = run.next_sequence;
        let without = |kind, reason| outcome::of_record(place, record, kind, reason, Vec::new());

        if run.is_cancelled() {
            let why = reason("file_cancelled", || "the file was cancelled".to_owned());
            return Ok(without(OutcomeKind::CLOSED, Some(why)));
        }
        let is_checked = settings.checks.sequence;
        if is_checked && record.sequence < expected {
            return self.apply_again(place, record);
        }
        if run.is_complete() {
            let why = reason("file_complete", || format!("the file ended with {expected} events"));
            return Ok(without(OutcomeKind::CLOSED, Some(why)));
        }
        if is_checked && expected < record.sequence {
            self.runs.block(&record.file);
            let why = reason("sequence_missing", || {
                format!("expected sequence {expected}, found {}", record.sequence)
            });
            return Ok(without(OutcomeKind::GAP, Some(why)));
        }

        // This sequence is taken from here on, whether the record is applied or rejected.
        Ok(match self.post(settings, place, record)? {
            Ok(legs) => {
                self.runs.take(record, place.number, Taken::Applied);
                outcome::of_record(place, record, OutcomeKind::APPLIED, None, legs)
            }
            Err(why) => {
                self.runs.take(record, place.number, Taken::Rejected);
                without(OutcomeKind::REJECTED, Some(why))
            }
        })
    }

    /// A sequence that was taken before: the same event again, or another in its place.
    fn apply_again(&mut self, place: Place, record: &Record) -> Result<Outcome, Error> {
        let (shard, file, sequence) = (self.id, record.file, record.sequence);
        let lost = || Error::FingerprintLost { shard, file, sequence };
        let before = self.runs.fingerprint(&file, sequence).ok_or_else(lost)?;
        let (kind, why) = if before == record.fingerprint {
            self.runs.count_duplicate(&file);
            (OutcomeKind::DUPLICATE, None)
        } else {
            let why = reason("fingerprint_differs", || {
                format!("sequence {sequence} was taken by an event that posts something else")
            });
            (OutcomeKind::CONFLICT, Some(why))
        };
        Ok(outcome::of_record(place, record, kind, why, Vec::new()))
    }

    /// Posts every leg of a record, or none and says why.
    fn post(
        &mut self,
        settings: &Settings,
        place: Place,
        record: &Record,
    ) -> Result<Result<Vec<Leg>, Reason>, Error> {
        let currency = match check_event(self, record) {
            Ok(Some(currency)) => currency,
            Ok(None) => return Ok(Ok(Vec::new())),
            Err(why) => return Ok(Err(why)),
        };
        let Some(rule) = rule(settings, record) else {
            let (format, kind) = (&record.format, &record.kind);
            let with = if record.account.is_some() { "with" } else { "without" };
            let why = || format!("no posting rule for {kind} of {format} {with} an account");
            return Ok(Err(reason("no_rule", why)));
        };
        if let Some(why) = self.check_accounts(settings, record, rule)? {
            return Ok(Err(why));
        }

        let mut scope = self.accounts.scope();
        let mut legs = Vec::with_capacity(rule.len());
        for leg in rule {
            let slot = slot(scope.accounts(), record, leg.party)?;
            let posting = Posting {
                direction: leg.side.direction(&record.direction),
                amount_minor: record.amount_minor,
                currency,
                exponent: record.exponent,
                number: place.number,
                label: record.label.as_ref().filter(|_| leg.party == Party::Customer),
            };
            match scope.post(slot, &posting) {
                Ok(leg) => legs.push(leg),
                // Dropping the scope takes back the legs before this one.
                Err(Overflow) => {
                    let why = || format!("a counter in {currency} does not fit in 64 bits");
                    return Ok(Err(reason("counter_overflow", why)));
                }
            }
        }
        if !self.runs.has_room_for(record) {
            let why = || format!("the file's sum in {currency} does not fit in 64 bits");
            return Ok(Err(reason("sum_overflow", why)));
        }
        // From here on nothing can fail.
        scope.keep();
        Ok(Ok(legs))
    }

    /// The rungs that concern accounts, from the first leg's to the last.
    fn check_accounts(
        &self,
        settings: &Settings,
        record: &Record,
        rule: &[LegRule],
    ) -> Result<Option<Reason>, Error> {
        let (mut is_closed, mut is_frozen) = (false, false);
        for leg in rule {
            let slot = slot(&self.accounts, record, leg.party)?;
            let account = self.accounts.get(slot).ok_or_else(|| not_loaded("an account"))?;
            let is_unknown = leg.party == Party::Customer && !self.accounts.exists(slot);
            if is_unknown && settings.unknown_account(&record.feed) == UnknownAccount::Reject {
                let why = || format!("feed {} posts to known accounts only", record.feed);
                return Ok(Some(reason("account_unknown", why)));
            }
            is_closed |= account.state == AccountState::CLOSED;
            is_frozen |= account.state == AccountState::FROZEN;
        }
        if is_closed {
            return Ok(Some(reason("account_closed", || "the account is closed".to_owned())));
        }
        if is_frozen {
            return Ok(Some(reason("account_frozen", || "the account is frozen".to_owned())));
        }
        Ok(None)
    }

    fn apply_end(&mut self, place: Place, closed: &SegmentClosed) -> Result<Outcome, Error> {
        let file = &closed.file_id;
        let run = self.runs.get(file).ok_or_else(|| not_loaded("the file"))?;
        let (came, said) = (run.next_sequence, closed.events);
        let is_cancelled = run.is_cancelled() || !closed.complete;
        let refused = if u32::try_from(closed.shard) != Ok(self.id) {
            let why = || format!("expected shard {}, found {}", self.id, closed.shard);
            Some((OutcomeKind::REJECTED, reason("wrong_shard", why)))
        } else if !is_cancelled && came != said {
            let kind = if came < said { OutcomeKind::GAP } else { OutcomeKind::CONFLICT };
            Some((kind, reason_of_events(came, said)))
        } else {
            None
        };
        if let Some((kind, why)) = refused {
            // A command ends once every shard has answered it, also those that refuse.
            let as_is = || run.answer(place.shard, place.number, said);
            let answer = closed.command_id.map(|_| Segment { complete: false, ..as_is() });
            if kind == OutcomeKind::GAP {
                self.runs.block(file);
            }
            return Ok(outcome::of_segment(place, closed, kind, Some(why), answer));
        }
        // From here on nothing can fail.
        let answer = self.runs.close(closed, is_cancelled, place.shard, place.number);
        Ok(outcome::of_segment(place, closed, OutcomeKind::SEGMENT, None, answer))
    }

    fn apply_change(&mut self, place: Place, changed: &AccountChanged) -> Result<Outcome, Error> {
        let slot = self.accounts.customer(&changed.account);
        let slot = slot.filter(|slot| self.accounts.get(*slot).is_some());
        let slot = slot.ok_or_else(|| not_loaded("an account"))?;
        let rejected =
            |why| outcome::of_change(place, changed, OutcomeKind::REJECTED, Some(why), None);
        if changed.account.shard(self.shards) != self.id {
            return Ok(rejected(wrong_shard(self, changed.account.shard(self.shards))));
        }
        let state = changed.state.as_deref().map(AccountState::from);
        if let Some(state) = &state
            && !AccountState::KNOWN.contains(&state.as_str())
        {
            let why = || "expected open, frozen or closed, found another word".to_owned();
            return Ok(rejected(reason("state_unknown", why)));
        }
        let is_closed =
            self.accounts.get(slot).is_some_and(|account| account.state == AccountState::CLOSED);
        if is_closed && state.as_ref().is_some_and(|state| *state != AccountState::CLOSED) {
            let why = || "a closed account stays closed".to_owned();
            return Ok(rejected(reason("account_closed", why)));
        }
        // From here on nothing can fail.
        self.accounts.change(slot, state, changed.label.as_deref());
        let account = self.accounts.get(slot);
        Ok(outcome::of_change(place, changed, OutcomeKind::CHANGED, None, account))
    }
}

/// The largest exponent that an amount may have: files state one digit.
const EXPONENT_MAX: i32 = 9;

/// The rungs that the event alone decides: its currency, or none where it moves nothing.
fn check_event(shard: &Shard, record: &Record) -> Result<Option<Currency>, Reason> {
    if record.amount_minor < 0 {
        let why = || "expected an amount of at least 0, found a negative one".to_owned();
        return Err(reason("amount_negative", why));
    }
    if !Direction::KNOWN.contains(&record.direction.as_str()) {
        let why = || "expected debit, credit or none, found another word".to_owned();
        return Err(reason("direction_unknown", why));
    }
    if !(0..=EXPONENT_MAX).contains(&record.exponent) {
        let why = || format!("expected 0 to {EXPONENT_MAX}, found {}", record.exponent);
        return Err(reason("exponent_invalid", why));
    }
    if let Some(account) = &record.account
        && account.shard(shard.shards) != shard.id
    {
        return Err(wrong_shard(shard, account.shard(shard.shards)));
    }
    if record.direction == Direction::NONE || record.amount_minor == 0 {
        return Ok(None);
    }
    let why = || reason("currency_missing", || "expected a currency, found none".to_owned());
    record.currency.ok_or_else(why).map(Some)
}

fn rule<'a>(settings: &'a Settings, record: &Record) -> Option<&'a [LegRule]> {
    settings.rules.find(&record.format, &record.kind, record.account.is_some())
}

fn slot(accounts: &Accounts, record: &Record, party: Party) -> Result<Slot, Error> {
    let slot = match (party, &record.account) {
        (Party::Customer, Some(account)) => accounts.customer(account),
        (Party::Customer, None) => None,
        (house, _) => accounts.house(house, &record.network),
    };
    slot.ok_or_else(|| not_loaded("an account"))
}

pub(crate) fn reason(code: &'static str, detail: impl FnOnce() -> String) -> Reason {
    Reason { code, detail: detail() }
}

fn reason_of_events(came: i64, said: i64) -> Reason {
    let code = if came < said { "events_missing" } else { "events_differ" };
    reason(code, || format!("expected {said} events, found {came}"))
}

fn wrong_shard(shard: &Shard, of_account: u32) -> Reason {
    reason("wrong_shard", || {
        format!("expected an account of shard {}, found one of shard {of_account}", shard.id)
    })
}

pub(crate) fn not_loaded(what: &str) -> Error {
    Error::NotLoaded { what: what.to_owned() }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests;
