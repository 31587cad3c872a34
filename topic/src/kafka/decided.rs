//! Up to where everything in a partition is decided, as a process that publishes must see it.
//!
//! A broker says that a publish is committed before it has said so in each partition: for some
//! milliseconds, readers see it in one and not yet in another. Whoever asks in the process that
//! published is made to wait for that moment, so that what a publish returned is there, all of it.
//! Others may see one part of a publish some milliseconds before the other; an owner doesn't, since
//! opening its writer waits for the end of whatever the name published before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use schemas::Topic;

use super::ends::Ends;
use super::feed::Feed;
use super::{Names, fault};
use crate::Error;

/// How long the end of a transaction is waited for: as long as one may live, as long as brokers
/// take to look for those that have lived too long (10 s), and a little more.
const PATIENCE: Duration = Duration::from_secs(25);

/// How soon it is looked again. A transaction takes some ten milliseconds to end.
const AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Where partitions begin and end, for who has published to them.
#[derive(Debug)]
pub(super) struct Decided {
    names: Arc<Names>,
    /// Asks the broker.
    pub(super) ends: Ends,
    /// Reads what stands between.
    pub(super) feed: Feed,
    /// For each place, the last offset that this process has published, or is about to.
    last: Vec<AtomicI64>,
}

impl Decided {
    pub(super) fn new(names: &Arc<Names>, ends: Ends, feed: Feed) -> Self {
        let last = names.layout.places().map(|_| AtomicI64::new(-1)).collect();
        Self { names: Arc::clone(names), ends, feed, last }
    }

    /// Notes the last offsets of a publish that is about to be committed.
    pub(super) fn expect(&self, last: &BTreeMap<usize, i64>) {
        for (&place, &offset) in last {
            if let Some(last) = self.last.get(place) {
                last.fetch_max(offset, Ordering::AcqRel);
            }
        }
    }

    /// The first offset of a partition, and its end, with whatever this process has published.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// As [`Ends::watermarks`]; *retry* where a transaction doesn't end.
    pub(super) fn watermarks(&self, topic: Topic, partition: u32) -> Result<(i64, i64), Error> {
        let place = self.names.layout.place(topic, partition)?;
        let last = self.last.get(place).map_or(-1, |last| last.load(Ordering::Acquire));
        let until = Instant::now() + PATIENCE;
        loop {
            let (first, end) = self.ends.watermarks(self.names.of(topic), partition)?;
            // Whether it was committed or aborted: its end comes after it.
            if last < end {
                return Ok((first, end));
            }
            if until < Instant::now() {
                let what = format!("a publish to partition {partition} of {topic} doesn't end");
                return Err(fault::retry(what));
            }
            thread::sleep(AGAIN_AFTER);
        }
    }
}
