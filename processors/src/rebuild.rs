//! Rebuilding: what the store lacks is taken from `postings`.
//!
//! `postings` holds all that the store keeps. A store that was lost, or restored from a copy, or
//! that lost commits in a failover, is an earlier state of the same ledger; it is compared where
//! both meet, and led forward in rounds of ordinary commits, so that it may end anywhere and goes
//! on there.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;
use schemas::codec::Codec;
use schemas::outcome::Outcome;
use topic::{Log, Received};

use crate::fate::{End, Error};
use crate::outbox::{self, Setup};
use crate::round::EVENTS_MIN;
use crate::shard::Step;
use crate::store::{Commit, ShardRow, Store, View};

mod adopt;

use adopt::State;

/// Bytes of outcomes read from the log at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// Compares the store with the shard's partition of `postings` where both meet, and has the store
/// take what it lacks. `published` is the last number there; the row is the store's, and
/// what it is afterwards is returned.
///
/// What is compared is the last outcome that both have, byte for byte: its number, its event's
/// offset, and the counters, versions and numbers of its balances. Histories that differ in other
/// accounts alone may agree in it. What is adopted then must go on from the balances and sequences
/// that the store has, which finds those that it touches; [`crate::verify`] compares every outcome.
pub(crate) async fn forward<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    row: ShardRow,
    published: Option<i64>,
    accounts_max: usize,
    step: impl Fn(Step),
) -> Result<ShardRow, End> {
    let Some(published) = published else { return Ok(row) };
    let mut postings = Postings { setup, from: 0, end: 0, page: VecDeque::new() };
    postings.end = postings.end().await?;
    let last_common = row.next_number.saturating_sub(1).min(published);
    if 0 <= last_common {
        let in_log = postings.find(last_common).await?;
        let in_store = outcome(setup, store, last_common).await?;
        if in_store.is_none() || in_store != in_log.value {
            let (shard, number) = (setup.shard, last_common);
            return Err(End::Stop(Error::StoreDiffers { shard, number }));
        }
    }
    let lacking = published.saturating_sub(last_common);
    if row.next_number > published {
        return Ok(row);
    }
    tracing::warn!(
        shard = row.shard,
        next_number = row.next_number,
        lacking,
        "the store is older than the log: taking what it lacks from postings"
    );
    let mut state = State::default();
    let mut to = row;
    while to.next_number <= published {
        if setup.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        let missing = published.saturating_sub(to.next_number).saturating_add(1);
        let max = usize::try_from(missing).unwrap_or(EVENTS_MIN).min(EVENTS_MIN);
        let outcomes = postings.next(to.next_number, max).await?;
        let commit = round(setup, store, &mut state, to, &outcomes).await?;
        to = commit.to();
        commit_until_known(setup, store, commit).await?;
        step(Step::Committed);
        state.keep_at_most(accounts_max);
    }
    tracing::info!(
        shard = to.shard,
        next_number = to.next_number,
        next_offset = to.next_offset,
        "the store has all that the log has"
    );
    step(Step::Rebuilt);
    Ok(to)
}

/// The body of an outcome in the store.
async fn outcome<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    number: i64,
) -> Result<Option<Bytes>, End> {
    let mut backoff = setup.backoff();
    let rows = loop {
        let read = async { store.view().await?.outcomes(setup.shard, number, 1).await };
        if let Some(rows) = backoff.after(read.await).await? {
            break rows;
        }
    };
    Ok(rows.into_iter().find(|row| row.number == number).map(|row| row.body))
}

/// Adopts outcomes in memory, after reading what they need and is not there yet.
async fn round<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    state: &mut State,
    from: ShardRow,
    found: &[Received],
) -> Result<Arc<Commit>, End> {
    let codec = Codec::built_in();
    let mut outcomes: Vec<(Outcome, Bytes)> = Vec::with_capacity(found.len());
    for message in found {
        let body = message.value.clone().unwrap_or_default();
        let outcome = codec.decode(&body).map_err(|error| End::Stop(Error::Encode(error)))?;
        outcomes.push((outcome, body));
    }
    let (accounts, files) = state.wanted(outcomes.iter().map(|(outcome, _)| outcome));
    let mut backoff = setup.backoff();
    let fetched = loop {
        let tried = store.fetch(from.shard, accounts.clone(), files.clone()).await;
        if let Some(fetched) = backoff.after(tried).await? {
            break fetched;
        }
    };
    state.load(accounts, files, fetched);
    state.adopt_all(from, outcomes).map(Arc::new).map_err(End::Stop)
}

/// Commits. Where it isn't known whether that happened, the same commit again tells.
async fn commit_until_known<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    commit: Arc<Commit>,
) -> Result<(), End> {
    let mut backoff = setup.backoff();
    loop {
        let tried = store.commit(Arc::clone(&commit)).await;
        if let Some(()) = backoff.after(tried).await? {
            return Ok(());
        }
    }
}

/// The shard's partition of `postings`, read by numbers.
struct Postings<'a, L> {
    setup: &'a Setup<'a, L>,
    /// The offset behind what was read last.
    from: i64,
    end: i64,
    /// What was read and not asked for yet.
    page: VecDeque<Received>,
}

impl<L: Log> Postings<'_, L> {
    async fn end(&self) -> Result<i64, End> {
        let mut backoff = self.setup.backoff();
        loop {
            let end = self.setup.log.end(Topic::Postings, self.setup.shard).await;
            if let Some(end) = backoff.after(end).await? {
                return Ok(end);
            }
        }
    }

    async fn read(&self, from: i64, bytes_max: usize) -> Result<Vec<Received>, End> {
        let mut backoff = self.setup.backoff();
        let (topic, shard) = (Topic::Postings, self.setup.shard);
        loop {
            let page = self.setup.log.read(topic, shard, from..self.end, bytes_max).await;
            if let Some(page) = backoff.after(page).await? {
                return Ok(page);
            }
        }
    }

    /// The outcome of this number, found without reading those before it.
    ///
    /// Each number is there once and in order, so it lies no nearer to the beginning than at the
    /// offset of its value, and no nearer to an earlier one than the numbers between. Offsets may
    /// have holes: looked for from there on, it is never overshot.
    async fn find(&mut self, number: i64) -> Result<Received, End> {
        let lost = || End::Stop(Error::OutcomeLost { shard: self.setup.shard, number });
        let mut from = number;
        while from < self.end {
            let Some(message) = self.read(from, 1).await?.into_iter().next() else { break };
            let found = self.number(&message)?;
            if found == number {
                self.from = message.offset.saturating_add(1);
                return Ok(message);
            }
            if number < found {
                break;
            }
            from = message.offset.saturating_add(number.saturating_sub(found));
        }
        Err(lost())
    }

    /// At most `max` outcomes from this number on, at least one.
    async fn next(&mut self, number: i64, max: usize) -> Result<Vec<Received>, End> {
        let shard = self.setup.shard;
        let lost = |number| End::Stop(Error::OutcomeLost { shard, number });
        if self.page.is_empty() {
            self.page = self.read(self.from, READ_BYTES_MAX).await?.into();
            let last = self.page.back().ok_or_else(|| lost(number))?;
            self.from = last.offset.saturating_add(1);
        }
        let some: Vec<_> = self.page.drain(..max.min(self.page.len())).collect();
        for (message, expected) in some.iter().zip(number..) {
            if self.number(message)? != expected {
                return Err(lost(expected));
            }
        }
        Ok(some)
    }

    fn number(&self, message: &Received) -> Result<i64, End> {
        let shard = self.setup.shard;
        outbox::number(shard, &message.id).ok_or(End::Stop(Error::Foreign { shard }))
    }
}
