//! Rules of compacted topics.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemas::Topic;

use super::{Broken, Subject, all, batch, ensure, ensure_eq, header, message, numbered};
use super::{set, texts, values};
use crate::{Log, Message, Received, Writer};

/// The newest message of each key, under its key.
fn newest(messages: &[Received]) -> BTreeMap<Bytes, Received> {
    messages.iter().map(|message| (message.key.clone(), message.clone())).collect()
}

/// Whatever is removed, the newest message of each key stays, under its offset and with its
/// headers, and later ones can be published and read.
pub async fn the_newest_of_a_key_stays<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    for round in 0..50 {
        let mut messages = set(Topic::Files, 1, numbered(round * 9, round * 9 + 9));
        messages.headers = [header("round", round.to_string().as_bytes())].into();
        let once = vec![message("once", &format!("once-{round}"), "kept")];
        writer.publish(batch(vec![messages, set(Topic::Files, 1, once)])).await?;
    }
    let before = all(&log, Topic::Files, 1).await?;
    ensure_eq!(before.len(), 500, "messages before");
    let end = log.end(Topic::Files, 1).await?;
    subject.compact(&log).await;
    let after = all(&log, Topic::Files, 1).await?;
    ensure_eq!(newest(&after), newest(&before), "the newest");
    ensure!(
        after.iter().all(|it| before.iter().any(|old| old == it)),
        "something was there after that had not been there before"
    );
    ensure!(after.windows(2).all(|it| it[0].offset < it[1].offset), "offsets don't ascend");
    ensure_eq!(log.end(Topic::Files, 1).await?, end, "end");

    writer.publish(batch(vec![set(Topic::Files, 1, numbered(3, 5))])).await?;
    subject.compact(&log).await;
    let later = all(&log, Topic::Files, 1).await?;
    let newest_two = later.iter().skip(later.len().saturating_sub(2)).cloned();
    ensure_eq!(values(&newest_two.collect::<Vec<_>>()), texts(3..5), "published after");
    // Each offset can be read from, whether its message is still there or not.
    for from in 0..=end {
        let found = log.read(Topic::Files, 1, from..end, 1).await?;
        let expected = later.iter().find(|it| it.offset >= from && it.offset < end);
        ensure_eq!(found.first(), expected, "the first from {from}");
    }
    Ok(())
}

/// A message without a value removes its key: an older one never comes back.
pub async fn a_removed_key_stays_removed<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    writer.publish(batch(vec![set(Topic::Arrivals, 0, numbered(0, 14))])).await?;
    let key = Bytes::from_static(b"k3");
    let removal = Message { id: Bytes::from_static(b"r"), key: key.clone(), value: None };
    writer.publish(batch(vec![set(Topic::Arrivals, 0, vec![removal])])).await?;
    for _ in 0..2 {
        subject.compact(&log).await;
        let mut found = newest(&all(&log, Topic::Arrivals, 0).await?);
        let removed = found.remove(&key).and_then(|it| it.value);
        ensure_eq!(removed, None, "the value of the removed key");
        ensure_eq!(found.len(), 6, "other keys");
    }
    Ok(())
}

/// Topics that are not compacted keep all messages of a key.
pub async fn other_topics_keep_everything<S: Subject>(subject: &S) -> Result<(), Broken> {
    let log = subject.log().await;
    let mut writer = log.writer("w").await?;
    for topic in [Topic::Commands, Topic::Records, Topic::Rejects, Topic::Postings] {
        writer.publish(batch(vec![set(topic, 0, numbered(0, 50))])).await?;
        subject.compact(&log).await;
        ensure_eq!(values(&all(&log, topic, 0).await?), texts(0..50), "{topic}");
    }
    Ok(())
}
