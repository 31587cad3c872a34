//! Pass 2: a verified file is read again, and each of its records becomes an event.
//!
//! Pure: blocks and a checkpoint in, chunks of messages with the checkpoint behind them out.
//! A block is taken only where its digest is the one of pass 1, and no sequence ever reaches the
//! count that the verdict pins for its shard.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use schemas::codec::{Codec, Encoder, Event};
use schemas::file::{Checkpoint, Verdict};
use schemas::{AccountKey, ClearingRecord, FileId, RecordRejected, SumOverflow, Timestamp, Topic};
use topic::{Header, Message, MessageSet, cloud_events};

use crate::content::{BLOCK_DIGEST_BYTES, Block};
use crate::feed::CHUNK_RECORDS;
use crate::format::{Draft, Refusal, Reject, ResumeError, Settings};
use crate::seal::{self, NotOurs};
use crate::verify::control_direction;
use crate::walk::{Found, Walk};

/// How many records a replay passes over before it makes a chunk without any, whose checkpoint is
/// how far it is: reading them again after a crash takes less than a second.
const PASSED_RECORDS: i64 = 500_000;

/// What splitting a file needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The file.
    pub file_id: FileId,
    /// The first occurrence of its content: records that concern no account go to its shard, so
    /// that the events per shard are the same for every occurrence.
    pub first_id: FileId,
    /// Its partition of `files` and `rejects`.
    pub partition: u32,
    /// Its feed.
    pub feed: String,
    /// The feed's settings.
    pub settings: Settings,
    /// What publishing it is bound to.
    pub verdict: Verdict,
    /// Makes tokens of account numbers.
    pub key: AccountKey,
    /// Who says it, in the events' headers.
    pub source: String,
}

/// Messages, and the checkpoint behind them: to be published together.
#[derive(Debug)]
pub struct Chunk {
    /// Events and rejects.
    pub sets: Vec<MessageSet>,
    /// How far publishing is with them.
    pub checkpoint: Checkpoint,
    /// True where the file is over.
    pub is_last: bool,
}

/// Why a file can't be split on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Its bytes aren't those that were verified.
    #[error("block {block} of the content is not the one that was verified")]
    OtherBytes {
        /// The block's index.
        block: usize,
    },
    /// It reads otherwise than in pass 1, from the same bytes: a fault of this program.
    #[error("expected {expected}, found {found}, in bytes that are the ones that were verified")]
    OtherReading {
        /// What pass 1 found.
        expected: String,
        /// What this pass finds.
        found: String,
    },
    /// It can't be read as far as it should be, under the settings of today.
    #[error("expected {expected}, found {found}")]
    NotReadable {
        /// What is to be read.
        expected: String,
        /// What is found.
        found: String,
    },
    /// The checkpoint's reader state is none of this reader's.
    #[error(transparent)]
    State(#[from] ResumeError),
    /// Nor was it sealed by this ledger for this file.
    #[error(transparent)]
    Sealed(#[from] NotOurs),
    /// An event can't be encoded: a fault of this program.
    #[error(transparent)]
    Codec(#[from] schemas::codec::Error),
    /// A sum is too large, which pass 1 had refused.
    #[error(transparent)]
    Sum(#[from] SumOverflow),
}

/// What asking for the next chunk gives.
#[derive(Debug)]
pub enum Next {
    /// The next block is needed.
    Block,
    /// A chunk.
    Chunk(Box<Chunk>),
}

/// Messages for one partition, in one buffer.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Where id, key and value of each message end.
    ends: Vec<[usize; 3]>,
}

/// Splits one file into chunks.
#[derive(Debug)]
pub struct Split {
    plan: Plan,
    walk: Walk,
    checkpoint: Checkpoint,
    /// The block that is taken next.
    next_block: usize,
    /// Bytes at the head of the next block that lie before the checkpoint.
    skip: usize,
    records: Encoder<ClearingRecord>,
    rejects: Encoder<RecordRejected>,
    shards: Vec<Buffer>,
    rejected: Buffer,
    in_chunk: i64,
    /// How many records a chunk has.
    chunk_records: i64,
    /// Records since the last chunk that a replay doesn't want.
    passed: i64,
    /// The records that a replay wants; none where all are published for the first time.
    replay: Option<Range<i64>>,
    id: String,
}

impl Split {
    /// Begins at a checkpoint; an empty one is the beginning of the file.
    ///
    /// # Errors
    ///
    /// Where the checkpoint's reader state can't be used.
    pub fn new(plan: Plan, checkpoint: Checkpoint) -> Result<Self, Broken> {
        let walk = if checkpoint.reader.is_empty() {
            Walk::new(&plan.feed, &plan.settings)?
        } else {
            let state = seal::open(&plan.key, &plan.file_id, &checkpoint.reader)?;
            Walk::resume(&plan.feed, &plan.settings, &state)?
        };
        let shards = plan.verdict.shard_events.len();
        let mut checkpoint = checkpoint;
        checkpoint.sequences.resize(shards, 0);
        checkpoint.shard_sums.resize(shards, schemas::Sums::new());
        let block_bytes = plan.verdict.block_bytes.max(1);
        let at = walk.next_byte();
        let codec = Codec::built_in();
        Ok(Self {
            next_block: usize::try_from(at / block_bytes).unwrap_or(usize::MAX),
            skip: usize::try_from(at % block_bytes).unwrap_or(usize::MAX),
            records: codec.encoder(),
            rejects: codec.encoder(),
            shards: (0..shards).map(|_| Buffer::default()).collect(),
            rejected: Buffer::default(),
            in_chunk: 0,
            chunk_records: CHUNK_RECORDS.into(),
            passed: 0,
            replay: None,
            id: String::new(),
            plan,
            walk,
            checkpoint,
        })
    }

    /// The same as a replay of these records: all are read and counted, and only these are
    /// published, as they were before, with the header `replayed`. It is over behind the last.
    #[must_use]
    pub fn replay(mut self, records: Range<i64>) -> Self {
        self.replay = Some(records);
        self
    }

    /// The same in chunks of so many records.
    #[must_use]
    pub(crate) fn chunked(mut self, records: u32) -> Self {
        self.chunk_records = records.max(1).into();
        self
    }

    /// The same, where whatever the file would be refused for is its end; see
    /// [`crate::feed::Config`].
    pub(crate) fn unchecked(mut self, is_unchecked: bool) -> Self {
        self.walk.is_unchecked = is_unchecked;
        self
    }

    /// The index of the block that is needed next.
    pub fn next_block(&self) -> u64 {
        u64::try_from(self.next_block).unwrap_or(u64::MAX)
    }

    /// Takes the next block.
    ///
    /// # Errors
    ///
    /// Where its bytes aren't those that were verified; nothing of it is used then.
    pub fn feed(&mut self, block: &Block) -> Result<(), Broken> {
        check_block(&self.plan.verdict.block_digests, self.next_block, block)?;
        let skip = std::mem::take(&mut self.skip).min(block.bytes.len());
        self.walk.feed(&block.bytes.slice(skip..), block.is_last);
        self.next_block += 1;
        Ok(())
    }

    /// The next chunk, or that a block is needed for it.
    ///
    /// # Errors
    ///
    /// Where the file reads otherwise than in pass 1.
    pub fn next(&mut self, now: Timestamp) -> Result<Next, Broken> {
        loop {
            if self.replay.as_ref().is_some_and(|range| range.end <= self.walk.next_index()) {
                return Ok(Next::Chunk(Box::new(self.chunk(true, now)?)));
            }
            let found = self.walk.step().map_err(|Refusal(reason)| Broken::OtherReading {
                expected: "a file that is whole".to_owned(),
                found: reason.to_string(),
            })?;
            match found {
                Found::More => return Ok(Next::Block),
                Found::Record => self.publish()?,
                Found::Rejected(reject) => self.reject(&reject)?,
                Found::End => {
                    self.check_end()?;
                    return Ok(Next::Chunk(Box::new(self.chunk(true, now)?)));
                }
            }
            if self.is_wanted() {
                self.in_chunk += 1;
            } else {
                self.passed += 1;
            }
            if self.in_chunk >= self.chunk_records || self.passed >= PASSED_RECORDS {
                return Ok(Next::Chunk(Box::new(self.chunk(false, now)?)));
            }
        }
    }

    /// True where the record in the draft is published, not only counted.
    fn is_wanted(&self) -> bool {
        let index = self.walk.draft.record.index;
        self.replay.as_ref().is_none_or(|range| range.contains(&index))
    }

    fn publish(&mut self) -> Result<(), Broken> {
        let is_wanted = self.is_wanted();
        let Self { plan, walk, checkpoint, records, shards, id, .. } = self;
        let Draft { record, account, control } = &mut walk.draft;
        record.file_id = plan.file_id;
        record.account = plan.key.account(account);
        record.account_label = account.label();
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        let shard = match &record.account {
            Some(account) => account.shard(count),
            None => schemas::account::spread(plan.first_id.spread(), count),
        };
        let shard = usize::try_from(shard).unwrap_or(usize::MAX);
        let pinned = plan.verdict.shard_events.get(shard).copied().unwrap_or_default();
        let (Some(buffer), Some(sequence), Some(sums)) = (
            shards.get_mut(shard),
            checkpoint.sequences.get_mut(shard),
            checkpoint.shard_sums.get_mut(shard),
        ) else {
            return Err(other(format!("{count} shards"), format!("shard {shard}")));
        };
        if *sequence >= pinned {
            return Err(other(
                format!("at most {pinned} events on shard {shard}"),
                "one more".to_owned(),
            ));
        }
        record.sequence = *sequence;
        *sequence += 1;
        checkpoint.published += 1;
        if let Some(currency) = record.currency {
            let (exponent, amount) = (record.exponent, record.amount_minor);
            checkpoint.sums.add(&record.direction, currency, exponent, amount)?;
            sums.add(&record.direction, currency, exponent, amount)?;
        }
        add_control(checkpoint, *control)?;
        if !is_wanted {
            return Ok(());
        }
        write_id(id, &plan.file_id, record.index);
        let start = buffer.bytes.len();
        buffer.bytes.extend_from_slice(id.as_bytes());
        let id_end = buffer.bytes.len();
        write_key(&mut buffer.bytes, record);
        let key_end = buffer.bytes.len();
        if let Err(error) = records.encode(record, &mut buffer.bytes) {
            buffer.bytes.truncate(start);
            return Err(error.into());
        }
        buffer.ends.push([id_end, key_end, buffer.bytes.len()]);
        Ok(())
    }

    fn reject(&mut self, reject: &Reject) -> Result<(), Broken> {
        let is_wanted = self.is_wanted();
        let Self { plan, walk, checkpoint, rejects, rejected, id, .. } = self;
        let record = &walk.draft.record;
        checkpoint.rejected += 1;
        add_control(checkpoint, reject.control.unwrap_or_default())?;
        if !is_wanted {
            return Ok(());
        }
        let event = reject_event(plan.file_id, &walk.draft, reject);
        write_id(id, &plan.file_id, record.index);
        rejected.bytes.extend_from_slice(id.as_bytes());
        let id_end = rejected.bytes.len();
        rejected.bytes.extend_from_slice(plan.file_id.to_string().as_bytes());
        let key_end = rejected.bytes.len();
        rejects.encode(&event, &mut rejected.bytes)?;
        rejected.ends.push([id_end, key_end, rejected.bytes.len()]);
        Ok(())
    }

    /// At the end, everything must be as pass 1 counted it.
    fn check_end(&self) -> Result<(), Broken> {
        let (verdict, seen) = (&self.plan.verdict, &self.checkpoint);
        if seen.sequences != verdict.shard_events {
            return Err(other(
                format!("{:?} events per shard", verdict.shard_events),
                format!("{:?}", seen.sequences),
            ));
        }
        if seen.rejected != verdict.rejects || seen.sums != verdict.sums {
            return Err(other(
                format!("{} rejects and sums {:?}", verdict.rejects, verdict.sums),
                format!("{} and {:?}", seen.rejected, seen.sums),
            ));
        }
        Ok(())
    }

    fn chunk(&mut self, is_last: bool, now: Timestamp) -> Result<Chunk, Broken> {
        (self.in_chunk, self.passed) = (0, 0);
        let is_replay = self.replay.is_some();
        let headers = |event, file_id: &str| {
            let headers = cloud_events(event, &self.plan.source, file_id, now);
            if is_replay { replayed(&headers) } else { headers }
        };
        let file_id = self.plan.file_id.to_string();
        let mut sets = Vec::with_capacity(self.shards.len() + 1);
        let (of_records, of_rejects) =
            (headers(ClearingRecord::TYPE, &file_id), headers(RecordRejected::TYPE, &file_id));
        for (partition, buffer) in (0..).zip(&mut self.shards) {
            sets.extend(buffer.take(Topic::Records, partition, &of_records));
        }
        sets.extend(self.rejected.take(Topic::Rejects, self.plan.partition, &of_rejects));
        self.checkpoint.byte_offset = self.walk.next_byte();
        self.checkpoint.next_index = self.walk.next_index();
        self.checkpoint.reader =
            seal::seal(&self.plan.key, &self.plan.file_id, &self.walk.state()?)?;
        Ok(Chunk { sets, checkpoint: self.checkpoint.clone(), is_last })
    }
}

impl Buffer {
    /// The messages so far, as slices of one buffer; none where there are none.
    fn take(
        &mut self,
        topic: Topic,
        partition: u32,
        headers: &Arc<[Header]>,
    ) -> Option<MessageSet> {
        if self.ends.is_empty() {
            return None;
        }
        // The next chunk is about as large.
        let next = Vec::with_capacity(self.bytes.len());
        let bytes = Bytes::from(std::mem::replace(&mut self.bytes, next));
        let mut messages = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for [id, key, value] in self.ends.drain(..) {
            messages.push(Message {
                id: bytes.slice(start..id),
                key: bytes.slice(id..key),
                value: Some(bytes.slice(key..value)),
            });
            start = value;
        }
        Some(MessageSet { topic, partition, headers: Arc::clone(headers), messages })
    }
}

/// Checks that a block is the one that was verified.
///
/// # Errors
///
/// Where its bytes are others, or the file ends with another block.
pub(crate) fn check_block(digests: &[u8], index: usize, block: &Block) -> Result<(), Broken> {
    let at = index.saturating_mul(BLOCK_DIGEST_BYTES);
    let end = at.saturating_add(BLOCK_DIGEST_BYTES);
    let is_last = end == digests.len();
    if digests.get(at..end) != Some(&block.digest()) || is_last != block.is_last {
        return Err(Broken::OtherBytes { block: index });
    }
    Ok(())
}

/// The same headers, and that what they stand for was published before.
fn replayed(headers: &[Header]) -> Arc<[Header]> {
    let replayed = Header { name: "replayed".to_owned(), value: Bytes::from_static(b"true") };
    headers.iter().cloned().chain([replayed]).collect()
}

/// The event of a record that can't be read.
pub(crate) fn reject_event(file_id: FileId, draft: &Draft, reject: &Reject) -> RecordRejected {
    let record = &draft.record;
    let control = reject.control.unwrap_or_default();
    RecordRejected {
        file_id,
        index: record.index,
        byte_offset: record.byte_offset,
        byte_length: record.byte_length,
        line: record.line,
        feed: record.feed.clone(),
        format: record.format.clone(),
        code: (!record.code.is_empty()).then(|| record.code.clone()),
        reason: reject.reason.to_owned(),
        field: reject.field.to_owned(),
        expected: reject.expected.clone(),
        found: reject.found.clone(),
        direction: control_direction(control),
        control_amount: reject
            .control
            .map(|control| control.debits.max(control.credits).max(control.unsigned)),
    }
}

fn other(expected: String, found: String) -> Broken {
    Broken::OtherReading { expected, found }
}

fn add_control(checkpoint: &mut Checkpoint, control: crate::format::Control) -> Result<(), Broken> {
    let overflow = || other("sums that fit in 64 bits".to_owned(), "larger ones".to_owned());
    let add = |sum: &mut i64, amount: i64| {
        *sum = sum.checked_add(amount).ok_or_else(overflow)?;
        Ok(())
    };
    add(&mut checkpoint.control_debits, control.debits)?;
    add(&mut checkpoint.control_credits, control.credits)?;
    add(&mut checkpoint.control_unsigned, control.unsigned)
}

fn write_id(id: &mut String, file_id: &FileId, index: i64) {
    use std::fmt::Write;
    id.clear();
    // Writing to a string doesn't fail.
    let _ = write!(id, "{file_id}/{index}");
}

/// The key of an event: its account, or its file where it concerns none.
fn write_key(bytes: &mut Vec<u8>, record: &ClearingRecord) {
    use std::io::Write;
    // Writing to memory doesn't fail.
    let _ = match &record.account {
        Some(account) => write!(bytes, "{account}"),
        None => write!(bytes, "{}", record.file_id),
    };
}
