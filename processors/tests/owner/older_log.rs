//! A log that is older than the store, or another, is refused before anything is published to it.

use schemas::record::{AccountChanged, Reversal};

use super::*;

/// The event that the store answers last.
#[derive(Clone, Copy, Debug)]
enum Last {
    Record,
    End,
    EndByCommand,
    /// It undoes a record, in outcomes behind its own.
    Reversal,
    Change,
}

impl World {
    /// The log as a copy of it would be.
    async fn copy(&self) -> Self {
        let mut copy = Self::new().await;
        for topic in [Topic::Records, Topic::Postings] {
            for partition in 0..SHARDS {
                for Received { id, key, value, headers, .. } in self.all(topic, partition).await {
                    let messages = vec![Message { id, key, value }];
                    let sets = vec![MessageSet { topic, partition, headers, messages }];
                    copy.writer.publish(Batch { sets, consumed: None }).await.unwrap();
                }
            }
        }
        copy
    }

    /// Says an event of this kind; those of two marks differ in what tells one from the other.
    async fn say_last(&mut self, last: Last, mark: u8) {
        let command_id = CommandId([mark; 16]);
        let account = customer(0, 0, SHARDS);
        let reason = "test".to_owned();
        let answer_to = i32::try_from(ANSWER_TO).unwrap();
        match last {
            Last::Record => self.say(0, &[record(file(2), 1, account, i64::from(mark))]).await,
            Last::End => self.say(0, &[closed(file(mark), 0, 1)]).await,
            Last::EndByCommand => {
                let command_id = Some(command_id);
                self.say(0, &[SegmentClosed { command_id, ..closed(file(2), 0, 1) }]).await;
            }
            Last::Reversal => {
                let (first_index, last_index) = (0, i64::MAX);
                let file_id = file(1);
                let asked =
                    Reversal { command_id, file_id, first_index, last_index, reason, answer_to };
                self.say(0, &[asked]).await;
            }
            Last::Change => {
                let state = Some("frozen".to_owned());
                let label = None;
                self.say(0, &[AccountChanged { command_id, account, state, label, reason }]).await;
            }
        }
    }
}

/// Has the owners take the shards: what they published to shard 0, and which shards stopped.
async fn take(world: &World, store: &MemoryStore) -> (usize, Vec<Stopped>) {
    let mut running = Running::start(world, store, |_| ());
    while ![(0, Some(Step::Acquired)), (0, None)].contains(&running.steps.recv().await.unwrap()) {}
    let stopped = running.end().await;
    (world.outcomes(0).await.len(), stopped)
}

/// Where shard 0 alone was refused: the outcome, its event's offset, and what was found there.
fn refused(stopped: &[Stopped]) -> Option<(i64, i64, &str)> {
    match stopped {
        [Stopped { shard: 0, error: Error::LogDiffers { shard: 0, number, offset, found } }] => {
            Some((*number, *offset, *found))
        }
        _ => None,
    }
}

/// A copy of the log is put back behind the store's back: as it was, with other events in the place
/// of those that it lacks, and, as a control, with the same ones.
#[tokio::test]
async fn a_log_that_is_older_than_the_store_is_refused() {
    for last in [Last::Record, Last::End, Last::EndByCommand, Last::Reversal, Last::Change] {
        let store = MemoryStore::new();
        store.open_ledger(&ledger(4)).await.unwrap();
        let mut world = World::new().await;
        let account = customer(0, 0, SHARDS);
        world.say(0, &[record(file(1), 0, account, 5)]).await;
        world.say(0, &[closed(file(1), 0, 1)]).await;
        world.say(0, &[record(file(2), 0, account, 5)]).await;
        let mut running = Running::start(&world, &store, |_| ());
        while world.log.end(Topic::Postings, 0).await.unwrap() < 3 {
            running.steps.recv().await.unwrap();
        }
        let (older, mut other, mut same) =
            (world.copy().await, world.copy().await, world.copy().await);
        world.say_last(last, 2).await;
        let all = if matches!(last, Last::Reversal) { 6 } else { 4 };
        while world.log.end(Topic::Postings, 0).await.unwrap() < all {
            running.steps.recv().await.unwrap();
        }
        assert!(running.end().await.is_empty());

        let (published, stopped) = take(&older, &store).await;
        assert_eq!(
            (published, refused(&stopped)),
            (3, Some((3, 3, "none"))),
            "{last:?}: {stopped:?}"
        );
        let words = stopped[0].error.to_string();
        assert!(words.contains("restore the log that belongs to the store"), "{words}");

        other.say_last(last, 3).await;
        other.say(0, &[record(file(4), 0, account, 5)]).await;
        let (published, stopped) = take(&other, &store).await;
        assert_eq!(
            (published, refused(&stopped)),
            (3, Some((3, 3, "another"))),
            "{last:?}: {stopped:?}"
        );

        same.say_last(last, 2).await;
        let (published, stopped) = take(&same, &store).await;
        assert!(stopped.is_empty(), "{last:?}: {stopped:?}");
        assert_eq!(i64::try_from(published), Ok(all), "{last:?}");
        assert_eq!(same.outcomes(0).await, world.outcomes(0).await, "{last:?}");
    }
}
