//! Adopting outcomes: the state that they tell of, without applying anything anew.
//!
//! An outcome states what its accounts are like after it, so nothing is decided here: rules and
//! settings may have changed since. That each outcome fits the state before it is checked.

use std::collections::HashMap;

use bytes::Bytes;
use schemas::outcome::{Leg, Outcome, OutcomeKind};
use schemas::{CommandId, Currency, Direction, FileId, Sums};

use crate::account::{Account, AccountName, Balance};
use crate::fate::Error;
use crate::outcome::{NO_CURRENCY, sequence_taken};
use crate::reversal::Reversal;
use crate::run::{Run, RunState, Span};
use crate::store::{AccountRow, BalanceRow, Commit, Fetched, OutcomeRow, ShardRow};

/// Files of which the counts stay in memory from one commit to the next.
const FILES_MAX: usize = 1_024;

/// What outcomes change, as far as it is in memory.
#[derive(Debug, Default)]
pub(super) struct State {
    accounts: HashMap<AccountName, HeldAccount>,
    runs: HashMap<FileId, HeldRun>,
}

#[derive(Debug)]
struct HeldAccount {
    account: Account,
    /// True where the store has it.
    exists: bool,
    /// State, label or existence differ from the store's.
    is_changed: bool,
    /// The balances that differ from the store's, and the versions there.
    changed: Vec<(Currency, i32, i64)>,
}

#[derive(Debug)]
struct HeldRun {
    run: Run,
    is_changed: bool,
    /// What was taken since the last commit.
    span: Option<Span>,
}

impl State {
    /// The accounts and files that these outcomes change and that are not in memory.
    pub(super) fn wanted<'a>(
        &self,
        outcomes: impl Iterator<Item = &'a Outcome>,
    ) -> (Vec<AccountName>, Vec<FileId>) {
        let (mut accounts, mut files) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            let names = outcome.legs.iter().map(|leg| AccountName::from_text(&leg.account));
            accounts.extend(names.filter(|name| !self.accounts.contains_key(name)));
            files.extend(outcome.file_id.filter(|file| !self.runs.contains_key(file)));
        }
        // In order, so that neighbours in the store are read together.
        accounts.sort_unstable();
        accounts.dedup();
        files.sort_unstable();
        files.dedup();
        (accounts, files)
    }

    /// Takes what the store has of them.
    pub(super) fn load(
        &mut self,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
        fetched: Fetched,
    ) {
        for (name, found) in accounts.into_iter().zip(fetched.accounts) {
            let exists = found.is_some();
            let account = found.unwrap_or_else(|| Account::new(name.clone()));
            let held = HeldAccount { account, exists, is_changed: false, changed: Vec::new() };
            self.accounts.insert(name, held);
        }
        for (file, found) in files.into_iter().zip(fetched.runs) {
            let run = found.unwrap_or_else(|| Run::new(file));
            self.runs.insert(file, HeldRun { run, is_changed: false, span: None });
        }
    }

    /// Forgets what is in memory where it is more than this many accounts.
    pub(super) fn keep_at_most(&mut self, accounts_max: usize) {
        if accounts_max < self.accounts.len() {
            self.accounts.clear();
        }
        if FILES_MAX < self.runs.len() {
            self.runs.clear();
        }
    }

    /// Adopts outcomes, each with its bytes, and says what the store is to write.
    ///
    /// # Errors
    ///
    /// Where one doesn't follow from those before it; the state is not to be used then.
    pub(super) fn adopt_all(
        &mut self,
        from: ShardRow,
        outcomes: Vec<(Outcome, Bytes)>,
    ) -> Result<Commit, Error> {
        let (mut next_number, mut next_offset) = (from.next_number, from.next_offset);
        let mut rows = Vec::with_capacity(outcomes.len());
        for (outcome, body) in outcomes {
            let place = (i64::from(outcome.shard), outcome.number);
            if place != (i64::from(from.shard), next_number) {
                return Err(Error::Contradiction {
                    number: next_number,
                    expected: format!("{}/{next_number}", from.shard),
                    found: format!("{}/{}", place.0, place.1),
                });
            }
            self.adopt(&outcome)?;
            next_number = next_number.saturating_add(1);
            next_offset = next_offset.max(outcome.source_offset.saturating_add(1));
            let sequence = sequence_taken(&outcome);
            rows.push(OutcomeRow {
                number: outcome.number,
                file: outcome.file_id,
                sequence,
                index: outcome.index.filter(|_| sequence.is_some()),
                fingerprint: outcome.fingerprint,
                body,
            });
        }
        Ok(self.take_commit(from, next_offset, next_number, rows))
    }

    fn adopt(&mut self, outcome: &Outcome) -> Result<(), Error> {
        for leg in &outcome.legs {
            let name = AccountName::from_text(&leg.account);
            let Some(held) = self.accounts.get_mut(&name) else { continue };
            held.adopt(outcome.number, leg)?;
        }
        let held = outcome.file_id.and_then(|file| self.runs.get_mut(&file));
        held.map_or(Ok(()), |held| held.adopt(outcome))
    }

    /// What differs from the store, in the order in which an owner writes it.
    fn take_commit(
        &mut self,
        from: ShardRow,
        next_offset: i64,
        next_number: i64,
        outcomes: Vec<OutcomeRow>,
    ) -> Commit {
        let (mut accounts, mut balances) = (Vec::new(), Vec::new());
        for (name, held) in &mut self.accounts {
            if std::mem::take(&mut held.is_changed) {
                let (state, label) = (held.account.state.clone(), held.account.label.clone());
                accounts.push(AccountRow { name: name.clone(), state, label });
                held.exists = true;
            }
            for (currency, exponent, version_before) in held.changed.drain(..) {
                if let Some(balance) = balance(&held.account, currency, exponent) {
                    balances.push(BalanceRow { name: name.clone(), balance, version_before });
                }
            }
        }
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        balances.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        for held in self.runs.values_mut() {
            spans.extend(held.span.take());
            if std::mem::take(&mut held.is_changed) {
                runs.push(held.run.clone());
            }
        }
        runs.sort_unstable_by_key(|run| run.file);
        spans.sort_unstable_by_key(|span: &Span| span.file);
        Commit { from, next_offset, next_number, accounts, balances, outcomes, runs, spans }
    }
}

fn balance(account: &Account, currency: Currency, exponent: i32) -> Option<Balance> {
    let of_unit = |balance: &&Balance| (balance.currency, balance.exponent) == (currency, exponent);
    account.balances.iter().find(of_unit).copied()
}

impl HeldAccount {
    fn adopt(&mut self, number: i64, leg: &Leg) -> Result<(), Error> {
        let account = &mut self.account;
        let is_other =
            account.state != leg.state || account.label.as_deref() != leg.label.as_deref();
        if is_other || !self.exists {
            account.state = leg.state.clone();
            account.label = leg.label.as_deref().map(Into::into);
            self.is_changed = true;
        }
        let moves_nothing =
            leg.direction == Direction::NONE && leg.currency.as_str() == NO_CURRENCY;
        if moves_nothing {
            return Ok(());
        }
        let before = balance(account, leg.currency, leg.exponent);
        let after = after(number, leg, before)?;
        let unit = (leg.currency, leg.exponent);
        if !self.changed.iter().any(|(currency, exponent, _)| (*currency, *exponent) == unit) {
            let version_before = before.map_or(0, |before| before.version);
            self.changed.push((leg.currency, leg.exponent, version_before));
        }
        match account.balances.iter_mut().find(|b| (b.currency, b.exponent) == unit) {
            Some(balance) => *balance = after,
            None => account.balances.push(after),
        }
        Ok(())
    }
}

/// The balance after a leg, as it says; it must be the one before and its amount.
fn after(number: i64, leg: &Leg, before: Option<Balance>) -> Result<Balance, Error> {
    let counters = |balance: Option<Balance>| {
        balance.map_or((0, 0, 0), |it| (it.debits_minor, it.credits_minor, it.version))
    };
    let (debits, credits, version) = counters(before);
    let (debit, credit) = if leg.direction == Direction::DEBIT {
        (leg.amount_minor, 0)
    } else {
        (0, leg.amount_minor)
    };
    let expected = (
        debits.checked_add(debit),
        credits.checked_add(credit),
        version.checked_add(1),
        before.map(|before| before.last_number),
    );
    let found =
        (Some(leg.debits_minor), Some(leg.credits_minor), Some(leg.version), leg.previous_number);
    if expected != found {
        return Err(Error::Contradiction {
            number,
            expected: format!("a leg on version {version} of its balance"),
            found: format!("one that makes version {} or other counters", leg.version),
        });
    }
    Ok(Balance {
        currency: leg.currency,
        exponent: leg.exponent,
        debits_minor: leg.debits_minor,
        credits_minor: leg.credits_minor,
        version: leg.version,
        last_number: number,
    })
}

impl HeldRun {
    fn adopt(&mut self, outcome: &Outcome) -> Result<(), Error> {
        if let Some(sequence) = sequence_taken(outcome) {
            self.is_changed = true;
            return self.take(outcome, sequence);
        }
        let run = &mut self.run;
        let before = self.is_changed;
        self.is_changed = true;
        match &outcome.kind {
            // A reversal may come again as well; only records are counted.
            kind if *kind == OutcomeKind::DUPLICATE && outcome.sequence.is_some() => {
                run.duplicates = run.duplicates.saturating_add(1);
            }
            kind if *kind == OutcomeKind::GAP => run.is_blocked = true,
            kind if *kind == OutcomeKind::SEGMENT => {
                let is_complete = outcome.segment.as_ref().is_some_and(|segment| segment.complete);
                run.state = if is_complete { RunState::COMPLETE } else { RunState::CANCELLED };
                run.is_blocked = false;
            }
            kind if *kind == OutcomeKind::REVERSAL_BEGUN => return self.begin_reversal(outcome),
            kind if *kind == OutcomeKind::REVERSAL_ENDED => {
                self.reversal(outcome)?.below = None;
            }
            _ if outcome.number_reversed.is_some() => return self.undo(outcome),
            // A conflict, what came to a closed file, a refused command: nothing changed.
            _ => self.is_changed = before,
        }
        Ok(())
    }

    fn begin_reversal(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.run.reversals.push(Reversal {
            command_id: command(outcome)?,
            first_index: outcome.index.unwrap_or_default(),
            last_index: outcome.last_index.unwrap_or(i64::MAX),
            begun_number: outcome.number,
            below: Some(outcome.number),
            reversed: 0,
            reversed_sums: Sums::new(),
            answer_to: outcome.answer_to.unwrap_or_default(),
        });
        Ok(())
    }

    /// A record that is undone, or that can't be: either way the reversal came past it.
    fn undo(&mut self, outcome: &Outcome) -> Result<(), Error> {
        let reversal = self.reversal(outcome)?;
        reversal.below = outcome.number_reversed;
        if outcome.kind != OutcomeKind::REVERSED {
            return Ok(());
        }
        reversal.reversed = reversal.reversed.saturating_add(1);
        add(&mut reversal.reversed_sums, outcome);
        self.run.reversed = self.run.reversed.saturating_add(1);
        add(&mut self.run.reversed_sums, outcome);
        Ok(())
    }

    /// The reversal under way that an outcome belongs to.
    fn reversal(&mut self, outcome: &Outcome) -> Result<&mut Reversal, Error> {
        let command_id = command(outcome)?;
        let mut open = self.run.reversals.iter_mut().filter(|reversal| reversal.is_open());
        open.find(|reversal| reversal.command_id == command_id).ok_or_else(|| {
            Error::Contradiction {
                number: outcome.number,
                expected: "the command of a reversal under way".to_owned(),
                found: command_id.to_string(),
            }
        })
    }

    fn take(&mut self, outcome: &Outcome, sequence: i64) -> Result<(), Error> {
        let (number, run) = (outcome.number, &mut self.run);
        if sequence != run.next_sequence {
            return Err(Error::Contradiction {
                number,
                expected: format!("sequence {} of its file", run.next_sequence),
                found: sequence.to_string(),
            });
        }
        let (count, sums) = if outcome.kind == OutcomeKind::APPLIED {
            (&mut run.applied, &mut run.applied_sums)
        } else {
            (&mut run.rejected, &mut run.rejected_sums)
        };
        *count = count.saturating_add(1);
        add(sums, outcome);
        run.next_sequence = run.next_sequence.saturating_add(1);
        run.is_blocked = false;
        run.first_number.get_or_insert(number);
        run.last_number = Some(number);
        let span = self.span.get_or_insert(Span {
            file: run.file,
            first_sequence: sequence,
            first_index: outcome.index.unwrap_or_default(),
            first_number: number,
            last_number: number,
        });
        span.last_number = number;
        Ok(())
    }
}

fn add(sums: &mut Sums, outcome: &Outcome) {
    if let Some(currency) = outcome.currency {
        // A sum that doesn't fit stays as it is, as it did when the record was applied.
        let (direction, exponent) = (&outcome.direction, outcome.exponent);
        let _ = sums.add(direction, currency, exponent, outcome.amount_minor);
    }
}

fn command(outcome: &Outcome) -> Result<CommandId, Error> {
    let found = outcome.command_id.as_deref().unwrap_or_default();
    found.parse().map_err(|_| Error::Contradiction {
        number: outcome.number,
        expected: "the id of a command".to_owned(),
        found: format!("`{found}`"),
    })
}
