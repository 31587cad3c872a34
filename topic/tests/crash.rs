//! A process that publishes is killed, again and again, and its log looked at after each time.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]
#![expect(clippy::print_stdout, reason = "how the child tells what it was told")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;
use tokio::task::JoinSet;
use topic::embedded::EmbeddedLog;
use topic::{
    Batch, Change, Consumed, Error, Layout, Log, Message, MessageSet, Subscription, Writer,
    read_all,
};

/// Where the child finds its log. A process without it is the parent.
const LOG: &str = "TOPIC_CRASH_LOG";

/// Writers, and partitions: each batch of a writer has a message for each partition.
const WRITERS: u32 = 3;

const KILLS: usize = 20;

/// Each batch is there on all partitions, once, with its position, or on none; what the child was
/// told is published is there; and it goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_whole_publishes_and_all_that_it_was_told() {
    #[expect(clippy::disallowed_methods, reason = "how the child learns that it is one")]
    let child_log = std::env::var(LOG);
    if let Ok(path) = child_log {
        publish_until_killed(Path::new(&path)).await;
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let mut acknowledged = vec![0; WRITERS as usize];
    let mut published = vec![0; WRITERS as usize];
    for round in 0..KILLS {
        // Also right at the start, while the log is being opened and recovered.
        let lines = round * 37 % 150;
        run_and_kill(&path, lines, &mut acknowledged);
        let log = EmbeddedLog::open(&path, layout()).unwrap();
        let found = batches(&log).await;
        for writer in 0..WRITERS as usize {
            let (told, before) = (acknowledged[writer], published[writer]);
            assert!(found[writer] >= told, "writer {writer}: {found:?}, it was told {told}");
            assert!(found[writer] >= before, "writer {writer}: {found:?}, there were {before}");
        }
        published = found;
        log.close().await;
    }
    assert!(published.iter().all(|&count| count > 100), "{published:?}");
}

/// Starts the child, kills it once it has acknowledged so many batches, and takes note of all that
/// it had acknowledged by then.
fn run_and_kill(path: &Path, lines: usize, acknowledged: &mut [i64]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_whole_publishes_and_all_that_it_was_told"])
        .arg("--nocapture")
        .env(LOG, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while text.lines().count() < lines {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "the child ended: {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    // A last line that is cut is not taken for an acknowledgement.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        if let Some((_, told)) = line.split_once("acknowledged ") {
            let (writer, batch) = told.trim_end().split_once(' ').unwrap();
            let count = &mut acknowledged[writer.parse::<usize>().unwrap()];
            *count = batch.parse::<i64>().unwrap() + 1;
        }
    }
}

fn layout() -> Layout {
    Layout::new(1, 1, WRITERS)
}

/// How many batches of each writer are in the log.
async fn batches(log: &EmbeddedLog) -> Vec<i64> {
    let mut counts = vec![Vec::new(); WRITERS as usize];
    for partition in 0..WRITERS {
        let mut next = vec![0_i64; WRITERS as usize];
        read_all(log, Topic::Records, partition, 0, |message| {
            let text = String::from_utf8(message.value.unwrap().to_vec()).unwrap();
            let (writer, batch) = text.trim_end().split_once(' ').unwrap();
            let expected = &mut next[writer.parse::<usize>().unwrap()];
            assert_eq!(batch.parse::<i64>().unwrap(), *expected, "in partition {partition}");
            *expected += 1;
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        for (counts, next) in counts.iter_mut().zip(next) {
            counts.push(next);
        }
    }
    let positions = log.committed("crash", Topic::Records).await.unwrap();
    let mut found = Vec::new();
    for (counts, position) in counts.into_iter().zip(positions) {
        assert!(counts.iter().all(|&it| it == counts[0]), "half a batch is there: {counts:?}");
        assert_eq!(position.map_or(0, |it| it + 1), counts[0], "the position of the last batch");
        found.push(counts[0]);
    }
    found
}

/// The child: each writer publishes numbered batches from where it was, and says when one is
/// published. Batch n comes with the position n.
async fn publish_until_killed(path: &Path) {
    let log = EmbeddedLog::open(path, layout()).unwrap();
    let next = batches(&log).await;
    let mut member = log.subscribe("crash", Topic::Records).await.unwrap();
    let Change::Assigned(assignments) = member.next().await.unwrap() else { return };
    let mut tasks = JoinSet::new();
    for (assignment, first) in assignments.into_iter().zip(next) {
        let name = assignment.partition;
        let mut writer = log.writer(&name.to_string()).await.unwrap();
        tasks.spawn(async move {
            for number in first.. {
                let positions = vec![(Topic::Records, name, number)];
                let consumed = Consumed { membership: assignment.membership.clone(), positions };
                // Of several pages, so that there is a middle to be killed in.
                let text = format!("{name} {number}{}", " ".repeat(number as usize % 7 * 1000));
                let sets = (0..WRITERS).map(|partition| set(partition, text.clone())).collect();
                writer.publish(Batch { sets, consumed: Some(consumed) }).await.unwrap();
                println!("acknowledged {name} {number}");
            }
        });
    }
    tasks.join_all().await;
}

fn set(partition: u32, text: String) -> MessageSet {
    let (id, key) = (Bytes::from_static(b"id"), Bytes::from_static(b"key"));
    let messages = vec![Message { id, key, value: Some(text.into()) }];
    MessageSet { topic: Topic::Records, partition, headers: Arc::from([]), messages }
}
