//! Who is overtaken is fenced, whichever process it is in.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use schemas::Topic;
use topic::conformance::layout;
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;
use topic::{Assignment, Batch, Change, Consumed, Error, Log, ReaderOf, Subscription, Writer};

use crate::cluster::{Ledger, batch, numbered, settings_of, values};

/// A second process opens the name while the first has a publish in hand: the first is fenced, then
/// and for ever, and nothing of it is there.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_fences_the_writer_of_a_name() {
    let ledger = Ledger::create(layout(), &Policy::default()).await;
    let (first, second) = (ledger.open().await, ledger.open().await);
    let mut former = first.writer("shard-0").await.unwrap();
    former.publish(batch(0, numbered(0..5))).await.unwrap();
    let mut newer = second.writer("shard-0").await.unwrap();
    for _ in 0..3 {
        let refused = former.publish(batch(0, numbered(90..95))).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    }
    newer.publish(batch(0, numbered(5..9))).await.unwrap();
    assert_eq!(values(&first, 0).await, (0..9).collect::<Vec<_>>());
    ledger.delete().await;
}

/// A process that stood still for longer than its session wakes up, and goes on where it was: it is
/// told that it is fenced, by its group and as a writer, and nothing of it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_wakes_up_is_fenced() {
    let mut ledger = Ledger::create(layout(), &Policy::default()).await;
    // The shortest that brokers allow.
    ledger.settings.session_timeout = Duration::from_secs(6);
    let mut sleeper = Sleeper::start(&ledger);
    sleeper.hear("published");
    sleeper.signal("STOP");

    let log = ledger.open().await;
    let mut subscription = log.subscribe("sleepers", Topic::Records).await.unwrap();
    let mut held = given(&mut subscription, 4).await;
    let mine = held.swap_remove(0);
    let committed = log.committed("sleepers", Topic::Records).await.unwrap();
    let mut writer = log.writer("mine").await.unwrap();
    // Its positions are decided by whoever has the partitions now.
    let positions = vec![(Topic::Records, mine.partition, 0)];
    let consumed = Consumed { membership: mine.membership.clone(), positions };
    writer.publish(Batch { sets: Vec::new(), consumed: Some(consumed) }).await.unwrap();

    sleeper.signal("CONT");
    assert_eq!(sleeper.hear("fenced"), "fenced");
    let after = log.committed("sleepers", Topic::Records).await.unwrap();
    for partition in 0..4 {
        let expected =
            if partition == mine.partition as usize { Some(0) } else { committed[partition] };
        assert_eq!(after[partition], expected, "position of partition {partition}");
    }
    drop((subscription, held, mine));
    ledger.delete().await;
}

/// Everything of a group, once it is one member's.
async fn given(
    subscription: &mut <KafkaLog as Log>::Subscription,
    count: usize,
) -> Vec<Assignment<ReaderOf<KafkaLog>>> {
    let mut held = Vec::new();
    while held.len() < count {
        if let Change::Assigned(assignments) = subscription.next().await.unwrap() {
            held.extend(assignments);
        }
    }
    held.sort_by_key(|assignment| assignment.partition);
    held
}

/// This program once more, which has all partitions of the group and publishes positions of theirs
/// until it is fenced.
struct Sleeper {
    process: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Sleeper {
    fn start(ledger: &Ledger) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fencing::the_sleeper", "--nocapture"])
            .env("SLEEPER_BROKERS", &ledger.settings.brokers)
            .env("SLEEPER_PREFIX", &ledger.settings.prefix)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// Waits for a line that begins so.
    fn hear(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.says.read_line(&mut line).unwrap(),
                0,
                "it ended without `{beginning}`"
            );
            if line.starts_with(beginning) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success()
        );
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test of its own: what [`Sleeper`] runs. By itself it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "told by whoever started it")]
async fn the_sleeper() {
    let Ok(brokers) = std::env::var("SLEEPER_BROKERS") else { return };
    let mut settings = settings_of(&brokers, &std::env::var("SLEEPER_PREFIX").unwrap());
    settings.session_timeout = Duration::from_secs(6);
    let log = KafkaLog::open(settings, layout()).await.unwrap();
    let mut subscription = log.subscribe("sleepers", Topic::Records).await.unwrap();
    let held = given(&mut subscription, 4).await;
    let mut writer = log.writer("sleeper").await.unwrap();
    let mut say = std::io::stdout();
    for offset in 0.. {
        // Not its own: the name is nobody else's, so that only the group can fence it.
        let mine = &held[offset % held.len()];
        let positions = vec![(Topic::Records, mine.partition, 7)];
        let consumed = Consumed { membership: mine.membership.clone(), positions };
        let batch = Batch { sets: Vec::new(), consumed: Some(consumed) };
        match writer.publish(batch).await {
            Ok(()) => writeln!(say, "\npublished").unwrap(),
            Err(Error::Fenced { .. }) => break,
            Err(error) => writeln!(say, "\n{error}").unwrap(),
        }
    }
    writeln!(say, "\nfenced").unwrap();
}
