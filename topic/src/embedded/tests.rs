use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::committer::Hook;
use super::*;
use crate::{Change, Message, MessageSet, Subscription, Writer as _, read_all};

fn layout() -> Layout {
    Layout::new(1, 2, 3)
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    (directory, path)
}

fn one(topic: Topic, partition: u32, key: &str, value: Vec<u8>) -> Batch {
    let (id, key) = (Bytes::from_static(b"id"), Bytes::copy_from_slice(key.as_bytes()));
    let messages = vec![Message { id, key, value: Some(value.into()) }];
    let headers = Arc::from([]);
    Batch { sets: vec![MessageSet { topic, partition, headers, messages }], consumed: None }
}

fn record(number: u8) -> Batch {
    one(Topic::Records, 0, "k", vec![number])
}

/// Bytes that don't compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

async fn numbers(log: &EmbeddedLog) -> Vec<u8> {
    let mut found = Vec::new();
    read_all(log, Topic::Records, 0, 0, |message| {
        found.push(message.value.unwrap()[0]);
        Ok::<(), Error>(())
    })
    .await
    .unwrap();
    found
}

fn what(error: Error) -> String {
    match error {
        Error::Fatal { what, .. } => what,
        other => panic!("expected a fatal error, found {other:?}"),
    }
}

async fn hook(log: &EmbeddedLog, run: impl FnOnce(&Connection) + Send + 'static) {
    log.owner().unwrap().queue.send(Request::Do(Hook(Box::new(run)))).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    log.writer("w").await.unwrap().publish(record(1)).await.unwrap();
    let mut member = log.subscribe("g", Topic::Records).await.unwrap();
    let Change::Assigned(assigned) = member.next().await.unwrap() else { panic!("revoked") };
    let before = assigned[0].membership.clone();
    let positions = vec![(Topic::Records, 0, 1)];
    let consumed = crate::Consumed { membership: before.clone(), positions };
    let batch = Batch { consumed: Some(consumed.clone()), ..record(2) };
    log.writer("w").await.unwrap().publish(batch).await.unwrap();
    drop((member, assigned));
    log.close().await;

    let log = EmbeddedLog::open(&path, layout()).unwrap();
    assert_eq!(numbers(&log).await, [1, 2]);
    assert_eq!(log.committed("g", Topic::Records).await.unwrap(), [Some(1), None, None]);
    let mut member = log.subscribe("g", Topic::Records).await.unwrap();
    let Change::Assigned(assigned) = member.next().await.unwrap() else { panic!("revoked") };
    assert!(assigned[0].membership.generation > before.generation);
    assert!(assigned[0].membership.member > before.member);
    // The membership of the time before the restart is past.
    let batch = Batch { consumed: Some(consumed), ..record(3) };
    let refused = log.writer("w").await.unwrap().publish(batch).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(numbers(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_full_disk_is_a_retry_and_then_goes_on() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    writer.publish(record(1)).await.unwrap();
    hook(&log, |connection| {
        let pages: i64 = connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages + 4).unwrap();
    })
    .await;
    let large = || one(Topic::Records, 0, "k", [vec![2], noise(1, 200_000)].concat());
    match writer.publish(large()).await {
        Err(Error::Retry { what, .. }) => assert!(what.contains("is full; make room"), "{what}"),
        other => panic!("expected a retry, found {other:?}"),
    }
    assert_eq!(numbers(&log).await, [1]);
    assert_eq!(log.end(Topic::Records, 0).await.unwrap(), 1);
    hook(&log, |connection| {
        connection.pragma_update(None, "max_page_count", i64::from(u32::MAX) - 1).unwrap();
    })
    .await;
    writer.publish(large()).await.unwrap();
    writer.publish(record(3)).await.unwrap();
    assert_eq!(numbers(&log).await, [1, 2, 3]);
}

/// Three publishes wait while the committer is kept busy, and are then served together: the fenced
/// one fails alone, and the others share one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_publish_fails_alone_in_its_transaction() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut fenced = log.writer("a").await.unwrap();
    let mut first = log.writer("a").await.unwrap();
    let mut second = log.writer("b").await.unwrap();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (busy, is_busy) = oneshot::channel();
    hook(&log, move |_| {
        busy.send(()).unwrap();
        wait.recv().unwrap();
    })
    .await;
    // From here on what is sent waits in the queue.
    is_busy.await.unwrap();
    let queue = log.owner().unwrap().queue.clone();
    let mut changes = log.changes().unwrap();
    let free = queue.capacity();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { (1, first.publish(record(1)).await) });
    tasks.spawn(async move { (2, fenced.publish(record(2)).await) });
    tasks.spawn(async move { (3, second.publish(record(3)).await) });
    while queue.capacity() > free - 3 {
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    while let Some(done) = tasks.join_next().await {
        let (number, outcome) = done.unwrap();
        match outcome {
            Ok(()) => assert_ne!(number, 2),
            Err(Error::Fenced { .. }) => assert_eq!(number, 2),
            Err(other) => panic!("{other}"),
        }
    }
    let mut found = numbers(&log).await;
    found.sort_unstable();
    assert_eq!(found, [1, 3]);
    changes.next().await.unwrap();
}

#[tokio::test]
async fn whoever_opens_it_later_is_its_only_writer() {
    let (_directory, path) = directory();
    let former = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = former.writer("w").await.unwrap();
    writer.publish(record(1)).await.unwrap();
    let newer = EmbeddedLog::open(&path, layout()).unwrap();
    let refused = what(writer.publish(record(2)).await.unwrap_err());
    assert!(refused.contains("another process has opened"), "{refused}");
    newer.writer("w").await.unwrap().publish(record(3)).await.unwrap();
    assert_eq!(numbers(&newer).await, [1, 3]);
}

#[tokio::test]
async fn others_read_beside_the_writer() {
    let (_directory, path) = directory();
    let missing = what(EmbeddedLog::open_read_only(&path).unwrap_err());
    assert!(missing.contains("can't be opened"), "{missing}");
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let beside = EmbeddedLog::open_read_only(&path).unwrap();
    assert_eq!(beside.layout(), layout());
    let mut changes = beside.changes().unwrap();
    for number in 1..4 {
        log.writer("w").await.unwrap().publish(record(number)).await.unwrap();
        changes.next().await.unwrap();
        assert_eq!(beside.end(Topic::Records, 0).await.unwrap(), i64::from(number));
        assert_eq!(numbers(&beside).await, (1..=number).collect::<Vec<u8>>());
    }
    assert_eq!(beside.committed("g", Topic::Records).await.unwrap(), [None; 3]);
    what(beside.writer("w").await.unwrap_err());
    what(beside.subscribe("g", Topic::Records).await.unwrap_err());
    what(beside.compact().await.unwrap_err());
    // And after the writer has gone.
    log.close().await;
    assert_eq!(numbers(&beside).await, [1, 2, 3]);
    let later = EmbeddedLog::open_read_only(&path).unwrap();
    assert_eq!(numbers(&later).await, [1, 2, 3]);
}

/// What a crash or a full disk leaves of a log that was being made: an empty database, to be made
/// anew.
#[tokio::test]
async fn a_log_that_was_only_begun_is_made_anew() {
    let (_directory, path) = directory();
    assert_eq!(EmbeddedLog::layout_in(&path).unwrap(), None);
    let begun = Connection::open(&path).unwrap();
    begun.pragma_update(None, "journal_mode", "wal").unwrap();
    drop(begun);
    assert_eq!(EmbeddedLog::layout_in(&path).unwrap(), None);
    assert!(what(EmbeddedLog::open_read_only(&path).unwrap_err()).contains("no log yet"));
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    log.writer("w").await.unwrap().publish(record(1)).await.unwrap();
    assert_eq!(EmbeddedLog::layout_in(&path).unwrap(), Some(layout()));
}

#[test]
fn another_layout_is_refused_with_both_figures() {
    let (_directory, path) = directory();
    EmbeddedLog::open(&path, layout()).unwrap();
    let refused = what(EmbeddedLog::open(&path, Layout::new(1, 2, 16)).unwrap_err());
    assert!(refused.starts_with("expected 16 partitions of records, as configured, found 3 in "));
    assert!(refused.ends_with("; configure 3, or take another data directory"), "{refused}");
    EmbeddedLog::open(&path, layout()).unwrap();
}

#[test]
fn what_is_no_log_of_ours_is_refused() {
    let (directory, path) = directory();
    let open = |path: &Path| what(EmbeddedLog::open(path, layout()).unwrap_err());
    std::fs::write(&path, noise(7, 5000)).unwrap();
    assert!(open(&path).contains("is not a log of ours, or is damaged; restore"));
    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(open(&other).contains("is a database, but not a log of ours"));
    assert!(open(directory.path()).contains("can't be opened"));
    assert!(open(&directory.path().join("none/log.db")).contains("can't be opened"));
    let newer = directory.path().join("newer.db");
    EmbeddedLog::open(&newer, layout()).unwrap();
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9).unwrap();
    assert!(open(&newer).contains("expected format 1"));
}

/// Any one byte of a batch changed, or the batch moved: reading it names topic, partition, offset.
#[tokio::test]
async fn a_damaged_batch_is_named_and_never_read() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    for number in 0..4 {
        writer.publish(record(number)).await.unwrap();
    }
    log.close().await;
    for damage in [
        "UPDATE batches SET body = CAST(substr(body, 1, 2) || 'x' || substr(body, 4) AS BLOB)
         WHERE base = 2",
        "UPDATE batches SET size = size + 1 WHERE base = 2",
        "UPDATE batches SET body = (SELECT body FROM batches WHERE base = 1) WHERE base = 2",
        "UPDATE batches SET crc = crc + 1 WHERE base = 2",
        "UPDATE batches SET next = next + 1 WHERE base = 2",
    ] {
        let copy = path.with_extension("copy");
        std::fs::copy(&path, &copy).unwrap();
        let connection = Connection::open(&copy).unwrap();
        assert_eq!(connection.execute(damage, []).unwrap(), 1, "{damage}");
        drop(connection);
        let log = EmbeddedLog::open(&copy, layout()).unwrap();
        log.read(Topic::Records, 0, 0..2, 1 << 20).await.unwrap();
        let refused = what(log.read(Topic::Records, 0, 2..3, 1 << 20).await.unwrap_err());
        assert!(
            refused
                .starts_with("the record batch at offset 2 in partition 0 of records is damaged"),
            "{refused}"
        );
        log.close().await;
        std::fs::remove_file(&copy).unwrap();
    }
}

/// A file whose pages were overwritten is refused when it is opened or read, and never panics.
#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    for number in 0..50 {
        let value = [vec![number], noise(u64::from(number), 2000)].concat();
        writer.publish(one(Topic::Records, 0, "k", value)).await.unwrap();
    }
    log.close().await;
    let whole = std::fs::read(&path).unwrap();
    let mut refusals = 0;
    for page in 0..whole.len() / 8192 {
        let mut damaged = whole.clone();
        damaged[page * 8192..][..8192].copy_from_slice(&noise(page as u64, 8192));
        std::fs::write(&path, &damaged).unwrap();
        let outcome = match EmbeddedLog::open(&path, layout()) {
            Err(error) => Err(error),
            Ok(log) => {
                let read = read_all(&log, Topic::Records, 0, 0, |_| Ok::<(), Error>(())).await;
                log.close().await;
                read.and_then(|end| if end == 50 { Ok(()) } else { Err(Error::fatal("short")) })
            }
        };
        if let Err(error) = outcome {
            what(error);
            refusals += 1;
        }
    }
    // All but those that hold nothing that a read of this partition needs.
    assert!(refusals >= 10, "{refusals} of {} pages", whole.len() / 8192);
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    writer.publish(record(1)).await.unwrap();
    let mut member = log.subscribe("g", Topic::Records).await.unwrap();
    let Change::Assigned(mut assigned) = member.next().await.unwrap() else { panic!("revoked") };
    let reader = &mut assigned[2].messages;
    let close = async {
        tokio::task::yield_now().await;
        log.close().await;
        log.close().await;
    };
    let (waiting, ()) = tokio::join!(crate::PartitionReader::next(reader), close);
    assert_eq!(what(waiting.unwrap_err()), "it was closed");
    assert_eq!(what(writer.publish(record(2)).await.unwrap_err()), "it was closed");
    assert_eq!(what(log.end(Topic::Records, 0).await.unwrap_err()), "it was closed");
}

/// What is queued when the last handle goes is committed.
#[tokio::test]
async fn dropping_the_last_handle_commits_what_is_queued() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    hook(&log, move |_| wait.recv().unwrap()).await;
    let mut publish = Box::pin(writer.publish(record(1)));
    tokio::select! {
        biased;
        _ = &mut publish => panic!("the committer was busy"),
        () = tokio::task::yield_now() => (),
    }
    drop(publish);
    // Dropped by the committer when it has ended: the thread holds it until then.
    hook(&log, move |_| drop(ended)).await;
    drop((writer, log));
    go_on.send(()).unwrap();
    end.recv().unwrap_err();
    let reopened = EmbeddedLog::open(&path, layout()).unwrap();
    assert_eq!(numbers(&reopened).await, [1]);
}

/// Rows of a few keys are published over and over: by itself the log stays within a bound.
#[tokio::test]
async fn compaction_happens_by_itself() {
    let (_directory, path) = directory();
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut writer = log.writer("w").await.unwrap();
    let reader = sql::open_to_read(&path).unwrap();
    let place = layout().place(Topic::Files, 1).unwrap();
    let mut largest = 0;
    for round in 0..2_000_u64 {
        let key = format!("k{}", round % 10);
        writer.publish(one(Topic::Files, 1, &key, noise(round, 100_000))).await.unwrap();
        let size = sql::size_bytes(&reader, place).unwrap();
        if size < largest {
            assert_eq!(log.end(Topic::Files, 1).await.unwrap(), 1 + round.cast_signed());
            return;
        }
        largest = size;
    }
    panic!("nothing was removed of {largest} bytes");
}
