//! Setting the states and labels of accounts: published to their shards, and followed until the
//! outcome of each is in the store. No money moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use processors::account::AccountName;
use processors::store::{Store as _, View as _};
use schemas::codec::{Codec, Event as _};
use schemas::outcome::{AccountState, Outcome, OutcomeKind};
use schemas::record::AccountChanged;
use schemas::{AccountId, CommandId, Topic};
use serde::Serialize;
use topic::{Message, MessageSet, cloud_events};

use crate::command::books::Books;
use crate::engine::{AnyLog, AnyStore};
use crate::ledger;
use crate::now;
use crate::operate::answers::drawn_id;
use crate::operate::asked::Asked;
use crate::operate::{Awaited, carry_out};
use crate::output::{Column, Output, Row, print_rows};

/// Changes published together.
const CHANGES_MAX: usize = 4_096;

/// Outcomes read at once.
const PAGE: usize = 4_096;

/// A new state of an account, and the label that it gets, where it gets one.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The account.
    pub(super) account: AccountId,
    /// Its state: the place of the word among those that are known, which is small.
    state: u8,
    /// The last four digits of its number; zeros where none is known or may be shown.
    label: [u8; 4],
}

impl Change {
    /// That the account is `state`; its label stays.
    pub(super) fn to(account: AccountId, state: &AccountState) -> Self {
        let known = AccountState::KNOWN.iter().position(|word| *word == state.as_str());
        let state = known.and_then(|at| u8::try_from(at).ok()).unwrap_or_default();
        Self { account, state, label: [0; 4] }
    }

    /// The same, with the label that a number has.
    #[must_use]
    pub(super) fn labelled(mut self, label: Option<&str>) -> Self {
        let digits = label.and_then(|label| label.strip_prefix("****")).map(str::as_bytes);
        if let Some(digits) = digits.and_then(|digits| digits.try_into().ok()) {
            self.label = digits;
        }
        self
    }

    /// The state.
    pub(super) fn state(&self) -> AccountState {
        AccountState::from(
            AccountState::KNOWN.get(usize::from(self.state)).copied().unwrap_or("open"),
        )
    }

    fn label(&self) -> Option<String> {
        let digits = std::str::from_utf8(&self.label).ok().filter(|_| self.label != [0; 4])?;
        Some(format!("****{digits}"))
    }
}

/// What an account was changed to, as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
pub(super) struct ChangedRow {
    account: String,
    label: Option<String>,
    state: String,
    outcome: String,
    detail: Option<String>,
    command_id: CommandId,
}

impl Row for ChangedRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("account"),
        Column::text("label"),
        Column::text("state"),
        Column::text("outcome"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account.clone(),
            self.label.clone().unwrap_or_else(|| "-".to_owned()),
            self.state.clone(),
            self.outcome.clone(),
        ]
    }
}

/// Sets the state of accounts that are there, and prints those that are changed.
///
/// # Errors
///
/// Where one of them is not there: then none is changed. Where one is refused, as a closed one is:
/// then the others are changed.
pub(super) async fn set(
    books: Books,
    accounts: &[AccountId],
    state: &AccountState,
    asked: &Asked,
    output: Output,
) -> anyhow::Result<()> {
    let shards = books.shards().await?;
    let mut view = books.store().await?.view().await?;
    for account in accounts {
        let name = AccountName::from_text(&account.to_string());
        if view.account(account.shard(shards), name).await?.is_none() {
            bail!("no account {account}; is it of this ledger? `accounts import` makes accounts");
        }
    }
    drop(view);
    let changes: Vec<Change> = accounts.iter().map(|it| Change::to(*it, state)).collect();
    let mut rows = Vec::with_capacity(changes.len());
    let is_done = apply(books, &changes, asked, |change, outcome| {
        let leg = outcome.legs.first();
        rows.push(ChangedRow {
            account: change.account.to_string(),
            label: leg.and_then(|leg| leg.label.clone()),
            state: leg.map_or_else(|| change.state(), |leg| leg.state.clone()).to_string(),
            outcome: outcome.kind.to_string(),
            detail: outcome.detail.clone(),
            command_id: outcome.command_id.as_deref().unwrap_or_default().parse()?,
        });
        Ok(())
    })
    .await;
    if !rows.is_empty() {
        print_rows(output, &rows)?;
    }
    is_done
}

/// Publishes changes to their shards and follows them, until each has its outcome; calls `take`
/// with each that is changed, in whatever order they come.
///
/// # Errors
///
/// Where they can't be published or followed; and, after all have their outcome, where one was
/// refused.
pub(super) async fn apply(
    books: Books,
    changes: &[Change],
    asked: &Asked,
    take: impl FnMut(&Change, &Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shards = books.shards().await?;
    let base = drawn_id()?;
    let mut from = BTreeMap::new();
    for shard in books.store().await?.view().await?.shards().await? {
        from.insert(shard.shard, shard.next_number);
    }
    let source = ledger::source(&books.ledger().await?.name);
    let reason = format!("{} (by {})", asked.why(), asked.by());
    let publishes = changes.chunks(CHANGES_MAX).enumerate().map(|(chunk, changes)| {
        let first = chunk * CHANGES_MAX;
        let numbered = changes.iter().enumerate().map(|(at, it)| (id_of(base, first + at), it));
        sets(numbered, shards, &source, &reason)
    });
    let mut outcomes = Outcomes {
        base,
        changes,
        shards,
        from,
        seen: vec![false; changes.len()],
        left: changes.len(),
        refused: Refused::default(),
        take,
    };
    carry_out(books, publishes, &mut outcomes).await?;
    outcomes.refused.into_result()
}

/// Changes that were refused.
#[derive(Debug, Default)]
struct Refused {
    count: usize,
    /// Of the first: which account, and why.
    first: String,
}

impl Refused {
    fn add(&mut self, account: AccountId, why: &str) {
        if self.count == 0 {
            self.first = format!("account {account} is not changed: {why}");
        }
        self.count += 1;
    }

    fn into_result(self) -> anyhow::Result<()> {
        let Self { count, first } = self;
        match count {
            0 => Ok(()),
            1 => bail!("{first}"),
            more => bail!("{first}; {} more were refused", more - 1),
        }
    }
}

/// The id of a change: the first half of what was drawn for all of them, and its place.
fn id_of(base: CommandId, at: usize) -> CommandId {
    let mut id = base.0;
    let place = u64::try_from(at).unwrap_or(u64::MAX).to_be_bytes();
    id.iter_mut().skip(8).zip(place).for_each(|(id, byte)| *id = byte);
    CommandId(id)
}

/// The place of a change among those of `base`; none where it is another's.
fn place_of(base: CommandId, id: &CommandId) -> Option<usize> {
    let [.., a, b, c, d, e, f, g, h] = id.0;
    let place = usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).ok()?;
    (id_of(base, place) == *id).then_some(place)
}

fn sets<'a>(
    changes: impl Iterator<Item = (CommandId, &'a Change)>,
    shards: u32,
    source: &str,
    reason: &str,
) -> anyhow::Result<Vec<MessageSet>> {
    let codec = Codec::built_in();
    let mut by_shard: BTreeMap<u32, Vec<Message>> = BTreeMap::new();
    for (command_id, change) in changes {
        let shard = change.account.shard(shards);
        let event = AccountChanged {
            command_id,
            account: change.account,
            state: Some(change.state().to_string()),
            label: change.label(),
            reason: reason.to_owned(),
        };
        by_shard.entry(shard).or_default().push(Message {
            id: format!("{command_id}/{shard}").into(),
            key: change.account.to_string().into(),
            value: Some(codec.encode(&event)?.into()),
        });
    }
    let set = |(partition, messages): (u32, Vec<Message>)| {
        let subject = partition.to_string();
        let headers = cloud_events(AccountChanged::TYPE, source, &subject, now());
        MessageSet { topic: Topic::Records, partition, headers: Arc::clone(&headers), messages }
    };
    Ok(by_shard.into_iter().map(set).collect())
}

/// What becomes of some changes.
struct Outcomes<'a, F> {
    base: CommandId,
    changes: &'a [Change],
    shards: u32,
    /// For each shard, the number of the outcome to look at next.
    from: BTreeMap<u32, i64>,
    seen: Vec<bool>,
    left: usize,
    refused: Refused,
    take: F,
}

impl<F: FnMut(&Change, &Outcome) -> anyhow::Result<()>> Awaited for Outcomes<'_, F> {
    const BY: &'static str = "`batchless process`";
    const IS_IN_STORE: bool = true;

    async fn look(
        &mut self,
        _: &AnyLog,
        store: Option<&AnyStore>,
        _: bool,
    ) -> anyhow::Result<bool> {
        let codec = Codec::built_in();
        let store = store.context("outcomes are in the store")?;
        let mut view = store.view().await?;
        for shard in 0..self.shards {
            let mut from = self.from.get(&shard).copied().unwrap_or_default();
            loop {
                let page = view.outcomes(shard, from, PAGE).await?;
                // What is of a file is none of ours, and needs no look inside.
                for row in page.iter().filter(|row| row.file.is_none()) {
                    self.take_note(&codec.decode(&row.body)?)?;
                }
                match page.last() {
                    Some(last) => from = last.number + 1,
                    None => break,
                }
            }
            self.from.insert(shard, from);
        }
        Ok(self.left == 0)
    }
}

impl<F: FnMut(&Change, &Outcome) -> anyhow::Result<()>> Outcomes<'_, F> {
    fn take_note(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        let id = outcome.command_id.as_deref().and_then(|id| id.parse::<CommandId>().ok());
        let Some(at) = id.and_then(|id| place_of(self.base, &id)) else { return Ok(()) };
        let change =
            self.changes.get(at).context("an outcome of a change that was not asked for")?;
        match self.seen.get_mut(at) {
            Some(seen) if !*seen => *seen = true,
            // A publish that was tried twice.
            _ => return Ok(()),
        }
        self.left -= 1;
        if outcome.kind != OutcomeKind::CHANGED {
            let why = outcome.detail.as_deref().unwrap_or("no reason is given");
            self.refused.add(change.account, why);
            return Ok(());
        }
        (self.take)(change, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_change_is_in_its_id() {
        let (base, other) = (CommandId([7; 16]), CommandId([8; 16]));
        for at in [0, 1, 4_096, 1_000_000] {
            let id = id_of(base, at);
            assert_eq!(place_of(base, &id), Some(at));
            assert_eq!(place_of(other, &id), None);
        }
    }

    #[test]
    fn a_change_keeps_state_and_label() {
        let account: AccountId = format!("card:{}", "5f".repeat(16)).parse().unwrap();
        for word in AccountState::KNOWN {
            let change = Change::to(account, &AccountState::from(*word));
            assert_eq!(change.state().as_str(), *word);
            assert_eq!(change.label(), None);
            let labelled = change.labelled(Some("****0012"));
            assert_eq!(labelled.label().as_deref(), Some("****0012"));
            assert_eq!(labelled.labelled(None).label().as_deref(), Some("****0012"));
        }
    }
}
