//! One publish: a transaction of Kafka, from its beginning to what is known of its end.
//!
//! ```text
//!           begin          positions, messages, all acknowledged        commit
//!   ready ─────────▶ open ─────────────────────────────────────▶ open ─────────▶ ready
//!     ▲                │ anything fails                            │ no answer
//!     └────────────────┤ abort                                     ▼
//!                      └─▶ over, where the client can't go on     over (indefinite)
//! ```
//!
//! - Until a commit is asked for, nothing of it is ever visible: a publish that fails before has
//!   not happened, whether the abort was confirmed or not. An abort that was not is asked for again
//!   before the next publish.
//! - A commit that is not answered may have happened. The client itself asks again, on whichever
//!   connection, until the transaction's time is over; then it is *indefinite*, and this writer is
//!   over: the next one of its name is told by the broker only when the end is decided.
//! - *Over* is for ever: a client that was fenced, or that has lost count, is of no more use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::decided::Decided;
use super::feed::{lock, number};
use super::outage::{self, Outage};
use super::{Names, fault, fault::Fault, seats::Seats, wire, writer::Pulse};
use crate::registry::Ids;
use crate::{Batch, Consumed, Error, MessageSet};

/// How long is waited between looks at what the client has done. Its own `flush` takes steps of
/// 100 ms, which would be the least that a publish takes; and its `poll` counts whole milliseconds,
/// so that it spins through its last one.
const STEP: Duration = Duration::from_micros(500);

/// How long the client is given to abort before what it threw away is looked at.
const ABORT_CALL: Duration = Duration::from_millis(50);

/// How long one call about a transaction may take before errors are looked at again.
const CALL: Duration = Duration::from_secs(1);

/// How long an abort is tried. It is not urgent: it is asked for again before the next publish.
const ABORT_PATIENCE: Duration = Duration::from_secs(3);

/// How much longer than a transaction lives its commit is asked for: until the broker has decided.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a member may need to hear that its group was shared out anew; and how often is asked.
const STALE_PATIENCE: Duration = Duration::from_secs(5);
const STALE_WAIT: Duration = Duration::from_millis(20);

/// What the client says while it publishes.
pub(super) struct Deliveries {
    outage: Arc<Outage>,
    /// The first message that was not delivered, and why.
    failed: Mutex<Option<KafkaError>>,
    /// For each place that was published to, the offset of the last message there.
    last: Mutex<BTreeMap<usize, i64>>,
}

impl Deliveries {
    pub(super) fn new(outage: &Arc<Outage>) -> Self {
        let (failed, last) = (Mutex::new(None), Mutex::new(BTreeMap::new()));
        Self { outage: Arc::clone(outage), failed, last }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        outage::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.outage.suspect(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    /// One more than the place, where it is the last message of its set; 0 for the others.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, last_of: usize) {
        match result {
            Ok(message) => {
                if let Some(place) = last_of.checked_sub(1) {
                    lock(&self.last).insert(place, message.offset());
                }
            }
            Err((error, _)) => {
                lock(&self.failed).get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// Publishes batches, one after the other, as the one writer of its name.
pub(super) struct Publisher {
    pub(super) name: String,
    pub(super) names: Arc<Names>,
    pub(super) ids: Ids,
    pub(super) seats: Arc<Seats>,
    pub(super) client: BaseProducer<Deliveries>,
    /// How long the broker lets a transaction live.
    pub(super) lifetime: Duration,
    pub(super) decided: Arc<Decided>,
    /// Beaten between the calls.
    pub(super) pulse: Arc<Pulse>,
    pub(super) state: State,
}

/// What is known of the last transaction.
#[derive(Debug)]
pub(super) enum State {
    /// It has ended.
    Ready,
    /// It must be aborted before the next.
    Open,
    /// There is no next one.
    Over(Over),
}

/// Why a writer is over.
#[derive(Clone, Debug)]
pub(super) struct Over {
    fault: Fault,
    what: String,
}

impl Over {
    fn error(&self) -> Error {
        let what = self.what.clone();
        match self.fault {
            Fault::Fenced => Error::Fenced { what },
            Fault::Lasting => Error::Fatal { what, source: None },
            // Nothing else makes its owner open the name anew.
            Fault::Stale | Fault::Passing => Error::Indefinite { what, source: None },
        }
    }
}

/// Why a batch was not sent whole.
enum Failure {
    /// Found before the broker was asked.
    Ours(Error),
    /// Of a call, or of a message.
    Kafka(&'static str, KafkaError),
    /// It took too long.
    Slow(&'static str),
}

impl Publisher {
    /// Publishes a batch.
    ///
    /// # Errors
    ///
    /// As [`crate::Writer::publish`].
    pub(super) fn publish(&mut self, batch: &Batch) -> Result<(), Error> {
        let until = Instant::now() + STALE_PATIENCE;
        loop {
            match self.attempt(batch) {
                Err((error, Fault::Stale)) => {
                    // The member will have heard of its group's new generation in a moment, and
                    // then either has the partition still, or knows that it hasn't.
                    if until < Instant::now() {
                        return Err(error);
                    }
                    thread::sleep(STALE_WAIT);
                }
                Err((error, _)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn attempt(&mut self, batch: &Batch) -> Result<(), (Error, Fault)> {
        self.pulse.beat();
        if let State::Over(over) = &self.state {
            return Err((over.error(), over.fault));
        }
        if matches!(self.state, State::Open) {
            self.abort().map_err(|error| (error, Fault::Passing))?;
        }
        if batch.consumed.is_none() && batch.sets.iter().all(|set| set.messages.is_empty()) {
            return Ok(());
        }
        *lock(&self.client.context().failed) = None;
        lock(&self.client.context().last).clear();
        let sent = match self.client.begin_transaction() {
            Ok(()) => {
                self.state = State::Open;
                self.send(batch)
            }
            Err(error) => {
                let over = self.over("the beginning", &error);
                let begin =
                    || format!("the beginning of a publish of writer {}: {error}", self.name);
                return Err(match over {
                    Some(over) => (over.error(), over.fault),
                    None => {
                        let what = begin();
                        (self.lost(what), Fault::Passing)
                    }
                });
            }
        };
        match sent {
            Ok(()) => self.commit().map_err(|error| (error, Fault::Passing)),
            Err(failure) => Err(self.undo(failure)),
        }
    }

    /// Gives everything to the broker, and waits until it has it.
    fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        // First, so that the broker refuses a past membership before there is anything to undo.
        if let Some(consumed) = &batch.consumed {
            self.send_positions(consumed)?;
        }
        let until = Instant::now() + self.lifetime;
        let mut room = Vec::new();
        for set in &batch.sets {
            self.send_set(set, &mut room, until)?;
        }
        while self.client.in_flight_count() > 0 {
            self.step();
            self.check_deliveries()?;
            if until < Instant::now() {
                return Err(Failure::Slow("the broker took too long to acknowledge the messages"));
            }
        }
        self.check_deliveries()
    }

    fn send_positions(&self, consumed: &Consumed) -> Result<(), Failure> {
        let metadata = self.seats.metadata(consumed).map_err(Failure::Ours)?;
        let mut positions = TopicPartitionList::with_capacity(consumed.positions.len());
        for &(topic, partition, offset) in &consumed.positions {
            let name = self.names.of(topic);
            positions
                .add_partition_offset(name, number(partition), Offset::Offset(offset))
                .map_err(|error| Failure::Kafka("a position", error))?;
        }
        let until = Instant::now() + self.lifetime;
        loop {
            match self.client.send_offsets_to_transaction(&positions, &metadata, CALL) {
                Ok(()) => return Ok(()),
                // The former transaction of this name is still being ended.
                Err(KafkaError::Transaction(error))
                    if error.is_retriable()
                        && !error.txn_requires_abort()
                        && Instant::now() < until =>
                {
                    self.step();
                }
                Err(error) => return Err(Failure::Kafka("the positions", error)),
            }
        }
    }

    fn send_set(
        &self,
        set: &MessageSet,
        room: &mut Vec<u8>,
        until: Instant,
    ) -> Result<(), Failure> {
        if set.messages.is_empty() {
            return Ok(());
        }
        let (name, partition) = (self.names.of(set.topic), number(set.partition));
        let place = self.names.layout.place(set.topic, set.partition).map_err(Failure::Ours)?;
        let shared = wire::shared(&set.headers);
        let last = set.messages.len() - 1;
        for (index, message) in set.messages.iter().enumerate() {
            let value = match &message.value {
                None => None,
                Some(value) => {
                    Some(wire::outgoing(&self.ids, set.topic, value, room).map_err(Failure::Ours)?)
                }
            };
            let last_of = if index == last { place + 1 } else { 0 };
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(name, last_of)
                    .partition(partition)
                    .key(message.key.as_ref())
                    .headers(wire::with_id(&shared, &message.id));
            record.payload = value;
            while let Err((error, back)) = self.client.send(record) {
                if error.rdkafka_error_code() != Some(Code::QueueFull) {
                    return Err(Failure::Kafka("a message", error));
                }
                // As much is under way as may be: it waits here, and so does whoever publishes.
                if until < Instant::now() {
                    return Err(Failure::Slow("the broker took too long to take the messages"));
                }
                self.step();
                self.check_deliveries()?;
                record = back;
            }
        }
        Ok(())
    }

    /// Waits a little, and hears what the client has to say.
    fn step(&self) {
        thread::sleep(STEP);
        self.pulse.beat();
        self.serve();
    }

    /// Hears all that the client has to say: deliveries, errors, its log. Each look takes one
    /// thing, and what was not heard counts as under way.
    pub(super) fn serve(&self) {
        let mut left = self.client.in_flight_count();
        while left > 0 {
            self.client.poll(Duration::ZERO);
            let now = self.client.in_flight_count();
            if left <= now {
                return;
            }
            left = now;
        }
    }

    fn check_deliveries(&self) -> Result<(), Failure> {
        match lock(&self.client.context().failed).take() {
            Some(error) => Err(Failure::Kafka("a message", error)),
            None => Ok(()),
        }
    }

    /// Takes back what was sent, and says what the caller is told.
    fn undo(&mut self, failure: Failure) -> (Error, Fault) {
        let (error, fault) = match failure {
            Failure::Ours(error) => {
                let is_fenced = matches!(error, Error::Fenced { .. });
                (error, if is_fenced { Fault::Fenced } else { Fault::Lasting })
            }
            Failure::Slow(what) => (fault::retry(what), Fault::Passing),
            Failure::Kafka(what, error) => {
                if let Some(over) = self.over(what, &error) {
                    return (over.error(), over.fault);
                }
                let fault = fault::of(&error);
                (fault::error(format!("{what} of writer {}", self.name), error), fault)
            }
        };
        if matches!(self.state, State::Ready) {
            return (error, fault);
        }
        match self.abort() {
            // Nothing of it will be visible, which is all that the caller needs to know.
            Ok(()) | Err(Error::Retry { .. }) => (error, fault),
            Err(over) => (over, Fault::Passing),
        }
    }

    /// Aborts the open transaction.
    ///
    /// # Errors
    ///
    /// *Retry* where it is still open; another where the writer is over.
    fn abort(&mut self) -> Result<(), Error> {
        let until = Instant::now() + ABORT_PATIENCE;
        loop {
            // The client waits for what it has thrown away to be looked at, which is done between
            // the calls: so they are short.
            match self.client.abort_transaction(ABORT_CALL) {
                Ok(()) => {
                    self.serve();
                    self.state = State::Ready;
                    return Ok(());
                }
                Err(error) => {
                    if let Some(over) = self.over("the abort", &error) {
                        return Err(over.error());
                    }
                    let is_retriable =
                        matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
                    if !is_retriable {
                        return Err(
                            self.lost(format!("the abort of writer {}: {error}", self.name))
                        );
                    }
                    if until < Instant::now() {
                        return Err(fault::error(
                            format!("the abort of writer {}", self.name),
                            error,
                        ));
                    }
                    self.step();
                }
            }
        }
    }

    /// Commits the open transaction.
    fn commit(&mut self) -> Result<(), Error> {
        // From here on it may become visible, in one partition a moment before the other.
        self.decided.expect(&lock(&self.client.context().last));
        let until = Instant::now() + self.lifetime + COMMIT_PATIENCE;
        loop {
            let error = match self.client.commit_transaction(CALL) {
                Ok(()) => {
                    self.state = State::Ready;
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(over) = self.over("the commit", &error) {
                return Err(over.error());
            }
            let what = format!("the commit of writer {}: {error}", self.name);
            match &error {
                KafkaError::Transaction(fault) if fault.txn_requires_abort() => {
                    // Only the broker's word that it is aborted says that it was not committed.
                    return match self.abort() {
                        Ok(()) => {
                            Err(fault::error(format!("the commit of writer {}", self.name), error))
                        }
                        Err(_) => Err(self.lost(what)),
                    };
                }
                KafkaError::Transaction(fault) if !fault.is_retriable() => {
                    return Err(self.lost(what));
                }
                _ if until < Instant::now() => return Err(self.lost(what)),
                _ => self.step(),
            }
        }
    }

    /// Where the client can't go on, the writer is over.
    fn over(&mut self, what: &str, error: &KafkaError) -> Option<Over> {
        let fatal = self.client.client().fatal_error();
        let is_fatal = matches!(error, KafkaError::Transaction(error) if error.is_fatal());
        if fatal.is_none() && !is_fatal {
            return None;
        }
        let fault = fatal.as_ref().map_or(fault::of(error), |(code, _)| fault::of_code(*code));
        let reason = fatal.map_or(error.to_string(), |(_, reason)| reason);
        let what = format!("{what} of writer {}: {reason}", self.name);
        let over = Over { fault, what };
        self.state = State::Over(over.clone());
        Some(over)
    }

    /// The writer is over, and it is not known how its last publish ended.
    fn lost(&mut self, what: String) -> Error {
        let over = Over { fault: Fault::Passing, what };
        let error = over.error();
        self.state = State::Over(over);
        error
    }
}
