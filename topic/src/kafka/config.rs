//! Every setting of librdkafka that matters, written out with its reason.
//!
//! What is not named here is at librdkafka's default and makes no difference to us.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::{Settings, Unusable};

/// The largest message. Rows of files and verdicts of many shards are the largest that we publish;
/// topics are created with the same limit.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// How much a producer holds that is not acknowledged yet. A chunk of ten thousand records with
/// their headers is some 5 MB; what doesn't fit waits (see `publish`), so that a slow broker costs
/// time and not memory.
const UNACKNOWLEDGED_BYTES_MAX: usize = 16 << 20;

/// How much the readers of one subscription hold together, before it is asked for: up to this, more
/// is fetched.
const FETCHED_BYTES_MAX: usize = 24 << 20;

/// How much is held of a partition at least before it is asked for: some thousand records.
const FETCHED_BYTES_MIN: usize = 256 << 10;

/// The bytes of a message, without what is not counted: its headers, and what the client adds to
/// each, which is together more than as much again.
const MESSAGE_BYTES: usize = 1_024;

/// The part of what is held that is fetched at a time: it is counted as the broker keeps it,
/// compressed to a third or less.
const FETCHES: usize = 4;

/// How much is fetched of a partition at a time at least: what some chunks of a file put there in
/// one publish. A broker gives a batch that doesn't fit whole to the first partition of an answer
/// alone, and to the others a part of it that is of no use.
const FETCH_BYTES_MIN: usize = 384 << 10;

/// The largest batch, before it is compressed: all that a publish has for a partition. While one of
/// a partition is under way, the client has no more than five messages beside it, and asks for the
/// answer without a pause: sixteen of them so leave nothing to a broker on the same cores.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How long a broker may wait with the answer to a fetch of a subscription where there is nothing.
/// What is published ends the wait at once. A client has one fetch under way at each broker, so
/// this is also how long a partition waits that begins to be read; and one that has work where
/// others have none, as that of a hot account: while enough of it is held a fetch of the others is
/// under way, and it is not asked for until that is over.
const FOLLOW_WAIT: Duration = Duration::from_millis(20);

/// The same for reads of a range, which end with such a wait: it is how the end is noticed.
const READ_WAIT: Duration = Duration::from_millis(10);

/// How often a member of a group says that it is alive, and so how soon it hears of a rebalance.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long the others of a group wait for a member that has work in hand when they are shared out
/// anew. A member whose process is gone is noticed by its silence, much sooner.
const REBALANCE_MAX: Duration = Duration::from_secs(300);

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// What all clients have in common.
fn client(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "batchless")
        // A broker that is gone without a word is noticed.
        .set("socket.keepalive.enable", "true")
        // Small requests (positions, the end of a transaction) are not held back for company.
        .set("socket.nagle.disable", "true")
        // The end of an outage is noticed within a second, and brokers are not pressed.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "500")
        .set("socket.connection.setup.timeout.ms", "5000")
        // A request that hangs is given up before the publish that it is for.
        .set("socket.timeout.ms", ms(settings.transaction_timeout))
        // Idle connections are closed by brokers as a matter of course.
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    let security = &settings.security;
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        // The broker must be who its name says, not merely trusted.
        config.set("ssl.endpoint.identification.algorithm", "https");
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        if let Some(file) = &tls.ca_file {
            config.set("ssl.ca.location", path(file));
        }
        if let Some((certificate, key)) = &tls.certificate {
            config.set("ssl.certificate.location", path(certificate));
            config.set("ssl.key.location", path(key));
        }
    }
    if let Some(sasl) = &security.sasl {
        config.set("sasl.mechanisms", sasl.mechanism.name());
        config.set("sasl.username", &sasl.user);
        config.set("sasl.password", &sasl.password);
    }
    config
}

/// A client that asks about the cluster and publishes nothing.
pub(super) fn observer(settings: &Settings) -> ClientConfig {
    let mut config = client(settings);
    // Here a connection that is closed at once says what is wrong.
    config.set("log.connection.close", "true");
    config
}

/// The producer of a writer.
pub(super) fn producer(settings: &Settings, transactional_id: &str) -> ClientConfig {
    let mut config = client(settings);
    let timeout = ms(settings.transaction_timeout);
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", &timeout)
        // A message is given up with its publish, and not before.
        .set("message.timeout.ms", &timeout)
        .set("request.timeout.ms", "5000")
        // Every copy in sync has it, none twice, all in order, with five requests under way.
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", "5")
        // Until a publish has been given to the client, which takes some milliseconds: what goes
        // before has the rest wait for its answer.
        .set("linger.ms", "5")
        .set("batch.size", BATCH_BYTES_MAX.to_string())
        .set("batch.num.messages", "100000")
        // Headers repeat: 500 bytes of a record become some 150, at half a gigabyte a second.
        .set("compression.type", "lz4")
        .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
        // Bounded by bytes alone.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", (UNACKNOWLEDGED_BYTES_MAX >> 10).to_string());
    config
}

/// A consumer that reads committed messages from offsets which we give, and never decides on one.
fn consumer(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        // Positions are published by writers, together with what they answer.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position outside the log is an error; nothing ever jumps.
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        // What the disk or the wire broke is noticed.
        .set("check.crcs", "true")
        .set("fetch.min.bytes", "1")
        .set("fetch.error.backoff.ms", "50")
        // Looked at again soon after a reader has made room, rather than after a second.
        .set("fetch.queue.backoff.ms", "10");
    config
}

/// Reads the partitions of a subscription.
pub(super) fn follower(settings: &Settings, partitions: u32) -> ClientConfig {
    let each = (FETCHED_BYTES_MAX / partitions.max(1) as usize).max(FETCHED_BYTES_MIN);
    let mut config = reader_of(settings, each, FOLLOW_WAIT);
    // So that a silent partition, started anew, is known to be empty and its client not deaf.
    config.set("enable.partition.eof", "true");
    config
}

/// Reads ranges of partitions, and asks where they end.
pub(super) fn reader(settings: &Settings) -> ClientConfig {
    let mut config = reader_of(settings, 1 << 20, READ_WAIT);
    // So that an empty rest of a range is known to be empty.
    config.set("enable.partition.eof", "true");
    config
}

fn reader_of(settings: &Settings, partition_bytes: usize, wait: Duration) -> ClientConfig {
    // The client wants a group's name to read at all; nobody ever joins this one.
    let mut config = consumer(settings, &format!("{}readers", settings.prefix));
    config
        .set(
            "fetch.message.max.bytes",
            (partition_bytes / FETCHES).max(FETCH_BYTES_MIN).to_string(),
        )
        .set("queued.max.messages.kbytes", (partition_bytes >> 10).to_string())
        .set("queued.min.messages", (partition_bytes / MESSAGE_BYTES).to_string())
        .set("fetch.max.bytes", (MESSAGE_BYTES_MAX + partition_bytes).to_string())
        .set("fetch.wait.max.ms", ms(wait));
    config
}

/// Asks for the positions of a group, and reads nothing.
pub(super) fn positions(settings: &Settings, group: &str) -> ClientConfig {
    consumer(settings, &format!("{}{group}", settings.prefix))
}

/// A member of a group. It says which partitions are ours; a follower reads them.
pub(super) fn member(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = positions(settings, group);
    config
        // A partition stays where it is, and works on, while others move.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", ms(settings.session_timeout))
        .set("heartbeat.interval.ms", ms(HEARTBEAT))
        .set("max.poll.interval.ms", ms(REBALANCE_MAX.max(settings.session_timeout)));
    config
}

/// Checks that the client was built with what the settings ask for.
///
/// # Errors
///
/// [`Unusable::NotBuilt`].
pub(super) fn check_built(settings: &Settings) -> Result<(), Unusable> {
    let features = ClientConfig::new()
        .create_native_config()
        .and_then(|config| config.get("builtin.features"))
        .unwrap_or_default();
    let has = |feature: &str| features.split(',').any(|it| it.trim_matches('\0').trim() == feature);
    let security = &settings.security;
    let sasl = security.sasl.as_ref().map(|sasl| match sasl.mechanism {
        super::Mechanism::Plain => "sasl_plain",
        super::Mechanism::ScramSha256 | super::Mechanism::ScramSha512 => "sasl_scram",
    });
    let wanted = [security.tls.as_ref().map(|_| "ssl"), sasl, Some("lz4")];
    match wanted.into_iter().flatten().find(|feature| !has(feature)) {
        Some(feature) => Err(Unusable::NotBuilt { feature }),
        None => Ok(()),
    }
}
