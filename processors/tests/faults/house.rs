//! A log and a store that fail once, and the owners of shards between them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use processors::account::AccountName;
use processors::run::Run;
use processors::store::conformance::settings;
use processors::store::{Commit, Error as StoreError, Fetched, OutcomeRow, ShardRow, Store};
use processors::{Config, Step, Stopped};
use schemas::ledger::Ledger;
use schemas::{FileId, Timestamp, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use topic::memory::MemoryLog;
use topic::{Batch, Error, Log, Received, Writer};

use crate::stream::Stream;

pub(crate) const SHARDS: u32 = 2;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    /// A publish by the owner of a shard.
    Publish,
    /// A read of the log.
    Read,
    /// A commit.
    Commit,
    /// The taking of a shard.
    Acquire,
    /// A read of the store.
    Fetch,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    /// Nothing happened; the same again will do.
    Retry,
    /// It happened, and the caller isn't told.
    UnclearAndDone,
    /// It did not happen, and the caller isn't told.
    UnclearAndNot,
    /// Somebody else has the name or the shard for a moment.
    Fenced,
    /// A rule of the store is broken.
    Invariant,
    /// Nothing works until somebody comes: stands for an end in the middle.
    Unusable,
}

/// The one failure of a run: the n-th call of a kind.
#[derive(Clone)]
pub(crate) struct Plan {
    call: Call,
    how: How,
    /// Calls until it fails; it failed where this is below 1.
    left: Arc<AtomicI64>,
}

impl Plan {
    pub(crate) fn new(call: Call, how: How, at: i64) -> Self {
        Self { call, how, left: Arc::new(AtomicI64::new(at)) }
    }

    /// Nothing fails.
    pub(crate) fn none() -> Self {
        Self::new(Call::Publish, How::Retry, i64::MAX)
    }

    /// True where as many calls were made that it failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 1
    }

    fn fails(&self, call: Call) -> Option<How> {
        let is_it = call == self.call && self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        is_it.then_some(self.how)
    }
}

#[derive(Clone)]
pub(crate) struct FaultyLog {
    pub(crate) inner: MemoryLog,
    pub(crate) plan: Plan,
    /// Under which name this one joins the group: two under different names both have all shards.
    pub(crate) group: &'static str,
    /// Its first offset, as if what lies below had been deleted for its age.
    pub(crate) first: i64,
}

impl FaultyLog {
    pub(crate) fn new(inner: &MemoryLog, plan: Plan) -> Self {
        Self { inner: inner.clone(), plan, group: processors::GROUP, first: 0 }
    }
}

pub(crate) struct FaultyWriter {
    inner: <MemoryLog as Log>::Writer,
    log: FaultyLog,
    name: String,
}

impl Log for FaultyLog {
    type Writer = FaultyWriter;
    type Subscription = <MemoryLog as Log>::Subscription;

    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<FaultyWriter, Error> {
        let inner = self.inner.writer(name).await?;
        Ok(FaultyWriter { inner, log: self.clone(), name: name.to_owned() })
    }

    async fn subscribe(&self, _: &str, topic: Topic) -> Result<Self::Subscription, Error> {
        self.inner.subscribe(self.group, topic).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        if topic == Topic::Records && offsets.start < self.first {
            let (offset, first) = (offsets.start, self.first);
            let end = self.inner.end(topic, partition).await?;
            return Err(Error::Outside { topic, partition, offset, first, end });
        }
        match self.plan.fails(Call::Read) {
            Some(_) => Err(Error::Retry { what: "planted".to_owned(), source: None }),
            None => self.inner.read(topic, partition, offsets, bytes_max).await,
        }
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        self.inner.end(topic, partition).await
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        self.inner.committed(group, topic).await
    }
}

impl Writer for FaultyWriter {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        let what = "planted".to_owned();
        match self.log.plan.fails(Call::Publish) {
            None => self.inner.publish(batch).await,
            Some(How::UnclearAndDone) => {
                self.inner.publish(batch).await?;
                Err(Error::Indefinite { what, source: None })
            }
            Some(How::UnclearAndNot) => Err(Error::Indefinite { what, source: None }),
            Some(How::Fenced) => {
                drop(self.log.inner.writer(&self.name).await?);
                self.inner.publish(batch).await
            }
            Some(_) => Err(Error::Retry { what, source: None }),
        }
    }
}

/// What a store answered commits with, other than that they are done.
#[derive(Default)]
pub(crate) struct Seen {
    /// Commits of which it was not known whether they happened.
    pub(crate) ambiguous: usize,
    /// Those of them of which the same commit, repeated, told it.
    pub(crate) resolved: usize,
    open: BTreeSet<(u32, i64)>,
    /// Told of each commit that failed, and of which shard it was.
    pub(crate) on_failure: Option<mpsc::UnboundedSender<u32>>,
}

impl Seen {
    fn note(&mut self, commit: &Commit, result: &Result<(), StoreError>) {
        let at = (commit.from.shard, commit.from.next_number);
        match result {
            Err(StoreError::Ambiguous { .. }) => {
                self.ambiguous += usize::from(self.open.insert(at));
            }
            Err(StoreError::Retry { .. }) => (),
            Ok(()) | Err(_) => self.resolved += usize::from(self.open.remove(&at)),
        }
        if let (Err(_), Some(told)) = (result, &self.on_failure) {
            let _ = told.send(commit.from.shard);
        }
    }
}

/// A store that fails once, and remembers what was committed.
#[derive(Clone)]
pub(crate) struct FaultyStore<S> {
    pub(crate) inner: S,
    pub(crate) plan: Plan,
    pub(crate) commits: Arc<Mutex<Vec<Arc<Commit>>>>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl<S: Store> FaultyStore<S> {
    pub(crate) fn new(inner: S, plan: Plan) -> Self {
        Self { inner, plan, commits: Arc::default(), seen: Arc::default() }
    }

    fn check(&self, call: Call) -> Result<(), StoreError> {
        let what = "planted".to_owned();
        match self.plan.fails(call) {
            Some(_) => Err(StoreError::Retry { what, source: None }),
            None => Ok(()),
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    type View = S::View;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), StoreError> {
        self.inner.open_ledger(ledger).await
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, StoreError> {
        self.check(Call::Acquire)?;
        self.inner.acquire(shard).await
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, StoreError> {
        self.check(Call::Fetch)?;
        self.inner.fetch(shard, accounts, files).await
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        self.check(Call::Fetch)?;
        self.inner.fingerprints(shard, file, sequences).await
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, StoreError> {
        self.check(Call::Fetch)?;
        self.inner.reversing(shard).await
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: processors::store::Range,
    ) -> Result<Vec<OutcomeRow>, StoreError> {
        self.check(Call::Fetch)?;
        self.inner.taken(shard, file, range).await
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), StoreError> {
        let (what, source, shard) = ("planted".to_owned(), None, commit.from.shard);
        let done = |result: &Result<(), StoreError>| {
            if result.is_ok() {
                self.commits.lock().unwrap().push(Arc::clone(&commit));
            }
        };
        match self.plan.fails(Call::Commit) {
            None => {
                let result = self.inner.commit(Arc::clone(&commit)).await;
                done(&result);
                self.seen.lock().unwrap().note(&commit, &result);
                result
            }
            Some(How::Retry) => Err(StoreError::Retry { what, source }),
            Some(How::UnclearAndDone) => {
                self.inner.commit(Arc::clone(&commit)).await?;
                Err(StoreError::Ambiguous { shard, source })
            }
            Some(How::UnclearAndNot) => Err(StoreError::Ambiguous { shard, source }),
            Some(How::Fenced) => {
                self.inner.acquire(shard).await?;
                self.inner.commit(commit).await
            }
            Some(How::Invariant) => Err(StoreError::Invariant { what, source }),
            Some(How::Unusable) => Err(StoreError::Unusable { what, source }),
        }
    }

    async fn view(&self) -> Result<S::View, StoreError> {
        self.check(Call::Fetch)?;
        self.inner.view().await
    }
}

/// The processors at work.
pub(crate) struct Running {
    task: JoinSet<Result<Vec<Stopped>, Error>>,
    cancel: CancellationToken,
    steps: mpsc::UnboundedReceiver<(u32, Option<Step>)>,
    /// The shards that stopped.
    pub(crate) stopped: Vec<u32>,
    /// The shards whose store was led forward.
    pub(crate) rebuilt: Vec<u32>,
}

impl Running {
    pub(crate) fn start<S: Store>(log: &FaultyLog, store: &S) -> Self {
        let (sender, steps) = mpsc::unbounded_channel();
        let stopped = sender.clone();
        let config = Config {
            shards: SHARDS,
            source: "batchless/test".to_owned(),
            settings: settings(),
            accounts_max: processors::ACCOUNTS_MAX,
            patience: None,
            clock: Arc::new(|| Timestamp(1_000)),
            on_step: Some(Arc::new(move |shard, step| {
                let _ = sender.send((shard, Some(step)));
            })),
            on_stop: Some(Arc::new(move |shard, _| {
                let _ = stopped.send((shard, None));
            })),
        };
        let cancel = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(processors::run(log.clone(), store.clone(), config, cancel.clone()));
        Self { task, cancel, steps, stopped: Vec::new(), rebuilt: Vec::new() }
    }

    /// Waits for the next step of a shard, or that one stops.
    async fn step(&mut self) -> (u32, Option<Step>) {
        let (shard, step) = self.steps.recv().await.unwrap();
        match step {
            None => self.stopped.push(shard),
            Some(Step::Rebuilt) => self.rebuilt.push(shard),
            Some(_) => (),
        }
        (shard, step)
    }

    /// Waits until each shard has answered all that was said, or stopped.
    pub(crate) async fn until_answered(&mut self, stream: &mut Stream) {
        loop {
            let mut is_done = true;
            for shard in 0..SHARDS {
                is_done &= self.stopped.contains(&shard) || stream.is_answered(shard).await;
            }
            if is_done {
                return;
            }
            self.step().await;
        }
    }

    /// Waits until each shard is taken, or stopped.
    pub(crate) async fn until_acquired(&mut self) {
        let mut acquired = std::collections::HashSet::new();
        while acquired.len() < usize::try_from(SHARDS).unwrap() {
            match self.step().await {
                (shard, None | Some(Step::Acquired)) => acquired.insert(shard),
                _ => false,
            };
        }
    }

    pub(crate) async fn end(mut self) -> Vec<Stopped> {
        self.cancel.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap()
    }
}
