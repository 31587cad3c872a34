//! Tells of an outage once when it begins and once when it ends.
//!
//! Each of our clients reports each of its failed connections. Those are only a suspicion: brokers
//! close idle connections, and move. Where there is one, a thread looks whether any broker answers,
//! and only where none does is it an outage.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, NoCustomPartitioner, Producer, ProducerContext};

use super::feed::lock;
use super::{Settings, config};

/// How long a broker may take to answer before it counts as not answering.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often is looked whether the outage is over.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long after an outage its consequences may still be heard of: members find out only then that
/// their group has gone on without them.
const AFTERMATH: Duration = Duration::from_secs(60);

/// What the clients of a log suspect of its brokers.
pub(super) struct Outage {
    settings: Settings,
    is_looked_into: AtomicBool,
    is_closed: AtomicBool,
    /// When it was last known to be away.
    away: Mutex<Option<Instant>>,
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outage").field("is_looked_into", &self.is_looked_into).finish()
    }
}

impl Outage {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            is_looked_into: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            away: Mutex::new(None),
        }
    }

    /// Whether the brokers are away, as far as is known.
    pub(super) fn is_away(&self) -> bool {
        lock(&self.away).is_some_and(|away| away.elapsed() < PATIENCE + 2 * LOOK_EVERY)
    }

    /// Whether the brokers are away, or were a moment ago, so that what comes of it was told.
    pub(super) fn is_told(&self) -> bool {
        lock(&self.away).is_some_and(|away| away.elapsed() < AFTERMATH)
    }

    /// Ends whatever is looked into.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Looks into an error that may be the beginning of an outage.
    pub(super) fn suspect(self: &Arc<Self>, error: &KafkaError, reason: &str) {
        let is_suspicious = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::AllBrokersDown
                    | Code::BrokerTransportFailure
                    | Code::Resolve
                    | Code::SSL
                    | Code::Authentication
                    | Code::OperationTimedOut
                    | Code::RequestTimedOut
            )
        );
        if !is_suspicious || self.is_looked_into.swap(true, Ordering::AcqRel) {
            return;
        }
        let outage = Arc::clone(self);
        let reason = reason.to_owned();
        let look = move || {
            outage.look(&reason);
            outage.is_looked_into.store(false, Ordering::Release);
        };
        if thread::Builder::new().name("kafka-outage".to_owned()).spawn(look).is_err() {
            self.is_looked_into.store(false, Ordering::Release);
        }
    }

    fn look(&self, reason: &str) {
        let config = config::observer(&self.settings);
        let client: Result<BaseProducer<Quiet>, _> = config.create_with_context(Quiet);
        let Ok(client) = client else { return };
        let topic = format!("{}{}", self.settings.prefix, schemas::Topic::Records);
        let is_there = || {
            // What it has to say of its own connections is not of interest.
            client.poll(Duration::ZERO);
            client.client().fetch_metadata(Some(&topic), PATIENCE).is_ok()
        };
        if is_there() {
            return;
        }
        let since = Instant::now();
        let brokers = &self.settings.brokers;
        tracing::warn!(brokers, reason, "Kafka is away; whoever needs it waits");
        while !self.is_closed.load(Ordering::Relaxed) {
            *lock(&self.away) = Some(Instant::now());
            if is_there() {
                let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(brokers, away_ms, "Kafka is back");
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Passes on a log line of librdkafka. What is lasting or fatal comes back to us as an error as
/// well, and outages are told of once: so its lines are for whoever looks closely.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(target: "librdkafka", facility, line, "of the Kafka client");
        }
        _ => tracing::debug!(target: "librdkafka", facility, line, "of the Kafka client"),
    }
}

/// Says nothing of its own.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext<NoCustomPartitioner> for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, (): ()) {}
}
