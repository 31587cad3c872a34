//! What becomes of a shard's owner when something fails.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{event, round, store};

/// Why a shard stopped. Others go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An event that can't be applied and may not be skipped.
    #[error("the next event can't be applied")]
    Event(#[from] event::Error),
    /// The state contradicts itself.
    #[error("the next round can't be applied")]
    Round(#[from] round::Error),
    /// The store.
    #[error("the store failed")]
    Store(#[source] store::Error),
    /// The log.
    #[error("the log failed")]
    Log(#[from] topic::Error),
    /// An outcome of ours does not decode, or an answer to a file's owner has no form in its
    /// schema.
    #[error("failed to decode an outcome or to encode an answer")]
    Encode(#[from] schemas::codec::Error),
    /// What the topic `postings` says last is not an outcome of this shard.
    #[error("expected the id of an outcome, such as {shard}/0, last in postings, found another")]
    Foreign {
        /// The shard.
        shard: u32,
    },
    /// The store and the log differ in the last outcome that both have.
    #[error(
        "expected outcome {number} of shard {shard} to be the same in the store and in postings, \
         found another: one of them belongs elsewhere (was a copy mixed up?); restore the two that \
         belong together, or move the store away and start again: it is rebuilt from postings"
    )]
    StoreDiffers {
        /// The shard.
        shard: u32,
        /// The last number that both have.
        number: i64,
    },
    /// The log is not the one that the store's events came from.
    #[error(
        "expected at offset {offset} of partition {shard} of records the event that outcome \
         {number} of the store answers, found {found}: the log is older than the store, or \
         another; restore the log that belongs to the store, or move the store away and start \
         again: it is rebuilt from what the log has"
    )]
    LogDiffers {
        /// The shard.
        shard: u32,
        /// The outcome of the last event that has one.
        number: i64,
        /// That event's offset.
        offset: i64,
        /// What was found instead.
        found: &'static str,
    },
    /// The topic lacks an outcome before its last one.
    #[error(
        "expected outcome {number} in partition {shard} of postings, found it missing: the topic \
         lost it; restore a log that has all outcomes"
    )]
    OutcomeLost {
        /// The shard.
        shard: u32,
        /// The number.
        number: i64,
    },
    /// An outcome in the topic contradicts those before it.
    #[error("expected {expected} in outcome {number} of postings, found {found}")]
    Contradiction {
        /// Its number.
        number: i64,
        /// What follows from the outcomes before it.
        expected: String,
        /// What it says.
        found: String,
    },
}

/// Why an owner's work ended before its time.
#[derive(Debug)]
pub(crate) enum End {
    /// It was asked to let go.
    Cancelled,
    /// Somebody else is the owner, or was for a moment.
    Fenced(Error),
    /// The surroundings are at fault: back off, and do the same again.
    Retry(Error),
    /// It can't go on.
    Stop(Error),
}

impl From<store::Error> for End {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Fenced { .. } => Self::Fenced(Error::Store(error)),
            store::Error::Retry { .. } | store::Error::Ambiguous { .. } => {
                Self::Retry(Error::Store(error))
            }
            store::Error::Invariant { .. } | store::Error::Unusable { .. } => {
                Self::Stop(Error::Store(error))
            }
        }
    }
}

impl From<topic::Error> for End {
    fn from(error: topic::Error) -> Self {
        match &error {
            topic::Error::Fenced { .. } => Self::Fenced(Error::Log(error)),
            topic::Error::Retry { .. } | topic::Error::Indefinite { .. } => {
                Self::Retry(Error::Log(error))
            }
            topic::Error::Outside { .. } | topic::Error::Fatal { .. } => {
                Self::Stop(Error::Log(error))
            }
        }
    }
}

/// The first wait after a failure, and the longest. Short enough to go unnoticed where a lock was
/// held for a moment, long enough not to press on a store that is starting.
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Waits between tries, longer each time; tells of an outage once, and when it is over.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    cancel: &'a CancellationToken,
    shard: u32,
    delay: Duration,
    /// How long an outage may last; none is for ever.
    patience: Option<Duration>,
    /// Since when nothing succeeds.
    out_since: Option<Instant>,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(
        cancel: &'a CancellationToken,
        shard: u32,
        patience: Option<Duration>,
    ) -> Self {
        Self { cancel, shard, delay: DELAY_MIN, patience, out_since: None }
    }

    /// Waits before the next try; stops where patience is at an end.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<(), End> {
        let since = match self.out_since {
            Some(since) => since,
            None => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(shard = self.shard, error, "waiting to try again");
                *self.out_since.insert(Instant::now())
            }
        };
        if self.patience.is_some_and(|patience| patience < since.elapsed()) {
            return Err(End::Stop(error));
        }
        tokio::select! {
            () = self.cancel.cancelled() => Err(End::Cancelled),
            () = tokio::time::sleep(self.delay) => {
                self.delay = self.delay.saturating_mul(2).min(DELAY_MAX);
                Ok(())
            }
        }
    }

    /// Notes that a try succeeded.
    pub(crate) fn is_over(&mut self) {
        if self.out_since.take().is_some() {
            tracing::info!(shard = self.shard, "going on");
        }
        self.delay = DELAY_MIN;
    }

    /// After a try: what it gave; or none, after a wait, where it is to be tried again.
    pub(crate) async fn after<T, E: Into<End>>(
        &mut self,
        tried: Result<T, E>,
    ) -> Result<Option<T>, End> {
        match tried.map_err(Into::into) {
            Err(End::Retry(error)) => {
                self.wait(error).await?;
                Ok(None)
            }
            Err(end) => Err(end),
            Ok(done) => {
                self.is_over();
                Ok(Some(done))
            }
        }
    }
}
