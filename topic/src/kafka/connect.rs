//! The first contact: whether a broker answers, and where none does, whose fault it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use schemas::Topic;

use super::error::refused;
use super::feed::lock;
use super::{Settings, Unusable, config, outage};
use crate::Layout;

/// How long brokers are tried that don't answer. What is wrong by its nature (a password, TLS) is
/// told at once.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long is waited at a time, between looks at what the client has said.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A client that asks about the cluster.
pub(super) struct Cluster {
    settings: Settings,
    client: BaseProducer<Listening>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How many things are heard between looks. A client that is refused says some ten a second.
const HEARD_MAX: usize = 50;

/// Keeps what a client says of its connections.
#[derive(Clone, Debug, Default)]
struct Listening {
    said: Arc<Mutex<Vec<(Code, String)>>>,
}

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        outage::log(level, facility, line);
        // Of a listener that closes at once there is a line, and no error.
        if facility == "FAIL" {
            let line = line.split_once("]: ").map_or(line, |(_, line)| line);
            lock(&self.said).push((Code::BrokerTransportFailure, line.to_owned()));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            lock(&self.said).push((code, reason.to_owned()));
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Listening {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, (): ()) {}
}

impl Cluster {
    /// Reaches the cluster. Blocks, for a few seconds at most.
    ///
    /// # Errors
    ///
    /// [`Unusable`] says whose fault it is.
    pub(super) fn reach(settings: &Settings) -> Result<Self, Unusable> {
        config::check_built(settings)?;
        let listening = Listening::default();
        let said = Arc::clone(&listening.said);
        let client: BaseProducer<Listening> =
            config::observer(settings).create_with_context(listening).map_err(refused)?;
        let topic = format!("{}{}", settings.prefix, Topic::Records);
        let until = Instant::now() + PATIENCE;
        let mut last = "no answer".to_owned();
        loop {
            // Of one topic: a cluster may have many. A producer's question creates none where the
            // name is not known, unless the broker is set up to.
            let answer = client.client().fetch_metadata(Some(&topic), LOOK_EVERY);
            // One thing at a time.
            for _ in 0..HEARD_MAX {
                client.poll(Duration::ZERO);
            }
            if answer.is_ok() {
                return Ok(Self { settings: settings.clone(), client });
            }
            for (code, reason) in lock(&said).drain(..) {
                if let Some(lasting) = lasting(code, &reason) {
                    return Err(lasting);
                }
                if code != Code::AllBrokersDown {
                    last = reason;
                }
            }
            if until <= Instant::now() {
                if let Some(mistaken) = mistaken(settings, &last) {
                    return Err(mistaken);
                }
                let brokers = settings.brokers.clone();
                return Err(Unusable::Unreachable { brokers, reason: last });
            }
        }
    }

    /// How many partitions each of our topics has, of those that are there, and how many copies.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// Where the broker can't be asked, or doesn't let us.
    pub(super) fn topics(&self) -> Result<BTreeMap<Topic, (u32, u32)>, Unusable> {
        let mut found = BTreeMap::new();
        // All of them at once: a question about a name that is not known may create it.
        let metadata = self
            .client
            .client()
            .fetch_metadata(None, PATIENCE)
            .map_err(|error| super::fault::error("the list of topics", error))?;
        for topic in metadata.topics() {
            let Some(ours) = (topic.name().strip_prefix(self.settings.prefix.as_str()))
                .and_then(Topic::from_name)
            else {
                continue;
            };
            if let Some(error) = topic.error()
                && error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            {
                let error = KafkaError::MetadataFetch(Code::from(error));
                return Err(super::fault::error(format!("topic {}", topic.name()), error).into());
            }
            let partitions = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
            let copies = topic.partitions().iter().map(|it| it.replicas().len()).min();
            let copies = u32::try_from(copies.unwrap_or(0)).unwrap_or(u32::MAX);
            if partitions > 0 {
                found.insert(ours, (partitions, copies));
            }
        }
        Ok(found)
    }

    /// The layout that the topics have; none where there are none.
    ///
    /// # Errors
    ///
    /// Some are missing, or their numbers of partitions don't go together.
    pub(super) fn layout(&self) -> Result<Option<Layout>, Unusable> {
        let found = self.topics()?;
        if found.is_empty() {
            return Ok(None);
        }
        let of = |topic| found.get(&topic).map_or(1, |&(partitions, _)| partitions);
        let layout = Layout::new(of(Topic::Arrivals), of(Topic::Files), of(Topic::Records));
        match misfits(&self.settings.prefix, layout, &found).into_iter().next() {
            Some(misfit) => Err(misfit),
            None => Ok(Some(layout)),
        }
    }
}

/// Which topics are missing, and which have another number of partitions.
pub(super) fn misfits(
    prefix: &str,
    layout: Layout,
    found: &BTreeMap<Topic, (u32, u32)>,
) -> Vec<Unusable> {
    let mut misfits = Vec::new();
    let is_missing = |topic: &Topic| !found.contains_key(topic);
    let missing: Vec<Topic> = Topic::ALL.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        misfits.push(Unusable::Missing { prefix: prefix.to_owned(), missing });
    }
    for (&topic, &(partitions, _)) in found {
        let expected = layout.partitions(topic);
        if partitions != expected {
            let prefix = prefix.to_owned();
            misfits.push(Unusable::Partitions { prefix, topic, expected, found: partitions });
        }
    }
    misfits
}

/// What no waiting mends.
fn lasting(code: Code, reason: &str) -> Option<Unusable> {
    let own = || reason.to_owned();
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            Some(Unusable::SignIn { reason: own() })
        }
        // OpenSSL's way to say that what came back was no TLS at all.
        Code::SSL if reason.contains("wrong version number") => {
            Some(Unusable::PlainListener { reason: own() })
        }
        Code::SSL => Some(Unusable::Tls { reason: own() }),
        _ => None,
    }
}

/// What a listener says that does nothing but close, again and again. Once alone it may be a broker
/// that is about to stop.
fn mistaken(settings: &Settings, reason: &str) -> Option<Unusable> {
    let reason = reason.to_owned();
    if settings.security.tls.is_some() {
        let is_plain = reason.contains("PLAINTEXT broker listener");
        return is_plain.then_some(Unusable::PlainListener { reason });
    }
    // Before a word of Kafka's was understood.
    let is_unheard = reason.contains("Disconnected") && reason.contains("APIVERSION_QUERY");
    let is_tls = is_unheard || reason.contains("connecting to a SSL listener");
    is_tls.then_some(Unusable::TlsListener { reason })
}
