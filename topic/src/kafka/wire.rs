//! Messages as they travel on Kafka, and back.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header as WireHeader, Headers as _, OwnedHeaders};
use schemas::Topic;

use crate::registry::Ids;
use crate::{Error, Header, Received};

/// Under which name the CloudEvents id travels.
const ID: &str = "ce_id";

/// The headers that the messages of a set share, made once; [`with_id`] makes a message's own.
pub(super) fn shared(headers: &[Header]) -> OwnedHeaders {
    let made = OwnedHeaders::new_with_capacity(headers.len() + 1);
    headers.iter().fold(made, |made, header| {
        made.insert(WireHeader { key: &header.name, value: Some(header.value.as_ref()) })
    })
}

/// The headers of a message with this id.
pub(super) fn with_id(shared: &OwnedHeaders, id: &[u8]) -> OwnedHeaders {
    shared.clone().insert(WireHeader { key: ID, value: Some(id) })
}

/// A value as it travels: with the id of its schema in the registry. `room` is for the copy that
/// this takes; without a registry there is none.
///
/// # Errors
///
/// *Fatal* where the value isn't framed, or its schema doesn't stand on this topic.
pub(super) fn outgoing<'a>(
    ids: &Ids,
    topic: Topic,
    value: &'a [u8],
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], Error> {
    if ids.is_built_in() {
        return Ok(value);
    }
    let (built_in, body) = framed(topic, value)?;
    let wire = ids.to_wire(topic, built_in).ok_or_else(|| {
        Error::fatal(format!("expected a schema of an event of {topic}, found {built_in}"))
    })?;
    room.clear();
    room.push(0);
    room.extend_from_slice(&wire.to_be_bytes());
    room.extend_from_slice(body);
    Ok(room)
}

/// A value that travelled, with the built-in id of its schema.
///
/// # Errors
///
/// *Fatal* where the value isn't framed, or its schema isn't known.
fn incoming(ids: &Ids, topic: Topic, value: &[u8]) -> Result<Bytes, Error> {
    if ids.is_built_in() {
        return Ok(Bytes::copy_from_slice(value));
    }
    let (wire, body) = framed(topic, value)?;
    let built_in = ids.from_wire(topic, wire).ok_or_else(|| ids.unknown(topic, wire))?;
    let mut own = Vec::with_capacity(value.len());
    own.push(0);
    own.extend_from_slice(&built_in.to_be_bytes());
    own.extend_from_slice(body);
    Ok(own.into())
}

/// The id and the body of a framed value: a byte 0, the id, the body.
fn framed(topic: Topic, value: &[u8]) -> Result<(u32, &[u8]), Error> {
    match value.split_first_chunk::<5>() {
        Some(([0, id @ ..], body)) => Ok((u32::from_be_bytes(*id), body)),
        _ => Err(Error::fatal(format!(
            "expected a value of {topic} to begin with 0 and the id of its schema, found {} bytes \
             that don't",
            value.len()
        ))),
    }
}

/// Makes messages of what was fetched of one partition. Messages that were published together have
/// the same headers, which are then kept once.
#[derive(Debug)]
pub(super) struct Reading {
    topic: Topic,
    headers: Arc<[Header]>,
}

impl Reading {
    pub(super) fn new(topic: Topic) -> Self {
        Self { topic, headers: Arc::from([]) }
    }

    /// What was fetched.
    ///
    /// # Errors
    ///
    /// *Fatal* where its value isn't one of ours.
    pub(super) fn received(
        &mut self,
        ids: &Ids,
        message: &BorrowedMessage<'_>,
    ) -> Result<Received, Error> {
        let value = match message.payload() {
            None => None,
            Some(value) => {
                let at = |error| at(error, message.partition(), message.offset());
                Some(incoming(ids, self.topic, value).map_err(at)?)
            }
        };
        Ok(Received {
            offset: message.offset(),
            id: self.take_headers(message),
            key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
            value,
            headers: Arc::clone(&self.headers),
        })
    }

    /// Keeps the message's headers, where they are not the former one's, and gives its id.
    fn take_headers(&mut self, message: &BorrowedMessage<'_>) -> Bytes {
        let Some(wire) = message.headers() else {
            if !self.headers.is_empty() {
                self.headers = Arc::from([]);
            }
            return Bytes::new();
        };
        let all = || (0..wire.count()).filter_map(|index| wire.try_get(index));
        // The last of that name: our own comes after whatever the publisher gave.
        let id_at = wire.count() - all().rev().take_while(|it| it.key != ID).count();
        let others = || all().enumerate().filter(|(index, _)| index + 1 != id_at);
        let is_same = others().count() == self.headers.len()
            && others().zip(self.headers.iter()).all(|((_, it), own)| {
                own.name == it.key && own.value == it.value.unwrap_or_default()
            });
        if !is_same {
            let own = |it: WireHeader<'_, &[u8]>| Header {
                name: it.key.to_owned(),
                value: Bytes::copy_from_slice(it.value.unwrap_or_default()),
            };
            self.headers = others().map(|(_, it)| own(it)).collect();
        }
        let id = id_at.checked_sub(1).and_then(|index| wire.try_get(index));
        Bytes::copy_from_slice(id.and_then(|it| it.value).unwrap_or_default())
    }
}

/// The same error, with the place where it was met.
fn at(error: Error, partition: i32, offset: i64) -> Error {
    match error {
        Error::Fatal { what, source } => Error::Fatal {
            what: format!("{what}, at offset {offset} of partition {partition}"),
            source,
        },
        other => other,
    }
}
