//! Both owners of ingest over the memory log: from a dropped object to a reconciled file, with
//! every publish failing once in each of its ways.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

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
use schemas::file::{FileState, Segment};
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
enum Fault {
    /// Nothing happened.
    Retry,
    /// It happened, and the caller isn't told.
    Indefinite,
    /// Somebody else opened the name.
    Fenced,
}

/// A log whose n-th publish by an owner of ingest fails.
#[derive(Clone)]
struct FaultyLog {
    inner: MemoryLog,
    fault: Fault,
    /// Counts down to the publish that fails.
    left: Arc<AtomicUsize>,
}

struct FaultyWriter {
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
    };
    let answer = SegmentApplied { file_id: closed.file_id, segment };
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
struct House {
    log: FaultyLog,
    store: Arc<InMemory>,
    config: Arc<Config>,
    cancel: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl House {
    fn new(fault: Fault, at: usize) -> Self {
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
        };
        Self {
            log,
            store,
            config: Arc::new(config),
            cancel: CancellationToken::new(),
            tasks: tokio::task::JoinSet::new(),
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
    }

    fn start(&mut self) {
        self.start_watching();
        self.start_publishing();
    }

    fn start_watching(&mut self) {
        let (log, config, cancel) = (self.log.clone(), &self.config, &self.cancel);
        let (config, cancel) = (Arc::clone(config), cancel.clone());
        self.tasks.spawn(async move {
            let stopped = |partition, error| panic!("feeds of {partition}: {error}");
            ingest::watch::run(log, config, &cancel, stopped).await.unwrap();
        });
    }

    fn start_publishing(&mut self) {
        let (log, cancel) = (self.log.clone(), self.cancel.clone());
        let config = Arc::clone(&self.config);
        self.tasks.spawn(answer_segments(log.clone(), cancel.clone()));
        self.tasks.spawn(async move {
            let stopped = |partition, error| panic!("files of {partition}: {error}");
            ingest::publish::run(log, config, &cancel, stopped).await.unwrap();
        });
    }

    async fn stop(&mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.cancel = CancellationToken::new();
    }

    /// Waits until the roll is as wanted.
    async fn until(&self, is_wanted: impl Fn(&Roll) -> bool) -> Roll {
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
    async fn settled(&mut self) -> Roll {
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
    async fn ids(&self, topic: Topic) -> Vec<String> {
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

/// A NACHA file of one batch: credits and debits in turn, over a hundred accounts. `modifier` makes
/// its own identifier.
fn nacha(records: u64, modifier: char) -> Vec<u8> {
    let mut lines = vec![
        format!(
            "101 091000019 0910000192611220425{modifier}094101{:23}{:23}{:8}",
            "BANK", "BANK", ""
        ),
        format!(
            "5200{:16}{:20}1234567890PPD{:10}{:6}260722{:3}1091000010000001",
            "PAYROLL CO", "", "PAYROLL", "", ""
        ),
    ];
    let (mut debits, mut credits) = (0, 0);
    for entry in 0..records {
        let amount = 100 + entry % 1_000;
        let code = if entry % 2 == 0 { 22 } else { 27 };
        *(if code == 22 { &mut credits } else { &mut debits }) += amount;
        let account = format!("{}", 9_000_000_000 + entry % 100);
        let trace = format!("09100001{entry:07}");
        let name = "JANE DOE";
        lines.push(format!("6{code}091000019{account:17}{amount:010}{:15}{name:22}  0{trace}", ""));
    }
    let hash = (9_100_001 * records) % 10_000_000_000;
    let totals = format!("{hash:010}{debits:012}{credits:012}");
    lines.push(format!("8200{records:06}{totals}1234567890{:25}091000010000001", ""));
    let blocks = (lines.len() + 1).div_ceil(10);
    lines.push(format!("9000001{blocks:06}{records:08}{totals}{:39}", ""));
    while lines.len() % 10 != 0 {
        lines.push("9".repeat(94));
    }
    lines.iter().for_each(|line| assert_eq!(line.len(), 94, "{line}"));
    (lines.join("\n") + "\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn every_publish_may_fail_in_any_way_and_each_record_is_there_once() {
    let large = nacha(25_000, 'A');
    let small = nacha(7, 'B');
    for fault in [Fault::Retry, Fault::Indefinite, Fault::Fenced] {
        for at in 1.. {
            let mut house = House::new(fault, at);
            house.put("large.ach", large.clone()).await;
            house.put("small.ach", small.clone()).await;
            house.start();
            let roll = house.settled().await;
            house.stop().await;
            for file in roll.files.values() {
                assert_eq!(file.state, FileState::RECONCILED, "{fault:?} at {at}: {file:?}");
            }
            assert_eq!(roll.files.len(), 2);
            let ids = house.ids(Topic::Records).await;
            let records = ids.iter().filter(|id| !id.contains("closed")).count();
            let unique: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((records, unique.len()), (25_007, ids.len()), "{fault:?} at {at}");
            if house.log.left.load(Ordering::SeqCst) > 0 {
                // The control: there were so many publishes, and each of them has failed once.
                assert!(at > 8, "only {at} publishes");
                break;
            }
        }
    }
}

/// What became of each object, by its name.
fn states(roll: &Roll) -> BTreeMap<&str, String> {
    roll.arrivals.values().map(|row| (row.object.as_str(), row.state.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_file_gets_its_answer_and_only_good_ones_are_published() {
    let good = nacha(30, 'A');
    let mut unbalanced = nacha(30, 'C');
    let at = unbalanced.len() - 950 + 30;
    unbalanced[at] ^= 1;
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", good.clone()).await;
    house.put("a-again.ach", good.clone()).await;
    house.put("b-same-identifier.ach", nacha(31, 'A')).await;
    house.put("c-unbalanced.ach", unbalanced).await;
    house.put("d-torn.ach", good[..good.len() / 2].to_vec()).await;
    house.put("e-garbage.ach", b"hello, bank".to_vec()).await;
    house.put("f-unfinished.ach.part", good.clone()).await;
    house.start();
    let roll = house.settled().await;
    let found = states(&roll);
    // Which of two equal ones is verified first is open: the other is the duplicate.
    let twins = [found["a.ach"].as_str(), found["a-again.ach"].as_str()];
    assert!(twins == ["verified", "duplicate"] || twins == ["duplicate", "verified"], "{twins:?}");
    let of_a = ["verified", "held"];
    assert!(of_a.contains(&found["b-same-identifier.ach"].as_str()), "{found:?}");
    for refused in ["c-unbalanced.ach", "d-torn.ach", "e-garbage.ach"] {
        assert_eq!(found[refused], "refused", "{refused}");
    }
    assert_eq!(found.len(), 6);
    let held = roll.files.values().filter(|file| file.state == FileState::HELD).count();
    assert_eq!((held, roll.files.len()), (1, 2), "one of two with the same identifier is held");
    let published: i64 = roll.files.values().map(|file| file.checkpoint.published).sum();
    let ids = house.ids(Topic::Records).await;
    let records = ids.iter().filter(|id| !id.contains("closed")).count();
    assert_eq!(i64::try_from(records).unwrap(), published);

    // Nothing changes by looking again, also after a restart.
    house.stop().await;
    house.start();
    house.put("g.ach", good).await;
    let roll = house.settled().await;
    assert_eq!(states(&roll)["g.ach"], "duplicate");
    assert_eq!(house.ids(Topic::Records).await, ids);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_object_is_gone_fails_and_goes_on_under_any_name() {
    let bytes = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", bytes.clone()).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.store.delete(&Path::from("a.ach")).await.unwrap();
    house.start_publishing();
    let failed = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::FAILED);
    let roll = house.until(failed).await;
    let reason = roll.files.values().next().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains("object gone") && reason.contains("same bytes"), "{reason}");
    assert_eq!(house.ids(Topic::Records).await.len(), 0);

    house.put("other-name.ach", bytes).await;
    let done = |roll: &Roll| roll.files.values().all(|file| file.state == FileState::RECONCILED);
    house.until(done).await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_published_only_under_the_settings_that_it_was_verified_under() {
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.stop().await;

    let original = Arc::clone(&house.config);
    let mut changed = Config::clone(&original);
    changed.feeds[0].settings.side = Side::Acquirer;
    house.config = Arc::new(changed);
    house.start_publishing();
    let held = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::HELD);
    let roll = house.until(held).await;
    let reason = roll.files.values().next().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.starts_with("settings changed"), "{reason}");
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 0);

    house.config = original;
    house.start_publishing();
    house.until(|roll| roll.files.values().all(|file| file.state == FileState::RECONCILED)).await;
    house.stop().await;
}

/// The messages of an IPM file whose own identifier is this number's, without their terminator.
fn ipm(file_number: u32) -> Vec<u8> {
    let plan = ingest::generate::Plan {
        format: "ipm".to_owned(),
        encoding: Encoding::Ascii,
        framing: Framing::Vbs,
        records: 5,
        accounts: 5,
        seed: 1,
        bad_per_million: 0,
        file_number,
        date: schemas::Date::new(2026, 7, 22).unwrap(),
    };
    let mut bytes = Vec::new();
    ingest::generate::generate(&plan, &mut bytes).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// An object of two logical files bears two identifiers: whichever comes again alone, or behind
/// one that is new, is not posted twice.
#[tokio::test(start_paused = true)]
async fn a_file_is_held_where_any_of_its_identifiers_came_before() {
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    config.feeds[0].settings.format = "ipm".to_owned();
    house.config = Arc::new(config);
    let ended = |files: &[Vec<u8>]| [files.concat(), vec![0; 4]].concat();
    house.put("a-both.ipm", ended(&[ipm(1), ipm(2)])).await;
    house.start();
    house.settled().await;
    house.put("b-second.ipm", ended(&[ipm(2)])).await;
    house.settled().await;
    house.stop().await;
    house.start();
    house.put("c-new-and-second.ipm", ended(&[ipm(3), ipm(2)])).await;
    house.put("d-new.ipm", ended(&[ipm(4)])).await;
    let roll = house.settled().await;
    house.stop().await;
    let found = states(&roll);
    assert_eq!(
        ["a-both.ipm", "b-second.ipm", "c-new-and-second.ipm", "d-new.ipm"].map(|key| &found[key]),
        ["verified", "held", "held", "verified"]
    );
    for row in roll.arrivals.values().filter(|row| row.state.as_str() == "held") {
        let reason = row.reason.as_ref().unwrap().to_string();
        assert!(reason.contains("found `0022607220000001294000002`, as in file "), "{reason}");
    }
    let records = house.ids(Topic::Records).await;
    assert_eq!(records.iter().filter(|id| !id.contains("closed")).count(), 15);
}

/// The sender puts the same bytes again, under the same name, while the file is under way: what was
/// a duplicate then has what the file misses.
#[tokio::test(start_paused = true)]
async fn bytes_delivered_again_in_flight_let_the_file_go_on() {
    let bytes = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", bytes.clone()).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.put("a.ach", bytes).await;
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "duplicate")).await;
    // The version that was verified is gone, and the one that is there was a duplicate.
    house.start_publishing();
    let done = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::RECONCILED);
    house.until(done).await;
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 30 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_serial_feed_sends_in_order_and_lets_in_what_its_failed_file_misses() {
    let first = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    config.feeds[0].serial = true;
    house.config = Arc::new(config);
    house.put("day-1.ach", first.clone()).await;
    house.put("day-2.ach", nacha(5, 'B')).await;
    house.start_watching();
    let seen = |roll: &Roll| states(roll).get("day-1.ach").is_some_and(|state| state == "verified");
    house.until(seen).await;
    house.store.delete(&Path::from("day-1.ach")).await.unwrap();
    house.start_publishing();
    house.until(|roll| roll.files.values().any(|file| file.state == FileState::FAILED)).await;
    house.put("day-1-again.ach", first).await;
    let done = |roll: &Roll| {
        roll.files.len() == 2 && roll.files.values().all(|file| file.state == FileState::RECONCILED)
    };
    let roll = house.until(done).await;
    house.stop().await;
    let ended = |name: &str| {
        let file = roll.files.values().find(|file| file.object == name).unwrap();
        (file.arrived_at, file.updated_at)
    };
    let (day_1, day_2) = (ended("day-1-again.ach"), ended("day-2.ach"));
    assert!(day_1.1 < day_2.0, "the second is sent after the first has ended: {day_1:?} {day_2:?}");
}
