//! Record batches: what one publish puts into one partition, as the embedded log stores it.
//!
//! # Format
//!
//! A body is a sequence of entries, compressed as one LZ4 block. Numbers are unsigned LEB128;
//! *text* is its length in bytes as such a number, and the bytes.
//!
//! ```text
//! 1  count  (name text, value text) × count     the headers of the messages that follow
//! 2  gap  id text  key text  value text         a message
//! 3  gap  id text  key text                     a message without a value
//! ```
//!
//! The gap is how many offsets were compacted away since the message before, or since the first
//! offset of the batch. Two messages of a set with the header `a: b`, the second without a value:
//!
//! ```text
//! 01 01 01 61 01 62   02 00 02 69 31 01 6b 01 76   03 00 02 69 32 01 6b
//!       a     b             i  1     k     v             i  2     k
//! ```
//!
//! The checksum (CRC-32) covers the compressed body, its place, its offsets and its size.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;

use crate::{Error, Header, Layout, MessageSet, Received};

#[cfg(test)]
mod tests;

/// A larger body is cut into several: reading one message decompresses the whole batch that it is
/// in, so this bounds both that work and its memory.
const BODY_BYTES_MAX: usize = 1 << 20;

const HEADERS: u8 = 1;
const MESSAGE: u8 = 2;
const REMOVAL: u8 = 3;

/// A record batch that is ready to be stored, but for its offset.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The place of its partition.
    pub(super) place: usize,
    /// How many offsets it takes: its messages and the gaps before them.
    pub(super) offsets: i64,
    /// The size of the body before compression.
    pub(super) size: usize,
    /// Compressed.
    pub(super) body: Vec<u8>,
}

/// A record batch as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) place: usize,
    /// The offset of its first message.
    pub(super) base: i64,
    /// The offset after its last message.
    pub(super) next: i64,
    pub(super) size: i64,
    pub(super) crc: u32,
    pub(super) body: &'a [u8],
}

/// Encodes the sets of a publish: one batch for each partition, or several where it is large.
///
/// # Errors
///
/// *Fatal* where a topic has no such partition.
pub(super) fn encode(layout: Layout, sets: &[MessageSet]) -> Result<Vec<Encoded>, Error> {
    let mut encoders: Vec<Option<Encoder>> = Vec::new();
    encoders.resize_with(layout.places().count(), || None);
    for set in sets {
        let place = layout.place(set.topic, set.partition)?;
        let Some(slot) = encoders.get_mut(place) else { continue };
        let encoder = slot.get_or_insert_with(|| Encoder::new(place));
        for message in &set.messages {
            let value = message.value.as_deref();
            encoder.push(0, &set.headers, &message.id, &message.key, value);
        }
    }
    Ok(encoders.into_iter().flatten().flat_map(Encoder::finish).collect())
}

/// Encodes what compaction left of consecutive batches, of which the first began at `base`.
pub(super) fn encode_survivors(place: usize, base: i64, survivors: &[Received]) -> Vec<Encoded> {
    let mut encoder = Encoder::new(place);
    let mut next = base;
    for it in survivors {
        let gap = it.offset.saturating_sub(next).unsigned_abs();
        encoder.push(gap, &it.headers, &it.id, &it.key, it.value.as_deref());
        next = it.offset + 1;
    }
    encoder.finish()
}

/// The checksum of a batch at its place.
pub(super) fn checksum(place: usize, base: i64, next: i64, size: i64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    for number in [place as i64, base, next, size] {
        hasher.update(&number.to_be_bytes());
    }
    hasher.finalize()
}

struct Encoder {
    place: usize,
    finished: Vec<Encoded>,
    body: Vec<u8>,
    offsets: i64,
    /// Those that the body stated last.
    headers: Option<Arc<[Header]>>,
}

impl Encoder {
    fn new(place: usize) -> Self {
        Self { place, finished: Vec::new(), body: Vec::new(), offsets: 0, headers: None }
    }

    fn push(
        &mut self,
        gap: u64,
        headers: &Arc<[Header]>,
        id: &[u8],
        key: &[u8],
        value: Option<&[u8]>,
    ) {
        if self.body.len() >= BODY_BYTES_MAX {
            self.cut();
        }
        let is_stated =
            self.headers.as_ref().is_some_and(|it| Arc::ptr_eq(it, headers) || it == headers);
        if !is_stated {
            self.body.push(HEADERS);
            put_number(&mut self.body, headers.len() as u64);
            for header in headers.iter() {
                put_text(&mut self.body, header.name.as_bytes());
                put_text(&mut self.body, &header.value);
            }
            self.headers = Some(Arc::clone(headers));
        }
        self.body.push(if value.is_some() { MESSAGE } else { REMOVAL });
        put_number(&mut self.body, gap);
        put_text(&mut self.body, id);
        put_text(&mut self.body, key);
        if let Some(value) = value {
            put_text(&mut self.body, value);
        }
        self.offsets += gap.cast_signed() + 1;
    }

    fn cut(&mut self) {
        if self.offsets > 0 {
            let body = lz4_flex::block::compress(&self.body);
            let (place, offsets, size) = (self.place, self.offsets, self.body.len());
            self.finished.push(Encoded { place, offsets, size, body });
        }
        self.body.clear();
        self.offsets = 0;
        self.headers = None;
    }

    fn finish(mut self) -> Vec<Encoded> {
        self.cut();
        self.finished
    }
}

fn put_number(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        body.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

fn put_text(body: &mut Vec<u8>, text: &[u8]) {
    put_number(body, text.len() as u64);
    body.extend_from_slice(text);
}

/// What a read is to find: the offsets, and how much at most.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) offsets: Range<i64>,
    pub(super) bytes_max: usize,
    pub(super) found: Vec<Received>,
    bytes: usize,
}

impl Wanted {
    pub(super) fn new(offsets: Range<i64>, bytes_max: usize) -> Self {
        Self { offsets, bytes_max, found: Vec::new(), bytes: 0 }
    }

    /// Takes the messages that are wanted from a batch. Breaks where no more are wanted.
    ///
    /// # Errors
    ///
    /// *Fatal* where the batch is damaged, with its topic, partition and offset.
    pub(super) fn take(
        &mut self,
        (topic, partition): (Topic, u32),
        batch: Stored<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        self.decode(batch).map_err(|damage| {
            Error::fatal(format!(
                "the record batch at offset {} in partition {partition} of {topic} is damaged \
                 ({damage}); restore the data directory from a backup",
                batch.base
            ))
        })
    }

    fn decode(&mut self, batch: Stored<'_>) -> Result<ControlFlow<()>, Damage> {
        let Stored { place, base, next, size, crc, body } = batch;
        let found = checksum(place, base, next, size, body);
        if found != crc {
            return Err(Damage::Checksum { expected: crc, found });
        }
        let size = usize::try_from(size).map_err(|_| Damage::Compression)?;
        let body = lz4_flex::block::decompress(body, size).map_err(|_| Damage::Compression)?;
        let mut entries = Entries { body: Bytes::from(body), at: 0 };
        let mut headers: Arc<[Header]> = Arc::from([]);
        let mut next_offset = base;
        while let Some(kind) = entries.kind() {
            if kind == HEADERS {
                headers = entries.headers()?;
                continue;
            }
            let gap = i64::try_from(entries.number()?).map_err(|_| Damage::Entry)?;
            let offset = next_offset.checked_add(gap).ok_or(Damage::Entry)?;
            next_offset = offset.checked_add(1).ok_or(Damage::Entry)?;
            let id = entries.text()?;
            let key = entries.text()?;
            let value = match kind {
                MESSAGE => Some(entries.text()?),
                REMOVAL => None,
                _ => return Err(Damage::Entry),
            };
            if offset < self.offsets.start {
                continue;
            }
            let bytes = id.len() + key.len() + value.as_ref().map_or(0, Range::len);
            self.bytes = self.bytes.saturating_add(bytes);
            let is_full = self.bytes > self.bytes_max && !self.found.is_empty();
            if offset >= self.offsets.end || is_full {
                return Ok(ControlFlow::Break(()));
            }
            let slice = |range| entries.body.slice(range);
            self.found.push(Received {
                offset,
                id: slice(id),
                key: slice(key),
                value: value.map(slice),
                headers: Arc::clone(&headers),
            });
        }
        if next_offset != next {
            return Err(Damage::Offsets { expected: next, found: next_offset });
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("expected checksum {expected:08x}, found {found:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("its body can't be decompressed")]
    Compression,
    #[error("its body holds an entry that can't be read")]
    Entry,
    #[error("expected it to end before offset {expected}, found {found}")]
    Offsets { expected: i64, found: i64 },
}

/// Reads the entries of a body, and never beyond it.
struct Entries {
    body: Bytes,
    at: usize,
}

impl Entries {
    fn kind(&mut self) -> Option<u8> {
        let byte = self.body.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Result<u64, Damage> {
        let mut number: u64 = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.kind().ok_or(Damage::Entry)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damage::Entry)
    }

    fn text(&mut self) -> Result<Range<usize>, Damage> {
        let length = usize::try_from(self.number()?).map_err(|_| Damage::Entry)?;
        let start = self.at;
        let end = start.checked_add(length).filter(|&end| end <= self.body.len());
        self.at = end.ok_or(Damage::Entry)?;
        Ok(start..self.at)
    }

    fn headers(&mut self) -> Result<Arc<[Header]>, Damage> {
        let mut headers = Vec::new();
        for _ in 0..self.number()? {
            let name = self.text()?;
            let name = std::str::from_utf8(&self.body[name]).map_err(|_| Damage::Entry)?.to_owned();
            let value = self.text()?;
            // Copied, so that a header kept for long doesn't keep the whole body.
            headers.push(Header { name, value: Bytes::copy_from_slice(&self.body[value]) });
        }
        Ok(headers.into())
    }
}
