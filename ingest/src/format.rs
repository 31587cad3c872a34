//! The formats: bytes in; a record with its byte range, a reject, or a refusal out.
//!
//! A reader is a state machine without I/O. It is given the content from where it stands on, says
//! how much of it it has used, and what it has found there. Its state is a plain value, so that
//! reading can stop after any record and go on elsewhere.
//!
//! A format is a layout in `ingest/layouts`, and a line in the table of `layout/built_in.rs`. Where
//! a layout can't say it, it is a module here, and a line in the table of [`formats`](self) below.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod settings;
mod encoding;
mod fault;
mod columns;
mod cut;
#[cfg_attr(not(test), expect(dead_code, reason = "writers of formats use the other half"))]
mod number;
mod layout;

pub(crate) mod nacha;
mod ipm;

use std::sync::LazyLock;

use schemas::arrival::Reason;
use schemas::file::ControlTotal;
use schemas::{AccountText, Attributes, ClearingRecord, Direction, FileId, Kind};
use serde::{Deserialize, Serialize};

pub(crate) use columns::Column;
use layout::LayoutReader;
pub use layout::{Explain, Explained, ExplainedField, ExplainedUnit, Layout, Mistake, built_in};
pub use settings::{Encoding, Framing, Posted, Settings, Side, UnknownWord};

/// How many of the content's first bytes detection looks at, where there are so many.
///
/// Enough for some sixty blocks of IPM, so that filler which merely looks like a block's end is
/// told from it.
pub const DETECT_BYTES: usize = 65_536;

/// What a format's module provides: the seam between a reader and the table.
trait FormatReader: Sized {
    /// The format's name.
    const NAME: &'static str;
    /// Raised whenever the same bytes and settings would give other events.
    const REVISION: i32;

    /// What the first bytes are, where they are of this format.
    fn detect(first: &[u8]) -> Option<Detected>;
    /// What the first bytes are, where they are of no format for certain but resemble this one, so
    /// that its reader can say where they depart from it.
    fn resembles(first: &[u8]) -> Option<Detected>;
    /// A reader at the beginning of the content.
    fn new(settings: &Settings) -> Self;
    /// A reader where another stood.
    fn resume(settings: &Settings, state: &[u8]) -> Result<Self, serde_json::Error>;
    /// Where it stands.
    fn state(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// See [`Reader::step`].
    fn step(
        &mut self,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<(usize, Step), Refusal>;
    /// See [`Reader::summary`].
    fn summary(&self) -> Option<&Summary>;
    /// See [`Reader::offset`].
    fn offset(&self) -> i64;
    /// See [`Reader::next_index`].
    fn next_index(&self) -> i64;
}

/// Declares the table of formats that are read by code of their own: a line each.
macro_rules! formats {
    ($( $variant:ident => $reader:ty, )+) => {
        /// The readers, by static dispatch.
        #[derive(Clone, Debug)]
        enum Inner { $( $variant(Box<$reader>), )+ Layout(Box<LayoutReader>), }

        /// The names of those.
        const IN_CODE: &[&str] = &[$( <$reader>::NAME ),+];

        /// The revision of the reader of these settings: a verdict is bound to it. Of a layout it
        /// is the thousands of what reads by it, and the layout's own below. None for an unknown
        /// name.
        pub fn revision(settings: &Settings) -> Option<i32> {
            if let Some(layout) = settings.layout() {
                return layout::REVISION.checked_mul(1_000)?.checked_add(layout.revision);
            }
            match settings.format.as_str() {
                $( <$reader>::NAME => Some(<$reader>::REVISION), )+
                _ => None,
            }
        }

        /// What content is, told from its first [`DETECT_BYTES`] bytes (all of it, where it is
        /// shorter): what a format knows for certain goes before what only resembles it. None where
        /// it is neither.
        pub fn detect(first: &[u8]) -> Option<Detected> {
            $( if let Some(detected) = <$reader>::detect(first) { return Some(detected); } )+
            if let Some(detected) = layout::detect(first) { return Some(detected); }
            $( if let Some(detected) = <$reader>::resembles(first) { return Some(detected); } )+
            None
        }

        /// As [`detect`], and where nothing is known for certain, what a layout's header resembles
        /// too: for who reads a file that nobody named, and refuses none by it.
        pub fn guess(first: &[u8]) -> Option<Detected> {
            $( if let Some(detected) = <$reader>::detect(first) { return Some(detected); } )+
            layout::detect(first).or_else(|| layout::resembles(first)).or_else(|| detect(first))
        }

        impl Inner {
            fn new(settings: &Settings) -> Result<Self, ResumeError> {
                if let Some(layout) = settings.layout() {
                    return Ok(Self::Layout(Box::new(LayoutReader::new(&layout, settings))));
                }
                match settings.format.as_str() {
                    $( <$reader>::NAME => Ok(Self::$variant(Box::new(<$reader>::new(settings)))), )+
                    _ => Err(ResumeError::Format(UnknownWord {
                        expected: names().join(", "),
                        found: settings.format.clone(),
                    })),
                }
            }

            fn resume(settings: &Settings, state: &[u8]) -> Result<Self, ResumeError> {
                if let Some(layout) = settings.layout() {
                    let reader = LayoutReader::resume(&layout, settings, state);
                    return Ok(Self::Layout(Box::new(reader.map_err(ResumeError::State)?)));
                }
                match settings.format.as_str() {
                    $( <$reader>::NAME => {
                        let reader = <$reader>::resume(settings, state);
                        let reader = reader.map_err(ResumeError::State)?;
                        Ok(Self::$variant(Box::new(reader)))
                    } )+
                    _ => Self::new(settings),
                }
            }
        }

        /// The same call on whichever reader it is.
        macro_rules! dispatch {
            ($inner:expr, $bound:ident => $call:expr) => {
                match $inner {
                    $( Inner::$variant($bound) => $call, )+
                    Inner::Layout($bound) => $call,
                }
            };
        }
    };
}

formats! {
    Nacha => nacha::Nacha,
    Ipm => ipm::Ipm,
}

/// The names of the formats: those that are read by code of their own, and the built-in layouts.
pub fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> =
        LazyLock::new(|| IN_CODE.iter().copied().chain(layout::names()).collect());
    &NAMES
}

/// What content is, told from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The format's name.
    pub format: &'static str,
    /// The page; of EBCDIC the likeliest one, because the pages differ in names only.
    pub encoding: Encoding,
    /// How its records are laid into the content.
    pub framing: Framing,
}

impl std::fmt::Display for Detected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let page = if self.encoding.is_ebcdic() { "EBCDIC" } else { "ASCII" };
        write!(f, "{} in {page}", self.format)?;
        match self.framing {
            Framing::Auto => Ok(()),
            framing => write!(f, ", {framing}"),
        }
    }
}

/// A reader that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// No format has this name.
    #[error("no such format: {0}")]
    Format(UnknownWord),
    /// The state isn't one of this reader's.
    #[error("the reader's state can't be read")]
    State(#[source] serde_json::Error),
}

/// A reader of content: of whichever format the settings name.
///
/// # Contract
///
/// - `input` always begins at [`Reader::offset`], the first byte that no step has used.
/// - A step that gives [`Step::More`] may have used bytes too. The next one needs more bytes than
///   there were left, or the end of the content.
/// - A step looks at no byte after the record that it gives, but for the few that tell that the
///   record is over; it never starts again from an earlier record.
/// - After [`Step::End`] and after a refusal no step is taken.
#[derive(Clone, Debug)]
pub struct Reader {
    inner: Inner,
    settings: Settings,
}

impl Reader {
    /// A reader at the beginning of the content.
    ///
    /// # Errors
    ///
    /// Where no format has the name that the settings give.
    pub fn new(settings: &Settings) -> Result<Self, ResumeError> {
        Ok(Self { inner: Inner::new(settings)?, settings: settings.clone() })
    }

    /// A reader where another one of equal settings stood.
    ///
    /// # Errors
    ///
    /// Where the state is not one that [`Reader::state`] gave.
    pub fn resume(settings: &Settings, state: &[u8]) -> Result<Self, ResumeError> {
        Ok(Self { inner: Inner::resume(settings, state)?, settings: settings.clone() })
    }

    /// Where it stands: JSON of a plain value of a few hundred bytes, however long the content; of
    /// IPM some more for each logical file.
    ///
    /// # Errors
    ///
    /// None that is known: the value holds numbers and texts only.
    pub fn state(&self) -> Result<Vec<u8>, ResumeError> {
        dispatch!(&self.inner, reader => reader.state()).map_err(ResumeError::State)
    }

    /// Reads one record, or says why not; gives how many bytes of `input` it used for that.
    ///
    /// The first step waits for [`DETECT_BYTES`] or the end of the content, to see whether it is
    /// of the feed's format at all.
    ///
    /// # Errors
    ///
    /// Where the file can't be read: nothing of it may be published.
    pub fn step(
        &mut self,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<(usize, Step), Refusal> {
        if self.offset() == 0 {
            if input.len() < DETECT_BYTES && !end_of_content {
                return Ok((0, Step::More));
            }
            looks_like(&self.settings, input)?;
        }
        dispatch!(&mut self.inner, reader => reader.step(input, end_of_content, draft))
    }

    /// What the file says of itself; there once [`Step::End`] was given.
    pub fn summary(&self) -> Option<&Summary> {
        dispatch!(&self.inner, reader => reader.summary())
    }

    /// The first byte of the content that no step has used, from 0.
    pub fn offset(&self) -> i64 {
        dispatch!(&self.inner, reader => reader.offset())
    }

    /// The index of the next record, from 0.
    pub fn next_index(&self) -> i64 {
        dispatch!(&self.inner, reader => reader.next_index())
    }
}

/// Refuses by name content that is of another format or page than the feed's.
///
/// Content that no format knows passes here: the feed's own reader says what is wrong with it. So
/// does all that is read by a layout of its own, which may be a variant of one that is built in.
///
/// # Errors
///
/// Where the content is empty, or certainly something else.
pub fn looks_like(settings: &Settings, first: &[u8]) -> Result<(), Refusal> {
    if first.is_empty() {
        return Err(Refusal::new(
            Reason::new("empty").expected_found(format!("a {} file", settings.format), "no bytes"),
        ));
    }
    let first = first.get(..DETECT_BYTES).unwrap_or(first);
    if settings.layout.is_some() {
        return Ok(());
    }
    let Some(found) = detect(first) else { return Ok(()) };
    let code = if found.format != settings.format {
        "wrong_format"
    } else if found.encoding.is_ebcdic() != settings.encoding.is_ebcdic() {
        "wrong_encoding"
    } else {
        return Ok(());
    };
    let mut reason = Reason::new(code)
        .expected_found(format!("{} in {}", settings.format, settings.encoding), found.to_string());
    reason.byte_offset = Some(0);
    Err(Refusal::new(reason.remedy("drop it where its format is expected, or change the feed")))
}

/// What one step of a reader found.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The input ends before the next record does. Never at the end of the content.
    More,
    /// A record is in the draft.
    Record,
    /// A record can't be read: the draft holds its position, and `code` where that could be read.
    Rejected(Reject),
    /// The content is over, whole and in balance. The summary is there.
    End,
}

/// A record as its format tells it: the event before it has a place in a ledger.
///
/// The reader sets all of `record` but `file_id`, `sequence`, `feed` and `account`, which whoever
/// reads adds: a format knows neither ledgers nor keys. Used again for each record, so that its
/// buffers are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The event so far.
    pub record: ClearingRecord,
    /// The account's number in clear, by its canonical text; empty where it concerns none.
    pub account: AccountText,
    /// What the record adds to the file's own totals.
    pub control: Control,
}

impl Draft {
    /// An empty draft for the records of one feed.
    pub fn new(feed: &str, format: &str) -> Self {
        Self {
            record: ClearingRecord {
                file_id: FileId([0; 16]),
                index: 0,
                sequence: 0,
                byte_offset: 0,
                byte_length: 0,
                line: None,
                feed: feed.to_owned(),
                format: format.to_owned(),
                code: String::new(),
                kind: Kind::INFORMATION,
                direction: Direction::NONE,
                account: None,
                account_label: None,
                network: String::new(),
                amount_minor: 0,
                currency: None,
                exponent: 0,
                amounts: Vec::new(),
                control_amount: None,
                occurred_at: None,
                value_date: None,
                reference: None,
                counterparty: None,
                attributes: Attributes::default(),
            },
            account: AccountText::new(),
            control: Control::default(),
        }
    }

    /// Empties what a reader sets, and keeps the buffers.
    fn clear(&mut self, network: &str) {
        let record = &mut self.record;
        record.code.clear();
        record.kind = Kind::INFORMATION;
        record.direction = Direction::NONE;
        record.account = None;
        record.account_label = None;
        record.network.clear();
        record.network.push_str(network);
        record.amount_minor = 0;
        record.currency = None;
        record.exponent = 0;
        record.amounts.clear();
        record.control_amount = None;
        record.occurred_at = None;
        record.value_date = None;
        record.attributes.clear();
        for text in [&mut record.reference, &mut record.counterparty].into_iter().flatten() {
            text.clear();
        }
        self.account.clear();
        self.control = Control::default();
    }

    /// Drops the texts that nothing was written to.
    fn close(&mut self) {
        for text in [&mut self.record.reference, &mut self.record.counterparty] {
            if text.as_ref().is_some_and(String::is_empty) {
                *text = None;
            }
        }
    }

    /// Places the record: where its bytes are, and which it is.
    fn place(&mut self, index: i64, byte_offset: i64, byte_length: i64, line: Option<i64>) {
        self.record.index = index;
        self.record.byte_offset = byte_offset;
        self.record.byte_length = byte_length;
        self.record.line = line;
    }
}

/// What a record adds to the totals that the file states about itself, in the file's own counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Added to the total of debits.
    pub debits: i64,
    /// Added to the total of credits.
    pub credits: i64,
    /// Added to a total without direction.
    pub unsigned: i64,
}

/// A record that can't be read, and why. The record before it and after it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// A code to count by, such as `not_digits`.
    pub reason: &'static str,
    /// The field, as the format calls it.
    pub field: &'static str,
    /// What was expected there.
    pub expected: String,
    /// What was found; masked.
    pub found: String,
    /// What it adds to the file's own totals; none where that can't be read, and then the totals
    /// can't be proved.
    pub control: Option<Control>,
}

/// A file that can't be read: nothing of it is published.
///
/// The reason has a code, a place, and what was expected and found there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub Box<Reason>);

impl Refusal {
    /// The refusal for this reason.
    pub fn new(reason: Reason) -> Self {
        Self(Box::new(reason))
    }

    /// Why.
    pub fn into_reason(self) -> Reason {
        *self.0
    }
}

/// What a file says of itself, once it is read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The file's own identifier; the first one where it has several.
    pub identifier: Option<String>,
    /// All of its own identifiers, the one above first: other content with any of them is held.
    pub identifiers: Vec<String>,
    /// The file's own totals (file level), each beside what was counted. None disagrees: that
    /// would have been a refusal; one that can't be proved says so.
    pub control_totals: Vec<ControlTotal>,
    /// The sums it states, to be compared with those of what was published: see [`Control`].
    pub claimed_debits: Option<i64>,
    /// As above, credits.
    pub claimed_credits: Option<i64>,
    /// As above, without direction.
    pub claimed_unsigned: Option<i64>,
    /// What is odd but refuses nothing.
    pub warnings: Vec<Reason>,
}
