//! Who of this process is in which group, and has what of it.
//!
//! A membership is plain data that goes through many hands. What it stands for is kept here: a
//! publish asks first whether the partition is still the member's, and then has the broker ask the
//! same of the group, in the name of the client that is the member.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, Weak};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use schemas::Topic;

use super::feed::lock;
use super::subscription::Joined;
use crate::{Consumed, Error};

/// The members of this process. Numbers are never used again.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    last: u64,
    members: HashMap<u64, Seat>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

/// A member.
struct Seat {
    group: String,
    topic: Topic,
    /// Weak, so that the last one to let go of the client is the member's own thread.
    client: Weak<BaseConsumer<Joined>>,
    /// For each partition that it has, the generation in which it was given.
    held: BTreeMap<u32, u64>,
}

impl Seats {
    /// Takes a seat for a member, and gives its number.
    pub(super) fn take(
        &self,
        group: &str,
        topic: Topic,
        client: Weak<BaseConsumer<Joined>>,
    ) -> u64 {
        let mut taken = lock(&self.taken);
        taken.last += 1;
        let member = taken.last;
        let seat = Seat { group: group.to_owned(), topic, client, held: BTreeMap::new() };
        taken.members.insert(member, seat);
        member
    }

    /// Notes that partitions are the member's, and gives the generation of that. None where the
    /// member has left.
    pub(super) fn hold(&self, member: u64, partitions: &[u32]) -> Option<u64> {
        let mut taken = lock(&self.taken);
        taken.last += 1;
        let generation = taken.last;
        let seat = taken.members.get_mut(&member)?;
        seat.held.extend(partitions.iter().map(|&partition| (partition, generation)));
        Some(generation)
    }

    /// Notes that partitions are the member's no more.
    pub(super) fn release(&self, member: u64, partitions: &[u32]) {
        if let Some(seat) = lock(&self.taken).members.get_mut(&member) {
            seat.held.retain(|partition, _| !partitions.contains(partition));
        }
    }

    /// Notes that a member has left.
    pub(super) fn leave(&self, member: u64) {
        lock(&self.taken).members.remove(&member);
    }

    /// In whose name the broker is to take these positions.
    ///
    /// # Errors
    ///
    /// *Fenced* where the membership is past.
    pub(super) fn metadata(&self, consumed: &Consumed) -> Result<ConsumerGroupMetadata, Error> {
        let past = || Error::Fenced {
            what: format!("the member was put out of group {}", consumed.membership.group),
        };
        let client = self.check(consumed)?;
        let metadata = client.group_metadata().ok_or_else(past)?;
        // A client that has just lost its membership gives the metadata of nobody, with which the
        // broker would ask nothing. It says that it is lost before it does so, and says so no more
        // only when the partitions were let go of here.
        if client.assignment_lost() {
            return Err(past());
        }
        self.check(consumed)?;
        Ok(metadata)
    }

    /// Checks that the member still has all of these partitions since the generation it says.
    fn check(&self, consumed: &Consumed) -> Result<std::sync::Arc<BaseConsumer<Joined>>, Error> {
        let membership = &consumed.membership;
        let taken = lock(&self.taken);
        let seat =
            (taken.members.get(&membership.member)).filter(|seat| seat.group == membership.group);
        let Some((seat, client)) = seat.and_then(|seat| Some((seat, seat.client.upgrade()?)))
        else {
            let (member, group) = (membership.member, &membership.group);
            return Err(Error::Fenced { what: format!("member {member} is not in group {group}") });
        };
        for &(topic, partition, _) in &consumed.positions {
            let held = (seat.topic == topic).then(|| seat.held.get(&partition)).flatten();
            if held != Some(&membership.generation) {
                let (generation, group) = (membership.generation, &membership.group);
                return Err(Error::Fenced {
                    what: format!(
                        "generation {generation} of group {group} no longer has partition \
                         {partition} of {topic}"
                    ),
                });
            }
        }
        Ok(client)
    }
}
