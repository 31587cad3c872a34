//! What every log must do, as functions that any log can be held against.
//!
//! A rule says what it found where a log breaks it. Rules wait for what a log must do, and never
//! for time to pass; [`run_all`] bounds the waiting, so that a log that does nothing fails too.

mod crew;
pub mod compaction;
pub mod groups;
pub mod publishing;
pub mod reading;
pub mod writers;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::Topic;

use crate::{Batch, Consumed, Error, Header, Layout, Log, Message, MessageSet, Received, Writer};

/// The layout that a subject's logs have.
pub const ARRIVALS: u32 = 1;
/// As [`ARRIVALS`]: partitions of `commands`, `files` and `rejects`.
pub const FILES: u32 = 4;
/// As [`ARRIVALS`]: partitions of `records` and `postings`.
pub const SHARDS: u32 = 4;

/// How long a rule may take. Each takes well under a second; this is for what hangs.
const RULE_TIME_MAX: Duration = Duration::from_secs(120);

/// The layout that a subject's logs have.
pub fn layout() -> Layout {
    Layout::new(ARRIVALS, FILES, SHARDS)
}

/// What is held to the rules.
pub trait Subject: Sync {
    /// The log.
    type Log: Log;

    /// An empty log of the layout that [`layout`] gives.
    fn log(&self) -> impl Future<Output = Self::Log> + Send;

    /// Has the log remove what was replaced, where that can be asked for.
    fn compact(&self, log: &Self::Log) -> impl Future<Output = ()> + Send;
}

/// How a log breaks a rule: what was expected and what was found.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("an error that should not be: {error}"))
    }
}

/// Returns as broken where the condition doesn't hold.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Broken(format!($($what)+)));
        }
    };
}
/// Returns as broken where two values differ.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($what:tt)+) => {{
        let (found, expected) = (&$found, &$expected);
        if *found != *expected {
            let what = format!($($what)+);
            return Err($crate::conformance::Broken(
                format!("{what}: expected {expected:?}, found {found:?}")
            ));
        }
    }};
}
use {ensure, ensure_eq};

/// The names of the rules, and for each whether the log keeps it.
pub async fn run_all<S: Subject>(subject: &S) -> Vec<(&'static str, Result<(), Broken>)> {
    let mut results = Vec::new();
    macro_rules! run {
        ($($module:ident :: $rule:ident),+ $(,)?) => {$(
            let outcome = tokio::time::timeout(RULE_TIME_MAX, $module::$rule(subject)).await;
            let hung = |_| Broken(format!("expected it to end within {RULE_TIME_MAX:?}"));
            results.push((stringify!($rule), outcome.map_err(hung).flatten()));
        )+};
    }
    run!(
        publishing::what_is_published_is_read,
        publishing::a_batch_spans_topics_and_positions,
        publishing::sets_of_one_partition_keep_their_order,
        publishing::concurrent_writers_keep_order_in_a_partition,
        publishing::a_large_batch_is_one_batch,
        publishing::half_a_publish_is_never_seen,
        publishing::an_empty_batch_is_a_success,
        reading::a_read_keeps_to_its_range_and_size,
        reading::a_read_that_is_given_up_takes_nothing,
        reading::a_read_outside_the_log_is_an_error,
        reading::all_of_a_partition_is_read,
        writers::a_new_writer_fences_the_former,
        writers::a_publish_in_flight_has_happened_or_never_does,
        writers::writers_of_other_names_are_not_fenced,
        groups::a_group_shares_out_partitions,
        groups::a_revocation_waits_for_its_acknowledgement,
        groups::who_is_dropped_leaves,
        groups::a_group_resumes_at_its_position,
        groups::groups_do_not_disturb_each_other,
        groups::a_reader_waits_and_wakes,
        groups::a_seek_outside_the_log_is_an_error,
        groups::a_past_membership_is_fenced,
        groups::waiting_can_be_cancelled,
        compaction::the_newest_of_a_key_stays,
        compaction::a_removed_key_stays_removed,
        compaction::other_topics_keep_everything,
    );
    results
}

/// A message with a value.
fn message(id: &str, key: &str, value: &str) -> Message {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Message { id: bytes(id), key: bytes(key), value: Some(bytes(value)) }
}

/// A set without headers.
fn set(topic: Topic, partition: u32, messages: Vec<Message>) -> MessageSet {
    MessageSet { topic, partition, headers: Arc::from([]), messages }
}

/// A batch without positions.
fn batch(sets: Vec<MessageSet>) -> Batch {
    Batch { sets, consumed: None }
}

/// Messages numbered `from..to`, which have their number as id and as value.
fn numbered(from: usize, to: usize) -> Vec<Message> {
    (from..to)
        .map(|it| message(&it.to_string(), &format!("k{}", it % 7), &it.to_string()))
        .collect()
}

/// Publishes a few numbered messages into a partition of `records`.
async fn fill<L: Log>(log: &L, partition: u32, count: usize) -> Result<(), Broken> {
    let mut writer = log.writer("fill").await?;
    writer.publish(batch(vec![set(Topic::Records, partition, numbered(0, count))])).await?;
    Ok(())
}

/// All messages of a partition that it has now.
async fn all<L: Log>(log: &L, topic: Topic, partition: u32) -> Result<Vec<Received>, Broken> {
    let mut found = Vec::new();
    let collect = |message| {
        found.push(message);
        Ok::<(), Error>(())
    };
    crate::read_all(log, topic, partition, 0, collect).await?;
    Ok(found)
}

/// The values as text.
fn values(messages: &[Received]) -> Vec<String> {
    let text = |it: &Received| it.value.as_ref().map(|it| String::from_utf8_lossy(it).into_owned());
    messages.iter().map(|message| text(message).unwrap_or_default()).collect()
}

/// The texts of these numbers.
fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn header(name: &str, value: &[u8]) -> Header {
    Header { name: name.to_owned(), value: Bytes::copy_from_slice(value) }
}

/// Gives others a turn, many times: what they could do without waiting for us, they have done.
/// Nothing relies on it for passing; it lets a log that breaks a rule show it.
async fn give_way() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A position of one partition.
fn position(membership: &crate::Membership, partition: u32, offset: i64) -> Consumed {
    let positions = vec![(Topic::Records, partition, offset)];
    Consumed { membership: membership.clone(), positions }
}
