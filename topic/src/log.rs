//! The contract of a log.

use std::future::Future;
use std::ops::Range;

use schemas::Topic;
use tokio::sync::oneshot;

use crate::{Batch, Received};

/// A log: topics, partitions, writers, groups. A cheap handle; clones are the same log.
///
/// # Contract
///
/// - A publish is visible to readers as a whole or not at all, also across topics, partitions and
///   consumed positions, also after a crash in its middle.
/// - Messages of one partition are read in the order in which they were published.
/// - One name, one writer: opening a name fences whoever held it before.
/// - A group's partition has one member at a time; a revocation ends only when that member says so
///   or is lost. Positions of a past generation are refused as *fenced*.
/// - A position outside the log is an error; nothing ever jumps.
///
/// `conformance` holds every implementation to it.
pub trait Log: Clone + Send + Sync + 'static {
    /// The writer of a name.
    type Writer: Writer;
    /// A member of a group.
    type Subscription: Subscription;

    /// How many partitions a topic has.
    fn partitions(&self, topic: Topic) -> u32;

    /// Opens the writer of this name; from here on the former one is fenced.
    ///
    /// # Errors
    ///
    /// *Retry* where the log can't be reached, *fatal* where it can't be used.
    fn writer(&self, name: &str) -> impl Future<Output = Result<Self::Writer, Error>> + Send;

    /// Joins a group that shares out the partitions of one topic.
    ///
    /// # Errors
    ///
    /// As [`Self::writer`].
    fn subscribe(
        &self,
        group: &str,
        topic: Topic,
    ) -> impl Future<Output = Result<Self::Subscription, Error>> + Send;

    /// Reads committed messages of a partition from an offset on: those of `offsets`, in order, as
    /// many as fit into `bytes_max` and at least one where there is one. Empty means that the range
    /// holds no more (its messages may have been compacted away).
    ///
    /// # Errors
    ///
    /// *Outside* where the range begins below the log's first offset or above its end.
    fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<Received>, Error>> + Send;

    /// The offset that the next message of this partition gets: 0 for an empty one.
    ///
    /// # Errors
    ///
    /// As [`Self::writer`].
    fn end(&self, topic: Topic, partition: u32) -> impl Future<Output = Result<i64, Error>> + Send;

    /// The position of a group in each partition of a topic: the offset of the next message to
    /// consume; none where it never published one.
    ///
    /// # Errors
    ///
    /// As [`Self::writer`].
    fn committed(
        &self,
        group: &str,
        topic: Topic,
    ) -> impl Future<Output = Result<Vec<Option<i64>>, Error>> + Send;
}

/// The one writer of a name.
pub trait Writer: Send + 'static {
    /// Publishes a batch: all of it becomes visible, together with the consumed positions, or
    /// nothing does. When it returns, the batch is durable.
    ///
    /// # Errors
    ///
    /// - *Fenced*: the name has a newer writer, or the positions are of a past generation. Nothing
    ///   happened.
    /// - *Retry*: nothing happened, and the same batch may be published again.
    /// - *Indefinite*: it may have happened or not. Open the writer anew, read back, go on.
    /// - *Fatal*: nothing happened, and won't.
    fn publish(&mut self, batch: Batch) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A member of a group: a stream of what it is given and what is taken away.
///
/// Dropping it leaves the group.
pub trait Subscription: Send + 'static {
    /// Reads the messages of one partition.
    type PartitionReader: PartitionReader;

    /// The next change of what this member has. Safe to cancel: nothing is lost where the future
    /// is dropped before it is done.
    ///
    /// # Errors
    ///
    /// *Retry* where the log can't be reached, *fatal* where it can't be used.
    fn next(&mut self)
    -> impl Future<Output = Result<Change<Self::PartitionReader>, Error>> + Send;
}

/// A change of what a member of a group has.
#[derive(Debug)]
pub enum Change<R> {
    /// These partitions are this member's from now on.
    Assigned(Vec<Assignment<R>>),
    /// These are not any more, once the member has ended its work on them.
    Revoked(Revocation),
}

/// A partition that is now a member's.
#[derive(Debug)]
pub struct Assignment<R> {
    /// The partition, from 0.
    pub partition: u32,
    /// Under which the member publishes positions of this partition.
    pub membership: Membership,
    /// Its messages. It begins at the group's position, or at the first message where there is
    /// none.
    pub messages: R,
}

/// Partitions that a member must let go. The others of the group wait until it is acknowledged or
/// dropped.
#[derive(Debug)]
pub struct Revocation {
    /// The partitions, from 0.
    pub partitions: Vec<u32>,
    acknowledged: Option<oneshot::Sender<()>>,
}

impl Revocation {
    /// A revocation that tells `acknowledged` when its work has ended.
    pub fn new(partitions: Vec<u32>, acknowledged: oneshot::Sender<()>) -> Self {
        Self { partitions, acknowledged: Some(acknowledged) }
    }

    /// Says that the member's work on these partitions has ended.
    pub fn acknowledge(mut self) {
        if let Some(acknowledged) = self.acknowledged.take() {
            // Nobody waits where the log itself is gone.
            let _ = acknowledged.send(());
        }
    }
}

/// Reads the messages of one assigned partition, in offset order.
pub trait PartitionReader: Send + 'static {
    /// The next messages, at least one; waits where there is none yet. Safe to cancel.
    ///
    /// # Errors
    ///
    /// *Outside* where the position is not in the log.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Received>, Error>> + Send;

    /// Goes on from this offset.
    ///
    /// # Errors
    ///
    /// *Outside* where it is below the first offset of the log or above its end.
    fn seek(&mut self, offset: i64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A member of a group in one generation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: String,
    /// The member.
    pub member: u64,
    /// The generation: how often the group shared out its partitions.
    pub generation: u64,
}

/// Positions that a publish commits for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Who consumed.
    pub membership: Membership,
    /// For each partition, the offset of the next message to consume.
    pub positions: Vec<(Topic, u32, i64)>,
}

/// What a caller must do about a failure. Each kind is one that a caller treats differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else is the owner now.
    #[error("fenced: {what}")]
    Fenced {
        /// Which writer or generation is past.
        what: String,
    },
    /// The surroundings are at fault; try again.
    #[error("the log can't be used for now: {what}")]
    Retry {
        /// What failed.
        what: String,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It is not known whether the publish happened.
    #[error("it is not known whether the publish happened: {what}")]
    Indefinite {
        /// What failed.
        what: String,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The position isn't in the log.
    #[error(
        "expected an offset from {first} to {end} in partition {partition} of {topic}, found {offset}"
    )]
    Outside {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// The position asked for.
        offset: i64,
        /// The first offset of the log.
        first: i64,
        /// Its end.
        end: i64,
    },
    /// The log can't be used; somebody must mend it.
    #[error("the log can't be used: {what}")]
    Fatal {
        /// What is broken, and what to do.
        what: String,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// A *fatal* without a source.
    pub(crate) fn fatal(what: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), source: None }
    }
}
