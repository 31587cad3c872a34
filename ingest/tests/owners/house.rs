//! Everything between a bucket and a log that fails at will, running.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use ingest::bucket::Bucket;
use ingest::container::Limits;
use ingest::feed::{After, AtRest, Config, Feed, RejectLimit};
use ingest::format::{Encoding, Framing, Posted, Settings, Side};
use ingest::roll::Roll;
use ingest::step::{OnStep, Step};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use schemas::codec::{Codec, Event};
use schemas::command::{Action, FileCommand};
use schemas::file::{Answer, File};
use schemas::{AccountKey, CommandId, FileId, Timestamp, Topic};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use topic::memory::MemoryLog;
use topic::{Batch, Error, Layout, Log, Message, MessageSet, Received, Writer, cloud_events};

use super::shards::{self, Shards};

const SHARDS: u32 = 3;
pub(crate) const PROCESSORS: &str = "processors";

/// How a publish fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing happened.
    Retry,
    /// It happened, and the caller isn't told.
    Indefinite,
    /// Somebody else opened the name.
    Fenced,
}

/// A log whose n-th publish by an owner of ingest fails.
#[derive(Clone)]
pub(crate) struct FaultyLog {
    inner: MemoryLog,
    pub(crate) fault: Fault,
    /// Counts down to the publish that fails.
    pub(crate) left: Arc<AtomicUsize>,
    /// How often still the topic of commands shows nothing: as behind a publish that stands open.
    pub(crate) hides_commands: Arc<AtomicUsize>,
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

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Self::Subscription, Error> {
        self.inner.subscribe(group, topic).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        self.inner.read(topic, partition, offsets, bytes_max).await
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        let less = |n: usize| n.checked_sub(1);
        if topic == Topic::Commands
            && self.hides_commands.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
        {
            return Ok(0);
        }
        self.inner.end(topic, partition).await
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        self.inner.committed(group, topic).await
    }
}

impl Writer for FaultyWriter {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        let counts = self.name.starts_with("arrivals-") || self.name.starts_with("files-");
        let is_faulty = counts
            && self.log.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                == Ok(1);
        if !is_faulty {
            return self.inner.publish(batch).await;
        }
        let what = "planted".to_owned();
        match self.log.fault {
            Fault::Retry => Err(Error::Retry { what, source: None }),
            Fault::Indefinite => {
                self.inner.publish(batch).await?;
                Err(Error::Indefinite { what, source: None })
            }
            Fault::Fenced => {
                drop(self.log.inner.writer(&self.name).await?);
                self.inner.publish(batch).await
            }
        }
    }
}

/// Everything between a bucket and the log, running.
pub(crate) struct House {
    pub(crate) log: FaultyLog,
    pub(crate) store: Arc<InMemory>,
    pub(crate) config: Arc<Config>,
    pub(crate) cancel: CancellationToken,
    /// What runs; one that ends by a panic fails the test that waits for something.
    tasks: Mutex<JoinSet<()>>,
    pub(crate) shards: Arc<Mutex<Shards>>,
    /// What happens to the owner of files, once armed.
    pub(crate) trouble: Trouble,
    /// Steps until the owner of files is killed; 0 is never.
    pub(crate) steps_left: Arc<AtomicUsize>,
    /// Published by an operator at the next of these steps, before anything else happens.
    pub(crate) at_step: AtStep,
}

/// Commands that wait for a step.
type AtStep = Arc<Mutex<Option<(Step, Vec<FileCommand>)>>>;

/// What happens to the owner of files while a command is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Its n-th publish fails.
    Publish(Fault, usize),
    /// It is killed at its n-th step.
    Kill(usize),
}

impl House {
    pub(crate) fn new(fault: Fault, at: usize) -> Self {
        let inner = MemoryLog::with_holes(Layout::new(1, 2, SHARDS));
        let log = FaultyLog {
            inner,
            fault,
            left: Arc::new(AtomicUsize::new(at)),
            hides_commands: Arc::default(),
        };
        let (bucket, store) = Bucket::memory();
        let clock = Arc::new(Mutex::new(0));
        let feed = Feed {
            name: "ach".to_owned(),
            bucket,
            settings: Settings {
                format: "nacha".to_owned(),
                layout: None,
                encoding: Encoding::Ascii,
                framing: Framing::Auto,
                side: Side::Issuer,
                posted: Posted::Billing,
                record_bytes_max: 1 << 16,
            },
            at_rest: AtRest::TwoLooks,
            look_every: Duration::from_millis(100),
            reject_limit: RejectLimit { percent: 50, records_min: 20 },
            serial: false,
            limits: Limits { bytes_max: 1 << 30, ratio_max: 1_000 },
            after: After::Keep,
        };
        let config = Config {
            ledger: "main".to_owned(),
            key: AccountKey::new(&[3; 32]),
            shards: SHARDS,
            feeds: vec![feed],
            source: "batchless/main".to_owned(),
            patience: None,
            chunk_records: ingest::feed::CHUNK_RECORDS,
            clock: Arc::new(move || {
                let mut now = clock.lock().unwrap();
                *now += 1;
                Timestamp(*now)
            }),
            processors_group: PROCESSORS.to_owned(),
            on_step: None,
            is_unchecked: false,
        };
        Self {
            log,
            store,
            config: Arc::new(config),
            cancel: CancellationToken::new(),
            tasks: Mutex::default(),
            shards: Arc::default(),
            trouble: Trouble::Publish(fault, 0),
            steps_left: Arc::default(),
            at_step: Arc::default(),
        }
    }

    /// One in which nothing fails before [`Self::arm`].
    pub(crate) fn with(trouble: Trouble) -> Self {
        let fault = match trouble {
            Trouble::Publish(fault, _) => fault,
            Trouble::Kill(_) => Fault::Retry,
        };
        Self { trouble, ..Self::new(fault, 0) }
    }

    /// From here on the trouble is counted down to.
    pub(crate) fn arm(&self) {
        let (left, at) = match self.trouble {
            Trouble::Publish(_, at) => (&self.log.left, at),
            Trouble::Kill(at) => (&self.steps_left, at),
        };
        left.store(at, Ordering::SeqCst);
    }

    /// True where the trouble was never reached.
    pub(crate) fn was_spared(&self) -> bool {
        self.log.left.load(Ordering::SeqCst) + self.steps_left.load(Ordering::SeqCst) > 0
    }

    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
    }

    pub(crate) fn start(&mut self) {
        self.start_watching();
        self.start_publishing();
    }

    pub(crate) fn start_watching(&mut self) {
        let (log, config, cancel) = (self.log.clone(), &self.config, &self.cancel);
        let (config, cancel) = (Arc::clone(config), cancel.clone());
        self.tasks.lock().unwrap().spawn(async move {
            let stopped = |partition, error| panic!("feeds of {partition}: {error}");
            ingest::watch::run(log, config, &cancel, stopped).await.unwrap();
        });
    }

    pub(crate) fn start_publishing(&mut self) {
        let (log, cancel) = (self.log.clone(), self.cancel.clone());
        let config = Arc::clone(&self.config);
        self.tasks.lock().unwrap().spawn(shards::play(
            log.clone(),
            Arc::clone(&self.shards),
            cancel.clone(),
        ));
        let hook = self.hook();
        self.tasks.lock().unwrap().spawn(async move {
            // Killed, it begins again: as another process would, from what is published.
            for on_step in [Some(hook), None] {
                let config = Config { on_step, ..Config::clone(&config) };
                let killed = CancellationToken::new();
                let stopped = |_, _: ingest::Error| killed.cancel();
                tokio::select! {
                    ended = ingest::publish::run(log.clone(), config.into(), &cancel, stopped) => {
                        if ended.is_ok() {
                            return;
                        }
                    }
                    () = killed.cancelled() => (),
                }
            }
            panic!("it stopped without being killed");
        });
    }

    /// Publishes what waits for this step, and kills the owner of files where it is its turn: by
    /// unwinding, so that nothing of it runs on.
    fn hook(&self) -> OnStep {
        let (at_step, left) = (Arc::clone(&self.at_step), Arc::clone(&self.steps_left));
        let (log, told) = (self.log.clone(), self.config.on_step.clone());
        Arc::new(move |step| {
            told.iter().for_each(|told| told(step));
            let mut waiting = at_step.lock().unwrap();
            if waiting.as_ref().is_some_and(|(at, _)| *at == step) {
                let (_, commands) = waiting.take().unwrap();
                for command in commands {
                    order(&log, &command).now_or_never().unwrap();
                }
            }
            drop(waiting);
            let count = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if count == Ok(1) {
                std::panic::resume_unwind(Box::new("killed"));
            }
        })
    }

    /// Has the owner of a file take a command, and waits for the answer.
    pub(crate) async fn ask(&self, command: FileCommand) -> Answer {
        order(&self.log, &command).await;
        self.answer(&command).await
    }

    /// Publishes these commands, one right behind the other.
    pub(crate) async fn order_all(&self, commands: &[&FileCommand]) {
        for command in commands {
            order(&self.log, command).await;
        }
    }

    /// Waits for the answer to a command.
    pub(crate) async fn answer(&self, command: &FileCommand) -> Answer {
        let id = command.command_id;
        let of = |roll: &Roll| {
            let file = roll.files.get(&command.file_id)?;
            let mut answers = file.answers.iter().filter(|answer| answer.command_id == id);
            let answer = answers.next().cloned();
            assert!(answers.next().is_none(), "answered once");
            answer
        };
        of(&self.until(|roll| of(roll).is_some()).await).unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.cancel.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        self.cancel = CancellationToken::new();
    }

    /// Waits until the roll is as wanted, at most ten minutes of the paused clock.
    pub(crate) async fn until(&self, is_wanted: impl Fn(&Roll) -> bool) -> Roll {
        let mut roll = Roll::new(&self.log);
        for _ in 0..30_000 {
            roll.follow(&self.log).await.unwrap();
            if is_wanted(&roll) {
                return roll;
            }
            self.assert_running();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let files = roll.files.values().map(|file| (&file.object, &file.state, &file.reason));
        panic!("{:?}: it does not come: {:?}", self.trouble, files.collect::<Vec<_>>());
    }

    fn assert_running(&self) {
        if let Some(ended) = self.tasks.lock().unwrap().try_join_next() {
            ended.unwrap();
        }
    }

    /// Waits until nothing more happens, and gives the roll. Time is paused: this takes none.
    pub(crate) async fn settled(&mut self) -> Roll {
        let mut roll = Roll::new(&self.log);
        loop {
            roll.follow(&self.log).await.unwrap();
            if roll.is_settled(&self.config.feeds).await.unwrap() {
                return roll;
            }
            self.assert_running();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The ids of all messages of a topic.
    pub(crate) async fn ids(&self, topic: Topic) -> Vec<String> {
        let mut ids = Vec::new();
        for partition in 0..self.log.partitions(topic) {
            let take = |message: Received| {
                ids.push(String::from_utf8(message.id.to_vec()).unwrap());
                Ok::<(), Error>(())
            };
            topic::read_all(&self.log, topic, partition, 0, take).await.unwrap();
        }
        ids
    }
}

/// A command of an operator; its id is of its action and a number.
pub(crate) fn command(action: &Action, file_id: FileId, number: u8) -> FileCommand {
    let mut id = [number; 16];
    id[1..3].copy_from_slice(&action.as_str().as_bytes()[..2]);
    FileCommand {
        command_id: CommandId(id),
        file_id,
        action: action.clone(),
        first_index: None,
        last_index: None,
        indices: Vec::new(),
        byte_offsets: Vec::new(),
        object: None,
        version: None,
        size_bytes: None,
        by: "ana".to_owned(),
        why: "asked".to_owned(),
        at: Timestamp(0),
    }
}

/// Publishes a command as the command line does: twice, as somebody would who wasn't sure.
async fn order(log: &FaultyLog, command: &FileCommand) {
    let value = Codec::built_in().encode(command).unwrap();
    order_bytes(log, command, value).await;
}

/// Publishes these bytes where a command would be.
pub(crate) async fn order_bytes(log: &FaultyLog, command: &FileCommand, value: Vec<u8>) {
    let text = command.file_id.to_string();
    let partition = partition_of(log, &command.file_id).await;
    let message = Message {
        id: command.command_id.to_string().into(),
        key: text.clone().into(),
        value: Some(value.into()),
    };
    let set = MessageSet {
        topic: Topic::Commands,
        partition,
        headers: cloud_events(FileCommand::TYPE, "test", &text, Timestamp(0)),
        messages: vec![message.clone(), message],
    };
    let mut writer = log.inner.writer("operator").await.unwrap();
    writer.publish(Batch { sets: vec![set], consumed: None }).await.unwrap();
}

/// Where the file's row is.
async fn partition_of(log: &FaultyLog, file_id: &FileId) -> u32 {
    let mut roll = Roll::new(log);
    roll.follow(log).await.unwrap();
    let file: &File = &roll.files[file_id];
    ingest::watch::files_partition(&file.first_id("main"), log.partitions(Topic::Commands))
}
