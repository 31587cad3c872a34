//! The async shell around the groups of a log: members and the readers of their partitions.

use std::sync::{Arc, Mutex, PoisonError};

use schemas::Topic;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::group::{Coordinator, Told};
use crate::{
    Assignment, Change, Consumed, Error, Log, Membership, PartitionReader, Received, Revocation,
    Subscription,
};

/// How much a partition reader asks for at a time. Some hundreds of events: enough that the cost
/// of asking vanishes, little enough that sixteen shards' reads stay far below 100 MB.
const READ_BYTES_MAX: usize = 128 << 10;

/// What a member needs of its log besides the contract.
pub(crate) trait Source: Log {
    /// The groups of this log.
    fn groups(&self) -> &Arc<Groups>;

    /// Changes whenever the partition has got messages.
    ///
    /// # Errors
    ///
    /// *Fatal* where the log can't be followed.
    fn follow(&self, topic: Topic, partition: u32) -> Result<watch::Receiver<()>, Error>;
}

/// The groups of a log, and who waits for them.
#[derive(Debug)]
pub(crate) struct Groups {
    coordinator: Mutex<Coordinator>,
    changed: watch::Sender<()>,
}

impl Groups {
    /// No groups; numbers go on after `last`.
    pub(crate) fn new(last: u64) -> Self {
        Self { coordinator: Mutex::new(Coordinator::new(last)), changed: watch::Sender::new(()) }
    }

    /// Checks that a member may publish these positions.
    ///
    /// # Errors
    ///
    /// *Fenced* where its membership is past.
    pub(crate) fn check(&self, consumed: &Consumed) -> Result<(), Error> {
        self.lock().check(consumed).map_err(|what| Error::Fenced { what })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Coordinator) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.send_replace(());
        changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Coordinator> {
        self.coordinator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member of a group of one of our own logs.
#[derive(Debug)]
pub struct Member<L> {
    log: L,
    group: String,
    topic: Topic,
    member: u64,
    groups: Arc<Groups>,
    changed: watch::Receiver<()>,
    /// What it has been told and has not handed out yet: kept here, so that `next` can be
    /// cancelled while it asks for the positions.
    told: Option<Told>,
    /// Each waits for one revocation to be acknowledged or dropped.
    acknowledgements: JoinSet<()>,
}

#[expect(private_bounds, reason = "only our own logs have members of this kind")]
impl<L: Source> Member<L> {
    /// Joins the group.
    pub(crate) fn join(log: L, group: &str, topic: Topic) -> Self {
        let groups = Arc::clone(log.groups());
        let changed = groups.changed.subscribe();
        let partitions = log.partitions(topic);
        let member = groups.change(|it| it.join(group, topic, partitions));
        let group = group.to_owned();
        let acknowledgements = JoinSet::new();
        Self { log, group, topic, member, groups, changed, told: None, acknowledgements }
    }

    fn revocation(&mut self, partitions: Vec<u32>) -> Revocation {
        let (acknowledge, acknowledged) = oneshot::channel();
        let groups = Arc::clone(&self.groups);
        let (group, topic, member) = (self.group.clone(), self.topic, self.member);
        let revoked = partitions.clone();
        self.acknowledgements.spawn(async move {
            // An error means that the revocation was dropped, which ends the work as well.
            let _ = acknowledged.await;
            groups.change(|it| it.acknowledge(&group, topic, member, &revoked));
        });
        Revocation::new(partitions, acknowledge)
    }

    fn assignments(
        &self,
        partitions: Vec<(u32, u64)>,
        positions: &[Option<i64>],
    ) -> Result<Vec<Assignment<Reader<L>>>, Error> {
        let mut assignments = Vec::with_capacity(partitions.len());
        for (partition, generation) in partitions {
            let position = positions.get(partition as usize).copied().flatten();
            let group = self.group.clone();
            let messages = Reader {
                log: self.log.clone(),
                topic: self.topic,
                partition,
                offset: position.unwrap_or(0),
                grown: self.log.follow(self.topic, partition)?,
            };
            let membership = Membership { group, member: self.member, generation };
            assignments.push(Assignment { partition, membership, messages });
        }
        Ok(assignments)
    }
}

impl<L: Source> Subscription for Member<L> {
    type PartitionReader = Reader<L>;

    async fn next(&mut self) -> Result<Change<Reader<L>>, Error> {
        loop {
            while self.acknowledgements.try_join_next().is_some() {}
            if self.told.is_none() {
                self.changed.borrow_and_update();
                self.told = self.groups.lock().tell(&self.group, self.topic, self.member);
            }
            match self.told.take() {
                Some(Told::Revoked(partitions)) => {
                    return Ok(Change::Revoked(self.revocation(partitions)));
                }
                Some(Told::Assigned(partitions)) => {
                    self.told = Some(Told::Assigned(partitions.clone()));
                    // Asked only now that the partitions are this member's: whatever the former
                    // one published before it lost them is in the answer.
                    let positions = self.log.committed(&self.group, self.topic).await?;
                    let assignments = self.assignments(partitions, &positions)?;
                    self.told = None;
                    return Ok(Change::Assigned(assignments));
                }
                None => wait(&mut self.changed).await?,
            }
        }
    }
}

impl<L> Drop for Member<L> {
    fn drop(&mut self) {
        self.groups.change(|it| it.leave(&self.group, self.topic, self.member));
    }
}

/// Reads the messages of one partition of one of our own logs.
#[derive(Debug)]
pub struct Reader<L> {
    log: L,
    topic: Topic,
    partition: u32,
    /// Of the next message.
    offset: i64,
    grown: watch::Receiver<()>,
}

impl<L: Source> PartitionReader for Reader<L> {
    async fn next(&mut self) -> Result<Vec<Received>, Error> {
        loop {
            // Before the look at the end, so that what comes after it wakes us.
            self.grown.borrow_and_update();
            let end = self.log.end(self.topic, self.partition).await?;
            if self.offset == end {
                wait(&mut self.grown).await?;
                continue;
            }
            // An offset above the end is refused by the log itself.
            let offsets = self.offset..end;
            let messages =
                self.log.read(self.topic, self.partition, offsets, READ_BYTES_MAX).await?;
            match messages.last() {
                Some(last) => {
                    self.offset = last.offset + 1;
                    return Ok(messages);
                }
                // All of them were compacted away.
                None => self.offset = end,
            }
        }
    }

    async fn seek(&mut self, offset: i64) -> Result<(), Error> {
        let end = self.log.end(self.topic, self.partition).await?;
        if offset < 0 || offset > end {
            let (topic, partition) = (self.topic, self.partition);
            return Err(Error::Outside { topic, partition, offset, first: 0, end });
        }
        self.offset = offset;
        Ok(())
    }
}

async fn wait(changed: &mut watch::Receiver<()>) -> Result<(), Error> {
    changed.changed().await.map_err(|_| Error::fatal("it was closed".to_owned()))
}
