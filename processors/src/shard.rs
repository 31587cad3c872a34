//! The owner of a shard: takes its events in rounds, applies, commits, publishes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemas::Topic;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use topic::{Assignment, Log, Membership, PartitionReader, ReaderOf, own_partitions};

use crate::apply::{Settings, Shard};
use crate::fate::{Backoff, DELAY_MAX, End, Error, Outages};
use crate::outbox::{Clock, Outbox, Setup};
use crate::rebuild;
use crate::round::{Busy, Round};
use crate::store::Store;

mod applier;
mod origin;

use applier::{Applier, Page};

/// The group that shares out the shards.
pub const GROUP: &str = "processors";

/// Rounds that are committed and wait to be published: above this, applying waits for the log. One
/// keeps both busy; more would only be held in memory.
const ROUNDS_WAITING_MAX: usize = 1;

/// Pages of events that are read and wait to be applied.
const PAGES_WAITING_MAX: usize = 1;

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
    /// The store has swapped the shard's row, in a transaction that is not committed yet: the store
    /// tells it, by the probe that tests give it.
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
    let outages = Arc::new(Outages::default());
    let busy = Arc::new(Busy::default());
    let stopped = std::sync::Mutex::new(Vec::new());
    let lock = || stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let own = |assignment: Assignment<ReaderOf<L>>, cancel| {
        let (config, outages) = (Arc::clone(&config), Arc::clone(&outages));
        let busy = Arc::clone(&busy);
        own(log.clone(), store.clone(), config, (outages, busy), assignment, cancel)
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
    (outages, busy): (Arc<Outages>, Arc<Busy>),
    assignment: Assignment<ReaderOf<L>>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let Assignment { partition, membership, mut messages } = assignment;
    let mut backoff = Backoff::new(&cancel, &outages, partition, config.patience);
    loop {
        let owner = Owner {
            log: &log,
            store: &store,
            config: &config,
            cancel: &cancel,
            outages: &outages,
            busy: &busy,
            shard: partition,
            membership: &membership,
        };
        let since = Instant::now();
        let worked = owner.work(&mut messages, &mut backoff).await;
        if DELAY_MAX < since.elapsed() {
            // Work that lasted has nothing to do with what failed before it.
            backoff.is_over();
        }
        match worked {
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
    outages: &'a Outages,
    busy: &'a Busy,
    shard: u32,
    membership: &'a Membership,
}

impl<L: Log, S: Store> Owner<'_, L, S> {
    /// `before` waited for this: the shard is there again once it is taken.
    async fn work(&self, messages: &mut ReaderOf<L>, before: &mut Backoff<'_>) -> Result<(), End> {
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
            outages: self.outages,
            patience: self.config.patience,
        };
        let mut outbox = Outbox::open(&setup).await?;
        let published = setup.last_number().await?;
        let accounts_max = self.config.accounts_max;
        let step = |step| self.step(step);
        let row = rebuild::forward(&setup, self.store, row, published, accounts_max, step).await?;
        origin::check(&setup, self.store, row).await?;
        outbox.catch_up(self.store, row, published).await?;
        while backoff.after(messages.seek(row.next_offset).await).await?.is_none() {}
        before.goes_on();
        self.step(Step::Acquired);

        let (committed, rounds) = mpsc::channel(ROUNDS_WAITING_MAX);
        let (read, pages) = mpsc::channel(PAGES_WAITING_MAX);
        let shard = Shard::new(self.shard, self.config.shards, row.next_offset, row.next_number);
        let applier = Applier::new(self, row.epoch, shard, committed);
        // Reading ends when nobody applies any more. Applying ends by itself or because publishing
        // did; either way what is committed is published first, if it can be, and what stopped
        // publishing is the reason.
        let (published, applied, ()) = tokio::join!(
            self.publish(&mut outbox, rounds),
            applier.work(pages),
            self.read(messages, read)
        );
        published.and(applied)
    }

    /// Reads ahead, by itself: a read that is given up is begun anew, and one that is given up for
    /// each short commit would never end.
    async fn read(&self, messages: &mut ReaderOf<L>, read: mpsc::Sender<Page>) {
        while let Ok(place) = read.reserve().await {
            tokio::select! {
                biased;
                () = read.closed() => return,
                page = messages.next() => {
                    if page.is_ok() {
                        self.step(Step::Fetched);
                    }
                    place.send(page);
                }
            }
        }
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
        Backoff::new(self.cancel, self.outages, self.shard, self.config.patience)
    }

    fn step(&self, step: Step) {
        if let Some(on_step) = &self.config.on_step {
            on_step(self.shard, step);
        }
    }
}
