//! Compaction of an embedded log: what a later message of its key has replaced is removed.
//!
//! It reads on its own connection and hands its results to the committer in slices, between the
//! publishes of others. Removing is always safe, whatever is published meanwhile: a message goes
//! only where a newer one of its key is committed already. The newest of a key stays, also where
//! it has no value, so that the end of a partition never moves.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as threads;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::committer::{Replacement, Request};
use super::fault::{Fault, ReadFault};
use super::record_batch::{Wanted, encode_survivors};
use super::{closed, sql};
use crate::{Error, Layout, Received};

/// A partition is compacted when it has grown by as much as the last compaction left, and by no
/// less than this: so compaction costs a constant share of publishing, and small ones never pay.
const PILE_BYTES_MIN: u64 = 4 << 20;

/// How much of what survives is put together into one batch: large enough that reading the
/// remains of many small publishes is fast, small enough that a publish never waits long behind.
const SLICE_BYTES: usize = 256 << 10;

/// How much has piled up in the compacted partitions since their last compaction.
#[derive(Debug)]
pub(super) struct Piles {
    /// For each place of a compacted topic.
    bytes: HashMap<usize, u64>,
    shared: Arc<Compactor>,
    due: Option<threads::SyncSender<usize>>,
    thread: Option<JoinHandle<()>>,
}

/// What compacting needs.
#[derive(Debug)]
pub(super) struct Compactor {
    path: PathBuf,
    layout: Layout,
    /// For each place, the size of a pile that is worth a compaction.
    limits: Vec<AtomicU64>,
    /// Compactions come one after another: each trusts that only publishes come between its slices.
    one_at_a_time: Mutex<()>,
}

impl Compactor {
    pub(super) fn new(path: &Path, layout: Layout) -> Self {
        let limits = layout.places().map(|_| AtomicU64::new(PILE_BYTES_MIN)).collect();
        Self { path: path.to_owned(), layout, limits, one_at_a_time: Mutex::new(()) }
    }

    /// Compacts all partitions of the compacted topics; gives how many messages were removed.
    pub(super) fn compact_all(&self, queue: &mpsc::WeakSender<Request>) -> Result<u64, Error> {
        let mut removed = 0;
        for (place, (topic, _)) in self.layout.places().enumerate() {
            if topic.is_compacted() {
                removed += self.compact(place, queue)?;
            }
        }
        Ok(removed)
    }

    fn compact(&self, place: usize, queue: &mpsc::WeakSender<Request>) -> Result<u64, Error> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let sqlite = |source| Fault::of(&self.path, source).to_error();
        let connection = sql::open_to_read(&self.path).map_err(sqlite)?;
        let end = sql::end(&connection, place).map_err(sqlite)?;
        let newest = self.newest(&connection, place, end)?;
        let mut removed = 0;
        let mut from = 0;
        while from < end {
            let slice = self.slice(&connection, place, from..end, &newest)?;
            let Some(next) = slice.next else { break };
            removed += slice.superseded;
            if slice.superseded > 0 || slice.count > 1 {
                let batches = encode_survivors(place, slice.first, &slice.survivors);
                let (offsets, count) = (slice.first..next, slice.count);
                replace(queue, Replacement { place, offsets, count, batches })?;
            }
            from = next;
        }
        let left = sql::size_bytes(&connection, place).map_err(sqlite)?;
        if let Some(limit) = self.limits.get(place) {
            limit.store(left.max(PILE_BYTES_MIN), Ordering::Relaxed);
        }
        Ok(removed)
    }

    /// The offset of the newest message of each key.
    fn newest(
        &self,
        connection: &Connection,
        place: usize,
        end: i64,
    ) -> Result<HashMap<Bytes, i64>, Error> {
        let mut newest: HashMap<Bytes, i64> = HashMap::new();
        self.scan(connection, place, 0..end, |_, messages| {
            for message in messages {
                match newest.get_mut(&message.key) {
                    Some(offset) => *offset = message.offset,
                    // Copied, so that a key doesn't keep the whole batch that it came in.
                    None => {
                        let key = Bytes::copy_from_slice(&message.key);
                        newest.insert(key, message.offset);
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(newest)
    }

    /// Takes the next batches, until enough has survived.
    fn slice(
        &self,
        connection: &Connection,
        place: usize,
        offsets: std::ops::Range<i64>,
        newest: &HashMap<Bytes, i64>,
    ) -> Result<Slice, Error> {
        let (first, survivors) = (offsets.start, Vec::new());
        let mut slice = Slice { first, next: None, count: 0, superseded: 0, survivors };
        let mut bytes = 0;
        self.scan(connection, place, offsets, |(base, next), messages| {
            if slice.count == 0 {
                slice.first = base;
            }
            slice.count += 1;
            slice.next = Some(next);
            for message in messages {
                if newest.get(&message.key).is_some_and(|&offset| offset > message.offset) {
                    slice.superseded += 1;
                } else {
                    bytes += message.size_bytes();
                    slice.survivors.push(message);
                }
            }
            if bytes >= SLICE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(slice)
    }

    /// Gives `each` batch that begins in this range, with its first offset and the one after its
    /// last.
    fn scan(
        &self,
        connection: &Connection,
        place: usize,
        offsets: std::ops::Range<i64>,
        mut each: impl FnMut((i64, i64), Vec<Received>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let Some(at) = self.layout.places().nth(place) else { return Ok(()) };
        let range = (offsets.start, offsets.end);
        sql::batches(connection, place, range, |batch| {
            if batch.base < offsets.start {
                return Ok(ControlFlow::Continue(()));
            }
            let mut wanted = Wanted::new(batch.base..batch.next, usize::MAX);
            let _all_of_it = wanted.take(at, batch)?;
            Ok(each((batch.base, batch.next), wanted.found))
        })
        .map_err(|fault: ReadFault| fault.into_error(&self.path))
    }
}

/// Consecutive batches, and what survives of them.
struct Slice {
    /// The first offset of the first batch.
    first: i64,
    /// The offset after the last batch; none where there was no batch.
    next: Option<i64>,
    count: usize,
    superseded: u64,
    survivors: Vec<Received>,
}

/// Hands a slice to the committer, and waits until it is committed.
fn replace(queue: &mpsc::WeakSender<Request>, replacement: Replacement) -> Result<(), Error> {
    let (done, answer) = oneshot::channel();
    let sender = queue.upgrade().ok_or_else(closed)?;
    sender.blocking_send(Request::Replace { replacement, done }).map_err(|_| closed())?;
    drop(sender);
    answer.blocking_recv().map_err(|_| closed())?
}

impl Piles {
    /// Starts the thread that compacts what has piled up.
    ///
    /// # Errors
    ///
    /// Where the system has no thread left, or the sizes can't be read.
    pub(super) fn watch(
        connection: &Connection,
        compactor: &Arc<Compactor>,
        queue: mpsc::WeakSender<Request>,
    ) -> Result<Self, Error> {
        let mut bytes = HashMap::new();
        for (place, (topic, _)) in compactor.layout.places().enumerate() {
            if topic.is_compacted() {
                let size = sql::size_bytes(connection, place);
                let size = size.map_err(|it| Fault::of(&compactor.path, it).to_error())?;
                bytes.insert(place, size);
            }
        }
        // One waits while one is compacted; what doesn't fit is due again at its next growth.
        let (due, dues) = threads::sync_channel::<usize>(1);
        let shared = Arc::clone(compactor);
        let thread = std::thread::Builder::new().name("log compaction".to_owned());
        let thread = thread.spawn(move || {
            for place in dues {
                if let Err(error) = shared.compact(place, &queue) {
                    // Nothing is lost by it: it will be due again.
                    tracing::warn!(error = %error, "compaction failed");
                }
            }
        });
        let thread = thread.map_err(|source| Error::Retry {
            what: "no thread could be started".to_owned(),
            source: Some(Box::new(source)),
        })?;
        let shared = Arc::clone(compactor);
        Ok(Self { bytes, shared, due: Some(due), thread: Some(thread) })
    }

    /// Takes note that a partition has grown, and has it compacted where that is due.
    pub(super) fn grow(&mut self, place: usize, bytes: u64) {
        let Some(pile) = self.bytes.get_mut(&place) else { return };
        *pile += bytes;
        let limit = self.shared.limits.get(place).map_or(u64::MAX, |it| it.load(Ordering::Relaxed));
        if *pile >= limit && self.due.as_ref().is_some_and(|due| due.try_send(place).is_ok()) {
            *pile = 0;
        }
    }

    /// Ends the thread. Call it when no request is taken any more, so that it waits for none.
    pub(super) fn end(&mut self) {
        self.due = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has said so itself, and concerns no message.
            let _ = thread.join();
        }
    }
}
