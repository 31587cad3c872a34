//! The log on Apache Kafka.

pub mod admin;
mod error;
mod settings;

use std::ops::Range;

use schemas::Topic;

use crate::{Batch, Change, Error, Layout, Log, Received};

pub use error::Unusable;
pub use settings::{
    Mechanism, SESSION_TIMEOUT, Sasl, Security, Settings, TRANSACTION_TIMEOUT, Tls,
};

/// A log on Kafka. A cheap handle; clones are the same log.
#[derive(Clone, Debug)]
pub struct KafkaLog {
    layout: Layout,
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
        let _ = (settings, layout);
        Err(Error::fatal("expected a client of Kafka").into())
    }

    /// The layout of the topics that are there; none where there is none of them.
    ///
    /// # Errors
    ///
    /// [`Unusable`]: some are missing, or their numbers of partitions don't go together.
    pub async fn layout_in(settings: &Settings) -> Result<Option<Layout>, Unusable> {
        let _ = settings;
        Err(Error::fatal("expected a client of Kafka").into())
    }

    /// How many partitions each topic has.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Lets go of everything: its members have left their groups when it returns. Nothing can be
    /// done with it afterwards.
    pub async fn close(&self) {}
}

impl Log for KafkaLog {
    type Writer = Writer;
    type Subscription = Member;

    fn partitions(&self, topic: Topic) -> u32 {
        self.layout.partitions(topic)
    }

    async fn writer(&self, _name: &str) -> Result<Writer, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }

    async fn subscribe(&self, _group: &str, _topic: Topic) -> Result<Member, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }

    async fn read(
        &self,
        _topic: Topic,
        _partition: u32,
        _offsets: Range<i64>,
        _bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }

    async fn end(&self, _topic: Topic, _partition: u32) -> Result<i64, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }

    async fn committed(&self, _group: &str, _topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }
}

/// The one writer of a name on Kafka.
#[derive(Debug)]
pub struct Writer;

impl crate::Writer for Writer {
    async fn publish(&mut self, _batch: Batch) -> Result<(), Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }
}

/// A member of a group on Kafka.
#[derive(Debug)]
pub struct Member;

impl crate::Subscription for Member {
    type PartitionReader = Reader;

    async fn next(&mut self) -> Result<Change<Reader>, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }
}

/// Reads the messages of one assigned partition on Kafka.
#[derive(Debug)]
pub struct Reader;

impl crate::PartitionReader for Reader {
    async fn next(&mut self) -> Result<Vec<Received>, Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }

    async fn seek(&mut self, _offset: i64) -> Result<(), Error> {
        Err(Error::fatal("expected a client of Kafka"))
    }
}
