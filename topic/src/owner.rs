//! The one pattern of all owners: a group gives partitions, and each has a task that owns it.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;

use schemas::Topic;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Assignment, Change, Error, Log, Subscription};

/// The reader of an assigned partition of a log.
pub type ReaderOf<L> = <<L as Log>::Subscription as Subscription>::PartitionReader;

/// Owns what the group gives this member, until `cancel`: for each partition a task, made by `own`,
/// with a token that is cancelled when the task must end its work in hand and let go.
///
/// A task that ends by an error stops alone: `stopped` is told, the partition stays this member's
/// and does nothing until it is given anew, and the others go on.
///
/// # Errors
///
/// Where the group can't be joined or asked any more. All tasks have ended then.
pub async fn own_partitions<L, O, F, E>(
    log: &L,
    group: &str,
    topic: Topic,
    cancel: &CancellationToken,
    own: O,
    stopped: impl Fn(u32, E),
) -> Result<(), Error>
where
    L: Log,
    O: Fn(Assignment<ReaderOf<L>>, CancellationToken) -> F,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let mut subscription = log.subscribe(group, topic).await?;
    let mut owners = Owners { tokens: HashMap::new(), tasks: JoinSet::new(), stopped };
    let result = loop {
        let change = tokio::select! {
            () = cancel.cancelled() => break Ok(()),
            change = subscription.next() => change,
            ended = owners.ended() => match ended {
                Ok(()) => continue,
                Err(error) => break Err(error),
            },
        };
        match change {
            Ok(Change::Assigned(assignments)) => {
                for assignment in assignments {
                    let token = cancel.child_token();
                    let partition = assignment.partition;
                    owners.begin(partition, token.clone(), own(assignment, token));
                }
            }
            Ok(Change::Revoked(revocation)) => {
                if let Err(error) = owners.end(&revocation.partitions).await {
                    break Err(error);
                }
                revocation.acknowledge();
            }
            Err(error) => break Err(error),
        }
    };
    let all: Vec<u32> = owners.tokens.keys().copied().collect();
    let ended = owners.end(&all).await;
    result.and(ended)
}

/// The tasks that own partitions now.
struct Owners<E, S> {
    /// A token for each partition whose task still runs.
    tokens: HashMap<u32, CancellationToken>,
    tasks: JoinSet<(u32, Result<(), E>)>,
    stopped: S,
}

impl<E, S> Owners<E, S>
where
    E: Display + Send + 'static,
    S: Fn(u32, E),
{
    fn begin(
        &mut self,
        partition: u32,
        token: CancellationToken,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tokens.insert(partition, token);
        self.tasks.spawn(async move { (partition, task.await) });
    }

    /// Has the tasks of these partitions end, and waits until they have.
    async fn end(&mut self, partitions: &[u32]) -> Result<(), Error> {
        for partition in partitions {
            if let Some(token) = self.tokens.get(partition) {
                token.cancel();
            }
        }
        while partitions.iter().any(|partition| self.tokens.contains_key(partition)) {
            self.ended().await?;
        }
        Ok(())
    }

    /// Waits until a task has ended; for ever where none runs. Safe to cancel.
    ///
    /// # Errors
    ///
    /// Where it panicked, which the lints all but rule out: which partition it was is not known, so
    /// all of them are let go.
    async fn ended(&mut self) -> Result<(), Error> {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((partition, result))) => {
                self.tokens.remove(&partition);
                if let Err(error) = result {
                    (self.stopped)(partition, error);
                }
                Ok(())
            }
            Some(Err(error)) => {
                self.tokens.values().for_each(CancellationToken::cancel);
                self.tokens.clear();
                let what = "an owner ended in the middle; start again to go on, and report it";
                Err(Error::Fatal { what: what.to_owned(), source: Some(Box::new(error)) })
            }
        }
    }
}
