//! A world: the owners of a ledger over one log and one store, wired as `batchless run` wires them,
//! and an operator beside them who gives orders.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ingest::bucket::Bucket;
use ingest::container::Limits;
use ingest::feed::{After, AtRest, Feed, RejectLimit};
use ingest::format::{Encoding, Framing, Posted, Settings, Side};
use ingest::roll::Roll;
use processors::apply::{Checks, UnknownAccount};
use processors::posting::Rules;
use processors::store::{Probe, Store, View as _};
use schemas::codec::{Codec, Event as _, EventType};
use schemas::command::{Action, FileCommand};
use schemas::file::{File, FileState};
use schemas::ledger::Ledger;
use schemas::{AccountKey, CommandId, FileId, Timestamp, Topic};
use tokio_util::sync::CancellationToken;
use topic::{Batch, Layout, Log, Message, MessageSet, Writer as _, cloud_events};

use crate::step::Step;

/// The name of the ledger.
pub const LEDGER: &str = "main";

/// The key of the ledger.
pub const KEY: [u8; 32] = [7; 32];

/// Shards: more than one, so that files are spread and owners work side by side; few, so that each
/// has enough to do.
pub const SHARDS: u32 = 4;

/// Partitions of `files` and of `commands`.
pub const FILE_PARTITIONS: u32 = 2;

/// How often it is looked whether all is at an end, and how often a feed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long an owner begins again before it stops: far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Is told of each step, in the task that takes it.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// What is left out, for the controls of tests that must be red then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Shards take an event whatever its sequence.
    pub sequence_check: bool,
    /// Nobody is fenced by the log.
    pub fence: bool,
    /// The store commits whatever the shard's row is.
    pub swap: bool,
    /// Trailers and totals are not checked.
    pub trailer_check: bool,
}

impl Without {
    /// What is left out, by names between commas.
    ///
    /// # Errors
    ///
    /// Where a name is none of these.
    pub fn named(names: &str) -> anyhow::Result<Self> {
        let mut without = Self::default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match name {
                "sequence_check" => without.sequence_check = true,
                "fence" => without.fence = true,
                "swap" => without.swap = true,
                "trailer_check" => without.trailer_check = true,
                other => anyhow::bail!("nothing called {other} can be left out"),
            }
        }
        Ok(without)
    }
}

/// What a store is told: of the step in the middle of its commits, and what it leaves out.
pub fn probe(on_step: Option<OnStep>, without: Without) -> Probe {
    let on_swapped = |tell: OnStep| -> processors::store::OnSwapped {
        Arc::new(move |_| tell(Step::Shard(processors::Step::Swapped)))
    };
    let on_swapped = on_step.map(on_swapped);
    Probe { on_swapped, is_swap_blind: without.swap, ..Probe::default() }
}

/// What an operator asks of a file.
#[derive(Clone, Debug)]
pub struct Order {
    /// The command's id.
    pub id: CommandId,
    /// The object that the file came as.
    pub object: String,
    /// What is asked.
    pub action: Action,
    /// The first and last record that it is asked of, where it is not all of them.
    pub range: Option<(i64, i64)>,
    /// Asked once the file is in this state, and every order before is answered.
    pub once: FileState,
}

/// The layout of a log of the ledger.
pub fn layout() -> Layout {
    Layout::new(2, FILE_PARTITIONS, SHARDS)
}

/// The descriptor of the ledger.
pub fn ledger() -> Ledger {
    Ledger {
        name: LEDGER.to_owned(),
        shards: SHARDS.cast_signed(),
        file_partitions: FILE_PARTITIONS.cast_signed(),
        key_check_value: AccountKey::new(&KEY).check_value(),
    }
}

/// Owners over a log and a store.
#[derive(Debug)]
pub struct World<L, S> {
    log: L,
    store: S,
    ingest: Arc<ingest::feed::Config>,
    processors: processors::Config,
    without: Without,
}

impl<L: Log, S: Store> World<L, S> {
    /// The owners of a ledger whose inboxes are the folders `ach` and `cards` in `inboxes`.
    ///
    /// # Errors
    ///
    /// Where an inbox is not there.
    pub fn new(
        log: L,
        store: S,
        inboxes: &Path,
        without: Without,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        on_step: Option<OnStep>,
    ) -> anyhow::Result<Self> {
        let clock: ingest::feed::Clock = Arc::new(clock);
        let source = format!("/batchless/{LEDGER}");
        let (of_ingest, of_shards) = (on_step.clone(), on_step);
        let checks = match without.sequence_check {
            false => Checks::ALL,
            true => Checks::ALL.without_sequence_check(),
        };
        let ingest = ingest::feed::Config {
            ledger: LEDGER.to_owned(),
            key: AccountKey::new(&KEY),
            shards: SHARDS,
            feeds: vec![feed(inboxes, "ach", "nacha")?, feed(inboxes, "cards", "ipm")?],
            source: source.clone(),
            patience: Some(PATIENCE),
            chunk_records: ingest::feed::CHUNK_RECORDS,
            clock: Arc::clone(&clock),
            processors_group: processors::GROUP.to_owned(),
            on_step: of_ingest
                .map(|tell| -> ingest::step::OnStep { Arc::new(move |it| tell(Step::Ingest(it))) }),
            is_unchecked: without.trailer_check,
        };
        let processors = processors::Config {
            shards: SHARDS,
            source,
            settings: processors::apply::Settings {
                rules: Rules::standard(),
                unknown_accounts: std::collections::HashMap::default(),
                unknown_account_default: UnknownAccount::Open,
                checks,
            },
            accounts_max: processors::ACCOUNTS_MAX,
            patience: Some(PATIENCE),
            clock,
            on_step: of_shards
                .map(|tell| -> processors::OnStep { Arc::new(move |_, it| tell(Step::Shard(it))) }),
            on_stop: None,
        };
        Ok(Self { log, store, ingest: Arc::new(ingest), processors, without })
    }

    /// All owners at work until all is at an end that lies in the inboxes, and every order is
    /// answered.
    ///
    /// # Errors
    ///
    /// Where an owner stops by itself, or one of them can't go on at all.
    pub async fn settle(&self, orders: &[Order]) -> anyhow::Result<()> {
        self.store.open_ledger(&ledger()).await?;
        let cancel = CancellationToken::new();
        let mut work = std::pin::pin!(self.work(&cancel));
        let mut settled = std::pin::pin!(self.settled(orders));
        tokio::select! {
            ended = &mut work => ended?,
            settled = &mut settled => {
                settled?;
                cancel.cancel();
                work.await?;
            }
        }
        Ok(())
    }

    /// All owners at work, until `cancel`.
    ///
    /// # Errors
    ///
    /// Where an owner stops by itself, or one of them can't go on at all.
    pub async fn work(&self, cancel: &CancellationToken) -> anyhow::Result<()> {
        let (told, mut stopped) = tokio::sync::mpsc::unbounded_channel();
        let stop = |_, error: ingest::Error| {
            // Nobody listens only where the world ends anyway.
            let _ = told.send(error);
        };
        let log = || self.log.clone();
        let config = || Arc::clone(&self.ingest);
        let watch = ingest::watch::run(log(), config(), cancel, stop);
        let publish = ingest::publish::run(log(), config(), cancel, stop);
        let process = async {
            let (store, config) = (self.store.clone(), self.processors.clone());
            let stopped = processors::run(log(), store, config, cancel.clone()).await?;
            stopped.into_iter().next().map_or(Ok(()), |it| Err(anyhow::Error::from(it.error)))
        };
        let all = async {
            let (watched, published, processed) = tokio::join!(watch, publish, process);
            watched.context("the owner of feeds")?;
            published.context("the owner of files")?;
            processed.context("the owner of shards")
        };
        tokio::select! {
            ended = all => ended,
            Some(error) = stopped.recv() => Err(error.into()),
        }
    }

    /// Ends when all is at an end and every order is answered. Gives the orders meanwhile.
    async fn settled(&self, orders: &[Order]) -> anyhow::Result<()> {
        let mut operator = Operator::new(&self.log, orders, &self.ingest.clock).await?;
        let mut roll = Roll::new(&self.log);
        loop {
            roll.follow(&self.log).await?;
            let is_answered = operator.order(&roll).await?;
            if is_answered && self.is_over(&roll).await? && self.is_quiet().await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// True where every file has come to its end. A shard without its sequence check counts too
    /// many events and never says that it has all: there a file's end is that all of it is
    /// published.
    async fn is_over(&self, roll: &Roll) -> anyhow::Result<bool> {
        if !self.without.sequence_check {
            return Ok(roll.is_settled(&self.ingest.feeds).await?);
        }
        let mut objects = 0;
        for feed in &self.ingest.feeds {
            objects += feed.bucket.list().await?.objects.len();
        }
        let is_known = |id: &FileId| roll.files.contains_key(id);
        let is_published = |file: &File| file.is_at_end() || file.state == FileState::PUBLISHED;
        let mut sent = roll.arrivals.values().filter(|row| row.state.is_sent());
        Ok(roll.arrivals.len() == objects
            && roll.arrivals.values().all(|row| row.state.is_end())
            && sent.all(|row| row.file_id.as_ref().is_some_and(is_known))
            && roll.files.values().all(is_published))
    }

    /// True where the shards have applied all that they were told, and said what came of it.
    async fn is_quiet(&self) -> anyhow::Result<bool> {
        let rows = self.store.view().await?.shards().await?;
        for row in rows {
            let told = self.log.end(Topic::Records, row.shard).await?;
            let said = self.log.end(Topic::Postings, row.shard).await?;
            if row.next_offset != told || said < row.next_number {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A feed; where a folder `archive` lies beside its own, objects go there afterwards.
fn feed(inboxes: &Path, name: &str, format: &str) -> anyhow::Result<Feed> {
    let archive = inboxes.join("archive");
    let after = match archive.is_dir() {
        true => After::Archive(Bucket::folder(&archive)?),
        false => After::Keep,
    };
    Ok(Feed {
        name: name.to_owned(),
        bucket: Bucket::folder(&inboxes.join(name))?,
        settings: Settings {
            format: format.to_owned(),
            layout: None,
            encoding: Encoding::Ascii,
            framing: Framing::Auto,
            side: Side::Issuer,
            posted: Posted::Billing,
            record_bytes_max: 6_000,
        },
        at_rest: AtRest::TwoLooks,
        look_every: LOOK_EVERY,
        reject_limit: RejectLimit { percent: 50, records_min: 20 },
        serial: false,
        limits: Limits { bytes_max: 1 << 30, ratio_max: 1_000 },
        after,
    })
}

/// Gives orders, each once: what stands in the topic was given.
struct Operator<'a, L: Log> {
    log: &'a L,
    orders: &'a [Order],
    clock: &'a ingest::feed::Clock,
    writer: L::Writer,
    given: HashSet<CommandId>,
}

impl<'a, L: Log> Operator<'a, L> {
    async fn new(
        log: &'a L,
        orders: &'a [Order],
        clock: &'a ingest::feed::Clock,
    ) -> anyhow::Result<Self> {
        let writer = log.writer("operator").await?;
        let codec = Codec::built_in();
        let mut given = HashSet::new();
        for partition in 0..log.partitions(Topic::Commands) {
            let take = |message: topic::Received| -> anyhow::Result<()> {
                if let Some(value) = &message.value
                    && codec.event_type(value)? == EventType::FileCommand
                {
                    given.insert(codec.decode::<FileCommand>(value)?.command_id);
                }
                Ok(())
            };
            topic::read_all(log, Topic::Commands, partition, 0, take).await?;
        }
        Ok(Self { log, orders, clock, writer, given })
    }

    /// Gives what is due. True where all is given and answered.
    async fn order(&mut self, roll: &Roll) -> anyhow::Result<bool> {
        for order in self.orders {
            let mut files = roll.files.values();
            let Some(file) = files.find(|file| file.object == order.object) else {
                return Ok(false);
            };
            if file.answers.iter().any(|answer| answer.command_id == order.id) {
                continue;
            }
            if !self.given.contains(&order.id) && file.state == order.once && file.work.is_none() {
                self.give(order, file).await?;
                self.given.insert(order.id);
            }
            return Ok(false);
        }
        Ok(true)
    }

    async fn give(&mut self, order: &Order, file: &File) -> anyhow::Result<()> {
        let command = FileCommand {
            command_id: order.id,
            file_id: file.file_id,
            action: order.action.clone(),
            first_index: order.range.map(|(first, _)| first),
            last_index: order.range.map(|(_, last)| last),
            indices: Vec::new(),
            byte_offsets: Vec::new(),
            object: None,
            version: None,
            size_bytes: None,
            by: "a test".to_owned(),
            why: "to see what comes of it".to_owned(),
            at: (self.clock)(),
        };
        let partitions = self.log.partitions(Topic::Commands);
        let partition = schemas::account::spread(file.first_id(LEDGER).spread(), partitions);
        let id = order.id.to_string();
        let message = Message {
            id: Bytes::from(id.clone()),
            key: Bytes::from(file.file_id.to_string()),
            value: Some(Codec::built_in().encode(&command)?.into()),
        };
        let set = MessageSet {
            topic: Topic::Commands,
            partition,
            headers: cloud_events(FileCommand::TYPE, "/batchless/test", &id, (self.clock)()),
            messages: vec![message],
        };
        Ok(self.writer.publish(Batch { sets: vec![set], consumed: None }).await?)
    }
}
