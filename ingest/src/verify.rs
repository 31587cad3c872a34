//! Pass 1: a file is read whole, and nothing of it is published, before it has a verdict.

use schemas::arrival::Reason;
use schemas::file::Verdict;
use schemas::{AccountKey, Digest, Direction, FileId, Sums};
use sha2::{Digest as _, Sha256};

use crate::bucket::Object;
use crate::container::Container;
use crate::content::{Block, Blocks};
use crate::feed::Feed;
use crate::format::{Control, Draft, Refusal, Reject, ResumeError, Summary, revision};
use crate::walk::{Found, Walk};

/// How many rejects a refusal names: enough to see the pattern, few enough to read.
const REJECTS_NAMED: usize = 10;

/// What of a ledger a verdict depends on.
#[derive(Clone, Debug)]
pub struct Place {
    /// The ledger's name.
    pub ledger: String,
    /// Makes tokens of account numbers, by which events are counted per shard.
    pub key: AccountKey,
    /// The shards of the ledger.
    pub shards: u32,
}

/// What verification found.
#[derive(Clone, Debug)]
pub enum Finding {
    /// The file is whole and in balance.
    Verified(Box<Verified>),
    /// Nothing of it may be published.
    Refused(Refused),
}

/// A file that is whole and in balance.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its identity, as the first occurrence of its content.
    pub file_id: FileId,
    /// What publishing it is bound to.
    pub verdict: Verdict,
    /// The first records that can't be read.
    pub rejects: Vec<Reason>,
}

/// A file of which nothing may be published.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why, and where.
    pub reason: Reason,
    /// The first records that can't be read.
    pub rejects: Vec<Reason>,
    /// Records read until then.
    pub records: i64,
    /// Bytes of the content read until then.
    pub content_bytes: i64,
}

/// How far verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records read.
    pub records: i64,
    /// Bytes of the content read.
    pub content_bytes: i64,
}

/// Verifies one file, block by block, without I/O.
#[derive(Debug)]
pub struct Verification {
    walk: Walk,
    place: Place,
    content: Sha256,
    content_bytes: i64,
    block_digests: Vec<u8>,
    records: i64,
    rejects: i64,
    first_rejects: Vec<Reason>,
    sums: Sums,
    shard_events: Vec<i64>,
    /// Events that concern no account: their shard is known with the file's id.
    house_events: i64,
    control: Control,
    ended: bool,
}

impl Verification {
    /// Begins to verify a file of this feed.
    ///
    /// # Errors
    ///
    /// Where the feed names no format.
    pub fn new(feed: &Feed, place: Place) -> Result<Self, ResumeError> {
        let shards = usize::try_from(place.shards).unwrap_or_default();
        Ok(Self {
            walk: Walk::new(&feed.name, &feed.settings)?,
            place,
            content: Sha256::new(),
            content_bytes: 0,
            block_digests: Vec::new(),
            records: 0,
            rejects: 0,
            first_rejects: Vec::new(),
            sums: Sums::new(),
            shard_events: vec![0; shards],
            house_events: 0,
            control: Control::default(),
            ended: false,
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { records: self.records, content_bytes: self.content_bytes }
    }

    /// Reads the next block.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or doesn't balance.
    pub fn push(&mut self, block: &Block) -> Result<(), Refusal> {
        self.content.update(&block.bytes);
        self.block_digests.extend_from_slice(&block.digest());
        let length = i64::try_from(block.bytes.len()).unwrap_or(i64::MAX);
        self.content_bytes = self.content_bytes.saturating_add(length);
        if self.ended {
            return Ok(());
        }
        self.walk.feed(&block.bytes, block.is_last);
        loop {
            match self.walk.step()? {
                Found::More => return Ok(()),
                Found::Record => self.count()?,
                Found::Rejected(reject) => self.reject(&reject)?,
                Found::End => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.records += 1;
        let Draft { record, account, control } = &self.walk.draft;
        if let Some(currency) = record.currency {
            let added =
                self.sums.add(&record.direction, currency, record.exponent, record.amount_minor);
            added.map_err(|overflow| overflows(&overflow.to_string()))?;
        }
        let control = *control;
        match self.place.key.account(account) {
            Some(account) => {
                let shard = usize::try_from(account.shard(self.place.shards)).unwrap_or_default();
                if let Some(events) = self.shard_events.get_mut(shard) {
                    *events += 1;
                }
            }
            None => self.house_events += 1,
        }
        self.add_control(control)
    }

    fn reject(&mut self, reject: &Reject) -> Result<(), Refusal> {
        self.records += 1;
        self.rejects += 1;
        if self.first_rejects.len() < REJECTS_NAMED {
            self.first_rejects.push(reject_reason(&self.walk.draft, reject));
        }
        self.add_control(reject.control.unwrap_or_default())
    }

    fn add_control(&mut self, control: Control) -> Result<(), Refusal> {
        let sum = &mut self.control;
        for (sum, amount) in [
            (&mut sum.debits, control.debits),
            (&mut sum.credits, control.credits),
            (&mut sum.unsigned, control.unsigned),
        ] {
            *sum = sum.checked_add(amount).ok_or_else(|| overflows("a larger one"))?;
        }
        Ok(())
    }

    /// Ends: the verdict of a file whose last block was pushed.
    pub fn conclude(
        self,
        object: &Object,
        container: Container,
        block_bytes: usize,
        feed: &Feed,
    ) -> Finding {
        if !self.ended {
            return self.refuse(
                Reason::new("not_ended")
                    .expected_found("the end of the file's trailer", "the end of the object"),
            );
        }
        let rejects = u64::try_from(self.rejects).unwrap_or_default();
        let records = u64::try_from(self.records).unwrap_or_default();
        if feed.reject_limit.is_exceeded(rejects, records) {
            let percent = feed.reject_limit.percent;
            return self.refuse(
                Reason::new("too_many_bad_records")
                    .expected_found(
                        format!("at most {percent} % of {records} records that can't be read"),
                        format!("{rejects}"),
                    )
                    .remedy("see the first of them; is it the right format and code page?"),
            );
        }
        let summary = match self.walk.summary().cloned() {
            Some(summary) => summary,
            None if self.walk.is_unchecked => Summary::default(),
            None => return self.refuse(Reason::new("no_summary")),
        };
        let content_digest = Digest(self.content.clone().finalize().into());
        let file_id = FileId::new(&self.place.ledger, 0, &content_digest);
        let mut shard_events = self.shard_events.clone();
        let house = schemas::account::spread(file_id.spread(), self.place.shards);
        if let Some(events) = usize::try_from(house).ok().and_then(|at| shard_events.get_mut(at)) {
            *events += self.house_events;
        }
        let verdict = Verdict {
            content_digest,
            occurrence: 0,
            format: feed.settings.format.clone(),
            container: container.name().to_owned(),
            identifier: summary.identifier,
            identifiers: summary.identifiers,
            size_bytes: i64::try_from(object.size).unwrap_or(i64::MAX),
            content_bytes: self.content_bytes,
            records: self.records,
            rejects: self.rejects,
            shard_events,
            sums: self.sums,
            claimed_debits: summary.claimed_debits,
            claimed_credits: summary.claimed_credits,
            claimed_unsigned: summary.claimed_unsigned,
            control_totals: summary.control_totals,
            warnings: summary.warnings,
            settings_digest: feed.settings.digest(),
            reader_revision: revision(&feed.settings).unwrap_or_default(),
            block_bytes: i64::try_from(block_bytes).unwrap_or(i64::MAX),
            block_digests: self.block_digests,
        };
        Finding::Verified(Box::new(Verified { file_id, verdict, rejects: self.first_rejects }))
    }

    /// Ends: nothing of the file may be published.
    pub fn refuse(self, reason: Reason) -> Finding {
        Finding::Refused(Refused {
            reason,
            rejects: self.first_rejects,
            records: self.records,
            content_bytes: self.content_bytes,
        })
    }
}

fn overflows(what: &str) -> Refusal {
    let reason = Reason::new("sum_too_large").expected_found("sums that fit in 64 bits", what);
    Refusal(Box::new(reason))
}

/// Where and why a record can't be read.
pub fn reject_reason(draft: &Draft, reject: &Reject) -> Reason {
    Reason {
        code: reject.reason.to_owned(),
        index: Some(draft.record.index),
        byte_offset: Some(draft.record.byte_offset),
        line: draft.record.line,
        field: Some(reject.field.to_owned()),
        expected: Some(reject.expected.clone()),
        found: Some(reject.found.clone()),
        remedy: None,
    }
}

/// Direction under which a reject adds to the file's totals.
pub(crate) fn control_direction(control: Control) -> Direction {
    match control {
        Control { debits: 1.., .. } => Direction::DEBIT,
        Control { credits: 1.., .. } => Direction::CREDIT,
        Control { .. } => Direction::NONE,
    }
}

/// Verifies an object, reading it once. `progress` is told after each block.
///
/// # Errors
///
/// Where the surroundings are at fault: it may be tried again. What is wrong with the file itself
/// is a finding.
pub async fn verify(
    feed: &Feed,
    object: &Object,
    place: Place,
    progress: impl FnMut(Progress) + Send,
) -> Result<Finding, crate::bucket::Error> {
    verify_unless(false, feed, object, place, progress).await
}

/// As [`verify`]; where `is_unchecked`, no trailer and no total refuses the file.
pub(crate) async fn verify_unless(
    is_unchecked: bool,
    feed: &Feed,
    object: &Object,
    place: Place,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Finding, crate::bucket::Error> {
    use crate::content::Error;

    let mut verification = Verification::new(feed, place)
        .map_err(|error| crate::bucket::Error::object(&object.key, error))?;
    verification.walk.is_unchecked = is_unchecked;
    let mut blocks = match Blocks::open(&feed.bucket.patient(), object, feed.limits, None, 0).await
    {
        Ok(blocks) => blocks,
        Err(Error::Bucket(error)) => return Err(error),
        Err(Error::Container(error)) => return Ok(verification.refuse(error.reason())),
    };
    loop {
        let block = match blocks.next().await {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(Error::Bucket(error)) => return Err(error),
            Err(Error::Container(error)) => return Ok(verification.refuse(error.reason())),
        };
        let push = move || {
            let pushed = verification.push(&block);
            (verification, pushed)
        };
        let pushed;
        (verification, pushed) = tokio::task::spawn_blocking(push)
            .await
            .map_err(|error| crate::bucket::Error::object(&object.key, error))?;
        progress(verification.progress());
        if let Err(Refusal(reason)) = pushed {
            return Ok(verification.refuse(*reason));
        }
    }
    Ok(verification.conclude(object, blocks.container(), blocks.block_bytes(), feed))
}
