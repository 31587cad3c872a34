//! The log on Apache Kafka.
//!
//! - A writer is an idempotent, transactional producer of its name; a publish is one transaction
//!   (`publish`), and its positions go first, so that a past membership is refused before anything
//!   is written.
//! - Readers see committed messages only. Offsets have holes: the end of each publish takes one in
//!   every partition that it touched, and compaction takes messages away. `end` is up to where
//!   everything is decided, and may lie beyond the last message.
//! - A member of a group is a client that only belongs to it (`subscription`); another one reads
//!   (`feed`).
//! - Values bear the ids of the schema registry where there is one, and our built-in ids on this
//!   side (`wire`).
//! - While brokers are away every call is *retry*, after seconds; nothing is lost, and it is told
//!   once when it begins and once when it ends (`outage`).
//!
//! Calls of the client block: they are made on threads of ours, never on the runtime's workers.

pub mod admin;
mod config;
mod connect;
mod decided;
mod ends;
mod error;
mod fault;
mod feed;
mod outage;
mod positions;
mod publish;
mod ranges;
mod reader;
mod seats;
mod settings;
mod subscription;
mod wire;
mod writer;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemas::Topic;

use crate::registry::Ids;
use crate::{Error, Layout, Log, Received};

use connect::Cluster;
use decided::Decided;
use ends::Ends;
use feed::Feed;
use outage::Outage;
use positions::Positions;
use ranges::Ranges;
use seats::Seats;
use writer::Threads;

pub use error::Unusable;
pub use reader::Reader;
pub use settings::{
    Mechanism, SESSION_TIMEOUT, Sasl, Security, Settings, TRANSACTION_TIMEOUT, Tls,
};
pub use subscription::Member;
pub use writer::Writer;

/// How long members may take to leave their groups, and writers to end, when the log is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// A log on Kafka. A cheap handle; clones are the same log.
#[derive(Clone, Debug)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What the handles of a log share, and its threads.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    names: Arc<Names>,
    ids: Ids,
    outage: Arc<Outage>,
    seats: Arc<Seats>,
    decided: Arc<Decided>,
    positions: Arc<Positions>,
    ranges: Arc<Ranges>,
    threads: Threads,
    is_closed: Arc<AtomicBool>,
}

/// The names of the topics on the broker, and how many partitions they have.
#[derive(Debug)]
struct Names {
    layout: Layout,
    /// In the order of [`Topic::ALL`].
    names: [Arc<str>; Topic::ALL.len()],
}

impl Names {
    fn new(prefix: &str, layout: Layout) -> Self {
        Self { layout, names: Topic::ALL.map(|topic| format!("{prefix}{topic}").into()) }
    }

    fn shared(&self, topic: Topic) -> &Arc<str> {
        &self.names[topic as usize]
    }

    fn of(&self, topic: Topic) -> &str {
        self.shared(topic)
    }
}

impl KafkaLog {
    /// Opens the log whose topics are there; registers the schemas where there is a registry.
    ///
    /// Brokers that don't answer are tried again for a few seconds.
    ///
    /// # Errors
    ///
    /// [`Unusable`] says whose fault it is.
    pub async fn open(settings: Settings, layout: Layout) -> Result<Self, Unusable> {
        let reached = settings.clone();
        asked(move || {
            let found = Cluster::reach(&reached)?.topics()?;
            let misfits = connect::misfits(&reached.prefix, layout, &found);
            misfits.into_iter().next().map_or(Ok(()), Err)
        })
        .await?;
        let ids = match &settings.registry {
            None => Ids::built_in(),
            Some(registry) => Ids::register(registry, &settings.prefix).await?,
        };
        let names = Arc::new(Names::new(&settings.prefix, layout));
        let outage = Arc::new(Outage::new(settings.clone()));
        let feed = Feed::new(&config::reader(&settings), &outage)?;
        let ends = Ends::new(config::reader(&settings), &outage)?;
        let decided = Arc::new(Decided::new(&names, ends, feed));
        let ranges = Arc::new(Ranges::new(&names, &ids, &decided));
        let positions = Arc::new(Positions::new(settings.clone(), Arc::clone(&outage)));
        let shared = Shared {
            settings,
            names,
            ids,
            outage,
            seats: Arc::default(),
            decided,
            positions,
            ranges,
            threads: Threads::default(),
            is_closed: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The layout of the topics that are there; none where there is none of them.
    ///
    /// # Errors
    ///
    /// [`Unusable`]: some are missing, or their numbers of partitions don't go together.
    pub async fn layout_in(settings: &Settings) -> Result<Option<Layout>, Unusable> {
        let settings = settings.clone();
        asked(move || Cluster::reach(&settings)?.layout()).await
    }

    /// How many partitions each topic has.
    pub fn layout(&self) -> Layout {
        self.shared.names.layout
    }

    /// Lets go of everything: its members have left their groups when it returns, and its writers
    /// have ended. Nothing can be done with them afterwards.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        let _ = fault::blocking(move || {
            shared.close();
            Ok(())
        })
        .await;
    }
}

impl Shared {
    /// Ends everything. Blocks, for some seconds at most.
    fn close(&self) {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.outage.close();
        self.ranges.close();
        self.decided.ends.close();
        self.decided.feed.close();
        self.positions.close();
        self.threads.wait(CLOSE_PATIENCE);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.outage.close();
        // Clients take a moment to end, and the last handle may be dropped where none must be lost.
        let (ranges, decided) = (Arc::clone(&self.ranges), Arc::clone(&self.decided));
        let positions = Arc::clone(&self.positions);
        let end = move || {
            ranges.close();
            decided.ends.close();
            decided.feed.close();
            positions.close();
        };
        // Where no thread is to be had, they end here.
        let _ = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(end);
    }
}

/// Asks the cluster, where it may block.
async fn asked<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unusable> + Send + 'static,
) -> Result<T, Unusable> {
    fault::blocking(move || Ok(work())).await?
}

impl Log for KafkaLog {
    type Writer = Writer;
    type Subscription = Member;

    fn partitions(&self, topic: Topic) -> u32 {
        self.layout().partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<Writer, Error> {
        Writer::open(&self.shared, name).await
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Member, Error> {
        Member::join(&self.shared, group, topic).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        self.shared.ranges.read(topic, partition, offsets, bytes_max).await
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        let shared = Arc::clone(&self.shared);
        fault::blocking(move || Ok(shared.decided.watermarks(topic, partition)?.1)).await
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        let (shared, group) = (Arc::clone(&self.shared), group.to_owned());
        fault::blocking(move || {
            let partitions = 0..shared.names.layout.partitions(topic);
            shared.positions.committed(&group, shared.names.of(topic), partitions)
        })
        .await
    }
}
