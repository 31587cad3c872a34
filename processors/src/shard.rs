//! The owner of a shard: takes its events in rounds, applies, commits, publishes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemas::Topic;
use schemas::codec::{Codec, Encoder};
use schemas::outcome::Outcome;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use topic::{Assignment, Log, Membership, PartitionReader, ReaderOf, Received, own_partitions};

use crate::account::Accounts;
use crate::apply::{Settings, Shard};
use crate::event::{self, Decoder, Event};
use crate::fate::{Backoff, End, Error};
use crate::outbox::{Clock, Outbox, Setup};
use crate::rebuild;
use crate::round::{self, EVENTS_MAX, Round};
use crate::run::Runs;
use crate::store::{self, Commit, Store};

/// The group that shares out the shards.
pub const GROUP: &str = "processors";

/// Rounds that are committed and wait to be published: above this, applying waits for the log. One
/// keeps both busy; more would only be held in memory.
const ROUNDS_WAITING_MAX: usize = 1;

/// Files of which a shard keeps its counts in memory; above it they are read again when needed.
const FILES_MAX: usize = 1_024;

/// Accounts that a shard keeps in memory unless the configuration says otherwise: about 250 bytes
/// each. Above it all are dropped after a commit, and read again when needed.
pub const ACCOUNTS_MAX: usize = 8_192;

/// Is told of a step of a shard.
pub type OnStep = Arc<dyn Fn(u32, Step) + Send + Sync>;

/// Is told that a shard stopped, and why.
pub type OnStop = Arc<dyn Fn(u32, &Error) + Send + Sync>;

/// What the processors are told.
#[derive(Clone)]
pub struct Config {
    /// How many shards the ledger has.
    pub shards: u32,
    /// Who says what is published: the header `ce_source`.
    pub source: String,
    /// Posting rules, and what becomes of unknown accounts.
    pub settings: Settings,
    /// Accounts that each shard keeps in memory; see [`ACCOUNTS_MAX`].
    pub accounts_max: usize,
    /// How long a shard tries again while its log or store is away, before it stops; none is for
    /// ever.
    pub patience: Option<Duration>,
    /// The clock. Only published headers show it.
    pub clock: Clock,
    /// Told of each step of a shard as it is done, for tests that stop in between; called inside
    /// the shard's own task.
    pub on_step: Option<OnStep>,
    /// Told of each shard that stops, when it does.
    pub on_stop: Option<OnStop>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("shards", &self.shards)
            .field("source", &self.source)
            .field("settings", &self.settings)
            .field("accounts_max", &self.accounts_max)
            .finish_non_exhaustive()
    }
}

/// A step of a shard's owner, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Outcomes that the topic has and the store lacks are in the store again.
    Rebuilt,
    /// The shard is taken, and the topic has all that the store has.
    Acquired,
    /// Events came from the log.
    Fetched,
    /// They are decoded.
    Decoded,
    /// A round is applied in memory.
    Applied,
    /// The store has swapped the shard's row, in a transaction that is not committed yet.
    Swapped,
    /// The round is committed.
    Committed,
    /// Its outcomes are published.
    Published,
    /// A round that took up a reversal is committed.
    ReversalBegun,
    /// A round that undid a slice of a reversal is committed.
    ReversalSlice,
    /// A round that ended a reversal is committed.
    ReversalEnded,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 11] = [
        Self::Rebuilt,
        Self::Acquired,
        Self::Fetched,
        Self::Decoded,
        Self::Applied,
        Self::Swapped,
        Self::Committed,
        Self::Published,
        Self::ReversalBegun,
        Self::ReversalSlice,
        Self::ReversalEnded,
    ];
}

/// A shard that stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Which.
    pub shard: u32,
    /// Why.
    pub error: Error,
}

/// Owns what the group `processors` gives this member, until `cancel`: then each shard ends the
/// round in hand, commits it, publishes it, and lets go.
///
/// Gives the shards that stopped on their own, which had their context logged when they did.
///
/// # Errors
///
/// Where the group can't be joined or asked any more. All shards have let go then.
pub async fn run<L: Log, S: Store>(
    log: L,
    store: S,
    config: Config,
    cancel: CancellationToken,
) -> Result<Vec<Stopped>, topic::Error> {
    let config = Arc::new(config);
    let stopped = std::sync::Mutex::new(Vec::new());
    let lock = || stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let own = |assignment: Assignment<ReaderOf<L>>, cancel| {
        own(log.clone(), store.clone(), Arc::clone(&config), assignment, cancel)
    };
    let stop = |shard, error: Error| {
        let cause: &dyn std::error::Error = &error;
        tracing::error!(shard, error = cause, "a shard stopped");
        if let Some(on_stop) = &config.on_stop {
            on_stop(shard, &error);
        }
        lock().push(Stopped { shard, error });
    };
    own_partitions(&log, GROUP, Topic::Records, &cancel, own, stop).await?;
    Ok(std::mem::take(&mut *lock()))
}

/// Owns one shard while it is assigned. Where it is fenced and yet not told to let go, it begins
/// again.
async fn own<L: Log, S: Store>(
    log: L,
    store: S,
    config: Arc<Config>,
    assignment: Assignment<ReaderOf<L>>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let Assignment { partition, membership, mut messages } = assignment;
    let mut backoff = Backoff::new(&cancel, partition, config.patience);
    loop {
        let owner = Owner {
            log: &log,
            store: &store,
            config: &config,
            cancel: &cancel,
            shard: partition,
            membership: &membership,
        };
        match owner.work(&mut messages).await {
            Ok(()) | Err(End::Cancelled) => return Ok(()),
            Err(End::Stop(error)) => return Err(error),
            Err(End::Fenced(error) | End::Retry(error)) => match backoff.wait(error).await {
                Ok(()) => (),
                Err(End::Stop(error)) => return Err(error),
                Err(_) => return Ok(()),
            },
        }
    }
}

struct Owner<'a, L, S> {
    log: &'a L,
    store: &'a S,
    config: &'a Config,
    cancel: &'a CancellationToken,
    shard: u32,
    membership: &'a Membership,
}

impl<L: Log, S: Store> Owner<'_, L, S> {
    async fn work(&self, messages: &mut ReaderOf<L>) -> Result<(), End> {
        let mut backoff = self.backoff();
        let row = loop {
            if let Some(row) = backoff.after(self.store.acquire(self.shard).await).await? {
                break row;
            }
        };
        let setup = Setup {
            log: self.log,
            shard: self.shard,
            membership: self.membership,
            source: &self.config.source,
            clock: &self.config.clock,
            cancel: self.cancel,
            patience: self.config.patience,
        };
        let mut outbox = Outbox::open(&setup).await?;
        let published = setup.last_number().await?;
        let accounts_max = self.config.accounts_max;
        let step = |step| self.step(step);
        let row = rebuild::forward(&setup, self.store, row, published, accounts_max, step).await?;
        outbox.catch_up(self.store, row, published).await?;
        while backoff.after(messages.seek(row.next_offset).await).await?.is_none() {}
        self.step(Step::Acquired);

        let (committed, rounds) = mpsc::channel(ROUNDS_WAITING_MAX);
        let applier = Applier {
            owner: self,
            epoch: row.epoch,
            shard: Shard::new(self.shard, self.config.shards, row.next_offset, row.next_number),
            encoder: round::encoder(),
            committed,
        };
        // Applying ends by itself or because publishing did; either way what is committed is
        // published first, if it can be, and what stopped publishing is the reason.
        let (published, applied) =
            tokio::join!(self.publish(&mut outbox, rounds), applier.work(messages));
        published.and(applied)
    }

    async fn publish(
        &self,
        outbox: &mut Outbox<'_, L>,
        mut rounds: mpsc::Receiver<Round>,
    ) -> Result<(), End> {
        let mut ready = Vec::with_capacity(ROUNDS_WAITING_MAX);
        while rounds.recv_many(&mut ready, ROUNDS_WAITING_MAX).await != 0 {
            outbox.publish_rounds(&ready).await?;
            self.step(Step::Published);
            ready.clear();
        }
        Ok(())
    }

    fn backoff(&self) -> Backoff<'_> {
        Backoff::new(self.cancel, self.shard, self.config.patience)
    }

    fn step(&self, step: Step) {
        if let Some(on_step) = &self.config.on_step {
            on_step(self.shard, step);
        }
    }
}

/// What arrived and is not applied yet.
struct Waiting {
    decoder: Decoder,
    events: Vec<Event>,
    /// Why nothing more is read: it counts once the events before it are applied.
    end: Option<End>,
}

impl Waiting {
    fn has_room(&self) -> bool {
        self.end.is_none() && self.events.len() < EVENTS_MAX
    }

    fn add(&mut self, received: Result<Vec<Received>, topic::Error>) {
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                self.end = Some(error.into());
                return;
            }
        };
        for message in received {
            match self.decoder.decode(message.offset, message.value.as_deref()) {
                Ok(event) => self.events.push(event),
                Err(error) => return self.end = Some(stop(error)),
            }
        }
    }

    fn take_round(&mut self) -> Vec<Event> {
        let rest = self.events.split_off(self.events.len().min(EVENTS_MAX));
        std::mem::replace(&mut self.events, rest)
    }
}

fn stop(error: event::Error) -> End {
    End::Stop(Error::Event(error))
}

struct Applier<'a, L, S> {
    owner: &'a Owner<'a, L, S>,
    epoch: i64,
    shard: Shard,
    encoder: Encoder<Outcome>,
    committed: mpsc::Sender<Round>,
}

impl<L: Log, S: Store> Applier<'_, L, S> {
    async fn work(mut self, messages: &mut ReaderOf<L>) -> Result<(), End> {
        let decoder = Decoder::new(Codec::built_in());
        let mut waiting = Waiting { decoder, events: Vec::new(), end: None };
        let mut backoff = self.owner.backoff();
        loop {
            // Between rounds is where it may end: nothing is half done here.
            if self.owner.cancel.is_cancelled() || self.committed.is_closed() {
                return Ok(());
            }
            if !waiting.events.is_empty() {
                let events = waiting.take_round();
                self.round(&events, &mut waiting, messages).await?;
                backoff.is_over();
                continue;
            }
            match waiting.end.take() {
                None => (),
                Some(End::Retry(error)) => backoff.wait(error).await?,
                Some(end) => return Err(end),
            }
            tokio::select! {
                biased;
                () = self.owner.cancel.cancelled() => return Ok(()),
                () = self.committed.closed() => return Ok(()),
                received = messages.next() => waiting.add(received),
            }
        }
    }

    /// One round: applied, committed, and handed to the outbox.
    async fn round(
        &mut self,
        events: &[Event],
        waiting: &mut Waiting,
        messages: &mut ReaderOf<L>,
    ) -> Result<(), End> {
        let settings = &self.owner.config.settings;
        let mut backoff = self.owner.backoff();
        let (round, stopped) = loop {
            let before = (self.shard.next_offset, self.shard.next_number);
            let (store, shard) = (self.owner.store, &mut self.shard);
            let prepared = round::prepare(store, shard, settings, events).await;
            let result = match prepared {
                Err(error) => Err(End::from(error)),
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
                    match self.commit(&round.commit, waiting, messages).await {
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
        self.owner.step(Step::Committed);
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

    /// Commits, and meanwhile reads and decodes what comes next.
    async fn commit(
        &self,
        commit: &Arc<Commit>,
        waiting: &mut Waiting,
        messages: &mut ReaderOf<L>,
    ) -> Result<(), End> {
        let committing = self.owner.store.commit(Arc::clone(commit));
        tokio::pin!(committing);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut committing => break result,
                received = messages.next(), if waiting.has_room() => waiting.add(received),
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
