//! Events of `records`, as far as applying them needs.

use std::collections::HashSet;
use std::sync::Arc;

use schemas::codec::{self, Codec, EventType};
use schemas::record::{AccountChanged, Reversal, SegmentClosed};
use schemas::{AccountId, Currency, Date, Direction, FileId, Kind};
use serde::Deserialize;

/// An event and where it stood.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its offset in the shard's partition of `records`.
    pub offset: i64,
    /// What it says.
    pub what: What,
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum What {
    /// One record of a file.
    Record(Record),
    /// The end of a file's run on the shard.
    SegmentClosed(SegmentClosed),
    /// Undoes what was applied of a file.
    Reversal(Reversal),
    /// A new state or label of an account.
    AccountChanged(AccountChanged),
}

/// The fields of a clearing record that decide what is posted.
///
/// - `index` and `sequence` are at least 0.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented field by field in schemas/avro/ClearingRecord.avsc")]
pub struct Record {
    pub file: FileId,
    pub index: i64,
    pub sequence: i64,
    pub fingerprint: i64,
    pub feed: Arc<str>,
    pub format: Arc<str>,
    pub network: Arc<str>,
    pub kind: Kind,
    pub direction: Direction,
    pub account: Option<AccountId>,
    pub label: Option<Arc<str>>,
    pub amount_minor: i64,
    pub currency: Option<Currency>,
    pub exponent: i32,
}

/// An event that can't be applied and may not be skipped: the shard stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are no event of ours.
    #[error("the event at offset {offset} of its shard does not decode")]
    Decode {
        /// Its offset.
        offset: i64,
        /// Why.
        source: codec::Error,
    },
    /// No bytes at all.
    #[error("expected an event at offset {offset} of its shard, found a message without a value")]
    Empty {
        /// Its offset.
        offset: i64,
    },
    /// An event that this version can't apply.
    #[error(
        "expected a record, an end of segment, a reversal or a change of account at offset \
         {offset} of its shard, found {found}: this version can't apply it"
    )]
    Unknown {
        /// Its offset.
        offset: i64,
        /// The event's type.
        found: &'static str,
    },
    /// A counter of an event is negative.
    #[error("expected {field} of at least 0 at offset {offset} of its shard, found {found}")]
    Negative {
        /// Its offset.
        offset: i64,
        /// Which counter.
        field: &'static str,
        /// Its value.
        found: i64,
    },
}

/// Decodes events, and shares the few names that repeat in all of them.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    names: HashSet<Arc<str>>,
}

/// Feeds, formats and networks are a handful; above this many the table begins anew.
const NAMES_MAX: usize = 1_024;

#[derive(Deserialize)]
struct View<'a> {
    file_id: FileId,
    index: i64,
    sequence: i64,
    feed: &'a str,
    format: &'a str,
    kind: Kind,
    direction: Direction,
    account: Option<AccountId>,
    #[serde(borrow)]
    account_label: Option<&'a str>,
    network: &'a str,
    amount_minor: i64,
    currency: Option<Currency>,
    exponent: i32,
    value_date: Option<Date>,
}

impl Decoder {
    /// A decoder for events under the schemas that this codec knows.
    pub fn new(codec: Codec) -> Self {
        Self { codec, names: HashSet::new() }
    }

    /// Decodes one event.
    ///
    /// # Errors
    ///
    /// Where it is none of those that can be applied; the shard stops then.
    pub fn decode(&mut self, offset: i64, value: Option<&[u8]>) -> Result<Event, Error> {
        let bytes = value.ok_or(Error::Empty { offset })?;
        let decode = |source| Error::Decode { offset, source };
        let what = match self.codec.event_type(bytes).map_err(decode)? {
            EventType::ClearingRecord => {
                let view: View<'_> =
                    self.codec.decode_view(EventType::ClearingRecord, bytes).map_err(decode)?;
                not_negative(offset, "index", view.index)?;
                not_negative(offset, "sequence", view.sequence)?;
                What::Record(self.record(&view))
            }
            EventType::SegmentClosed => {
                let closed: SegmentClosed = self.codec.decode(bytes).map_err(decode)?;
                not_negative(offset, "events", closed.events)?;
                What::SegmentClosed(closed)
            }
            EventType::Reversal => {
                let reversal: Reversal = self.codec.decode(bytes).map_err(decode)?;
                not_negative(offset, "first_index", reversal.first_index)?;
                What::Reversal(reversal)
            }
            EventType::AccountChanged => {
                What::AccountChanged(self.codec.decode(bytes).map_err(decode)?)
            }
            other => return Err(Error::Unknown { offset, found: other.name() }),
        };
        Ok(Event { offset, what })
    }

    fn record(&mut self, view: &View<'_>) -> Record {
        Record {
            file: view.file_id,
            index: view.index,
            sequence: view.sequence,
            fingerprint: schemas::fingerprint(
                view.account.as_ref(),
                &view.kind,
                &view.direction,
                view.amount_minor,
                view.currency,
                view.value_date,
            ),
            feed: self.name(view.feed),
            format: self.name(view.format),
            network: self.name(view.network),
            kind: view.kind.clone(),
            direction: view.direction.clone(),
            account: view.account,
            label: view.account_label.map(Arc::from),
            amount_minor: view.amount_minor,
            currency: view.currency,
            exponent: view.exponent,
        }
    }

    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return Arc::clone(known);
        }
        if NAMES_MAX <= self.names.len() {
            self.names.clear();
        }
        let name: Arc<str> = text.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

fn not_negative(offset: i64, field: &'static str, found: i64) -> Result<(), Error> {
    if found < 0 { Err(Error::Negative { offset, field, found }) } else { Ok(()) }
}
