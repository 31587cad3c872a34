//! An owner's life: it begins from what is published, works, and begins again where its
//! surroundings fail or somebody overtook it for a moment.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an owner waits before it begins again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long an owner waits that was overtaken. Whoever owns the partition now opened its writer,
/// and to open it again would stop that one: time for the group to say that the partition is no
/// longer ours, as it does when a process wakes that was taken for lost.
const RETRY_AFTER_FENCED: Duration = Duration::from_secs(3);

/// An attempt that lasts so long has worked.
const WORKED_AFTER: Duration = Duration::from_secs(2);

/// Why an owner has stopped for good. It committed nothing that it had not finished.
#[derive(Debug, thiserror::Error)]
#[error("the owner of {of} in partition {partition} has stopped: {source}")]
pub struct Error {
    /// What it owned: feeds or files.
    pub of: &'static str,
    /// Its partition.
    pub partition: u32,
    /// Why.
    pub source: Failure,
}

/// What ends an attempt to own a partition.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] topic::Error),
    /// A row or a command of ours can't be read or written: a fault of this program.
    #[error(transparent)]
    Row(#[from] schemas::codec::Error),
}

impl Failure {
    /// True where the owner may begin again: it was overtaken, or its surroundings failed.
    fn may_pass(&self) -> bool {
        use topic::Error as Log;
        matches!(self, Self::Log(Log::Fenced { .. } | Log::Retry { .. } | Log::Indefinite { .. }))
    }
}

impl Failure {
    /// True where somebody else opened the writer, or has the partition.
    fn is_fenced(&self) -> bool {
        matches!(self, Self::Log(topic::Error::Fenced { .. }))
    }
}

/// A task of ours that ended in the middle: a fault of this program, after which nothing it held
/// goes on by itself.
pub(crate) fn broken(what: &str, error: tokio::task::JoinError) -> topic::Error {
    let what = format!("{what} ended in the middle; start again to go on, and report it");
    topic::Error::Fatal { what, source: Some(Box::new(error)) }
}

/// How many owners of this kind wait in this process: an outage is told when the first begins to,
/// and its end when the last goes on.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    waiting: AtomicUsize,
}

/// One owner's part in an outage.
struct Waits<'a> {
    outage: &'a Outage,
    of: &'static str,
    partition: u32,
    since: Option<Instant>,
}

impl Waits<'_> {
    /// Notes a failure; since when there was nothing but failures.
    fn begin(&mut self, failure: &Failure) -> Instant {
        let (of, partition) = (self.of, self.partition);
        *self.since.get_or_insert_with(|| {
            let is_first = self.outage.waiting.fetch_add(1, Ordering::Relaxed) == 0;
            if failure.is_fenced() {
                let what = "the owner is overtaken: somebody else writes here";
                tracing::warn!(of, partition, error = %failure, "{what}");
            } else if is_first {
                tracing::warn!(of, partition, error = %failure, "the owner begins again");
            } else {
                tracing::debug!(of, partition, error = %failure, "the owner begins again");
            }
            Instant::now()
        })
    }

    /// Notes that it works.
    fn end(&mut self) {
        if self.since.take().is_none() {
            return;
        }
        let (of, partition) = (self.of, self.partition);
        if self.outage.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!(of, partition, "the owner went on");
        } else {
            tracing::debug!(of, partition, "the owner went on");
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        // Who ends while it waits no longer does, and did not see the outage's end.
        if self.since.is_some() {
            self.outage.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Attempts to own until the work is done, which is when `cancel` is; `state` goes from attempt to
/// attempt. While the token is not cancelled the partition is still ours.
///
/// An outage is told once by all that share `outage`, when it begins, and once when work goes on;
/// with `patience` it may last so long and no longer.
///
/// # Errors
///
/// Where an attempt fails in a way that another won't mend.
pub(crate) async fn until_done<S, F>(
    (of, partition): (&'static str, u32),
    outage: &Outage,
    patience: Option<Duration>,
    cancel: &CancellationToken,
    mut state: S,
    attempt: impl Fn(S) -> F,
) -> Result<(), Error>
where
    F: Future<Output = (S, Result<(), Failure>)>,
{
    let mut waits = Waits { outage, of, partition, since: None };
    loop {
        let begun = Instant::now();
        let result;
        (state, result) = attempt(state).await;
        // An attempt that lasted has worked: what ends it is another outage.
        if WORKED_AFTER < begun.elapsed() {
            waits.end();
        }
        match result {
            Ok(()) => return Ok(()),
            Err(failure) if failure.may_pass() => {
                let is_fenced = failure.is_fenced();
                let since = waits.begin(&failure);
                if patience.is_some_and(|patience| patience < since.elapsed()) {
                    return Err(Error { of, partition, source: failure });
                }
                let wait = if is_fenced { RETRY_AFTER_FENCED } else { RETRY_AFTER };
                tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    () = tokio::time::sleep(wait) => (),
                }
            }
            Err(source) => return Err(Error { of, partition, source }),
        }
    }
}
