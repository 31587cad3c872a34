//! Rules of reading.

use std::time::Duration;

use schemas::Topic;
use tokio::time::timeout;

use super::{Broken, Subject, all, ensure, ensure_eq, fill, texts, values};
use crate::{Error, Log};

/// A read gives the offsets asked for, stops at its size, and gives at least one message.
pub async fn a_read_keeps_to_its_range_and_size<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 1, 100).await?;
    let found = log.read(Topic::Records, 1, 20..30, 1 << 20).await?;
    ensure_eq!(values(&found), texts(20..30), "20..30");
    let found = log.read(Topic::Records, 1, 90..500, 1 << 20).await?;
    ensure_eq!(values(&found), texts(90..100), "90..500");
    let found = log.read(Topic::Records, 1, 10..90, 0).await?;
    ensure_eq!(values(&found), texts(10..11), "at least one");
    // An id, a key and a value of two bytes each.
    let found = log.read(Topic::Records, 1, 10..90, 20).await?;
    ensure!(!found.is_empty() && found.len() < 20, "expected 20 bytes, found {}", found.len());
    ensure_eq!(values(&found), texts(10..10 + found.len()), "20 bytes");
    let found = log.read(Topic::Records, 1, 50..50, 1 << 20).await?;
    ensure!(found.is_empty(), "an empty range gave {} messages", found.len());
    let found = log.read(Topic::Records, 1, 100..200, 1 << 20).await?;
    ensure!(found.is_empty(), "at the end there were {} messages", found.len());
    Ok(())
}

/// A read may be given up at any moment: whoever reads from there next gets all of it.
pub async fn a_read_that_is_given_up_takes_nothing<S: Subject>(subject: &S) -> Result<(), Broken> {
    const COUNT: usize = 3_000;
    let log = subject.log().await;
    fill(&log, 1, COUNT).await?;
    // Where somebody has read up to, so that the next read is one that goes on.
    let before = log.read(Topic::Records, 1, 0..1_000, 1 << 20).await?;
    let from = before.last().map_or(0, |last| last.offset + 1);
    for tenths in 0..30 {
        let patience = Duration::from_micros(tenths * 100);
        let _ = timeout(patience, log.read(Topic::Records, 1, from..i64::MAX, 1 << 20)).await;
    }
    let mut found = Vec::new();
    crate::read_all(&log, Topic::Records, 1, from, |message| {
        found.push(message);
        Ok::<(), Error>(())
    })
    .await?;
    ensure_eq!(values(&found), texts(before.len()..COUNT), "after reads that were given up");
    Ok(())
}

/// A read that begins outside the log is an error with the log's range.
pub async fn a_read_outside_the_log_is_an_error<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 1, 5).await?;
    let end = log.end(Topic::Records, 1).await?;
    for from in [-1, end + 1, i64::MAX] {
        match log.read(Topic::Records, 1, from..i64::MAX, 1 << 20).await {
            Err(Error::Outside { topic, partition, offset, end: found, .. }) => {
                let found = (topic, partition, offset, found);
                ensure_eq!(found, (Topic::Records, 1, from, end), "what the error says");
            }
            other => return Err(Broken(format!("expected outside from {from}, found {other:?}"))),
        }
    }
    Ok(())
}

/// `read_all` gives everything from where it is told.
pub async fn all_of_a_partition_is_read<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    for _ in 0..3 {
        fill(&log, 0, 10).await?;
    }
    let found = all(&log, Topic::Records, 0).await?;
    ensure_eq!(found.len(), 30, "messages");
    let mut count = 0;
    let from = found.get(25).map_or(0, |it| it.offset);
    let end = crate::read_all(&log, Topic::Records, 0, from, |_| {
        count += 1;
        Ok::<(), Error>(())
    });
    ensure_eq!(end.await?, log.end(Topic::Records, 0).await?, "end");
    ensure_eq!(count, 5, "messages from the 25th on");
    Ok(())
}
