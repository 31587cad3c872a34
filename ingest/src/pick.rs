//! Rejected records read again: each becomes the only record of a file of its own.
//!
//! Pure, as [`crate::split`]: blocks in, records out. A block is taken only where it is the one
//! that was verified; what is made of it is up to today's settings.

use schemas::file::{Checkpoint, File, FileState, Resubmits, Segment, Verdict};
use schemas::{AccountKey, ClearingRecord, FileId, RecordRejected, SumOverflow, Sums, Timestamp};

use crate::content::Block;
use crate::feed::Feed;
use crate::format::{Draft, Refusal, Reject, ResumeError, revision};
use crate::split::{Broken, check_block, reject_event};
use crate::walk::{Found, Walk};

/// A record to be read again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Its index in its file.
    pub(crate) index: i64,
    /// Where it began in the content when it was read before.
    pub(crate) byte_offset: i64,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
}

/// A record that was read again, as the only one of its file: index 0, sequence 0, and the byte
/// range and line of the original.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) wanted: Wanted,
    pub(crate) read: Read,
}

/// What reading a record again gave.
#[derive(Debug)]
pub(crate) enum Read {
    /// An event, and the shard that it goes to.
    Record(Box<ClearingRecord>, u32),
    /// It still can't be read.
    Rejected(Box<RecordRejected>),
}

/// Picks records out of a file, in one pass.
#[derive(Debug)]
pub(crate) struct Pick {
    walk: Walk,
    file_id: FileId,
    first_id: FileId,
    shards: u32,
    key: AccountKey,
    block_digests: Vec<u8>,
    next_block: usize,
    /// What is wanted, ascending, and how many of them are picked.
    wanted: Vec<Wanted>,
    picked: Vec<Picked>,
}

/// What asking for the picked records gives.
pub(crate) enum Next {
    /// The next block is needed.
    Block,
    /// All of them.
    Picked(Vec<Picked>),
}

impl Pick {
    /// Begins to pick these records, ascending, out of a file.
    ///
    /// # Errors
    ///
    /// Where the feed names no format.
    pub(crate) fn new(
        file: &File,
        first_id: FileId,
        feed: &Feed,
        key: &AccountKey,
        wanted: Vec<Wanted>,
    ) -> Result<Self, ResumeError> {
        Ok(Self {
            walk: Walk::new(&feed.name, &feed.settings)?,
            file_id: file.file_id,
            first_id,
            shards: u32::try_from(file.verdict.shard_events.len()).unwrap_or(u32::MAX),
            key: key.clone(),
            block_digests: file.verdict.block_digests.clone(),
            next_block: 0,
            picked: Vec::with_capacity(wanted.len()),
            wanted,
        })
    }

    /// The index of the block that is needed next.
    pub(crate) fn next_block(&self) -> u64 {
        u64::try_from(self.next_block).unwrap_or(u64::MAX)
    }

    /// Takes the next block.
    ///
    /// # Errors
    ///
    /// Where its bytes aren't those that were verified; nothing of it is used then.
    pub(crate) fn feed(&mut self, block: &Block) -> Result<(), Broken> {
        check_block(&self.block_digests, self.next_block, block)?;
        self.walk.feed(&block.bytes, block.is_last);
        self.next_block += 1;
        Ok(())
    }

    /// Reads on, up to the last record that is wanted.
    ///
    /// # Errors
    ///
    /// Where the file can't be read as far as that under today's settings, or another record has
    /// one of these indices now: nothing may be published of it.
    pub(crate) fn next(&mut self) -> Result<Next, Broken> {
        while let Some(wanted) = self.wanted.get(self.picked.len()).copied() {
            let unread = |found: String| Broken::NotReadable {
                expected: format!("record {} at byte {}", wanted.index, wanted.byte_offset),
                found,
            };
            let found = self.walk.step();
            let found = found.map_err(|Refusal(reason)| unread(reason.to_string()))?;
            let (index, byte_offset) =
                (self.walk.draft.record.index, self.walk.draft.record.byte_offset);
            let read = match found {
                Found::More => return Ok(Next::Block),
                Found::End => return Err(unread("the end of the file".to_owned())),
                Found::Record | Found::Rejected(_) if index < wanted.index => continue,
                _ if byte_offset != wanted.byte_offset => {
                    return Err(unread(format!(
                        "it at byte {byte_offset} by the settings of today"
                    )));
                }
                Found::Record => self.record(&wanted),
                Found::Rejected(reject) => self.rejected(&wanted, &reject),
            };
            self.picked.push(Picked { wanted, read });
        }
        Ok(Next::Picked(std::mem::take(&mut self.picked)))
    }

    fn record(&self, wanted: &Wanted) -> Read {
        let Draft { record, account, .. } = &self.walk.draft;
        let mut record = record.clone();
        record.file_id = self.id_of(wanted);
        record.index = 0;
        record.sequence = 0;
        record.account = self.key.account(account);
        record.account_label = account.label();
        let shard = match &record.account {
            Some(account) => account.shard(self.shards),
            None => schemas::account::spread(self.first_id.spread(), self.shards),
        };
        Read::Record(Box::new(record), shard)
    }

    fn rejected(&self, wanted: &Wanted, reject: &Reject) -> Read {
        let event = reject_event(self.id_of(wanted), &self.walk.draft, reject);
        Read::Rejected(Box::new(RecordRejected { index: 0, ..event }))
    }

    fn id_of(&self, wanted: &Wanted) -> FileId {
        FileId::resubmitted(&self.file_id, wanted.index, wanted.attempt)
    }
}

impl Picked {
    /// The file that the record is the only one of.
    pub(crate) fn file_id(&self) -> FileId {
        match &self.read {
            Read::Record(record, _) => record.file_id,
            Read::Rejected(rejected) => rejected.file_id,
        }
    }

    /// The row of that file: published where the record can be read, else at its end.
    ///
    /// # Errors
    ///
    /// None that is known: one amount fits where a file's sum did.
    pub(crate) fn row(
        &self,
        original: &File,
        feed: &Feed,
        now: Timestamp,
    ) -> Result<File, SumOverflow> {
        let shards = original.verdict.shard_events.len();
        let mut shard_events = vec![0; shards];
        let mut shard_sums = vec![Sums::new(); shards];
        let mut sums = Sums::new();
        let (byte_offset, byte_length) = match &self.read {
            Read::Record(record, shard) => {
                if let Some(currency) = record.currency {
                    let (exponent, amount) = (record.exponent, record.amount_minor);
                    sums.add(&record.direction, currency, exponent, amount)?;
                }
                let shard = usize::try_from(*shard).unwrap_or(usize::MAX);
                if let (Some(events), Some(of_shard)) =
                    (shard_events.get_mut(shard), shard_sums.get_mut(shard))
                {
                    *events = 1;
                    of_shard.clone_from(&sums);
                }
                (record.byte_offset, record.byte_length)
            }
            Read::Rejected(rejected) => (rejected.byte_offset, rejected.byte_length),
        };
        let rejects = i64::from(matches!(self.read, Read::Rejected(_)));
        let state = if rejects == 0 { FileState::PUBLISHED } else { FileState::RECONCILED };
        let of = &original.verdict;
        Ok(File {
            file_id: self.file_id(),
            feed: original.feed.clone(),
            object: original.object.clone(),
            version: original.version.clone(),
            state,
            reason: None,
            checkpoint: Checkpoint {
                byte_offset: byte_offset.saturating_add(byte_length),
                next_index: 1,
                sequences: shard_events.clone(),
                published: 1 - rejects,
                rejected: rejects,
                sums: sums.clone(),
                shard_sums,
                ..Checkpoint::default()
            },
            verdict: Verdict {
                content_digest: of.content_digest,
                occurrence: of.occurrence,
                format: feed.settings.format.clone(),
                container: of.container.clone(),
                identifier: None,
                identifiers: Vec::new(),
                size_bytes: byte_length,
                content_bytes: byte_length,
                records: 1,
                rejects,
                shard_events,
                sums,
                claimed_debits: None,
                claimed_credits: None,
                claimed_unsigned: None,
                control_totals: Vec::new(),
                warnings: Vec::new(),
                settings_digest: feed.settings.digest(),
                reader_revision: revision(&feed.settings).unwrap_or_default(),
                block_bytes: of.block_bytes,
                block_digests: Vec::new(),
            },
            segments: Vec::<Segment>::new(),
            duplicates: 0,
            answers: Vec::new(),
            work: None,
            resubmits: Some(Resubmits {
                file_id: original.file_id,
                index: self.wanted.index,
                attempt: i32::try_from(self.wanted.attempt).unwrap_or(i32::MAX),
            }),
            arrived_at: now,
            updated_at: now,
        })
    }
}
