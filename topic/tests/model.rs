//! Whatever is done to them, the memory log and the embedded log show the same.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use schemas::Topic;
use topic::embedded::EmbeddedLog;
use topic::memory::MemoryLog;
use topic::{
    Batch, Change, Consumed, Error, Header, Layout, Log, Membership, Message, MessageSet, Received,
    Subscription, Writer, read_all,
};

const SHARDS: u32 = 3;

fn layout() -> Layout {
    Layout::new(1, 2, SHARDS)
}

/// Something that is done to both. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Open { name: usize },
    Publish { writer: usize, sets: Vec<Set>, position: Option<Position> },
    Read { topic: usize, partition: u32, from: i64, count: i64, bytes_max: usize },
    Join,
    Leave,
    Compact,
    Restart,
}

/// Topic, partition, how many headers; and for each message its key and the size of its value.
type Set = (usize, u32, usize, Vec<(u8, Option<usize>)>);

/// A membership, a partition (often the one of the membership), an offset.
type Position = (usize, Option<u32>, i64);

fn step() -> impl Strategy<Value = Step> {
    let messages = vec((0..5_u8, prop::option::weighted(0.9, 0..60_usize)), 0..6);
    let set = (0..6_usize, 0..SHARDS + 1, 0..3_usize, messages);
    let position = (0..20_usize, prop::option::weighted(0.1, 0..SHARDS + 1), -1..12_i64);
    prop_oneof![
        2 => (0..2_usize).prop_map(|name| Step::Open { name }),
        8 => (0..4_usize, vec(set, 0..4), prop::option::of(position))
            .prop_map(|(writer, sets, position)| Step::Publish { writer, sets, position }),
        4 => (0..6_usize, 0..SHARDS + 1, -2..20_i64, -1..20_i64, 0..200_usize).prop_map(
            |(topic, partition, from, count, bytes_max)| {
                Step::Read { topic, partition, from, count, bytes_max }
            }
        ),
        2 => Just(Step::Join),
        1 => Just(Step::Leave),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

/// A log, and what is at work on it.
struct Bench<L: Log> {
    log: L,
    writers: Vec<L::Writer>,
    members: Vec<(L::Subscription, BTreeMap<u32, Membership>)>,
    /// Every membership there ever was, with its partition.
    memberships: Vec<(Membership, u32)>,
}

impl<L: Log> Bench<L> {
    fn new(log: L) -> Self {
        Self { log, writers: Vec::new(), members: Vec::new(), memberships: Vec::new() }
    }

    /// Does a step; gives what can be seen of it.
    async fn step(&mut self, step: &Step) -> String {
        match step {
            Step::Open { name } => {
                self.writers.push(self.log.writer(&name.to_string()).await.unwrap());
                String::new()
            }
            Step::Publish { writer, sets, position } => {
                let consumed = position.and_then(|position| self.consumed(position));
                let batch = Batch { sets: sets.iter().map(set).collect(), consumed };
                // The newest ones: older ones are fenced sooner or later.
                let index = self.writers.len().wrapping_sub(1 + writer);
                let Some(writer) = self.writers.get_mut(index) else { return String::new() };
                outcome(writer.publish(batch).await)
            }
            Step::Read { topic, partition, from, count, bytes_max } => {
                let (topic, offsets) = (Topic::ALL[*topic], *from..from + count);
                outcome(self.log.read(topic, *partition, offsets, *bytes_max).await)
            }
            Step::Join if self.members.len() < 2 => {
                let member = self.log.subscribe("g", Topic::Records).await.unwrap();
                self.members.push((member, BTreeMap::new()));
                self.settle().await
            }
            Step::Leave if !self.members.is_empty() => {
                self.members.remove(0);
                self.settle().await
            }
            Step::Join | Step::Leave | Step::Compact | Step::Restart => String::new(),
        }
    }

    fn consumed(&self, (membership, partition, offset): Position) -> Option<Consumed> {
        let index = self.memberships.len().checked_sub(1 + membership)?;
        let (membership, own) = self.memberships.get(index)?.clone();
        let positions = vec![(Topic::Records, partition.unwrap_or(own), offset)];
        Some(Consumed { membership, positions })
    }

    /// Waits until all partitions are shared out; gives who has which.
    async fn settle(&mut self) -> String {
        let wanted = if self.members.is_empty() { 0 } else { SHARDS as usize };
        let mut given = Vec::new();
        loop {
            let sizes: Vec<usize> = self.members.iter().map(|(_, held)| held.len()).collect();
            let is_even = sizes.iter().max().zip(sizes.iter().min()).is_none_or(|(a, b)| a - b < 2);
            if sizes.iter().sum::<usize>() == wanted && is_even {
                break;
            }
            let (index, change) = match self.members.as_mut_slice() {
                [(one, _)] => (0, one.next().await),
                [(one, _), (other, _)] => tokio::select! {
                    biased;
                    change = one.next() => (0, change),
                    change = other.next() => (1, change),
                },
                _ => unreachable!("there are one or two members"),
            };
            let held = &mut self.members[index].1;
            match change.unwrap() {
                Change::Revoked(revocation) => {
                    for partition in &revocation.partitions {
                        held.remove(partition);
                    }
                    revocation.acknowledge();
                }
                Change::Assigned(assignments) => {
                    for it in assignments {
                        given.push((it.partition, it.membership.clone()));
                        held.insert(it.partition, it.membership);
                    }
                }
            }
        }
        given.sort_by_key(|(partition, membership)| (*partition, membership.generation));
        self.memberships.extend(given.into_iter().map(|(partition, it)| (it, partition)));
        let held: Vec<_> = self.members.iter().map(|(_, held)| held.keys().collect()).collect();
        let held: Vec<Vec<&u32>> = held;
        format!("{held:?}")
    }

    /// All that can be seen from outside.
    async fn state(&self) -> (Vec<Vec<Received>>, Vec<i64>, Vec<Option<i64>>) {
        let (mut messages, mut ends) = (Vec::new(), Vec::new());
        for topic in Topic::ALL {
            for partition in 0..self.log.partitions(topic) {
                let mut found = Vec::new();
                let collect = |message| {
                    found.push(message);
                    Ok::<(), Error>(())
                };
                ends.push(read_all(&self.log, topic, partition, 0, collect).await.unwrap());
                messages.push(found);
            }
        }
        (messages, ends, self.log.committed("g", Topic::Records).await.unwrap())
    }

    fn stop(&mut self) {
        self.writers.clear();
        self.members.clear();
    }
}

fn set((topic, partition, headers, messages): &Set) -> MessageSet {
    let header = |index| Header { name: format!("h{index}"), value: Bytes::from_static(b"v") };
    let message = |(index, (key, size)): (usize, &(u8, Option<usize>))| Message {
        id: Bytes::from(index.to_string()),
        key: Bytes::from(vec![*key]),
        value: size.map(|size| Bytes::from(vec![*key; size])),
    };
    MessageSet {
        topic: Topic::ALL[*topic],
        partition: *partition,
        headers: (0..*headers).map(header).collect(),
        messages: messages.iter().enumerate().map(message).collect(),
    }
}

/// A result in words; numbers of members and generations, which differ, left out.
fn outcome<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Fenced { .. }) => "fenced".to_owned(),
        outcome => format!("{outcome:?}"),
    }
}

/// Does the steps to both, and compares all that can be seen.
async fn compare(path: &Path, steps: &[Step]) {
    let mut memory = Bench::new(MemoryLog::new(layout()));
    let mut embedded = Bench::new(EmbeddedLog::open(path, layout()).unwrap());
    for step in steps {
        match step {
            Step::Compact => {
                assert_eq!(memory.log.compact(), embedded.log.compact().await.unwrap());
            }
            Step::Restart => {
                memory.stop();
                embedded.stop();
                embedded.log.close().await;
                embedded.log = EmbeddedLog::open(path, layout()).unwrap();
            }
            _ => assert_eq!(memory.step(step).await, embedded.step(step).await, "{step:?}"),
        }
    }
    assert_eq!(memory.state().await, embedded.state().await);
    let beside = Bench::new(EmbeddedLog::open_read_only(path).unwrap());
    assert_eq!(beside.state().await, embedded.state().await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn memory_and_embedded_show_the_same(steps in vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(&directory.path().join("log.db"), &steps));
    }
}
