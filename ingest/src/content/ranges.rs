//! An object read from one byte to its end, range by range, some of them ahead of their use: so
//! that a server's latency stalls nobody, and memory stays bounded whatever the number of files.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::bucket::{Bucket, Error, Object};

/// How much of one object is read ahead of its use: at 50 ms for an answer, 160 MB a second.
const AHEAD_BYTES: u64 = 8 << 20;

/// What a permit of the bucket stands for.
const PERMIT_BYTES: u64 = 1 << 20;

/// A range that was read ahead, and the room that it takes.
type Read = (Result<Bytes, Error>, OwnedSemaphorePermit);

/// Reads an object range by range.
#[derive(Debug)]
pub(super) struct Ranges {
    bucket: Bucket,
    object: Object,
    range_bytes: u64,
    /// The next byte to give.
    position: u64,
    /// The next byte to ask for: at or behind the position.
    asked: u64,
    /// Ranges that are being read, by their first byte.
    under_way: JoinSet<(u64, Read)>,
    /// Ranges that are read and not used yet, by their first byte.
    read: BTreeMap<u64, Read>,
}

impl Ranges {
    pub(super) fn new(bucket: &Bucket, object: &Object, start: u64, range_bytes: u64) -> Self {
        let position = start.min(object.size);
        Self {
            bucket: bucket.clone(),
            object: object.clone(),
            range_bytes: range_bytes.max(1),
            position,
            asked: position,
            under_way: JoinSet::new(),
            read: BTreeMap::new(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.object.key
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.object.size
    }

    /// The next range; an empty one at the end. After an error it may be asked for again.
    pub(super) async fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some((read, _room)) = self.read.remove(&self.position) {
                return self.given(read);
            }
            if self.under_way.is_empty() {
                self.asked = self.position;
                self.read.clear();
                let range = self.ask();
                self.ask_ahead();
                let read = self.bucket.read(&self.object, range).await;
                return self.given(read);
            }
            match self.under_way.join_next().await {
                Some(Ok((start, read))) => drop(self.read.insert(start, read)),
                Some(Err(error)) => return Err(Error::object(&self.object.key, error)),
                None => (),
            }
        }
    }

    fn given(&mut self, read: Result<Bytes, Error>) -> Result<Bytes, Error> {
        match &read {
            Ok(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.position = self.position.saturating_add(length);
                self.ask_ahead();
            }
            // The others most likely fail as well: nothing of them is told.
            Err(_) => {
                self.under_way.abort_all();
                self.under_way = JoinSet::new();
            }
        }
        read
    }

    /// The range to be asked for next.
    fn ask(&mut self) -> Range<u64> {
        let start = self.asked;
        self.asked = start.saturating_add(self.range_bytes).min(self.object.size);
        start..self.asked
    }

    /// Asks for what is needed later, as far as there is room.
    fn ask_ahead(&mut self) {
        let Some(room) = self.bucket.ahead() else { return };
        let room = std::sync::Arc::clone(room);
        let permits = u32::try_from(self.range_bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let last = self.position.saturating_add(self.range_bytes.max(AHEAD_BYTES));
        while self.asked < last.min(self.object.size) {
            let Ok(room) = std::sync::Arc::clone(&room).try_acquire_many_owned(permits) else {
                return;
            };
            let range = self.ask();
            let (bucket, object) = (self.bucket.clone(), self.object.clone());
            self.under_way.spawn(async move {
                let start = range.start;
                (start, (bucket.read(&object, range).await, room))
            });
        }
    }
}
