//! Messages of single partitions, each from an offset on: what readers are made of.
//!
//! One client serves many partitions, and each has a queue of its own. Nothing is polled: whoever
//! finds a queue empty waits until librdkafka says that it isn't any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use schemas::Topic;
use tokio::sync::Notify;

use super::error::refused;
use super::outage::{self, Outage};
use super::wire::Reading;
use super::{Unusable, fault};
use crate::registry::Ids;
use crate::{Error, Received};

/// A client's part in the talk of outages.
#[derive(Debug)]
pub(super) struct Plain(pub(super) Arc<Outage>);

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        outage::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.suspect(&error, reason);
    }
}

impl ConsumerContext for Plain {}

/// A client that reads partitions from offsets that it is told.
///
/// One that was told of partitions without a leader may never read them again (see
/// [`super::ends`]): who finds that it says nothing has it made anew.
pub(super) struct Feed {
    config: ClientConfig,
    outage: Arc<Outage>,
    /// None once it is closed. Held by whoever starts or ends to read a partition.
    client: Mutex<Option<Arc<BaseConsumer<Plain>>>>,
    /// What it has read, as far as it is there still.
    spots: Mutex<Vec<Weak<Spot>>>,
    renewed: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(config: &ClientConfig, outage: &Arc<Outage>) -> Result<Self, Unusable> {
        let feed = Self {
            config: config.clone(),
            outage: Arc::clone(outage),
            client: Mutex::new(None),
            spots: Mutex::new(Vec::new()),
            renewed: Mutex::new(None),
        };
        *lock(&feed.client) = Some(feed.make()?);
        Ok(feed)
    }

    fn make(&self) -> Result<Arc<BaseConsumer<Plain>>, Unusable> {
        let plain = Plain(Arc::clone(&self.outage));
        Ok(Arc::new(self.config.create_with_context(plain).map_err(refused)?))
    }

    /// Whether silence may be the client's fault: not where the brokers are away.
    pub(super) fn may_be_deaf(&self) -> bool {
        !self.outage.is_away()
    }

    /// Makes the client anew, since it says nothing. Whoever reads by it is told to begin again.
    /// Blocks for a moment.
    ///
    /// # Errors
    ///
    /// Where there can't be another one.
    pub(super) fn renew(&self) -> Result<(), Error> {
        let mut renewed = lock(&self.renewed);
        // Many partitions are silent at once.
        if renewed.is_some_and(|renewed| renewed.elapsed() < RENEWED_AT_MOST_EVERY) {
            return Ok(());
        }
        tracing::info!("a client of Kafka says nothing of partitions that it reads, made anew");
        let new = self.make()?;
        let mut client = lock(&self.client);
        if client.is_none() {
            return Ok(());
        }
        let old = client.replace(new);
        lock(&self.spots).retain(|spot| {
            spot.upgrade().is_some_and(|spot| {
                spot.cut();
                true
            })
        });
        *renewed = Some(Instant::now());
        drop(client);
        drop(old);
        Ok(())
    }

    /// Ends everything. Blocks for a moment.
    pub(super) fn close(&self) {
        let client = lock(&self.client).take();
        drop(client);
    }

    fn client(&self) -> Result<Arc<BaseConsumer<Plain>>, Error> {
        lock(&self.client).clone().ok_or_else(|| Error::fatal("the log was closed"))
    }

    /// Hears what the client has to say besides messages.
    pub(super) fn serve(&self) {
        if let Ok(client) = self.client() {
            hear(&client);
        }
    }

    /// Begins to read a partition from an offset on. Blocks for a moment.
    ///
    /// # Errors
    ///
    /// Where the client refuses.
    pub(super) fn start(&self, spot: &Arc<Spot>, offset: i64) -> Result<(), Error> {
        let held = lock(&self.client);
        let client = held.as_ref().ok_or_else(|| Error::fatal("the log was closed"))?;
        self.know(spot);
        let mut state = lock(&spot.state);
        if state.is_over {
            return Err(spot.over());
        }
        Self::stop_client(client, spot, &mut state);
        let mut queue = client
            .split_partition_queue(&spot.name, number(spot.partition))
            .ok_or_else(|| Error::fatal(format!("the client refused the topic {}", spot.name)))?;
        let grown = Arc::clone(&spot.grown);
        queue.set_nonempty_callback(move || grown.notify_one());
        let list = spot.list(Offset::Offset(offset)).map_err(|it| fault::error("an offset", it))?;
        client.incremental_assign(&list).map_err(|error| {
            fault::error(format!("partition {} of {}", spot.partition, spot.name), error)
        })?;
        state.queue = Some(queue);
        state.next = offset;
        state.is_cut = false;
        // What is in the queue already has told nobody.
        spot.grown.notify_one();
        Ok(())
    }

    /// Notes that a partition is read, so that it can be cut off.
    fn know(&self, spot: &Arc<Spot>) {
        let mut spots = lock(&self.spots);
        let is_known = |known: &Weak<Spot>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(spot));
        if !spots.iter().any(is_known) {
            spots.retain(|known| known.strong_count() > 0);
            spots.push(Arc::downgrade(spot));
        }
    }

    /// Ends to read a partition, until it is started again. Blocks for a moment.
    pub(super) fn stop(&self, spot: &Spot) {
        if let Some(client) = lock(&self.client).as_ref() {
            Self::stop_client(client, spot, &mut lock(&spot.state));
        }
    }

    /// Ends to read a partition for good.
    pub(super) fn end(&self, spot: &Spot) {
        {
            let client = lock(&self.client);
            let mut state = lock(&spot.state);
            state.is_over = true;
            if let Some(client) = client.as_ref() {
                Self::stop_client(client, spot, &mut state);
            }
            state.queue = None;
        }
        spot.grown.notify_one();
    }

    fn stop_client(client: &BaseConsumer<Plain>, spot: &Spot, state: &mut State) {
        // The queue goes first: it and the next one of this partition are one inside the client,
        // and letting go of it takes away whoever is to be told.
        if state.queue.take().is_none() {
            return;
        }
        if let Ok(list) = spot.list(Offset::Invalid)
            && let Err(error) = client.incremental_unassign(&list)
        {
            tracing::debug!(%error, name = %spot.name, "a partition could not be let go");
        }
    }
}

/// A partition that is read, or may be.
pub(super) struct Spot {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    name: Arc<str>,
    ids: Ids,
    /// Told when there is something in the queue.
    pub(super) grown: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    /// None where nothing is being read.
    queue: Option<PartitionQueue<Plain>>,
    /// Of the next message; those below were handed out, or not asked for.
    next: i64,
    /// True where the partition was taken away.
    is_over: bool,
    /// True where its client was made anew, until somebody has heard of it.
    is_cut: bool,
    reading: Reading,
}

impl std::fmt::Debug for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spot")
            .field("name", &self.name)
            .field("partition", &self.partition)
            .finish()
    }
}

/// What a queue had.
#[derive(Debug)]
pub(super) enum Popped {
    /// The next message.
    Message(Received),
    /// Nothing now.
    Nothing,
    /// The end of what is decided; told once.
    End,
    /// The position is not in the log.
    Outside,
    /// Nothing, and nothing will be until it is started.
    Stopped,
}

impl Spot {
    pub(super) fn new(topic: Topic, name: &Arc<str>, partition: u32, ids: &Ids) -> Self {
        let reading = Reading::new(topic);
        let state = State { queue: None, next: 0, is_over: false, is_cut: false, reading };
        Self {
            topic,
            partition,
            name: Arc::clone(name),
            ids: ids.clone(),
            grown: Arc::new(Notify::new()),
            state: Mutex::new(state),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The offset of the next message, where it is being read.
    pub(super) fn next(&self) -> Option<i64> {
        let state = lock(&self.state);
        state.queue.as_ref().map(|_| state.next)
    }

    /// What the queue has next.
    ///
    /// # Errors
    ///
    /// *Fenced* where the partition was taken away; *retry* and *fatal* as the broker said.
    pub(super) fn pop(&self) -> Result<Popped, Error> {
        let mut state = lock(&self.state);
        if state.is_over {
            return Err(self.over());
        }
        if std::mem::take(&mut state.is_cut) {
            let Self { name, partition, .. } = self;
            return Err(fault::retry(format!(
                "no answer to a read of partition {partition} of {name}"
            )));
        }
        let State { queue, next, reading, .. } = &mut *state;
        let Some(queue) = queue else { return Ok(Popped::Stopped) };
        loop {
            return match queue.poll(Duration::ZERO) {
                None => Ok(Popped::Nothing),
                Some(Ok(message)) if message.offset() < *next => continue,
                Some(Ok(message)) => {
                    let received = reading.received(&self.ids, &message)?;
                    *next = received.offset + 1;
                    Ok(Popped::Message(received))
                }
                Some(Err(KafkaError::PartitionEOF(_))) => Ok(Popped::End),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) => {
                        Ok(Popped::Outside)
                    }
                    // It goes on by itself.
                    _ if fault::of(&error) == fault::Fault::Passing => continue,
                    _ => Err(fault::error(
                        format!("partition {} of {}", self.partition, self.name),
                        error,
                    )),
                },
            };
        }
    }

    /// Cuts it off from its client, where it is being read.
    fn cut(&self) {
        let mut state = lock(&self.state);
        if state.queue.take().is_some() {
            state.is_cut = true;
        }
        drop(state);
        self.grown.notify_one();
    }

    fn over(&self) -> Error {
        let Self { name, partition, .. } = self;
        Error::Fenced { what: format!("partition {partition} of {name} was taken away") }
    }

    fn list(&self, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.name, number(self.partition), offset)?;
        Ok(list)
    }
}

/// How long a client that was made anew has to say something.
const RENEWED_AT_MOST_EVERY: Duration = Duration::from_secs(15);

/// How long a client is listened to at a time: it is, for as long as it has something to say.
const HEARING: Duration = Duration::from_millis(1);

/// Hears all that a client has to say besides messages: its errors go to its context, as they come.
pub(super) fn hear<C: ConsumerContext>(client: &BaseConsumer<C>) {
    while client.poll(HEARING).is_some() {}
}

/// A partition's number as Kafka has it.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
