//! What is published and read: messages, in sets that share their headers.

use std::sync::Arc;

use bytes::Bytes;
use schemas::codec::EventType;
use schemas::{Timestamp, Topic};

use crate::Consumed;

/// A header: its name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, such as `ce_type`.
    pub name: String,
    /// The value, usually text.
    pub value: Bytes,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The CloudEvents id; travels as the header `ce_id`.
    pub id: Bytes,
    /// The key; on a compacted topic, messages of one key replace each other.
    pub key: Bytes,
    /// The value; none removes the key from a compacted topic.
    pub value: Option<Bytes>,
}

/// Messages for one partition that share their headers.
///
/// A chunk of ten thousand events has the same type, source, time and trace: they are stated once
/// here and stored once by the logs that are ours.
#[derive(Clone, Debug)]
pub struct MessageSet {
    /// The topic.
    pub topic: Topic,
    /// The partition, from 0. Always explicit: no log ever chooses one.
    pub partition: u32,
    /// The headers that all of the messages have, besides `ce_id`.
    pub headers: Arc<[Header]>,
    /// The messages, in order.
    pub messages: Vec<Message>,
}

/// What becomes visible together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Messages for any topics and partitions. Sets of one partition are appended in order.
    pub sets: Vec<MessageSet>,
    /// The positions of the input that the messages answer.
    pub consumed: Option<Consumed>,
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its place in its partition. Offsets ascend; after compaction, and on some logs for other
    /// reasons, they have holes.
    pub offset: i64,
    /// The CloudEvents id.
    pub id: Bytes,
    /// The key.
    pub key: Bytes,
    /// The value; none where the key was removed.
    pub value: Option<Bytes>,
    /// The other headers.
    pub headers: Arc<[Header]>,
}

/// The headers of events of one type: CloudEvents 1.0 in binary mode, and the content type.
///
/// `ce_id` is each message's own. `source` names who says it, `subject` what it is about (a file, a
/// shard, a feed), `time` when it was said.
pub fn cloud_events(
    event: EventType,
    source: &str,
    subject: &str,
    time: Timestamp,
) -> Arc<[Header]> {
    let header = |name: &str, value: String| Header { name: name.to_owned(), value: value.into() };
    Arc::new([
        header("ce_specversion", "1.0".to_owned()),
        header("ce_type", event.full_name().to_owned()),
        header("ce_source", source.to_owned()),
        header("ce_subject", subject.to_owned()),
        header("ce_time", time.to_string()),
        header("content-type", "application/avro".to_owned()),
    ])
}

impl Received {
    /// What it counts for in a read: the bytes of id, key and value. The headers are shared.
    pub(crate) fn size_bytes(&self) -> usize {
        self.id.len() + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}
