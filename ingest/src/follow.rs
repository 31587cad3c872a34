//! Follows a topic: reads what is new in all of its partitions, from wherever it stopped.

use schemas::Topic;
use topic::{Error, Log, Received};

/// How many bytes are read at once: some thousands of rows.
const READ_BYTES: usize = 4 << 20;

/// Follows all partitions of one topic.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    topic: Topic,
    /// The next offset of each partition.
    next: Vec<i64>,
}

impl Follower {
    /// Begins with the first message of each partition.
    pub(crate) fn new<L: Log>(log: &L, topic: Topic) -> Self {
        let partitions = usize::try_from(log.partitions(topic)).unwrap_or_default();
        Self { topic, next: vec![0; partitions] }
    }

    /// Begins with these offsets, one a partition.
    pub(crate) fn at(topic: Topic, next: Vec<i64>) -> Self {
        Self { topic, next }
    }

    /// Reads what is there by now and was not read before, partition by partition.
    ///
    /// # Errors
    ///
    /// Where the log can't be read. What was taken was taken.
    pub(crate) async fn poll<L: Log>(
        &mut self,
        log: &L,
        mut take: impl FnMut(u32, Received) + Send,
    ) -> Result<(), Error> {
        for (partition, next) in (0..).zip(&mut self.next) {
            let end = log.end(self.topic, partition).await?;
            while *next < end {
                let read = log.read(self.topic, partition, *next..end, READ_BYTES).await?;
                match read.last() {
                    Some(last) => *next = last.offset.saturating_add(1),
                    None => *next = end,
                }
                read.into_iter().for_each(|message| take(partition, message));
            }
        }
        Ok(())
    }
}
