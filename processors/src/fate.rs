//! What becomes of a shard's owner when something fails.

use std::sync::atomic::{AtomicUsize, Ordering};
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
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(5);

/// The first wait of whoever was fenced: the group may say in a moment that the shard is another's.
/// Who takes it again before that fences its rightful owner, once, for nothing.
const DELAY_FENCED: Duration = Duration::from_secs(3);

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The store is away, for every shard alike.
    Store,
    /// The log is.
    Log,
    /// This shard alone waits: somebody else had it.
    Shard,
}

impl Of {
    fn error(error: &Error) -> Self {
        match error {
            Error::Store(store::Error::Retry { .. } | store::Error::Ambiguous { .. }) => {
                Self::Store
            }
            Error::Log(topic::Error::Retry { .. } | topic::Error::Indefinite { .. }) => Self::Log,
            _ => Self::Shard,
        }
    }
}

/// How many shards wait for the store and for the log: an outage is told once, when the first
/// begins to wait, and its end once, when nobody waits any more.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    store: AtomicUsize,
    log: AtomicUsize,
}

impl Outages {
    fn waiting(&self, of: Of) -> Option<&AtomicUsize> {
        match of {
            Of::Store => Some(&self.store),
            Of::Log => Some(&self.log),
            Of::Shard => None,
        }
    }

    /// Notes that one more waits; true where it is the first.
    fn enter(&self, of: Of) -> bool {
        self.waiting(of).is_none_or(|waiting| waiting.fetch_add(1, Ordering::Relaxed) == 0)
    }

    /// Notes that one fewer waits; true where it was the last.
    fn leave(&self, of: Of) -> bool {
        self.waiting(of).is_none_or(|waiting| waiting.fetch_sub(1, Ordering::Relaxed) == 1)
    }
}

/// Waits between tries, longer each time; tells of an outage once, and when it is over.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    cancel: &'a CancellationToken,
    outages: &'a Outages,
    shard: u32,
    delay: Duration,
    /// How long an outage may last; none is for ever.
    patience: Option<Duration>,
    /// Since when nothing succeeds, and what is waited for.
    out: Option<(Instant, Of)>,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(
        cancel: &'a CancellationToken,
        outages: &'a Outages,
        shard: u32,
        patience: Option<Duration>,
    ) -> Self {
        Self { cancel, outages, shard, delay: DELAY_MIN, patience, out: None }
    }

    /// Waits before the next try; stops where patience is at an end.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<(), End> {
        let since = match self.out {
            Some((since, _)) => since,
            None => self.begin(&error),
        };
        if self.patience.is_some_and(|patience| patience < since.elapsed()) {
            return Err(End::Stop(error));
        }
        let is_fenced = Of::error(&error) == Of::Shard;
        let delay = if is_fenced { self.delay.max(DELAY_FENCED) } else { self.delay };
        tokio::select! {
            () = self.cancel.cancelled() => Err(End::Cancelled),
            () = tokio::time::sleep(delay) => {
                self.delay = self.delay.saturating_mul(2).min(DELAY_MAX);
                Ok(())
            }
        }
    }

    fn begin(&mut self, error: &Error) -> Instant {
        let of = Of::error(error);
        let since = Instant::now();
        self.out = Some((since, of));
        let (shard, is_first) = (self.shard, self.outages.enter(of));
        let error: &dyn std::error::Error = error;
        if is_first {
            tracing::warn!(shard, error, "waiting to try again");
        } else {
            tracing::debug!(shard, error, "waiting to try again");
        }
        since
    }

    /// Notes that a try succeeded.
    pub(crate) fn is_over(&mut self) {
        self.goes_on();
        self.delay = DELAY_MIN;
    }

    /// The same, but waits go on growing where it fails again: it got somewhere, and may not get
    /// far.
    pub(crate) fn goes_on(&mut self) {
        let Some((_, of)) = self.out.take() else { return };
        let shard = self.shard;
        if self.outages.leave(of) {
            tracing::info!(shard, "going on");
        } else {
            tracing::debug!(shard, "going on");
        }
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

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        // Who ends while it waits no longer does, and did not see the outage's end.
        if let Some((_, of)) = self.out {
            self.outages.leave(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Keeps the lines that an operator sees.
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }

    impl Subscriber for &'static Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::INFO
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn away(shard: u32) -> [Error; 3] {
        let what = || "away".to_owned();
        [
            Error::Store(store::Error::Retry { what: what(), source: None }),
            Error::Log(topic::Error::Retry { what: what(), source: None }),
            Error::Store(store::Error::Fenced { shard, epoch: 1, number: 1 }),
        ]
    }

    /// However many shards wait, and however often they try: an outage is two lines. Only what
    /// befalls one shard alone is told by each.
    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_by_all_shards_together() {
        for (kind, lines_expected) in [(0, 2), (1, 2), (2, 32)] {
            let lines: &'static Lines = Box::leak(Box::default());
            let _guard = tracing::subscriber::set_default(lines);
            let (cancel, outages) = (CancellationToken::new(), Outages::default());
            let new = |shard| Backoff::new(&cancel, &outages, shard, None);
            let mut shards: Vec<Backoff<'_>> = (0..16).map(new).collect();
            for _ in 0..3 {
                for (backoff, shard) in shards.iter_mut().zip(0..) {
                    let [store, log, fenced] = away(shard);
                    let error = match kind {
                        0 => store,
                        1 => log,
                        _ => fenced,
                    };
                    backoff.wait(error).await.unwrap();
                }
            }
            // One ends while it waits: the others are not done with it.
            if kind != 2 {
                drop(shards.remove(0));
            }
            shards.iter_mut().for_each(Backoff::is_over);
            let lines = lines.0.lock().unwrap();
            assert_eq!(lines.len(), lines_expected, "{lines:?}");
            let ends = lines.iter().filter(|line| line.as_str() == "going on").count();
            assert_eq!(ends * 2, lines_expected, "{lines:?}");
        }
    }
}
