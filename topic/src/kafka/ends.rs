//! Where partitions begin and end, as the broker says.
//!
//! A client that was told of partitions without a leader, as a broker that stood still tells of its
//! own when it goes on, may believe that for ever, whatever it is told later (librdkafka#5430). So
//! the one that asks has nothing else to do, and is made anew where it says that it doesn't know a
//! partition of ours.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::error::refused;
use super::feed::{Plain, hear, lock, number};
use super::outage::Outage;
use super::{Unusable, fault};
use crate::Error;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How soon it is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long a client may not know a partition before it is made anew. A new one that finds the
/// broker still without leaders is no better.
const UNKNOWN_MAX: Duration = Duration::from_secs(1);

/// Asks the broker for the ends of partitions.
pub(super) struct Ends {
    config: ClientConfig,
    outage: Arc<Outage>,
    /// None once it is closed.
    client: Mutex<Option<Arc<BaseConsumer<Plain>>>>,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Ends {
    pub(super) fn new(config: ClientConfig, outage: &Arc<Outage>) -> Result<Self, Unusable> {
        let outage = Arc::clone(outage);
        let ends = Self { config, outage, client: Mutex::new(None) };
        *lock(&ends.client) = Some(ends.make()?);
        Ok(ends)
    }

    /// Ends everything. Blocks for a moment.
    pub(super) fn close(&self) {
        let client = lock(&self.client).take();
        drop(client);
    }

    /// Hears what the client has to say besides answers.
    pub(super) fn serve(&self) {
        if let Ok(client) = self.client() {
            hear(&client);
        }
    }

    fn make(&self) -> Result<Arc<BaseConsumer<Plain>>, Unusable> {
        let plain = Plain(Arc::clone(&self.outage));
        Ok(Arc::new(self.config.create_with_context(plain).map_err(refused)?))
    }

    fn client(&self) -> Result<Arc<BaseConsumer<Plain>>, Error> {
        lock(&self.client).clone().ok_or_else(|| Error::fatal("the log was closed"))
    }

    /// Makes another client, unless somebody has in the meantime.
    fn renew(&self, old: &Arc<BaseConsumer<Plain>>) -> Result<(), Error> {
        let new = self.make()?;
        let mut client = lock(&self.client);
        if client.as_ref().is_some_and(|client| Arc::ptr_eq(client, old)) {
            *client = Some(new);
        }
        Ok(())
    }

    /// The first offset of a partition, and its end: up to where everything is decided, committed
    /// or not. Blocks.
    ///
    /// # Errors
    ///
    /// As [`fault::error`] says.
    pub(super) fn watermarks(&self, name: &str, partition: u32) -> Result<(i64, i64), Error> {
        let until = Instant::now() + TIMEOUT;
        let mut unknown_since = None;
        loop {
            let client = self.client()?;
            let error = match client.fetch_watermarks(name, number(partition), TIMEOUT) {
                // A partition that never had a message says -1 for an unknown offset.
                Ok((first, end)) => return Ok((first.max(0), end.max(0))),
                Err(error) => error,
            };
            self.outage.suspect(&error, &error.to_string());
            // A partition that is new, or is moving to another broker, has none for a moment.
            if fault::of(&error) != fault::Fault::Passing || until < Instant::now() {
                let what = format!("the end of partition {partition} of {name}");
                return Err(fault::error(what, error));
            }
            tracing::debug!(%error, name, partition, "asked for its end again");
            if is_unknown(&error) {
                let since = *unknown_since.get_or_insert_with(Instant::now);
                if UNKNOWN_MAX < since.elapsed() {
                    self.renew(&client)?;
                    unknown_since = None;
                }
            }
            thread::sleep(AGAIN_AFTER);
        }
    }
}

fn is_unknown(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::LeaderNotAvailable)
    )
}
