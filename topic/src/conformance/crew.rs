//! Members of a group, driven together.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use schemas::Topic;

use super::Broken;
use crate::{Change, Log, Membership, ReaderOf, Subscription};

/// Members of one group of `records`, which acknowledge at once.
pub(super) struct Crew<L: Log> {
    group: &'static str,
    pub(super) members: Vec<Seat<L>>,
}

/// A member, and what it has.
pub(super) struct Seat<L: Log> {
    pub(super) subscription: L::Subscription,
    pub(super) held: BTreeMap<u32, (Membership, ReaderOf<L>)>,
}

impl<L: Log> Crew<L> {
    pub(super) fn new(group: &'static str) -> Self {
        Self { group, members: Vec::new() }
    }

    pub(super) async fn join(&mut self, log: &L) -> Result<(), Broken> {
        let subscription = log.subscribe(self.group, Topic::Records).await?;
        self.members.push(Seat { subscription, held: BTreeMap::new() });
        Ok(())
    }

    /// Goes on until all partitions are shared out evenly.
    pub(super) async fn settle(&mut self, partitions: u32) -> Result<(), Broken> {
        while !self.is_settled(partitions as usize) {
            let (index, change) = self.change().await?;
            match change {
                Change::Assigned(assignments) => {
                    for it in assignments {
                        super::ensure!(
                            self.members.iter().all(|seat| !seat.held.contains_key(&it.partition)),
                            "partition {} was given to a second member",
                            it.partition
                        );
                        let mine = (it.membership, it.messages);
                        self.seat(index)?.held.insert(it.partition, mine);
                    }
                }
                Change::Revoked(revocation) => {
                    for partition in &revocation.partitions {
                        self.seat(index)?.held.remove(partition);
                    }
                    revocation.acknowledge();
                }
            }
        }
        Ok(())
    }

    /// What this member has of a partition.
    pub(super) fn take(&mut self, partition: u32) -> Result<(Membership, ReaderOf<L>), Broken> {
        let found = self.members.iter_mut().find_map(|seat| seat.held.remove(&partition));
        found.ok_or_else(|| Broken(format!("nobody has partition {partition}")))
    }

    fn seat(&mut self, index: usize) -> Result<&mut Seat<L>, Broken> {
        self.members.get_mut(index).ok_or_else(|| Broken(format!("no member {index}")))
    }

    fn is_settled(&self, partitions: usize) -> bool {
        let sizes = || self.members.iter().map(|seat| seat.held.len());
        let is_even = sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0) <= 1;
        sizes().sum::<usize>() == partitions && is_even
    }

    /// The next change of any member, and whose it is.
    async fn change(&mut self) -> Result<(usize, Change<ReaderOf<L>>), Broken> {
        type Next<'a, R> =
            Pin<Box<dyn Future<Output = Result<Change<R>, crate::Error>> + Send + 'a>>;
        let mut all: Vec<Next<'_, ReaderOf<L>>> = Vec::new();
        for seat in &mut self.members {
            all.push(Box::pin(seat.subscription.next()));
        }
        let (index, change) = poll_fn(|context| {
            for (index, next) in all.iter_mut().enumerate() {
                if let Poll::Ready(change) = next.as_mut().poll(context) {
                    return Poll::Ready((index, change));
                }
            }
            Poll::Pending
        })
        .await;
        Ok((index, change?))
    }
}
