//! A memory log whose members can be taken for lost, as a group does with a process that stands
//! still: what they had is given to others, while they know nothing of it.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use schemas::Topic;
use tokio::sync::oneshot;
use topic::memory::{MemoryLog, Writer};
use topic::{Change, Error, Log, Member, Reader, Received, Revocation, Subscription};

/// How often a member asks what is new: it is not woken, since it may be gone.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// A member, as far as it is not lost; and when it has let go after that.
struct Slot {
    member: Option<Member<MemoryLog>>,
    let_go: Option<oneshot::Receiver<()>>,
    is_told: bool,
}

type Slots = Arc<Mutex<Vec<Slot>>>;

/// A log, through a process that may be taken for lost.
#[derive(Clone)]
pub(crate) struct Through {
    log: MemoryLog,
    slots: Slots,
}

impl Through {
    pub(crate) fn new(log: MemoryLog) -> Self {
        Self { log, slots: Slots::default() }
    }

    /// Takes all members of this process for lost.
    pub(crate) fn lose(&self) {
        lock(&self.slots).iter_mut().for_each(|slot| slot.member = None);
    }

    /// Ends once all members know that they were lost, and have let go.
    pub(crate) async fn has_let_go(&self) {
        let has_let_go = |slot: &mut Slot| {
            // An error means that the revocation was dropped, which ends the work as well.
            let is_open = |it: &mut oneshot::Receiver<()>| {
                it.try_recv() == Err(oneshot::error::TryRecvError::Empty)
            };
            slot.is_told && !slot.let_go.as_mut().is_some_and(is_open)
        };
        let is_over = || {
            let mut slots = lock(&self.slots);
            !slots.is_empty() && slots.iter_mut().all(has_let_go)
        };
        while !is_over() {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

fn lock(slots: &Slots) -> MutexGuard<'_, Vec<Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member that learns only when it asks again that it was taken for lost.
pub(crate) struct Lasting {
    slots: Slots,
    at: usize,
    has: Vec<u32>,
}

enum Asked {
    Change(Result<Change<Reader<MemoryLog>>, Error>),
    Nothing,
    Lost,
}

impl Lasting {
    async fn ask(&self) -> Asked {
        let asked = poll_fn(|context| {
            let mut slots = lock(&self.slots);
            let Some(member) = &mut slots[self.at].member else { return Poll::Ready(Asked::Lost) };
            // Nothing is lost where the future is dropped: it says so itself.
            let polled = pin!(member.next()).poll(context);
            Poll::Ready(match polled {
                Poll::Ready(change) => Asked::Change(change),
                Poll::Pending => Asked::Nothing,
            })
        });
        asked.await
    }

    /// What it had is taken away; none where it knows already.
    fn learns(&mut self) -> Option<Revocation> {
        let slot = &mut lock(&self.slots)[self.at];
        if std::mem::replace(&mut slot.is_told, true) {
            return None;
        }
        let (let_go, has_let_go) = oneshot::channel();
        slot.let_go = Some(has_let_go);
        Some(Revocation::new(std::mem::take(&mut self.has), let_go))
    }
}

impl Subscription for Lasting {
    type PartitionReader = Reader<MemoryLog>;

    async fn next(&mut self) -> Result<Change<Self::PartitionReader>, Error> {
        loop {
            match self.ask().await {
                Asked::Change(change) => {
                    if let Ok(Change::Assigned(assigned)) = &change {
                        self.has.extend(assigned.iter().map(|it| it.partition));
                    }
                    return change;
                }
                Asked::Nothing => (),
                Asked::Lost => {
                    if let Some(lost) = self.learns() {
                        return Ok(Change::Revoked(lost));
                    }
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

impl Log for Through {
    type Writer = Writer;
    type Subscription = Lasting;

    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<Writer, Error> {
        self.log.writer(name).await
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Lasting, Error> {
        let member = self.log.subscribe(group, topic).await?;
        let mut slots = lock(&self.slots);
        slots.push(Slot { member: Some(member), let_go: None, is_told: false });
        Ok(Lasting { slots: Arc::clone(&self.slots), at: slots.len() - 1, has: Vec::new() })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        self.log.read(topic, partition, offsets, bytes_max).await
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        self.log.end(topic, partition).await
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        self.log.committed(group, topic).await
    }
}
