//! The outbox: publishes what is committed, in order, each outcome once.
//!
//! The store's outcomes are the outbox. Nothing is stored about what was published: the last number
//! in the shard's partition of `postings` says it.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::codec::{Codec, EventType};
use schemas::command::SegmentApplied;
use schemas::outcome::Outcome;
use schemas::{Timestamp, Topic};
use tokio_util::sync::CancellationToken;
use topic::{Batch, Consumed, Log, Membership, Message, MessageSet, Writer, cloud_events};

use crate::fate::{Backoff, End, Error, Outages};
use crate::round::{Address, Round};
use crate::store::{self, OutcomeRow, ShardRow, Store, View};

/// Outcomes published at once, at most, and read from the store at once after a restart.
const OUTCOMES_MAX: usize = 16_384;

/// How far back the last message of a partition is looked for at first: offsets may have holes.
const LOOK_BACK_MIN: i64 = 16;

/// The clock, passed in.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What an outbox needs to know of its owner.
pub(crate) struct Setup<'a, L> {
    pub(crate) log: &'a L,
    pub(crate) shard: u32,
    pub(crate) membership: &'a Membership,
    /// Who says it: the header `ce_source`.
    pub(crate) source: &'a str,
    pub(crate) clock: &'a Clock,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) outages: &'a Outages,
    /// How long an outage may last; none is for ever.
    pub(crate) patience: Option<Duration>,
}

/// The outbox of one shard.
pub(crate) struct Outbox<'a, L: Log> {
    setup: &'a Setup<'a, L>,
    writer: L::Writer,
}

/// An outcome to be published.
struct Posting<'a> {
    row: &'a OutcomeRow,
    address: &'a Address,
}

impl<'a, L: Log> Outbox<'a, L> {
    /// Opens the shard's writer: who had it before is fenced.
    pub(crate) async fn open(setup: &'a Setup<'a, L>) -> Result<Self, End> {
        let writer = setup.writer().await?;
        Ok(Self { setup, writer })
    }

    /// Publishes what the store has beyond the topic, of which `published` is the last number.
    pub(crate) async fn catch_up<S: Store>(
        &mut self,
        store: &S,
        row: ShardRow,
        published: Option<i64>,
    ) -> Result<(), End> {
        let ShardRow { shard, next_offset, next_number, .. } = row;
        let mut from = published.map_or(0, |number| number.saturating_add(1));
        let mut backoff = self.setup.backoff();
        while from < next_number {
            let tail = read_tail(store, shard, from).await;
            let Some(mut rows) = backoff.after(tail).await? else { continue };
            rows.retain(|row| row.number < next_number);
            let Some(last) = rows.last() else { break };
            from = last.number.saturating_add(1);
            let address = |row: &OutcomeRow| {
                let outcome: Outcome = Codec::built_in().decode(&row.body)?;
                Ok(Address::of(&outcome))
            };
            let addresses: Result<Vec<_>, _> = rows.iter().map(address).collect();
            let addresses = addresses.map_err(|error| End::Stop(Error::Encode(error)))?;
            let postings = rows.iter().zip(&addresses);
            let postings: Vec<_> =
                postings.map(|(row, address)| Posting { row, address }).collect();
            self.publish(&postings, next_offset).await?;
        }
        Ok(())
    }

    /// Publishes rounds that are committed.
    pub(crate) async fn publish_rounds(&mut self, rounds: &[Round]) -> Result<(), End> {
        let mut next_offset = 0;
        let mut postings = Vec::new();
        for round in rounds {
            let outcomes = round.commit.outcomes.iter().zip(&round.addresses);
            postings.extend(outcomes.map(|(row, address)| Posting { row, address }));
            next_offset = round.commit.next_offset;
        }
        for some in postings.chunks(OUTCOMES_MAX) {
            self.publish(some, next_offset).await?;
        }
        Ok(())
    }

    /// Publishes outcomes until it is known that they are in the log.
    async fn publish(&mut self, postings: &[Posting<'_>], next_offset: i64) -> Result<(), End> {
        let Some(last) = postings.last().map(|posting| posting.row.number) else { return Ok(()) };
        let mut backoff = self.setup.backoff();
        loop {
            let batch = self.setup.batch(postings, next_offset).map_err(End::Stop)?;
            match self.writer.publish(batch).await {
                Ok(()) => {
                    backoff.is_over();
                    return Ok(());
                }
                Err(error @ topic::Error::Indefinite { .. }) => {
                    backoff.wait(Error::Log(error)).await?;
                    self.writer = self.setup.writer().await?;
                    if Some(last) <= self.setup.last_number().await? {
                        return Ok(());
                    }
                }
                Err(error) => match End::from(error) {
                    End::Retry(error) => backoff.wait(error).await?,
                    end => return Err(end),
                },
            }
        }
    }
}

impl<'a, L: Log> Setup<'a, L> {
    pub(crate) fn backoff(&self) -> Backoff<'a> {
        Backoff::new(self.cancel, self.outages, self.shard, self.patience)
    }

    /// Opens the shard's writer: who had it before is fenced.
    async fn writer(&self) -> Result<L::Writer, End> {
        let name = format!("shard-{}", self.shard);
        let mut backoff = self.backoff();
        loop {
            if let Some(writer) = backoff.after(self.log.writer(&name).await).await? {
                return Ok(writer);
            }
        }
    }

    fn batch(&self, postings: &[Posting<'_>], next_offset: i64) -> Result<Batch, Error> {
        let now = (self.clock)();
        let mut ids = Ids::default();
        for posting in postings {
            ids.push(self.shard, posting.row.number);
        }
        let messages = postings.iter().zip(ids.into_bytes()).map(|(posting, id)| Message {
            id,
            key: posting.address.key.clone(),
            value: Some(posting.row.body.clone()),
        });
        let subject = format!("shard/{}", self.shard);
        let mut sets = vec![MessageSet {
            topic: Topic::Postings,
            partition: self.shard,
            headers: cloud_events(EventType::Outcome, self.source, &subject, now),
            messages: messages.collect(),
        }];
        for posting in postings {
            if let Some((partition, answer)) = &posting.address.answer {
                sets.push(self.answer(*partition, answer, now)?);
            }
        }
        let positions = vec![(Topic::Records, self.shard, next_offset)];
        let consumed = Some(Consumed { membership: self.membership.clone(), positions });
        Ok(Batch { sets, consumed })
    }

    /// The answer to a file's owner, in the partition that it asked for.
    fn answer(
        &self,
        partition: u32,
        answer: &SegmentApplied,
        now: Timestamp,
    ) -> Result<MessageSet, Error> {
        let file = answer.file_id.to_string();
        let id = format!("{file}/segment/{}/{}", self.shard, answer.segment.number);
        Ok(MessageSet {
            topic: Topic::Commands,
            partition,
            headers: cloud_events(EventType::SegmentApplied, self.source, &file, now),
            messages: vec![Message {
                id: id.into(),
                key: file.into(),
                value: Some(Codec::built_in().encode(answer)?.into()),
            }],
        })
    }

    /// The number of the last outcome in the shard's partition; none where it is empty.
    pub(crate) async fn last_number(&self) -> Result<Option<i64>, End> {
        let shard = self.shard;
        let mut backoff = self.backoff();
        let last = loop {
            if let Some(last) = backoff.after(last_id(self.log, shard).await).await? {
                break last;
            }
        };
        let Some(id) = last else { return Ok(None) };
        number(shard, &id).map(Some).ok_or(End::Stop(Error::Foreign { shard }))
    }
}

/// The number in an outcome's id, `<shard>/<number>`; none where it is no id of this shard.
pub(crate) fn number(shard: u32, id: &[u8]) -> Option<i64> {
    let (of_shard, number) = std::str::from_utf8(id).ok()?.split_once('/')?;
    let number = number.parse().ok().filter(|number| 0 <= *number)?;
    (of_shard.parse() == Ok(shard)).then_some(number)
}

async fn last_id<L: Log>(log: &L, shard: u32) -> Result<Option<Bytes>, topic::Error> {
    const BYTES_MAX: usize = 1 << 20;
    let end = log.end(Topic::Postings, shard).await?;
    let mut look_back = LOOK_BACK_MIN;
    loop {
        let mut from = end.saturating_sub(look_back).max(0);
        let mut last = None;
        loop {
            let page = log.read(Topic::Postings, shard, from..end, BYTES_MAX).await?;
            let Some(message) = page.into_iter().next_back() else { break };
            from = message.offset.saturating_add(1);
            last = Some(message.id);
            if from >= end {
                break;
            }
        }
        if last.is_some() || look_back >= end {
            return Ok(last);
        }
        look_back = look_back.saturating_mul(16);
    }
}

async fn read_tail<S: Store>(
    store: &S,
    shard: u32,
    from: i64,
) -> Result<Vec<OutcomeRow>, store::Error> {
    store.view().await?.outcomes(shard, from, OUTCOMES_MAX).await
}

/// Ids of outcomes, `<shard>/<number>`, in one buffer.
#[derive(Default)]
struct Ids {
    text: String,
    ranges: Vec<Range<usize>>,
}

impl Ids {
    fn push(&mut self, shard: u32, number: i64) {
        let start = self.text.len();
        // Writing to a String can't fail.
        let _ = write!(self.text, "{shard}/{number}");
        self.ranges.push(start..self.text.len());
    }

    fn into_bytes(self) -> impl Iterator<Item = Bytes> {
        let text = Bytes::from(self.text);
        self.ranges.into_iter().map(move |range| text.slice(range))
    }
}
