//! Who has which partition of a group: a state machine without clock, tasks or I/O.
//!
//! Both logs of ours ask it. A partition is offered to one member, held by it, recalled where the
//! shares change, and free again only when the member says that its work has ended, or leaves:
//! two members never have one partition.
//!
//! What fences: a position is taken only of the member that holds the partition, under the
//! generation in which the partition was given to it. A partition that a member keeps while others
//! come and go keeps its generation, so that nobody's work is disturbed by a rebalance elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use schemas::Topic;

use crate::{Consumed, Membership};

#[cfg(test)]
mod tests;

/// The groups of a log.
#[derive(Debug)]
pub(crate) struct Coordinator {
    groups: BTreeMap<(String, Topic), Group>,
    /// Numbers members and generations. No number is ever used twice.
    last: u64,
}

/// What a member is told next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// These are its own now: the partition, and the generation under which it has it.
    Assigned(Vec<(u32, u64)>),
    /// These it must let go, and then acknowledge.
    Revoked(Vec<u32>),
}

#[derive(Debug)]
struct Group {
    generation: u64,
    members: BTreeSet<u64>,
    /// One for each partition.
    holders: Vec<Option<Holder>>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    member: u64,
    generation: u64,
    phase: Phase,
}

/// How far a partition's stay at a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is the member's, who has not been told yet.
    Offered,
    /// The member works on it.
    Held,
    /// It must go elsewhere; the member has not been told yet.
    Recalled,
    /// The member has been told, and ends its work.
    Ending,
}

impl Coordinator {
    /// No groups. The first member or generation gets the number after `last`.
    pub(crate) fn new(last: u64) -> Self {
        Self { groups: BTreeMap::new(), last }
    }

    /// Adds a member to the group that shares out the partitions of a topic; gives its number.
    pub(crate) fn join(&mut self, group: &str, topic: Topic, partitions: u32) -> u64 {
        let member = self.number();
        let generation = self.number();
        let shares = self.groups.entry((group.to_owned(), topic)).or_insert_with(|| Group {
            generation,
            members: BTreeSet::new(),
            holders: vec![None; partitions as usize],
        });
        shares.members.insert(member);
        shares.generation = generation;
        shares.share_out();
        member
    }

    /// Removes a member; what it had is free at once.
    pub(crate) fn leave(&mut self, group: &str, topic: Topic, member: u64) {
        let generation = self.number();
        let Some(shares) = self.groups.get_mut(&(group.to_owned(), topic)) else { return };
        shares.members.remove(&member);
        shares.generation = generation;
        shares.free(|holder| holder.member == member);
        shares.share_out();
    }

    /// Takes note that a member's work on these partitions has ended.
    pub(crate) fn acknowledge(
        &mut self,
        group: &str,
        topic: Topic,
        member: u64,
        partitions: &[u32],
    ) {
        let Some(shares) = self.groups.get_mut(&(group.to_owned(), topic)) else { return };
        for &partition in partitions {
            if let Some(slot) = shares.holders.get_mut(partition as usize) {
                slot.take_if(|it| it.member == member && it.phase == Phase::Ending);
            }
        }
        shares.share_out();
    }

    /// What the member has to be told, if anything. What must be let go comes first.
    pub(crate) fn tell(&mut self, group: &str, topic: Topic, member: u64) -> Option<Told> {
        let shares = self.groups.get_mut(&(group.to_owned(), topic))?;
        let revoked = shares.advance(member, Phase::Recalled, Phase::Ending);
        if !revoked.is_empty() {
            let partitions = revoked.into_iter().map(|(partition, _)| partition).collect();
            return Some(Told::Revoked(partitions));
        }
        let assigned = shares.advance(member, Phase::Offered, Phase::Held);
        (!assigned.is_empty()).then_some(Told::Assigned(assigned))
    }

    /// Checks that the member may publish these positions.
    ///
    /// # Errors
    ///
    /// In words, which membership is past.
    pub(crate) fn check(&self, consumed: &Consumed) -> Result<(), String> {
        let Membership { group, member, generation } = &consumed.membership;
        let mut topics = self.groups.iter().filter(|((name, _), _)| name == group);
        if !topics.any(|(_, shares)| shares.members.contains(member)) {
            return Err(format!("member {member} is not in group {group}"));
        }
        for &(topic, partition, _) in &consumed.positions {
            let shares = self.groups.get(&(group.clone(), topic));
            let holder =
                shares.and_then(|it| it.holders.get(partition as usize).copied().flatten());
            let is_its_own = holder.is_some_and(|holder| {
                holder.member == *member
                    && holder.generation == *generation
                    && holder.phase != Phase::Offered
            });
            if !is_its_own {
                return Err(format!(
                    "generation {generation} of group {group} no longer has partition {partition} \
                     of {topic}"
                ));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Group {
    /// Moves this member's partitions from one phase to the next, and lists them.
    fn advance(&mut self, member: u64, from: Phase, to: Phase) -> Vec<(u32, u64)> {
        let mut moved = Vec::new();
        for (partition, slot) in (0..).zip(&mut self.holders) {
            if let Some(holder) = slot
                && holder.member == member
                && holder.phase == from
            {
                holder.phase = to;
                moved.push((partition, holder.generation));
            }
        }
        moved
    }

    fn free(&mut self, which: impl Fn(&Holder) -> bool) {
        for slot in &mut self.holders {
            slot.take_if(|holder| which(holder));
        }
    }

    /// Offers what is free, and recalls what must move.
    fn share_out(&mut self) {
        let targets = self.targets();
        for (slot, target) in self.holders.iter_mut().zip(targets) {
            let generation = self.generation;
            match slot {
                None => *slot = Some(Holder { member: target, generation, phase: Phase::Offered }),
                Some(holder) if holder.member == target => {
                    if holder.phase == Phase::Recalled {
                        holder.phase = Phase::Held;
                    }
                }
                Some(holder) => match holder.phase {
                    Phase::Offered => {
                        *holder = Holder { member: target, generation, phase: Phase::Offered };
                    }
                    Phase::Held => holder.phase = Phase::Recalled,
                    Phase::Recalled | Phase::Ending => (),
                },
            }
        }
    }

    /// The member that each partition should be at: shares differ by at most one, and a partition
    /// stays where it is unless its member has too many. None where there are no members.
    fn targets(&self) -> Vec<u64> {
        if self.members.is_empty() {
            return Vec::new();
        }
        let stays = |slot: &Option<Holder>| match slot {
            Some(holder) if holder.phase != Phase::Ending => Some(holder.member),
            _ => None,
        };
        let has =
            |member: u64| self.holders.iter().filter(|slot| stays(slot) == Some(member)).count();
        // The larger shares go to those who have most already, so that fewest partitions move.
        let mut members: Vec<u64> = self.members.iter().copied().collect();
        members.sort_by_key(|&member| std::cmp::Reverse(has(member)));
        let share = self.holders.len() / members.len();
        let larger = self.holders.len() % members.len();
        let mut room: Vec<(u64, usize)> = (members.iter().enumerate())
            .map(|(index, &member)| (member, share + usize::from(index < larger)))
            .collect();

        let mut targets: Vec<Option<u64>> = Vec::with_capacity(self.holders.len());
        for slot in &self.holders {
            let place = stays(slot).and_then(|member| {
                room.iter_mut().find(|(other, left)| *other == member && *left > 0)
            });
            targets.push(place.map(|(member, left)| {
                *left -= 1;
                *member
            }));
        }
        let mut vacancies =
            room.into_iter().flat_map(|(member, left)| std::iter::repeat_n(member, left));
        targets.into_iter().filter_map(|target| target.or_else(|| vacancies.next())).collect()
    }
}
