//! Messages of single partitions, each from an offset on: what readers are made of.
//!
//! One client serves many partitions, and each has a queue of its own. Nothing is polled: whoever
//! finds a queue empty waits until librdkafka says that it isn't any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
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

/// How long a broker may take to say where a partition begins and ends.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon it is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

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
pub(super) struct Feed {
    /// None once it is closed.
    client: Mutex<Option<Arc<BaseConsumer<Plain>>>>,
    outage: Arc<Outage>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(config: &ClientConfig, outage: &Arc<Outage>) -> Result<Self, Unusable> {
        let client = config.create_with_context(Plain(Arc::clone(outage))).map_err(refused)?;
        Ok(Self { client: Mutex::new(Some(Arc::new(client))), outage: Arc::clone(outage) })
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

    /// The first offset of a partition, and its end: up to where everything is decided, committed
    /// or not. Blocks.
    ///
    /// # Errors
    ///
    /// As [`fault::error`] says.
    pub(super) fn watermarks(&self, name: &str, partition: u32) -> Result<(i64, i64), Error> {
        let client = self.client()?;
        let until = Instant::now() + WATERMARKS_TIMEOUT;
        let (first, end) = loop {
            let error = match client.fetch_watermarks(name, number(partition), WATERMARKS_TIMEOUT) {
                Ok(found) => break found,
                Err(error) => error,
            };
            self.outage.suspect(&error, &error.to_string());
            // A partition that is new, or is moving to another broker, has none for a moment.
            if fault::of(&error) != fault::Fault::Passing || until < Instant::now() {
                let what = format!("the end of partition {partition} of {name}");
                return Err(fault::error(what, error));
            }
            tracing::debug!(%error, name, partition, "asked for its end again");
            thread::sleep(AGAIN_AFTER);
            // What the client was told while the broker was coming back it believes for minutes, and
            // answers from that: so it is made to ask again.
            if let Err(error) = client.fetch_metadata(Some(name), WATERMARKS_TIMEOUT) {
                self.outage.suspect(&error, &error.to_string());
            }
        };
        // A partition that never had a message says -1 for an unknown offset.
        Ok((first.max(0), end.max(0)))
    }

    /// Begins to read a partition from an offset on. Blocks for a moment.
    ///
    /// # Errors
    ///
    /// Where the client refuses.
    pub(super) fn start(&self, spot: &Spot, offset: i64) -> Result<(), Error> {
        let client = self.client()?;
        let mut state = lock(&spot.state);
        if state.is_over {
            return Err(spot.over());
        }
        Self::stop_client(&client, spot, &mut state);
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
        // What is in the queue already has told nobody.
        spot.grown.notify_one();
        Ok(())
    }

    /// Ends to read a partition, until it is started again. Blocks for a moment.
    pub(super) fn stop(&self, spot: &Spot) {
        let Ok(client) = self.client() else { return };
        Self::stop_client(&client, spot, &mut lock(&spot.state));
    }

    /// Ends to read a partition for good.
    pub(super) fn end(&self, spot: &Spot) {
        {
            let mut state = lock(&spot.state);
            state.is_over = true;
            if let Ok(client) = self.client() {
                Self::stop_client(&client, spot, &mut state);
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
        let state = State { queue: None, next: 0, is_over: false, reading };
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
