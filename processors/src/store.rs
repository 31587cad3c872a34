//! The seam of the store: account state and the position in the log, in one commit.
//!
//! Implementations: [`memory`], the model, and [`sqlite`], the default. [`conformance`] holds every
//! implementation to the contract, and [`crate::digest`] is the same on all of them after the same
//! input.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use schemas::FileId;
use schemas::ledger::Ledger;
use schemas::outcome::AccountState;

use crate::account::{Account, AccountName, Balance};
use crate::run::{Run, Span};

pub mod conformance;
pub mod memory;
pub mod postgres;
pub mod sqlite;

/// A store of account state. A cheap handle; clones are the same store.
///
/// # Contract
///
/// - A commit takes effect as a whole or not at all, also after a crash in its middle. When it
///   returns, it is durable.
/// - A commit takes effect only where the shard's row is what the committer believes: its epoch,
///   next offset and next number. Otherwise it is *fenced* and changes nothing.
/// - A commit that took effect may be repeated: it answers as before, and changes nothing.
/// - Outcomes are appended and never changed.
/// - Of one file on one shard, sequences, indices and numbers ascend together.
pub trait Store: Clone + Send + Sync + 'static {
    /// A consistent view of the store at one moment.
    type View: View;

    /// Makes the ledger where the store has none, with all its shards; else compares it.
    ///
    /// # Errors
    ///
    /// *Unusable* where the store holds another ledger.
    fn open_ledger(&self, ledger: &Ledger) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes a shard: its epoch grows by one, and all who had it are fenced.
    ///
    /// # Errors
    ///
    /// *Unusable* where there is no such shard.
    fn acquire(&self, shard: u32) -> impl Future<Output = Result<ShardRow, Error>> + Send;

    /// Accounts and files of a shard, in the order asked for; none where the store has none.
    ///
    /// # Errors
    ///
    /// *Retry* where the store can't be reached.
    fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> impl Future<Output = Result<Fetched, Error>> + Send;

    /// The fingerprints under which sequences of a file were taken on a shard, as pairs of both.
    /// `sequences` ascend; those that were never taken are left out.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`].
    fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> impl Future<Output = Result<Vec<(i64, i64)>, Error>> + Send;

    /// What a shard has of the files with a reversal that is taken up and has not ended, in order
    /// of file.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`].
    fn reversing(&self, shard: u32) -> impl Future<Output = Result<Vec<Run>, Error>> + Send;

    /// The outcomes that took sequences of a file on a shard, as far as `range` says: newest first.
    ///
    /// However large the file is, and whatever else was applied between its records, only what lies
    /// in the range is read, and at most a commit more at each of its ends.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`].
    fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> impl Future<Output = Result<Vec<OutcomeRow>, Error>> + Send;

    /// Commits a round.
    ///
    /// # Errors
    ///
    /// - *Fenced*: the shard's row is another; nothing happened.
    /// - *Retry*: nothing happened, and the same commit may be tried again.
    /// - *Ambiguous*: it may have happened or not; repeat the same commit to know.
    /// - *Invariant*: a constraint of the store fired; nothing happened, and won't.
    /// - *Unusable*: somebody must mend the store.
    fn commit(&self, commit: Arc<Commit>) -> impl Future<Output = Result<(), Error>> + Send;

    /// A consistent view, which stays as it is while commits go on.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`].
    fn view(&self) -> impl Future<Output = Result<Self::View, Error>> + Send;
}

/// What a store held at one moment. All lists are in ascending order of what `after` names, and a
/// page that is shorter than `max` is the last.
pub trait View: Send + 'static {
    /// The ledger, where one was made.
    ///
    /// # Errors
    ///
    /// As [`Store::fetch`], here and below.
    fn ledger(&mut self) -> impl Future<Output = Result<Option<Ledger>, Error>> + Send;

    /// Every shard.
    ///
    /// # Errors
    ///
    /// As above.
    fn shards(&mut self) -> impl Future<Output = Result<Vec<ShardRow>, Error>> + Send;

    /// Accounts of a shard by name, after `after`.
    ///
    /// # Errors
    ///
    /// As above.
    fn accounts(
        &mut self,
        shard: u32,
        after: Option<AccountName>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Account>, Error>> + Send;

    /// One account; none where the shard doesn't have it.
    ///
    /// # Errors
    ///
    /// As above.
    fn account(
        &mut self,
        shard: u32,
        name: AccountName,
    ) -> impl Future<Output = Result<Option<Account>, Error>> + Send;

    /// What the shards have of files, by file and shard, after `after`.
    ///
    /// # Errors
    ///
    /// As above.
    fn runs(
        &mut self,
        after: Option<(FileId, u32)>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<(u32, Run)>, Error>> + Send;

    /// What the shards have of one file, by shard.
    ///
    /// # Errors
    ///
    /// As above.
    fn runs_of(
        &mut self,
        file: FileId,
    ) -> impl Future<Output = Result<Vec<(u32, Run)>, Error>> + Send;

    /// The spans of a file on a shard, in order of sequence.
    ///
    /// # Errors
    ///
    /// As above.
    fn spans(
        &mut self,
        shard: u32,
        file: FileId,
    ) -> impl Future<Output = Result<Vec<Span>, Error>> + Send;

    /// Outcomes of a shard from a number on.
    ///
    /// # Errors
    ///
    /// As above.
    fn outcomes(
        &mut self,
        shard: u32,
        from_number: i64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<OutcomeRow>, Error>> + Send;
}

/// The row of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// Which shard, from 0.
    pub shard: u32,
    /// How often it was taken.
    pub epoch: i64,
    /// The offset of the next event in `records`.
    pub next_offset: i64,
    /// The number of the next outcome.
    pub next_number: i64,
}

/// What was fetched, in the order asked for.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The accounts, with all of their balances.
    pub accounts: Vec<Option<Account>>,
    /// The files.
    pub runs: Vec<Option<Run>>,
}

/// Which outcomes of a file are asked for. A list that is shorter than `max` is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first record.
    pub first_index: i64,
    /// The last one, inclusive.
    pub last_index: i64,
    /// All of them have numbers below this one.
    pub below: i64,
    /// How many at most.
    pub max: usize,
}

/// A state or label that a commit writes; also makes the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub name: AccountName,
    /// Its state.
    pub state: AccountState,
    /// Its masked label.
    pub label: Option<Arc<str>>,
}

/// A balance that a commit writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceRow {
    /// The account.
    pub name: AccountName,
    /// The balance.
    pub balance: Balance,
    /// The version that the store has: 0 where it has none. A store that has another is broken.
    pub version_before: i64,
}

/// An outcome as it is stored and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRow {
    /// Its number.
    pub number: i64,
    /// The file of its event.
    pub file: Option<FileId>,
    /// The sequence that it took; none where it took none (a duplicate, a gap, a change, …).
    pub sequence: Option<i64>,
    /// The index of its record; none where it took no sequence.
    pub index: Option<i64>,
    /// The fingerprint of its event.
    pub fingerprint: Option<i64>,
    /// The encoded `Outcome`, exactly as it is published.
    pub body: Bytes,
}

/// A round: what is written together.
///
/// - Outcomes are numbered densely from `from.next_number` to below `next_number`.
/// - An account or balance is there once, whatever the number of events that changed it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The shard's row as the committer believes it to be.
    pub from: ShardRow,
    /// The offset of the next event after this round.
    pub next_offset: i64,
    /// The number of the next outcome after this round.
    pub next_number: i64,
    /// Accounts whose state or label changed, by name.
    pub accounts: Vec<AccountRow>,
    /// Balances that changed, by account name.
    pub balances: Vec<BalanceRow>,
    /// What became of the round's events, in order.
    pub outcomes: Vec<OutcomeRow>,
    /// What the shard has of the files that the round touched.
    pub runs: Vec<Run>,
    /// Where the outcomes of these files lie.
    pub spans: Vec<Span>,
}

impl Commit {
    /// The shard's row after this commit.
    pub fn to(&self) -> ShardRow {
        ShardRow { next_offset: self.next_offset, next_number: self.next_number, ..self.from }
    }

    /// Checks what the type states of its outcomes.
    ///
    /// # Errors
    ///
    /// *Invariant* where there is none, or their numbers are not dense.
    pub fn check(&self) -> Result<(), Error> {
        let broken = |expected: i64, found: i64| Error::Invariant {
            what: format!("expected outcome {expected}, found {found}"),
            source: None,
        };
        let mut expected = self.from.next_number;
        for row in &self.outcomes {
            if row.number != expected {
                return Err(broken(expected, row.number));
            }
            expected = expected.saturating_add(1);
        }
        if expected != self.next_number || self.outcomes.is_empty() {
            return Err(broken(self.next_number, expected));
        }
        Ok(())
    }
}

/// That the store has another version of a balance than the one that a commit is based on.
pub(crate) fn other_balance(row: &BalanceRow) -> Error {
    let what = format!(
        "expected version {} of a balance in {}, found another: the store lost a change; rebuild \
         it from the topic postings",
        row.version_before, row.balance.currency
    );
    Error::Invariant { what, source: None }
}

/// What tests that stop a store in the middle pass to its hidden constructor; nothing that a user
/// can set.
#[doc(hidden)]
#[derive(Clone, Default)]
pub struct Probe {
    /// Called with the shard between the swap of its row and the commit, inside the transaction:
    /// it may end the process, and may not use the store.
    pub on_swapped: Option<OnSwapped>,
    /// The same, once all rows are written and nothing is left but the commit. Told only by a store
    /// whose commit may be lost on its way.
    pub on_written: Option<OnSwapped>,
    /// Leaves out the comparison of the swap: a control that the tests must find.
    pub is_swap_blind: bool,
}

/// Is told of a swap.
#[doc(hidden)]
pub type OnSwapped = Arc<dyn Fn(u32) + Send + Sync>;

impl Probe {
    pub(crate) fn swapped(&self, shard: u32) {
        if let Some(on_swapped) = &self.on_swapped {
            on_swapped(shard);
        }
    }

    pub(crate) fn written(&self, shard: u32) {
        if let Some(on_written) = &self.on_written {
            on_written(shard);
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("is_swap_blind", &self.is_swap_blind).finish_non_exhaustive()
    }
}

/// What a caller must do about a failure of the store. Each kind is treated differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the shard, or its row is another.
    #[error(
        "fenced: expected shard {shard} at epoch {epoch} and number {number}, found another row"
    )]
    Fenced {
        /// The shard.
        shard: u32,
        /// The epoch that the committer had.
        epoch: i64,
        /// The next number that it expected.
        number: i64,
    },
    /// The surroundings are at fault; nothing happened.
    #[error("the store can't be used for now: {what}")]
    Retry {
        /// What failed.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// It is not known whether the commit happened.
    #[error("it is not known whether the commit of shard {shard} happened")]
    Ambiguous {
        /// The shard.
        shard: u32,
        /// Why.
        source: Option<Source>,
    },
    /// A constraint of the store fired, or it holds what can't be: the shard stops.
    #[error("the store's own rules are broken: {what}")]
    Invariant {
        /// Which rule.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// The store can't be used until somebody mends it.
    #[error("the store can't be used: {what}")]
    Unusable {
        /// What is wrong, and what to do.
        what: String,
        /// Why.
        source: Option<Source>,
    },
}

/// The cause of an error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// That the store holds another ledger than the configured one.
pub(crate) fn other_ledger(expected: &Ledger, found: &Ledger) -> Error {
    let show = |ledger: &Ledger| {
        format!(
            "`{}` of {} shards and {} file partitions under key {}",
            ledger.name, ledger.shards, ledger.file_partitions, ledger.key_check_value
        )
    };
    let what = format!(
        "expected ledger {}, found {}; use the configuration and the account key that this store \
         was made with, or another directory",
        show(expected),
        show(found)
    );
    Error::Unusable { what, source: None }
}
