//! Everything between a bucket and a log that fails at will, running.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingest::bucket::Bucket;
use ingest::container::Limits;
use ingest::feed::{AtRest, Config, Feed, RejectLimit};
use ingest::format::{Encoding, Framing, Posted, Settings, Side};
use ingest::roll::Roll;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use schemas::codec::{Codec, Event, EventType};
use schemas::command::SegmentApplied;
use schemas::file::Segment;
use schemas::record::SegmentClosed;
use schemas::{AccountKey, ClearingRecord, FileId, Sums, Timestamp, Topic};
use tokio_util::sync::CancellationToken;
use topic::memory::MemoryLog;
use topic::{
    Batch, Consumed, Error, Layout, Log, Message, MessageSet, PartitionReader, Received, Writer,
    cloud_events,
};

const SHARDS: u32 = 3;
const PROCESSORS: &str = "processors";

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

/// Stands for the processors: takes every event as applied, and answers each segment.
async fn answer_segments(log: FaultyLog, cancel: CancellationToken) {
    let own = |mut assignment: topic::Assignment<topic::ReaderOf<FaultyLog>>,
               token: CancellationToken| {
        let log = log.clone();
        async move {
            let shard = assignment.partition;
            let mut writer = log.writer(&format!("shard-{shard}")).await?;
            let mut counted: BTreeMap<FileId, (i64, Sums)> = BTreeMap::new();
            loop {
                let received = tokio::select! {
                    () = token.cancelled() => return Ok::<(), Error>(()),
                    received = assignment.messages.next() => received?,
                };
                let mut batch = Batch::default();
                for message in &received {
                    batch.sets.extend(answer(&log, shard, message, &mut counted));
                }
                let next = received.last().unwrap().offset + 1;
                let membership = assignment.membership.clone();
                batch.consumed =
                    Some(Consumed { membership, positions: vec![(Topic::Records, shard, next)] });
                writer.publish(batch).await?;
            }
        }
    };
    let stopped = |shard, error: Error| panic!("shard {shard}: {error}");
    topic::own_partitions(&log, PROCESSORS, Topic::Records, &cancel, own, stopped).await.unwrap();
}

fn answer(
    log: &FaultyLog,
    shard: u32,
    message: &Received,
    counted: &mut BTreeMap<FileId, (i64, Sums)>,
) -> Option<MessageSet> {
    let codec = Codec::built_in();
    let value = message.value.as_ref().unwrap();
    if codec.event_type(value).unwrap() == EventType::ClearingRecord {
        let event: ClearingRecord = codec.decode(value).unwrap();
        let (count, sums) = counted.entry(event.file_id).or_default();
        assert_eq!(event.sequence, *count, "dense and in order on shard {shard}");
        *count += 1;
        if let Some(currency) = event.currency {
            sums.add(&event.direction, currency, event.exponent, event.amount_minor).unwrap();
        }
        return None;
    }
    let closed: SegmentClosed = codec.decode(value).unwrap();
    let (events, applied_sums) = counted.get(&closed.file_id).cloned().unwrap();
    assert_eq!((closed.events, &closed.sums), (events, &applied_sums));
    let segment = Segment {
        shard: closed.shard,
        number: message.offset,
        complete: closed.complete,
        events,
        applied: events,
        rejected: 0,
        reversed: 0,
        duplicates: 0,
        applied_sums,
        rejected_sums: Sums::new(),
        reversed_sums: Sums::new(),
    };
    let answer = SegmentApplied { file_id: closed.file_id, segment, command_id: closed.command_id };
    let partition =
        ingest::watch::files_partition(&closed.file_id, log.partitions(Topic::Commands));
    let text = closed.file_id.to_string();
    Some(MessageSet {
        topic: Topic::Commands,
        partition,
        headers: cloud_events(SegmentApplied::TYPE, "test", &text, Timestamp(0)),
        messages: vec![Message {
            id: format!("{text}/segment/{shard}").into(),
            key: text.into(),
            value: Some(codec.encode(&answer).unwrap().into()),
        }],
    })
}

/// Everything between a bucket and the log, running.
pub(crate) struct House {
    pub(crate) log: FaultyLog,
    pub(crate) store: Arc<InMemory>,
    pub(crate) config: Arc<Config>,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: tokio::task::JoinSet<()>,
}

impl House {
    pub(crate) fn new(fault: Fault, at: usize) -> Self {
        let inner = MemoryLog::new(Layout::new(1, 2, SHARDS));
        let log = FaultyLog { inner, fault, left: Arc::new(AtomicUsize::new(at)) };
        let (bucket, store) = Bucket::memory();
        let clock = Arc::new(Mutex::new(0));
        let feed = Feed {
            name: "ach".to_owned(),
            bucket,
            settings: Settings {
                format: "nacha".to_owned(),
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
        };
        let config = Config {
            ledger: "main".to_owned(),
            key: AccountKey::new(&[3; 32]),
            shards: SHARDS,
            feeds: vec![feed],
            source: "batchless/main".to_owned(),
            patience: None,
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
            tasks: tokio::task::JoinSet::new(),
        }
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
        self.tasks.spawn(async move {
            let stopped = |partition, error| panic!("feeds of {partition}: {error}");
            ingest::watch::run(log, config, &cancel, stopped).await.unwrap();
        });
    }

    pub(crate) fn start_publishing(&mut self) {
        let (log, cancel) = (self.log.clone(), self.cancel.clone());
        let config = Arc::clone(&self.config);
        self.tasks.spawn(answer_segments(log.clone(), cancel.clone()));
        self.tasks.spawn(async move {
            let stopped = |partition, error| panic!("files of {partition}: {error}");
            ingest::publish::run(log, config, &cancel, stopped).await.unwrap();
        });
    }

    pub(crate) async fn stop(&mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.cancel = CancellationToken::new();
    }

    /// Waits until the roll is as wanted.
    pub(crate) async fn until(&self, is_wanted: impl Fn(&Roll) -> bool) -> Roll {
        let mut roll = Roll::new(&self.log);
        loop {
            roll.follow(&self.log).await.unwrap();
            if is_wanted(&roll) {
                return roll;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
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
            if let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap();
            }
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
