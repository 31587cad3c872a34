//! The log of a ledger, whichever it is: the contract of `topic::Log`, passed on.

use std::ops::Range;

use schemas::Topic;
use topic::embedded::EmbeddedLog;
use topic::kafka::KafkaLog;
use topic::{
    Assignment, Batch, Change, Error, Layout, Log, PartitionReader, ReaderOf, Received,
    Subscription, Writer,
};

/// A log.
#[derive(Clone, Debug)]
pub(crate) enum AnyLog {
    /// In the data directory.
    Embedded(EmbeddedLog),
    /// On Kafka.
    Kafka(KafkaLog),
}

/// The one writer of a name.
pub(crate) enum AnyWriter {
    Embedded(<EmbeddedLog as Log>::Writer),
    Kafka(<KafkaLog as Log>::Writer),
}

/// A member of a group.
pub(crate) enum AnySubscription {
    Embedded(<EmbeddedLog as Log>::Subscription),
    Kafka(<KafkaLog as Log>::Subscription),
}

/// Reads a partition.
pub(crate) enum AnyReader {
    Embedded(ReaderOf<EmbeddedLog>),
    Kafka(ReaderOf<KafkaLog>),
}

/// Does the same with whichever it is.
macro_rules! with {
    ($any:expr, $it:ident => $done:expr) => {
        match $any {
            Self::Embedded($it) => $done,
            Self::Kafka($it) => $done,
        }
    };
}

impl AnyLog {
    /// How many partitions each topic has.
    pub(crate) fn layout(&self) -> Layout {
        with!(self, log => log.layout())
    }

    /// Closes it: what was published is on disk, and its files are let go.
    pub(crate) async fn close(&self) {
        with!(self, log => log.close().await);
    }
}

impl Log for AnyLog {
    type Writer = AnyWriter;
    type Subscription = AnySubscription;

    fn partitions(&self, topic: Topic) -> u32 {
        with!(self, log => log.partitions(topic))
    }

    async fn writer(&self, name: &str) -> Result<AnyWriter, Error> {
        Ok(match self {
            Self::Embedded(log) => AnyWriter::Embedded(log.writer(name).await?),
            Self::Kafka(log) => AnyWriter::Kafka(log.writer(name).await?),
        })
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<AnySubscription, Error> {
        Ok(match self {
            Self::Embedded(log) => AnySubscription::Embedded(log.subscribe(group, topic).await?),
            Self::Kafka(log) => AnySubscription::Kafka(log.subscribe(group, topic).await?),
        })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        with!(self, log => log.read(topic, partition, offsets, bytes_max).await)
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        with!(self, log => log.end(topic, partition).await)
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        with!(self, log => log.committed(group, topic).await)
    }
}

impl Writer for AnyWriter {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        with!(self, writer => writer.publish(batch).await)
    }
}

impl Subscription for AnySubscription {
    type PartitionReader = AnyReader;

    async fn next(&mut self) -> Result<Change<AnyReader>, Error> {
        Ok(match self {
            Self::Embedded(member) => change(member.next().await?, AnyReader::Embedded),
            Self::Kafka(member) => change(member.next().await?, AnyReader::Kafka),
        })
    }
}

/// The same change, of any reader.
fn change<R>(change: Change<R>, any: impl Fn(R) -> AnyReader) -> Change<AnyReader> {
    match change {
        Change::Revoked(revocation) => Change::Revoked(revocation),
        Change::Assigned(assignments) => {
            let one = |it: Assignment<R>| Assignment {
                partition: it.partition,
                membership: it.membership,
                messages: any(it.messages),
            };
            Change::Assigned(assignments.into_iter().map(one).collect())
        }
    }
}

impl PartitionReader for AnyReader {
    async fn next(&mut self) -> Result<Vec<Received>, Error> {
        with!(self, reader => reader.next().await)
    }

    async fn seek(&mut self, offset: i64) -> Result<(), Error> {
        with!(self, reader => reader.seek(offset).await)
    }
}
