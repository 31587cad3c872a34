//! Rules of groups.

use std::time::Duration;

use schemas::Topic;
use tokio::time::timeout;

use super::crew::Crew;
use super::{Broken, SHARDS, Subject, batch, ensure_eq, fill, give_way, numbered};
use super::{position, set, texts, values};
use crate::{Batch, Change, Error, Log, PartitionReader, Subscription, Writer};

/// All partitions are given out, evenly, as members come and go.
pub async fn a_group_shares_out_partitions<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut crew = Crew::new("share");
    for _ in 0..3 {
        crew.join(&log).await?;
        crew.settle(SHARDS).await?;
    }
    crew.members.remove(0);
    crew.settle(SHARDS).await?;
    crew.members.remove(0);
    crew.settle(SHARDS).await?;
    Ok(())
}

/// A partition stays at its member until that one says that its work has ended; until then it may
/// publish the partition's position.
pub async fn a_revocation_waits_for_its_acknowledgement<S: Subject>(
    subject: &S,
) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 3, 5).await?;
    let mut first = Crew::new("wait");
    first.join(&log).await?;
    first.settle(SHARDS).await?;
    let mut seat = first.members.remove(0);
    let mut second = log.subscribe("wait", Topic::Records).await?;
    // Both are asked: some logs tell nobody anything unless all members take part.
    let revocation = loop {
        tokio::select! {
            change = seat.subscription.next() => match change? {
                Change::Revoked(revocation) => break revocation,
                Change::Assigned(_) => (),
            },
            change = second.next() => {
                let found = name(&change?);
                return Err(Broken(format!("expected a revocation first, found {found}")));
            }
        }
    };
    let moved = revocation.partitions.clone();
    let mut waiting = Box::pin(second.next());
    tokio::select! {
        biased;
        change = &mut waiting => {
            return Err(Broken(format!("expected it to wait, found {}", name(&change?))));
        }
        () = give_way() => (),
    }
    let mut writer = log.writer("w").await?;
    for partition in &moved {
        let Some((membership, _)) = seat.held.get(partition) else {
            return Err(Broken(format!("partition {partition} was revoked but never given")));
        };
        let end = log.end(Topic::Records, *partition).await?;
        let consumed = Some(position(membership, *partition, end));
        writer.publish(Batch { sets: Vec::new(), consumed }).await?;
    }
    revocation.acknowledge();
    loop {
        tokio::select! {
            _ = seat.subscription.next() => (),
            change = &mut waiting => {
                let Change::Assigned(assignments) = change? else {
                    return Err(Broken("expected an assignment".to_owned()));
                };
                let given: Vec<u32> = assignments.iter().map(|it| it.partition).collect();
                ensure_eq!(given, moved, "given to the second");
                return Ok(());
            }
        }
    }
}

fn name<R>(change: &Change<R>) -> &'static str {
    match change {
        Change::Assigned(_) => "an assignment",
        Change::Revoked(_) => "a revocation",
    }
}

/// A member that is dropped leaves, whatever it had not acknowledged.
pub async fn who_is_dropped_leaves<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut crew = Crew::new("drop");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let mut first = crew.members.remove(0);
    crew.join(&log).await?;
    let revocation = loop {
        match first.subscription.next().await? {
            Change::Revoked(revocation) => break revocation,
            Change::Assigned(_) => (),
        }
    };
    drop(first);
    crew.settle(SHARDS).await?;
    // Said too late, it must do no harm.
    revocation.acknowledge();
    give_way().await;
    let (membership, _) = crew.take(0)?;
    let consumed = Some(position(&membership, 0, 0));
    log.writer("w").await?.publish(Batch { sets: Vec::new(), consumed }).await?;
    Ok(())
}

/// Who gets a partition begins at the group's position: what was committed doesn't come again, what
/// was read but not committed does.
pub async fn a_group_resumes_at_its_position<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 2, 10).await?;
    let mut writer = log.writer("w").await?;
    let mut crew = Crew::new("resume");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (membership, mut messages) = crew.take(2)?;
    let read = messages.next().await?;
    ensure_eq!(
        read.first().map(|it| it.offset),
        Some(0),
        "where a group without a position begins"
    );
    let out = vec![set(Topic::Postings, 2, numbered(0, 4))];
    let consumed = Some(position(&membership, 2, 4));
    writer.publish(Batch { sets: out, consumed }).await?;
    drop((messages, crew));

    let mut crew = Crew::new("resume");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (_, mut messages) = crew.take(2)?;
    ensure_eq!(read_values(&mut messages, 6).await?, texts(4..10), "after the position");
    messages.seek(7).await?;
    ensure_eq!(read_values(&mut messages, 3).await?, texts(7..10), "after a seek");
    let (_, mut messages) = crew.take(1)?;
    fill(&log, 1, 1).await?;
    ensure_eq!(read_values(&mut messages, 1).await?, texts(0..1), "without a position");
    Ok(())
}

/// Reads until there are so many.
async fn read_values(
    messages: &mut impl PartitionReader,
    count: usize,
) -> Result<Vec<String>, Broken> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(values(&messages.next().await?));
    }
    Ok(found)
}

/// Each group gets everything, and has positions of its own.
pub async fn groups_do_not_disturb_each_other<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 0, 4).await?;
    let mut one = Crew::new("one");
    let mut other = Crew::new("other");
    one.join(&log).await?;
    one.settle(SHARDS).await?;
    other.join(&log).await?;
    other.settle(SHARDS).await?;
    let (membership, _messages) = one.take(0)?;
    let consumed = Some(position(&membership, 0, 3));
    log.writer("w").await?.publish(Batch { sets: Vec::new(), consumed }).await?;
    let (_, mut messages) = other.take(0)?;
    ensure_eq!(read_values(&mut messages, 4).await?, texts(0..4), "of the other group");
    let committed = log.committed("other", Topic::Records).await?;
    ensure_eq!(committed, [None; SHARDS as usize], "positions of the other group");
    Ok(())
}

/// A reader at the end waits, and goes on with what is published then.
pub async fn a_reader_waits_and_wakes<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut crew = Crew::new("wake");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (_, mut messages) = crew.take(1)?;
    let mut writer = log.writer("w").await?;
    for number in 0..50 {
        let publish = async {
            // The reader is asked first, and finds nothing.
            give_way().await;
            let it = numbered(number, number + 1);
            // Messages of another partition must not be taken for its own.
            writer.publish(batch(vec![set(Topic::Records, 0, it.clone())])).await?;
            writer.publish(batch(vec![set(Topic::Records, 1, it)])).await
        };
        let (found, published) = tokio::join!(messages.next(), publish);
        published?;
        ensure_eq!(values(&found?), texts(number..number + 1), "round {number}");
    }
    Ok(())
}

/// Seeking outside the log is an error that moves nothing.
pub async fn a_seek_outside_the_log_is_an_error<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 1, 5).await?;
    let mut crew = Crew::new("seek");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (_, mut messages) = crew.take(1)?;
    messages.seek(2).await?;
    let end = log.end(Topic::Records, 1).await?;
    for offset in [-1, end + 1] {
        match messages.seek(offset).await {
            Err(Error::Outside { offset: found, .. }) => ensure_eq!(found, offset, "offset"),
            other => return Err(Broken(format!("expected outside at {offset}, found {other:?}"))),
        }
    }
    ensure_eq!(read_values(&mut messages, 3).await?, texts(2..5), "after the refused seeks");
    Ok(())
}

/// Positions of a membership that is past are fenced, and nothing of their batch appears.
pub async fn a_past_membership_is_fenced<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    fill(&log, 0, 5).await?;
    let mut crew = Crew::new("past");
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (past, _messages) = crew.take(0)?;
    crew.members.clear();
    crew.join(&log).await?;
    crew.settle(SHARDS).await?;
    let (current, _messages) = crew.take(0)?;

    // Only the membership is at fault: the writer is the newest of its name.
    let mut writer = log.writer("w").await?;
    let sets = vec![set(Topic::Postings, 0, numbered(0, 2))];
    let consumed = Some(position(&past, 0, 4));
    match writer.publish(Batch { sets: sets.clone(), consumed }).await {
        Err(Error::Fenced { .. }) => (),
        other => return Err(Broken(format!("expected fenced, found {other:?}"))),
    }
    ensure_eq!(log.end(Topic::Postings, 0).await?, 0, "end of postings-0");
    let committed = log.committed("past", Topic::Records).await?;
    ensure_eq!(committed.first(), Some(&None), "position");

    let mut writer = log.writer("w").await?;
    let consumed = Some(position(&current, 0, 4));
    writer.publish(Batch { sets, consumed }).await?;
    let committed = log.committed("past", Topic::Records).await?;
    ensure_eq!(committed.first(), Some(&Some(4)), "position");
    Ok(())
}

/// Waiting for a change, or for messages, may be given up at any moment, and nothing is lost.
pub async fn waiting_can_be_cancelled<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut subscription = log.subscribe("cancel", Topic::Records).await?;
    // From 0: the first wait is given up as soon as it is known to be one.
    let mut waits = 0;
    let mut held = Vec::new();
    while held.len() < SHARDS as usize {
        let change = timeout(patience(waits), subscription.next()).await;
        waits += 1;
        if let Ok(change) = change
            && let Change::Assigned(assignments) = change?
        {
            held.extend(assignments);
        }
    }
    held.sort_by_key(|assignment| assignment.partition);
    let mut messages = held.swap_remove(0).messages;
    fill(&log, 0, 100).await?;
    let mut found = Vec::new();
    while found.len() < 100 {
        waits += 1;
        if let Ok(read) = timeout(patience(waits), messages.next()).await {
            found.extend(values(&read?));
        }
    }
    ensure_eq!(found, texts(0..100), "what was read");
    Ok(())
}

/// How long to wait this time: often not at all.
fn patience(waits: u64) -> Duration {
    Duration::from_millis(waits % 5)
}
