//! Reads ranges of partitions, without a group.
//!
//! Who reads a partition to its end asks for a range again and again, and each goes on where the
//! former stopped. So each partition has a place at which its reading stands, with what was fetched
//! ahead; it is let go of when the end is reached, or after a while.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::Topic;
use tokio::sync::Mutex;

use super::decided::Decided;
use super::feed::{Popped, Spot};
use super::{Names, fault};
use crate::registry::Ids;
use crate::{Error, Received};

/// How long a read waits for a broker that sends nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long a reading that nobody went on with is let go of, with what was fetched ahead.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// Where the readings of all partitions stand.
#[derive(Debug)]
pub(super) struct Ranges {
    names: Arc<Names>,
    decided: Arc<Decided>,
    /// One for each place of the layout.
    places: Vec<Mutex<Place>>,
}

/// Where the reading of one partition stands.
#[derive(Debug)]
struct Place {
    spot: Arc<Spot>,
    /// The first message that was fetched and not handed out.
    ahead: Option<Received>,
    /// The offset that a read may go on from without starting anew.
    next: Option<i64>,
    /// What is known of the partition: its end, when it was asked for.
    end: i64,
    /// From `next` up to here there is nothing.
    empty_until: i64,
    used: Instant,
}

impl Ranges {
    pub(super) fn new(names: &Arc<Names>, ids: &Ids, decided: &Arc<Decided>) -> Self {
        let place = |(topic, partition): (Topic, u32)| {
            Mutex::new(Place {
                spot: Arc::new(Spot::new(topic, names.shared(topic), partition, ids)),
                ahead: None,
                next: None,
                end: 0,
                empty_until: 0,
                used: Instant::now(),
            })
        };
        let places = names.layout.places().map(place).collect();
        Self { names: Arc::clone(names), decided: Arc::clone(decided), places }
    }

    /// Lets go of everything. Blocks for a moment.
    pub(super) fn close(&self) {
        for place in &self.places {
            if let Ok(place) = place.try_lock() {
                self.decided.feed.end(&place.spot);
            }
        }
    }

    /// As [`crate::Log::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        let index = self.names.layout.place(topic, partition)?;
        let Some(place) = self.places.get(index) else {
            return Err(Error::fatal(format!("{topic} has no place {index}")));
        };
        // Others that read the same partition wait: there is one reading of it.
        let mut place = place.lock().await;
        let found = place.read(&self.decided, offsets, bytes_max).await;
        place.used = Instant::now();
        drop(place);
        self.forget().await;
        found
    }

    /// Lets go of readings that nobody goes on with.
    async fn forget(&self) {
        let mut forgotten = Vec::new();
        for place in &self.places {
            // One that is locked is in use.
            if let Ok(mut place) = place.try_lock()
                && (place.next.is_some() || place.spot.next().is_some())
                && FORGOTTEN_AFTER < place.used.elapsed()
            {
                place.forget();
                forgotten.push(Arc::clone(&place.spot));
            }
        }
        if forgotten.is_empty() {
            return;
        }
        let decided = Arc::clone(&self.decided);
        let _ = fault::blocking(move || {
            forgotten.iter().for_each(|spot| decided.feed.stop(spot));
            Ok(())
        })
        .await;
    }
}

impl Place {
    async fn read(
        &mut self,
        decided: &Arc<Decided>,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        // Where this read is given up in the middle, nobody knows what it has taken: the reading
        // stands nowhere then, and the next one begins anew.
        let next = self.next.take();
        if next != Some(offsets.start) {
            self.forget();
            let (first, end) = self.watermarks(decided).await?;
            let (topic, partition, offset) = (self.spot.topic, self.spot.partition, offsets.start);
            if offset < first || end < offset {
                return Err(Error::Outside { topic, partition, offset, first, end });
            }
            (self.end, self.empty_until) = (end, offset);
            if offset == end || offsets.end <= offset {
                return Ok(Vec::new());
            }
            self.start(decided, offset).await?;
        } else if offsets.end <= self.empty_until {
            self.next = next;
            return Ok(Vec::new());
        } else if self.spot.next().is_none() && self.ahead.is_none() {
            // The end was reached then; there may be more by now.
            let (_, end) = self.watermarks(decided).await?;
            if end <= self.empty_until {
                self.next = next;
                return Ok(Vec::new());
            }
            self.end = end;
            self.start(decided, offsets.start).await?;
        }
        let result = self.collect(decided, &offsets, bytes_max).await;
        if result.is_err() {
            self.forget();
            self.stop(decided).await?;
        }
        result
    }

    /// Takes what is fetched until the range, the bytes or the partition end.
    async fn collect(
        &mut self,
        decided: &Arc<Decided>,
        offsets: &Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        let mut found: Vec<Received> = Vec::new();
        let mut bytes: usize = 0;
        let mut until = Instant::now() + PATIENCE;
        loop {
            let message = match self.ahead.take() {
                Some(message) => message,
                None => match self.spot.pop()? {
                    Popped::Message(message) => message,
                    Popped::Nothing => {
                        let grown = self.spot.grown.notified();
                        if tokio::time::timeout_at(until.into(), grown).await.is_err() {
                            return Err(self.unanswered(decided).await);
                        }
                        continue;
                    }
                    Popped::End | Popped::Stopped => {
                        // At least as far as was known when the reading was started.
                        self.stop(decided).await?;
                        self.empty_until = self.end;
                        return Ok(self.hand_out(found, offsets.start));
                    }
                    Popped::Outside => return Err(self.outside(decided, offsets.start).await),
                },
            };
            until = Instant::now() + PATIENCE;
            bytes = bytes.saturating_add(message.size_bytes());
            if offsets.end <= message.offset || (bytes > bytes_max && !found.is_empty()) {
                self.empty_until = message.offset;
                self.ahead = Some(message);
                return Ok(self.hand_out(found, offsets.start));
            }
            self.empty_until = message.offset + 1;
            let is_last = offsets.end <= self.empty_until;
            found.push(message);
            if is_last {
                return Ok(self.hand_out(found, offsets.start));
            }
        }
    }

    /// The error of a read that nobody answers. The next one asks by another client, since this
    /// one may never hear of the partition again.
    async fn unanswered(&self, decided: &Arc<Decided>) -> Error {
        let (topic, partition) = (self.spot.topic, self.spot.partition);
        let decided = Arc::clone(decided);
        let renew = move || if decided.feed.may_be_deaf() { decided.feed.renew() } else { Ok(()) };
        match fault::blocking(renew).await {
            Ok(()) => {
                fault::retry(format!("no answer to a read of partition {partition} of {topic}"))
            }
            Err(error) => error,
        }
    }

    /// Notes where the next read may go on.
    fn hand_out(&mut self, found: Vec<Received>, start: i64) -> Vec<Received> {
        let next = found.last().map_or(start, |last| last.offset + 1);
        self.next = Some(next);
        self.empty_until = self.empty_until.max(next);
        found
    }

    /// The reading stands nowhere.
    fn forget(&mut self) {
        self.ahead = None;
        self.next = None;
    }

    async fn watermarks(&self, decided: &Arc<Decided>) -> Result<(i64, i64), Error> {
        let (decided, spot) = (Arc::clone(decided), Arc::clone(&self.spot));
        fault::blocking(move || decided.watermarks(spot.topic, spot.partition)).await
    }

    async fn start(&self, decided: &Arc<Decided>, offset: i64) -> Result<(), Error> {
        let (decided, spot) = (Arc::clone(decided), Arc::clone(&self.spot));
        fault::blocking(move || decided.feed.start(&spot, offset)).await
    }

    async fn stop(&self, decided: &Arc<Decided>) -> Result<(), Error> {
        let (decided, spot) = (Arc::clone(decided), Arc::clone(&self.spot));
        fault::blocking(move || {
            decided.feed.stop(&spot);
            Ok(())
        })
        .await
    }

    /// The error of a position that the broker doesn't know.
    async fn outside(&self, decided: &Arc<Decided>, offset: i64) -> Error {
        let (topic, partition) = (self.spot.topic, self.spot.partition);
        match self.watermarks(decided).await {
            Ok((first, end)) => Error::Outside { topic, partition, offset, first, end },
            Err(error) => error,
        }
    }
}
