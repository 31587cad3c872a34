//! Rules of named writers.

use schemas::Topic;
use tokio::task::JoinSet;

use super::{Broken, Subject, all, batch, ensure, ensure_eq, numbered, set, texts, values};
use crate::{Error, Log, Writer};

/// Opening a name fences who had it; what a fenced writer publishes changes nothing.
pub async fn a_new_writer_fences_the_former<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut former = log.writer("shard-0").await?;
    former.publish(batch(vec![set(Topic::Records, 0, numbered(0, 2))])).await?;
    let mut newer = log.writer("shard-0").await?;
    for _ in 0..2 {
        let sets =
            vec![set(Topic::Records, 0, numbered(7, 9)), set(Topic::Postings, 1, numbered(7, 9))];
        match former.publish(batch(sets)).await {
            Err(Error::Fenced { .. }) => (),
            other => return Err(Broken(format!("expected fenced, found {other:?}"))),
        }
    }
    newer.publish(batch(vec![set(Topic::Records, 0, numbered(2, 4))])).await?;
    ensure_eq!(values(&all(&log, Topic::Records, 0).await?), texts(0..4), "records-0");
    ensure_eq!(values(&all(&log, Topic::Postings, 1).await?), texts(0..0), "postings-1");
    Ok(())
}

/// While one publishes, another opens the name: from then on nothing of the former appears, and
/// what it was told has happened has. What was in flight just then it may not be told of: brokers
/// answer with errors of their own where the two meet.
pub async fn a_publish_in_flight_has_happened_or_never_does<S: Subject>(
    subject: &S,
) -> Result<(), Broken> {
    const PUBLISHES_MAX: usize = 10_000;
    for _ in 0..10 {
        let log = subject.log().await;
        let mut former = log.writer("shard-0").await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            for number in 0..PUBLISHES_MAX {
                let one = numbered(number, number + 1);
                let sets = vec![set(Topic::Records, 0, one.clone()), set(Topic::Postings, 0, one)];
                match former.publish(batch(sets)).await {
                    Ok(()) => tokio::task::yield_now().await,
                    Err(Error::Fenced { .. } | Error::Indefinite { .. }) => return Ok(number),
                    Err(error) => return Err(Broken::from(error)),
                }
            }
            Err(Broken(format!("expected to be fenced, published {PUBLISHES_MAX} times")))
        });
        while log.end(Topic::Records, 0).await? < 3 {
            tokio::task::yield_now().await;
        }
        let _newer = log.writer("shard-0").await?;
        let at_opening = values(&all(&log, Topic::Records, 0).await?);
        let Some(published) = tasks.join_next().await else { continue };
        let published = published.map_err(|panic| Broken(panic.to_string()))??;
        ensure!(
            published <= at_opening.len(),
            "the former writer published {published}, at the opening there were {}",
            at_opening.len()
        );
        ensure_eq!(values(&all(&log, Topic::Records, 0).await?), at_opening, "records-0");
        ensure_eq!(values(&all(&log, Topic::Postings, 0).await?), at_opening, "postings-0");
    }
    Ok(())
}

/// Names don't fence each other.
pub async fn writers_of_other_names_are_not_fenced<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut first = log.writer("shard-1").await?;
    let mut second = log.writer("shard-10").await?;
    first.publish(batch(vec![set(Topic::Records, 0, numbered(0, 1))])).await?;
    second.publish(batch(vec![set(Topic::Records, 0, numbered(1, 2))])).await?;
    first.publish(batch(vec![set(Topic::Records, 0, numbered(2, 3))])).await?;
    ensure_eq!(values(&all(&log, Topic::Records, 0).await?), texts(0..3), "records-0");
    Ok(())
}
