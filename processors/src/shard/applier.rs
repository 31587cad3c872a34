//! The rounds of a shard: what arrived and what is being undone is applied and committed.

use std::sync::Arc;

use schemas::codec::{Codec, Encoder};
use schemas::outcome::Outcome;
use tokio::sync::mpsc;
use topic::{Log, Received};

use crate::account::Accounts;
use crate::apply::Shard;
use crate::event::{self, Decoder, Event};
use crate::fate::{End, Error};
use crate::round::{self, Round};
use crate::run::Runs;
use crate::shard::{Owner, Step};
use crate::store::{self, Commit, Store};

/// Files of which a shard keeps its counts in memory; above it they are read again when needed.
const FILES_MAX: usize = 1_024;

/// What one read of the log gave.
pub(super) type Page = Result<Vec<Received>, topic::Error>;

/// What arrived and is not applied yet.
struct Waiting {
    decoder: Decoder,
    events: Vec<Event>,
    /// Why nothing more is read: it counts once the events before it are applied.
    end: Option<End>,
}

impl Waiting {
    fn has_room(&self, events_max: usize) -> bool {
        self.end.is_none() && self.events.len() < events_max
    }

    /// Takes a page; true where all of it is an event that can be applied.
    fn add(&mut self, page: Page) -> bool {
        let received = match page {
            Ok(received) => received,
            Err(error) => {
                self.end = Some(error.into());
                return false;
            }
        };
        for message in received {
            match self.decoder.decode(message.offset, message.value.as_deref()) {
                Ok(event) => self.events.push(event),
                Err(error) => {
                    self.end = Some(stop(error));
                    return false;
                }
            }
        }
        true
    }

    fn take_round(&mut self, events_max: usize) -> Vec<Event> {
        let rest = self.events.split_off(self.events.len().min(events_max));
        std::mem::replace(&mut self.events, rest)
    }
}

fn stop(error: event::Error) -> End {
    End::Stop(Error::Event(error))
}

pub(super) struct Applier<'a, L, S> {
    owner: &'a Owner<'a, L, S>,
    epoch: i64,
    shard: Shard,
    encoder: Encoder<Outcome>,
    committed: mpsc::Sender<Round>,
}

impl<'a, L: Log, S: Store> Applier<'a, L, S> {
    pub(super) fn new(
        owner: &'a Owner<'a, L, S>,
        epoch: i64,
        shard: Shard,
        committed: mpsc::Sender<Round>,
    ) -> Self {
        Self { owner, epoch, shard, encoder: round::encoder(), committed }
    }

    pub(super) async fn work(mut self, mut pages: mpsc::Receiver<Page>) -> Result<(), End> {
        let decoder = Decoder::new(Codec::built_in());
        let mut waiting = Waiting { decoder, events: Vec::new(), end: None };
        let mut backoff = self.owner.backoff();
        loop {
            // Between rounds is where it may end: nothing is half done here.
            if self.owner.cancel.is_cancelled() || self.committed.is_closed() {
                return Ok(());
            }
            self.load_reversals().await?;
            let events_max = self.owner.busy.share();
            while waiting.has_room(events_max)
                && let Ok(page) = pages.try_recv()
            {
                self.add(&mut waiting, page);
            }
            if !waiting.events.is_empty() {
                backoff.is_over();
            } else if let Some(end) = waiting.end.take() {
                match end {
                    End::Retry(error) => backoff.wait(error).await?,
                    end => return Err(end),
                }
            }
            // While a reversal is open events are not waited for, and don't wait for it.
            if !waiting.events.is_empty() || self.shard.reversals.first().is_some() {
                let events = waiting.take_round(events_max);
                let _in_hand = self.owner.busy.enter();
                self.round(&events, &mut waiting, &mut pages).await?;
                // Where all is in memory nothing waits: the others are to have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.owner.cancel.cancelled() => return Ok(()),
                () = self.committed.closed() => return Ok(()),
                page = pages.recv() => match page {
                    Some(page) => self.add(&mut waiting, page),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Knows what is open from before, which is gone on with first of all.
    async fn load_reversals(&mut self) -> Result<(), End> {
        let mut backoff = self.owner.backoff();
        loop {
            let loaded = round::load_reversals(self.owner.store, &mut self.shard).await;
            if backoff.after(loaded).await?.is_some() {
                return Ok(());
            }
        }
    }

    fn add(&self, waiting: &mut Waiting, page: Page) {
        if waiting.add(page) {
            self.owner.step(Step::Decoded);
        }
    }

    /// One round: applied, committed, and handed to the outbox.
    async fn round(
        &mut self,
        events: &[Event],
        waiting: &mut Waiting,
        pages: &mut mpsc::Receiver<Page>,
    ) -> Result<(), End> {
        let settings = &self.owner.config.settings;
        let mut backoff = self.owner.backoff();
        let (round, stopped) = loop {
            let before = (self.shard.next_offset, self.shard.next_number);
            let prepared = self.prepare(events).await;
            let result = match prepared {
                Err(end) => Err(end),
                Ok(()) => {
                    let (round, stopped) = round::apply_all(
                        &mut self.shard,
                        self.epoch,
                        settings,
                        events,
                        &mut self.encoder,
                    );
                    let stopped = stopped.map(|error| End::Stop(Error::Round(error)));
                    let Some(round) = round else { return stopped.map_or(Ok(()), Err) };
                    self.owner.step(Step::Applied);
                    match self.commit(&round.commit, waiting, pages).await {
                        Ok(()) => break (round, stopped),
                        Err(end) => Err(end),
                    }
                }
            };
            match result {
                Err(End::Retry(error)) => {
                    // What is in memory is dropped, and read again: nothing of it was committed.
                    let (next_offset, next_number) = before;
                    self.shard =
                        Shard::new(self.shard.id, self.shard.shards, next_offset, next_number);
                    backoff.wait(error).await?;
                }
                other => return other,
            }
        };
        backoff.is_over();
        self.tell(&round);
        if self.owner.config.accounts_max < self.shard.accounts.len() {
            self.shard.accounts = Accounts::default();
        }
        if FILES_MAX < self.shard.runs.len() {
            self.shard.runs = Runs::default();
        }
        // Nobody takes it where publishing has ended, and then its end is what is reported.
        let _ = self.committed.send(round).await;
        stopped.map_or(Ok(()), Err)
    }

    async fn prepare(&mut self, events: &[Event]) -> Result<(), End> {
        let (store, shard) = (self.owner.store, &mut self.shard);
        round::load_reversals(store, shard).await?;
        round::prepare(store, shard, &self.owner.config.settings, events).await?;
        Ok(())
    }

    /// Tells that a round is committed, and what it did of reversals.
    fn tell(&self, round: &Round) {
        let did = round.reversals;
        self.owner.step(Step::Committed);
        for (is_so, step) in [
            (did.has_begun, Step::ReversalBegun),
            (did.has_slice, Step::ReversalSlice),
            (did.has_ended, Step::ReversalEnded),
        ] {
            if is_so {
                self.owner.step(step);
            }
        }
    }

    /// Commits, and meanwhile decodes what comes next.
    async fn commit(
        &self,
        commit: &Arc<Commit>,
        waiting: &mut Waiting,
        pages: &mut mpsc::Receiver<Page>,
    ) -> Result<(), End> {
        let committing = self.owner.store.commit(Arc::clone(commit));
        tokio::pin!(committing);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut committing => break result,
                Some(page) = pages.recv(), if waiting.has_room(self.owner.busy.share()) => {
                    self.add(waiting, page);
                }
            }
        };
        let ambiguous = match result {
            Err(error @ store::Error::Ambiguous { .. }) => error,
            other => return other.map_err(End::from),
        };
        // Only the same commit tells whether it happened: looking would not, since it may still be
        // under way. So from here on it is repeated, whatever else fails.
        let mut backoff = self.owner.backoff();
        backoff.wait(Error::Store(ambiguous)).await?;
        loop {
            let tried = self.owner.store.commit(Arc::clone(commit)).await;
            if let Some(()) = backoff.after(tried).await? {
                return Ok(());
            }
        }
    }
}
