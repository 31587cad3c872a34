//! The topics and earlier outcomes, read in step with the outcomes of one shard.

use std::collections::VecDeque;

use schemas::codec::Codec;
use schemas::outcome::{Outcome, OutcomeKind};
use schemas::{FileId, Topic};
use topic::{Log, Received};

use crate::event::{Decoder, Event, What};
use crate::fate::Error;
use crate::outbox;
use crate::store::{OutcomeRow, ShardRow, View};
use crate::verify::pass::{Findings, Rule};

/// Bytes read from a topic at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// Outcomes read at once to find one that was undone: as large as a slice of a reversal, which goes
/// from the newest to the oldest.
const EARLIER_PAGE: i64 = 512;

/// A partition, message by message, up to where it ended when reading began: what a run beside adds
/// meanwhile would come between what was looked for and not found, and what comes after it.
struct Partition<'a, L> {
    log: &'a L,
    topic: Topic,
    partition: u32,
    offset: i64,
    end: i64,
    page: VecDeque<Received>,
}

impl<'a, L: Log> Partition<'a, L> {
    async fn open(log: &'a L, topic: Topic, partition: u32) -> Result<Self, Error> {
        let end = log.end(topic, partition).await?;
        Ok(Self { log, topic, partition, offset: 0, end, page: VecDeque::new() })
    }

    async fn peek(&mut self) -> Result<Option<&Received>, Error> {
        if self.page.is_empty() && self.offset < self.end {
            let offsets = self.offset..self.end;
            let read = self.log.read(self.topic, self.partition, offsets, READ_BYTES_MAX);
            self.page = read.await?.into();
            if let Some(last) = self.page.back() {
                self.offset = last.offset.saturating_add(1);
            }
        }
        Ok(self.page.front())
    }
}

/// The shard's partition of `postings`.
pub(super) struct Published<'a, L> {
    partition: Partition<'a, L>,
    row: ShardRow,
}

impl<'a, L: Log> Published<'a, L> {
    pub(super) async fn open(log: &'a L, row: ShardRow) -> Result<Self, Error> {
        Ok(Self { partition: Partition::open(log, Topic::Postings, row.shard).await?, row })
    }

    /// The next message must be this outcome. Where there is none, the outcome is committed and not
    /// sent yet, as are all that follow: the outbox sends them, at the latest when the shard's next
    /// owner starts.
    pub(super) async fn compare(
        &mut self,
        stored: &OutcomeRow,
        findings: &mut Findings<'_>,
    ) -> Result<(), Error> {
        let shard = self.row.shard;
        while let Some(message) = self.partition.peek().await? {
            let number = outbox::number(shard, &message.id);
            if number == Some(stored.number) {
                let is_same = message.value.as_ref() == Some(&stored.body);
                let what = || format!("{shard}/{} differs", stored.number);
                findings.hold(Rule::Published, is_same, what);
                self.partition.page.pop_front();
                return Ok(());
            }
            if number.is_some_and(|number| stored.number < number) {
                break;
            }
            let what = || format!("{} again or elsewhere", String::from_utf8_lossy(&message.id));
            findings.hold(Rule::Published, false, what);
            self.partition.page.pop_front();
        }
        if self.partition.page.is_empty() {
            findings.unsent = findings.unsent.saturating_add(1);
            return Ok(());
        }
        findings.hold(Rule::Published, false, || format!("{shard}/{} is missing", stored.number));
        Ok(())
    }

    /// What follows may only be what was committed after the store's view was taken.
    pub(super) async fn end(mut self, findings: &mut Findings<'_>) -> Result<(), Error> {
        let row = self.row;
        let mut next = row.next_number;
        while let Some(message) = self.partition.peek().await? {
            let is_next = outbox::number(row.shard, &message.id) == Some(next);
            let what = || format!("{} again or elsewhere", String::from_utf8_lossy(&message.id));
            findings.hold(Rule::Published, is_next, what);
            next = next.saturating_add(i64::from(is_next));
            self.partition.page.pop_front();
        }
        Ok(())
    }
}

/// The shard's partition of `records`.
pub(super) struct Events<'a, L> {
    partition: Partition<'a, L>,
    row: ShardRow,
    decoder: Decoder,
}

impl<'a, L: Log> Events<'a, L> {
    pub(super) async fn open(log: &'a L, row: ShardRow) -> Result<Self, Error> {
        let decoder = Decoder::new(Codec::built_in());
        Ok(Self { partition: Partition::open(log, Topic::Records, row.shard).await?, row, decoder })
    }

    async fn next(&mut self, below: i64) -> Result<Option<Event>, Error> {
        let Some(message) = self.partition.peek().await? else { return Ok(None) };
        if below <= message.offset {
            return Ok(None);
        }
        let event = self.decoder.decode(message.offset, message.value.as_deref())?;
        self.partition.page.pop_front();
        Ok(Some(event))
    }

    /// The next event must be the one that this outcome answers, if it answers one.
    pub(super) async fn compare(
        &mut self,
        outcome: &Outcome,
        findings: &mut Findings<'_>,
    ) -> Result<(), Error> {
        let own = [OutcomeKind::REVERSED, OutcomeKind::REVERSAL_ENDED];
        if own.contains(&outcome.kind) || outcome.number_reversed.is_some() {
            return Ok(());
        }
        let shard = self.row.shard;
        while let Some(event) = self.next(outcome.source_offset.saturating_add(1)).await? {
            findings.event(shard, &event);
            if event.offset == outcome.source_offset {
                let is_same = key_of_event(&event.what) == key_of_outcome(outcome);
                let what = || format!("{shard}/{} answers another event", outcome.number);
                findings.hold(Rule::Answered, is_same, what);
                return Ok(());
            }
            unanswered(shard, &event, findings);
        }
        let what = || format!("{shard}/{} answers no event", outcome.number);
        findings.hold(Rule::Answered, false, what);
        Ok(())
    }

    /// What follows may only be what is still to be answered.
    pub(super) async fn end(mut self, findings: &mut Findings<'_>) -> Result<(), Error> {
        while let Some(event) = self.next(i64::MAX).await? {
            findings.event(self.row.shard, &event);
            if event.offset < self.row.next_offset {
                unanswered(self.row.shard, &event, findings);
            }
        }
        Ok(())
    }
}

fn unanswered(shard: u32, event: &Event, findings: &mut Findings<'_>) {
    let what = || format!("the event at {shard}/{} has no outcome", event.offset);
    findings.hold(Rule::Answered, false, what);
}

/// What an event and its outcome have in common.
type Key = (Option<FileId>, Option<i64>, Option<i64>, Option<i64>, Option<String>);

fn key_of_event(what: &What) -> Key {
    match what {
        What::Record(record) => {
            let (index, sequence) = (Some(record.index), Some(record.sequence));
            (Some(record.file), index, sequence, Some(record.fingerprint), None)
        }
        What::SegmentClosed(closed) => {
            let command_id = closed.command_id.map(|command_id| command_id.to_string());
            (Some(closed.file_id), None, None, None, command_id)
        }
        What::Reversal(reversal) => {
            let command_id = Some(reversal.command_id.to_string());
            (Some(reversal.file_id), Some(reversal.first_index), None, None, command_id)
        }
        What::AccountChanged(changed) => {
            (None, None, None, None, Some(changed.command_id.to_string()))
        }
    }
}

fn key_of_outcome(outcome: &Outcome) -> Key {
    let command_id = outcome.command_id.clone();
    (outcome.file_id, outcome.index, outcome.sequence, outcome.fingerprint, command_id)
}

/// Outcomes that were undone, looked up by number.
#[derive(Default)]
pub(super) struct Earlier(Vec<OutcomeRow>);

impl Earlier {
    /// The outcome of this number, where it is one of those below another.
    pub(super) async fn outcome<V: View>(
        &mut self,
        view: &mut V,
        shard: u32,
        number: i64,
        below: i64,
    ) -> Result<Option<Outcome>, Error> {
        if !(0..below).contains(&number) {
            return Ok(None);
        }
        let found = |rows: &[OutcomeRow]| {
            let at = rows.binary_search_by_key(&number, |row| row.number).ok();
            at.and_then(|at| rows.get(at)).map(|row| row.body.clone())
        };
        if found(&self.0).is_none() {
            let from = number.saturating_sub(EARLIER_PAGE.saturating_sub(1)).max(0);
            let max = usize::try_from(EARLIER_PAGE).unwrap_or(1);
            self.0 = view.outcomes(shard, from, max).await.map_err(Error::Store)?;
        }
        let body = found(&self.0);
        Ok(body.map(|body| Codec::built_in().decode(&body)).transpose()?)
    }
}
