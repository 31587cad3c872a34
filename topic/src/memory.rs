//! The memory log: plain data under one lock, with the behaviour of the others.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use schemas::Topic;
use tokio::sync::watch;

use crate::member::{Groups, Source};
use crate::{Batch, Consumed, Error, Layout, Log, Member, Received};

/// A compacted partition is compacted when it has grown by as many messages as the last compaction
/// kept, and by no fewer than this: so compaction costs a constant share of publishing.
const COMPACT_MESSAGES_MIN: usize = 10_000;

/// A log in memory. It is gone with its last handle.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    state: Mutex<State>,
    groups: Arc<Groups>,
    /// False only in tests that must find out what goes wrong without.
    is_fenced: bool,
    /// True only in tests of what logs with markers ask of their users.
    leaves_holes: bool,
    /// One for each place: told when messages were appended.
    grown: Vec<watch::Sender<()>>,
}

#[derive(Debug)]
struct State {
    /// One for each place.
    partitions: Vec<Partition>,
    /// For each group and place, the offset of the next message to consume.
    positions: BTreeMap<(String, usize), i64>,
    /// For each name, how often its writer was opened.
    epochs: HashMap<Arc<str>, u64>,
}

#[derive(Debug, Default)]
struct Partition {
    messages: Vec<Received>,
    end: i64,
    /// How many messages the last compaction kept.
    kept: usize,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(layout: Layout) -> Self {
        Self::with(layout, true, false)
    }

    /// As [`Self::new`], but a publish takes an offset more in each partition that it appends to,
    /// and no message ever has that: as the markers of Kafka's transactions. For tests.
    #[doc(hidden)]
    pub fn with_holes(layout: Layout) -> Self {
        Self::with(layout, true, true)
    }

    /// As [`Self::new`], but nobody is ever fenced: neither a former writer of a name nor a past
    /// member of a group. For tests that must find out what goes wrong then.
    #[doc(hidden)]
    pub fn unfenced(layout: Layout) -> Self {
        Self::with(layout, false, false)
    }

    fn with(layout: Layout, is_fenced: bool, leaves_holes: bool) -> Self {
        let places = layout.places().count();
        let state = State {
            partitions: (0..places).map(|_| Partition::default()).collect(),
            positions: BTreeMap::new(),
            epochs: HashMap::new(),
        };
        let shared = Shared {
            layout,
            state: Mutex::new(state),
            groups: Arc::new(Groups::new(0)),
            is_fenced,
            leaves_holes,
            grown: (0..places).map(|_| watch::Sender::new(())).collect(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Removes from compacted topics what a later message of its key has replaced; gives how many
    /// messages that were. It also happens by itself.
    pub fn compact(&self) -> u64 {
        let mut state = self.lock();
        let mut removed = 0;
        for ((topic, _), partition) in self.shared.layout.places().zip(&mut state.partitions) {
            if topic.is_compacted() {
                removed += partition.compact();
            }
        }
        removed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition's place among all, and the state, locked.
    fn at(&self, topic: Topic, partition: u32) -> Result<(usize, MutexGuard<'_, State>), Error> {
        Ok((self.shared.layout.place(topic, partition)?, self.lock()))
    }

    fn publish(&self, name: &Arc<str>, epoch: u64, batch: Batch) -> Result<(), Error> {
        let layout = self.shared.layout;
        let mut grown = Vec::new();
        let mut state = self.lock();

        // Everything that can fail comes first.
        for set in &batch.sets {
            let place = layout.place(set.topic, set.partition)?;
            if !set.messages.is_empty() {
                grown.push(place);
            }
        }
        if self.shared.is_fenced && state.epochs.get(name) != Some(&epoch) {
            return Err(Error::Fenced { what: format!("writer {name} was opened again") });
        }
        if let Some(consumed) = &batch.consumed {
            if self.shared.is_fenced {
                self.shared.groups.check(consumed)?;
            }
            for &(topic, partition, offset) in &consumed.positions {
                let end = state.end(layout.place(topic, partition)?);
                check_offset(topic, partition, offset, end)?;
            }
        }

        // From here on nothing fails.
        for (set, place) in batch.sets.into_iter().filter(|it| !it.messages.is_empty()).zip(&grown)
        {
            let Some(partition) = state.partitions.get_mut(*place) else { continue };
            for message in set.messages {
                partition.messages.push(Received {
                    offset: partition.end,
                    id: message.id,
                    key: message.key,
                    value: message.value,
                    headers: Arc::clone(&set.headers),
                });
                partition.end += 1;
            }
            if self.shared.leaves_holes {
                partition.end += 1;
            }
            if set.topic.is_compacted() && partition.is_due() {
                partition.compact();
            }
        }
        if let Some(Consumed { membership, positions }) = batch.consumed {
            for (topic, partition, offset) in positions {
                let place = layout.place(topic, partition)?;
                state.positions.insert((membership.group.clone(), place), offset);
            }
        }
        drop(state);

        for place in grown {
            if let Some(grown) = self.shared.grown.get(place) {
                grown.send_replace(());
            }
        }
        Ok(())
    }
}

impl State {
    fn end(&self, place: usize) -> i64 {
        self.partitions.get(place).map_or(0, |partition| partition.end)
    }
}

impl Partition {
    fn is_due(&self) -> bool {
        self.messages.len() >= self.kept + self.kept.max(COMPACT_MESSAGES_MIN)
    }

    fn compact(&mut self) -> u64 {
        let before = self.messages.len();
        let newest: HashMap<Bytes, i64> =
            self.messages.iter().map(|message| (message.key.clone(), message.offset)).collect();
        self.messages.retain(|message| newest.get(&message.key) == Some(&message.offset));
        self.kept = self.messages.len();
        (before - self.kept) as u64
    }
}

/// Checks that an offset lies in a partition that ends at `end`.
///
/// # Errors
///
/// *Outside*.
pub(crate) fn check_offset(
    topic: Topic,
    partition: u32,
    offset: i64,
    end: i64,
) -> Result<(), Error> {
    if (0..=end).contains(&offset) {
        return Ok(());
    }
    Err(Error::Outside { topic, partition, offset, first: 0, end })
}

impl Log for MemoryLog {
    type Writer = Writer;
    type Subscription = Member<Self>;

    fn partitions(&self, topic: Topic) -> u32 {
        self.shared.layout.partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<Writer, Error> {
        let name: Arc<str> = name.into();
        let mut state = self.lock();
        let epoch = state.epochs.entry(Arc::clone(&name)).or_insert(0);
        *epoch += 1;
        Ok(Writer { log: self.clone(), name, epoch: *epoch })
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Member<Self>, Error> {
        Ok(Member::join(self.clone(), group, topic))
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        let (place, state) = self.at(topic, partition)?;
        check_offset(topic, partition, offsets.start, state.end(place))?;
        let messages = state.partitions.get(place).map_or(&[][..], |it| &it.messages);
        let first = messages.partition_point(|message| message.offset < offsets.start);
        let mut found: Vec<Received> = Vec::new();
        let mut bytes: usize = 0;
        for message in messages.iter().skip(first) {
            bytes = bytes.saturating_add(message.size_bytes());
            let is_full = bytes > bytes_max && !found.is_empty();
            if message.offset >= offsets.end || is_full {
                break;
            }
            found.push(message.clone());
        }
        Ok(found)
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        let (place, state) = self.at(topic, partition)?;
        Ok(state.end(place))
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        let state = self.lock();
        let mut positions = Vec::new();
        for partition in 0..self.shared.layout.partitions(topic) {
            let place = self.shared.layout.place(topic, partition)?;
            positions.push(state.positions.get(&(group.to_owned(), place)).copied());
        }
        Ok(positions)
    }
}

impl Source for MemoryLog {
    fn groups(&self) -> &Arc<Groups> {
        &self.shared.groups
    }

    fn follow(&self, topic: Topic, partition: u32) -> Result<watch::Receiver<()>, Error> {
        let place = self.shared.layout.place(topic, partition)?;
        let grown = self.shared.grown.get(place).map(watch::Sender::subscribe);
        grown.ok_or_else(|| Error::fatal(format!("{topic} has no place {place}")))
    }
}

/// The writer of a name in a memory log.
#[derive(Debug)]
pub struct Writer {
    log: MemoryLog,
    name: Arc<str>,
    epoch: u64,
}

impl crate::Writer for Writer {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        self.log.publish(&self.name, self.epoch, batch)
    }
}
