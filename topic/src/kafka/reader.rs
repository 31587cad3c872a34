//! Reads the messages of one assigned partition.

use std::sync::Arc;

use super::feed::{Feed, Popped, Spot};
use super::{Shared, fault};
use crate::{Error, Received};

/// How much is handed out at a time. Some hundreds of events: enough that the cost of asking
/// vanishes, little enough that sixteen shards' reads stay far below 100 MB.
const READ_BYTES_MAX: usize = 128 << 10;

/// Reads the messages of one assigned partition on Kafka.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    spot: Arc<Spot>,
    group: String,
    /// Where to begin; none is the group's position. Asked for when messages are wanted, not when
    /// the partition is given: whatever the former owner published with positions is decided only
    /// once its name was opened anew.
    begin: Option<i64>,
}

impl Reader {
    pub(super) fn new(
        shared: &Arc<Shared>,
        feed: &Arc<Feed>,
        spot: Arc<Spot>,
        group: &str,
    ) -> Self {
        let (shared, feed) = (Arc::clone(shared), Arc::clone(feed));
        Self { shared, feed, spot, group: group.to_owned(), begin: None }
    }

    /// Begins to read at the position.
    async fn start(&mut self) -> Result<(), Error> {
        let (shared, feed) = (Arc::clone(&self.shared), Arc::clone(&self.feed));
        let (spot, group, begin) = (Arc::clone(&self.spot), self.group.clone(), self.begin);
        let begun = fault::blocking(move || {
            let begin = match begin {
                Some(offset) => offset,
                None => position(&shared, &group, &spot)?,
            };
            feed.start(&spot, begin)?;
            Ok(begin)
        });
        self.begin = Some(begun.await?);
        Ok(())
    }

    /// The error of a position that the broker doesn't know.
    async fn outside(&mut self) -> Error {
        let (feed, spot) = (Arc::clone(&self.feed), Arc::clone(&self.spot));
        let shared = Arc::clone(&self.shared);
        let offset = self.spot.next().or(self.begin).unwrap_or(0);
        let found = fault::blocking(move || {
            feed.stop(&spot);
            shared.decided.watermarks(spot.topic, spot.partition)
        });
        let (topic, partition) = (self.spot.topic, self.spot.partition);
        match found.await {
            Ok((first, end)) => Error::Outside { topic, partition, offset, first, end },
            Err(error) => error,
        }
    }
}

/// Where a group goes on: its position, or the first message where it has none.
fn position(shared: &Shared, group: &str, spot: &Spot) -> Result<i64, Error> {
    let only = spot.partition..spot.partition + 1;
    let committed = shared.positions.committed(group, spot.name(), only)?;
    match committed.into_iter().next().flatten() {
        Some(offset) => Ok(offset),
        None => Ok(shared.decided.feed.watermarks(spot.name(), spot.partition)?.0),
    }
}

impl crate::PartitionReader for Reader {
    async fn next(&mut self) -> Result<Vec<Received>, Error> {
        let mut found: Vec<Received> = Vec::new();
        let mut bytes: usize = 0;
        loop {
            match self.spot.pop()? {
                Popped::Message(message) => {
                    bytes = bytes.saturating_add(message.size_bytes());
                    self.begin = Some(message.offset + 1);
                    found.push(message);
                    if bytes >= READ_BYTES_MAX {
                        return Ok(found);
                    }
                }
                _ if !found.is_empty() => return Ok(found),
                Popped::Nothing | Popped::End => self.spot.grown.notified().await,
                Popped::Stopped => self.start().await?,
                Popped::Outside => return Err(self.outside().await),
            }
        }
    }

    async fn seek(&mut self, offset: i64) -> Result<(), Error> {
        let (feed, spot) = (Arc::clone(&self.feed), Arc::clone(&self.spot));
        let shared = Arc::clone(&self.shared);
        fault::blocking(move || {
            let (topic, partition) = (spot.topic, spot.partition);
            let (first, end) = shared.decided.watermarks(topic, partition)?;
            if offset < first || end < offset {
                return Err(Error::Outside { topic, partition, offset, first, end });
            }
            feed.stop(&spot);
            Ok(())
        })
        .await?;
        self.begin = Some(offset);
        Ok(())
    }
}
