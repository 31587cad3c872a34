//! Two processes publish to one log, its owner and another beside it. One of them is killed, or
//! both, again and again, and the log is looked at after each time.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]
#![expect(clippy::print_stdout, reason = "how the children tell what they were told")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;
use topic::embedded::{Beside, EmbeddedLog};
use topic::{
    Assignment, Batch, Change, Consumed, Error, Layout, Log, Message, MessageSet, PartitionReader,
    Subscription, Writer, read_all,
};

/// Where a child finds its log, and what it is. A process without them is the parent.
const LOG: &str = "TOPIC_BESIDE_LOG";
const ROLE: &str = "TOPIC_BESIDE_ROLE";

const TEST: &str = "two_processes_publish_at_once_and_are_killed";

const SHARDS: u32 = 2;
const ROUNDS: usize = 15;

/// How many more publishes each child must have been told of before one is killed: few and many.
const LINES: [i64; 4] = [1, 4, 10, 20];

fn layout() -> Layout {
    Layout::new(1, 1, SHARDS)
}

/// Offsets are dense; each publish of either is there whole, once, in order; what either was told
/// is published is there. And the owner's group, which answers each letter that came from beside
/// together with its position, has answered each once, in order: nothing was hidden from it, and
/// no position was lost.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_publish_at_once_and_are_killed() {
    #[expect(clippy::disallowed_methods, reason = "how the child learns that it is one")]
    let told = (std::env::var(LOG), std::env::var(ROLE));
    if let (Ok(path), Ok(role)) = told {
        match role.as_str() {
            "owner" => own(Path::new(&path)).await,
            _ => publish_beside(Path::new(&path)).await,
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    EmbeddedLog::open(&path, layout()).unwrap().close().await;
    let mut owner = Player::start(&path, "owner");
    let mut beside = Player::start(&path, "beside");
    for round in 0..ROUNDS {
        let lines = LINES[round % LINES.len()];
        owner.wait_for(lines);
        beside.wait_for(lines);
        if round % 3 != 1 {
            owner.kill();
        }
        if round % 3 != 0 {
            beside.kill();
        }
        let found = Found::read(&path).await;
        for (publisher, player) in [("owner", &owner), ("beside", &beside)] {
            let (told, found) = (player.told, found.counts(publisher));
            assert!(found.iter().all(|&it| it > told), "{publisher}: {found:?}, told {told}");
            let is_whole = found.iter().all(|it| *it == found[0]);
            // Who still lives may be between two looks of ours.
            assert!(is_whole || player.child.is_some(), "half a publish is there: {found:?}");
        }
        owner.go_on(&path);
        beside.go_on(&path);
    }
    owner.kill();
    beside.kill();
    let letters = Found::read(&path).await.counts("beside")[0];
    assert!(letters > 50, "{letters} letters");
    owner.go_on(&path);
    while owner.answered + 1 < letters {
        owner.read_line();
    }
    owner.kill();
    let found = Found::read(&path).await;
    assert_eq!(found.answers, (0..letters).collect::<Vec<_>>(), "each letter is answered once");
    println!("{ROUNDS} kills, {} publishes, {letters} letters", found.counts("owner")[0]);
}

/// A process of ours, and what it said.
struct Player {
    role: &'static str,
    child: Option<(Child, BufReader<ChildStdout>)>,
    /// The last publish that it was told is published.
    told: i64,
    /// The last letter that it answered.
    answered: i64,
}

impl Player {
    fn start(path: &Path, role: &'static str) -> Self {
        let mut player = Self { role, child: None, told: -1, answered: -1 };
        player.go_on(path);
        player
    }

    fn go_on(&mut self, path: &Path) {
        if self.child.is_some() {
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(LOG, path)
            .env(ROLE, self.role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.child = Some((child, output));
    }

    fn wait_for(&mut self, lines: i64) {
        let until = self.told + lines;
        while self.told < until {
            self.read_line();
        }
    }

    fn read_line(&mut self) {
        let (_, output) = self.child.as_mut().unwrap();
        let mut line = String::new();
        let count = output.read_line(&mut line).unwrap();
        assert_ne!(count, 0, "the {} ended", self.role);
        self.take_note(&line);
    }

    /// A last line that is cut says nothing.
    fn take_note(&mut self, line: &str) {
        let Some(line) = line.strip_suffix('\n') else { return };
        if let Some((_, number)) = line.split_once("published ") {
            self.told = number.parse().unwrap();
        }
        if let Some((_, number)) = line.split_once("answered ") {
            self.answered = number.parse().unwrap();
        }
    }

    fn kill(&mut self) {
        let Some((mut child, mut output)) = self.child.take() else { return };
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        rest.split_inclusive('\n').for_each(|line| self.take_note(line));
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.child {
            let _ = child.kill();
        }
    }
}

/// What is in the log.
struct Found {
    /// For each place that both publish to, how many publishes of whom are there.
    counts: Vec<BTreeMap<String, i64>>,
    answers: Vec<i64>,
}

impl Found {
    /// Checks that offsets are dense, and that the publishes of each are there once, in order.
    async fn read(path: &Path) -> Self {
        let log = EmbeddedLog::open_read_only(path).unwrap();
        let mut counts = Vec::new();
        for (topic, partition) in shared() {
            let mut next: BTreeMap<String, i64> = BTreeMap::new();
            for text in texts(&log, topic, partition).await {
                let (publisher, number) = text.trim_end().split_once(' ').unwrap();
                let expected = next.entry(publisher.to_owned()).or_default();
                assert_eq!(number.parse(), Ok(*expected), "of {publisher} in {topic} {partition}");
                *expected += 1;
            }
            counts.push(next);
        }
        let answers = texts(&log, Topic::Postings, 0).await;
        Self { counts, answers: answers.iter().map(|it| it.parse().unwrap()).collect() }
    }

    fn counts(&self, publisher: &str) -> Vec<i64> {
        self.counts.iter().map(|it| it.get(publisher).copied().unwrap_or(0)).collect()
    }
}

/// The places that both publish to.
fn shared() -> impl Iterator<Item = (Topic, u32)> {
    let shards = (0..SHARDS).map(|shard| (Topic::Records, shard));
    std::iter::once((Topic::Commands, 0)).chain(shards)
}

async fn texts(log: &EmbeddedLog, topic: Topic, partition: u32) -> Vec<String> {
    let mut found = Vec::new();
    let end = read_all(log, topic, partition, 0, |message| {
        assert_eq!(message.offset, found.len() as i64, "offsets of {topic} {partition} are dense");
        found.push(String::from_utf8(message.value.unwrap().to_vec()).unwrap());
        Ok::<(), Error>(())
    });
    assert_eq!(end.await.unwrap(), found.len() as i64);
    found
}

/// One publish: the same message for each place. Of several pages, so that there is a middle to be
/// killed in.
fn publish(publisher: &str, number: i64) -> Vec<MessageSet> {
    let text = format!("{publisher} {number}{}", " ".repeat(number as usize % 7 * 1000));
    shared().map(|(topic, partition)| set(topic, partition, text.clone())).collect()
}

fn set(topic: Topic, partition: u32, text: String) -> MessageSet {
    let (id, key) = (Bytes::from_static(b"id"), Bytes::from_static(b"key"));
    let messages = vec![Message { id, key, value: Some(text.into()) }];
    MessageSet { topic, partition, headers: Arc::from([]), messages }
}

/// The child beside: publishes numbered letters from where it was.
async fn publish_beside(path: &Path) {
    let beside = Beside::open(path).unwrap();
    let first = Found::read(path).await.counts("beside")[0];
    for number in first.. {
        beside.publish(publish("beside", number)).await.unwrap();
        println!("published {number}");
    }
}

/// The child that owns the log: publishes by itself, and answers each letter.
async fn own(path: &Path) {
    let log = EmbeddedLog::open(path, layout()).unwrap();
    let first = Found::read(path).await.counts("owner")[0];
    let mut member = log.subscribe("crash", Topic::Commands).await.unwrap();
    let Change::Assigned(mut assignments) = member.next().await.unwrap() else { return };
    let assignment = assignments.remove(0);
    let mut writer = log.writer("owner").await.unwrap();
    let publish_on = async {
        for number in first.. {
            let batch = Batch { sets: publish("owner", number), consumed: None };
            writer.publish(batch).await.unwrap();
            println!("published {number}");
        }
    };
    tokio::join!(publish_on, answer(&log, assignment));
}

async fn answer<R: PartitionReader>(log: &EmbeddedLog, assignment: Assignment<R>) {
    let Assignment { membership, mut messages, .. } = assignment;
    let mut writer = log.writer("answers").await.unwrap();
    loop {
        for message in messages.next().await.unwrap() {
            let text = String::from_utf8(message.value.unwrap().to_vec()).unwrap();
            let Some(("beside", number)) = text.trim_end().split_once(' ') else { continue };
            let sets = vec![set(Topic::Postings, 0, number.to_owned())];
            let positions = vec![(Topic::Commands, 0, message.offset + 1)];
            let consumed = Some(Consumed { membership: membership.clone(), positions });
            writer.publish(Batch { sets, consumed }).await.unwrap();
            println!("answered {number}");
        }
    }
}

/// An owner that is idle learns of a letter, and so do those who wait for one.
#[tokio::test]
async fn who_waits_is_woken_by_a_letter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let log = EmbeddedLog::open(&path, layout()).unwrap();
    let mut member = log.subscribe("g", Topic::Commands).await.unwrap();
    let Change::Assigned(mut assigned) = member.next().await.unwrap() else { panic!("revoked") };
    let beside = Beside::open(&path).unwrap();
    for number in 0..3 {
        let publish = beside.publish(vec![set(Topic::Commands, 0, number.to_string())]);
        let (found, published) = tokio::join!(assigned[0].messages.next(), publish);
        published.unwrap();
        assert_eq!(found.unwrap()[0].value.as_deref(), Some(number.to_string().as_bytes()));
        assert_eq!(log.end(Topic::Commands, 0).await.unwrap(), number + 1);
    }
    // The state of an owner is its own.
    for topic in [Topic::Arrivals, Topic::Files, Topic::Rejects, Topic::Postings] {
        let refused = beside.publish(vec![set(topic, 0, String::new())]).await;
        assert!(matches!(refused, Err(Error::Fatal { .. })), "{topic}: {refused:?}");
    }
    assert!(matches!(Beside::open(directory.path().join("none")), Err(Error::Fatal { .. })));
}

/// Without the fences, and only then, a former writer and a former owner publish on.
#[tokio::test]
async fn an_unfenced_log_fences_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let former = EmbeddedLog::open_unfenced(&path, layout()).unwrap();
    let mut first = former.writer("w").await.unwrap();
    let mut second = former.writer("w").await.unwrap();
    let newer = EmbeddedLog::open_unfenced(&path, layout()).unwrap();
    let mut third = newer.writer("w").await.unwrap();
    let batch = |number: &str| {
        let sets = vec![set(Topic::Records, 0, number.to_owned())];
        Batch { sets, consumed: None }
    };
    first.publish(batch("0")).await.unwrap();
    second.publish(batch("1")).await.unwrap();
    third.publish(batch("2")).await.unwrap();
    first.publish(batch("3")).await.unwrap();
    // Each of the two would see the last one of the other a little later.
    let log = EmbeddedLog::open_read_only(&path).unwrap();
    assert_eq!(texts(&log, Topic::Records, 0).await, ["0", "1", "2", "3"]);
}
