//! Reads the messages of one assigned partition.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::feed::{Feed, Popped, Spot};
use super::{Shared, fault};
use crate::{Error, Received};

/// How much is handed out at a time. Some hundreds of events: enough that the cost of asking
/// vanishes, little enough that sixteen shards' reads stay far below 100 MB.
const READ_BYTES_MAX: usize = 128 << 10;

/// After so long a silence a partition is started anew where it stands. A client that hears of it
/// says at once that there is nothing, or gives what there is; one that says nothing after that is
/// made anew.
const SILENCE: Duration = Duration::from_secs(10);

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
    /// Whether it was started anew after a silence, and nothing was heard since.
    is_asked: bool,
}

impl Reader {
    pub(super) fn new(
        shared: &Arc<Shared>,
        feed: &Arc<Feed>,
        spot: Arc<Spot>,
        group: &str,
    ) -> Self {
        let (shared, feed) = (Arc::clone(shared), Arc::clone(feed));
        Self { shared, feed, spot, group: group.to_owned(), begin: None, is_asked: false }
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

    /// Makes sure that silence means that there is nothing.
    async fn after_silence(&mut self) -> Result<(), Error> {
        if !self.feed.may_be_deaf() {
            return Ok(());
        }
        if self.is_asked {
            self.is_asked = false;
            let feed = Arc::clone(&self.feed);
            return fault::blocking(move || feed.renew()).await;
        }
        self.is_asked = true;
        self.start().await
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
        None => Ok(shared.decided.ends.watermarks(spot.name(), spot.partition)?.0),
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
                    self.is_asked = false;
                    found.push(message);
                    if bytes >= READ_BYTES_MAX {
                        return Ok(found);
                    }
                }
                _ if !found.is_empty() => return Ok(found),
                Popped::End => self.is_asked = false,
                Popped::Nothing => {
                    if timeout(SILENCE, self.spot.grown.notified()).await.is_err() {
                        self.after_silence().await?;
                    }
                }
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
