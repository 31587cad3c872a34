//! How far the shards are behind, so that ingest does not run ahead of them without bound.

use schemas::Topic;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};
use topic::Log;

/// How many events the shards may lag before a large file's next chunk waits: some seconds of work
/// for the shards, and small against any file that could fill the log.
const LAG_MAX: i64 = 200_000;

/// Shards that have not moved for so long are down, and waiting for them would hold up ingest.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// How long an answer holds: on a log far away a look is a request for each shard, and in this time
/// ingest makes no more than a tenth of what the shards may lag.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks for all who publish in this process.
#[derive(Debug)]
pub(crate) struct Lag<L> {
    log: L,
    /// The consumer group of the shards.
    group: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    /// In events of all shards that move.
    lag: i64,
    /// Each shard's position, and when it was last seen to move.
    moved: Vec<(Option<i64>, Option<Instant>)>,
}

impl<L: Log> Lag<L> {
    pub(crate) fn new(log: L, group: &str) -> Self {
        Self { log, group: group.to_owned(), seen: Mutex::default() }
    }

    /// Waits while the shards lag far behind and do move.
    pub(crate) async fn wait(&self) {
        // A log that can't say is no reason to wait.
        while self.look().await.is_ok_and(|lag| LAG_MAX < lag) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How far those shards are behind that were seen to move lately, in events of all of them. On
    /// a log whose offsets have holes it is a little less than said.
    async fn look(&self) -> Result<i64, topic::Error> {
        let mut seen = self.seen.lock().await;
        if seen.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(seen.lag);
        }
        let positions = self.log.committed(&self.group, Topic::Records).await?;
        let now = Instant::now();
        if seen.looked.is_none() {
            seen.moved = positions.iter().map(|position| (*position, None)).collect();
        }
        let mut lag = 0_i64;
        for ((shard, position), moved) in (0..).zip(positions).zip(&mut seen.moved) {
            if moved.0 != position {
                *moved = (position, Some(now));
            }
            if moved.1.is_some_and(|moved| moved.elapsed() <= STALLED_AFTER) {
                let end = self.log.end(Topic::Records, shard).await?;
                let behind = end.saturating_sub(position.unwrap_or_default());
                lag = lag.saturating_add(behind);
            }
        }
        (seen.looked, seen.lag) = (Some(now), lag);
        Ok(lag)
    }
}

#[cfg(test)]
mod tests {
    use topic::memory::MemoryLog;
    use topic::{
        Batch, Change, Consumed, Layout, Membership, Message, MessageSet, Subscription as _,
        Writer as _, cloud_events,
    };

    use schemas::Timestamp;
    use schemas::codec::EventType;

    use super::*;

    const GROUP: &str = "processors";

    fn events(count: i64) -> MessageSet {
        let message = Message { id: "i".into(), key: "k".into(), value: Some("v".into()) };
        let messages = (0..count).map(|_| message.clone()).collect();
        let headers = cloud_events(EventType::ClearingRecord, "test", "test", Timestamp(0));
        MessageSet { topic: Topic::Records, partition: 0, headers, messages }
    }

    /// Shards that nobody has seen move hold nobody up; those that move and lag do, until they are
    /// near or stand still.
    #[tokio::test(start_paused = true)]
    async fn only_shards_that_move_are_waited_for() {
        let log = MemoryLog::new(Layout::new(1, 1, 1));
        let mut writer = log.writer("test").await.unwrap();
        let mut member = log.subscribe(GROUP, Topic::Records).await.unwrap();
        let Change::Assigned(assigned) = member.next().await.unwrap() else { unreachable!() };
        let consumed = |position| {
            let membership: Membership = assigned[0].membership.clone();
            Some(Consumed { membership, positions: vec![(Topic::Records, 0, position)] })
        };
        let sets = vec![events(LAG_MAX + 10)];
        writer.publish(Batch { sets, consumed: None }).await.unwrap();
        let lag = Lag::new(log, GROUP);
        lag.wait().await;

        writer.publish(Batch { sets: Vec::new(), consumed: consumed(1) }).await.unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(lag.look().await.unwrap(), LAG_MAX + 9);
        let begun = Instant::now();
        lag.wait().await;
        let waited = begun.elapsed();
        assert!(STALLED_AFTER <= waited, "{waited:?}");

        writer.publish(Batch { sets: Vec::new(), consumed: consumed(11) }).await.unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(lag.look().await.unwrap(), LAG_MAX - 1);
        let begun = Instant::now();
        lag.wait().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
