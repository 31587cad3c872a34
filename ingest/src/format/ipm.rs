//! Mastercard IPM: ISO 8583 messages with a length before each, in blocks or not, in ASCII or
//! EBCDIC.
//!
//! Sources: `cardutil` (MIT) for framing, data elements and subelements; public codebases that
//! agree for the totals and the directions; see `docs/formats/ipm.md`, which has the tables and a
//! worked example in hex.
//!
//! # Format
//!
//! ```text
//! 00 00 00 52                                      a length of 82
//! 31 36 34 34                                      MTI 1644
//! 80 00 01 00 00 01 00 00 02 00 00 00 00 00 00 00  bitmap: bits 1, 24, 48, 71
//! 36 39 37                                         DE 24 = 697, file header
//! 30 34 38 30 31 30 35 30 32 35 …                  DE 48, 48 long: PDS 0105, 25 long, …
//! 30 30 30 30 30 30 30 31                          DE 71 = 1
//! ```
//!
//! A record of ours is a message between a file header (1644/697) and its trailer (1644/695); those
//! two are structure. An object may hold several such logical files one after another.

mod framing;
mod elements;
mod subelements;
mod kinds;
mod mapping;
mod logical;

use schemas::arrival::Reason;
use schemas::file::ControlTotal;
use serde::{Deserialize, Serialize};

use self::elements::Spans;
use self::framing::Next;
use self::kinds::Meaning;
use self::logical::refusal;
use self::mapping::{FellBack, Mapping, Message};
use self::subelements::Subelements;
use super::columns::{number, shown};
use super::fault::Fault;
use super::{
    Control, Detected, Draft, Encoding, FormatReader, Framing, Refusal, Settings, Step, Summary,
};

/// More logical files in one object than this is no clearing file: the bound of what is kept of it.
const LOGICAL_FILES_MAX: i64 = 1_000;

/// A file ID has 25 characters; all of an object's are kept, so none may be of any length.
const FILE_ID_BYTES_MAX: usize = 64;

/// A reader of IPM files.
#[derive(Clone, Debug)]
pub(super) struct Ipm {
    framing: Framing,
    mapping: Mapping,
    bytes_max: usize,
    place: Place,
    /// The message as it came, its blocks taken apart.
    bytes: Vec<u8>,
    /// The same in ISO 8859-1.
    text: Vec<u8>,
    spans: Spans,
}

/// Where the reader stands: all that it keeps from one record to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    offset: i64,
    next_index: i64,
    framing: Option<Framing>,
    /// True behind the last message: only filler may follow.
    is_over: bool,
    logical: Option<Logical>,
    logical_files: i64,
    /// PDS 0105 of each logical file so far: none of them comes twice.
    identifiers: Vec<String>,
    control_totals: Vec<ControlTotal>,
    claimed: i64,
    /// Records for which the feed wants an amount that they have not.
    fell_back: i64,
    warnings: Vec<Reason>,
    summary: Option<Summary>,
}

/// A logical file between its header and its trailer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Logical {
    /// PDS 0105 of the header.
    id: String,
    /// Messages so far, the header among them.
    count: i64,
    /// DE 71 of the last message that had one.
    last_number: i64,
    /// Sum of DE 4 over all messages that have it.
    sum: i64,
    /// True where a DE 4 could not be read, so that the sum can't be proved.
    sum_unknown: bool,
}

impl FormatReader for Ipm {
    const NAME: &'static str = "ipm";
    const REVISION: i32 = 1;

    fn detect(first: &[u8]) -> Option<Detected> {
        let mut best = None;
        for framing in [Framing::Vbs, Framing::Blocked, Framing::Rdw] {
            for encoding in [Encoding::Ascii, Encoding::Cp500] {
                let walked = framing::walk(framing, encoding, first);
                let is_better = match &best {
                    None => walked.count > 0,
                    Some((known, _)) => walked > *known,
                };
                if is_better {
                    best = Some((walked, Detected { format: Self::NAME, encoding, framing }));
                }
            }
        }
        best.map(|(_, detected)| detected)
    }

    fn resembles(_: &[u8]) -> Option<Detected> {
        // A length and an MTI are all that a message begins with: what lacks them resembles none.
        None
    }

    fn new(settings: &Settings) -> Self {
        Self {
            framing: settings.framing,
            mapping: Mapping {
                encoding: settings.encoding,
                side: settings.side,
                posted: settings.posted,
            },
            bytes_max: settings.record_bytes_max,
            place: Place::default(),
            bytes: Vec::new(),
            text: Vec::new(),
            spans: Spans::new(),
        }
    }

    fn resume(settings: &Settings, state: &[u8]) -> Result<Self, serde_json::Error> {
        let mut reader = Self::new(settings);
        reader.place = serde_json::from_slice(state)?;
        Ok(reader)
    }

    fn state(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.place)
    }

    fn step(
        &mut self,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<(usize, Step), Refusal> {
        let framing = match self.place.framing {
            Some(framing) => framing,
            None => self.begin(input)?,
        };
        let mut used = 0_usize;
        while !self.place.is_over {
            let rest = input.get(used..).unwrap_or_default();
            let next = framing::next(
                framing,
                self.bytes_max,
                self.place.offset,
                rest,
                end_of_content,
                &mut self.bytes,
            )
            .map_err(|refusal| self.here(refusal))?;
            match next {
                Next::More => return Ok((used, Step::More)),
                Next::End { used: tail, terminated } => {
                    self.over(terminated)?;
                    self.place.offset = advanced(self.place.offset, tail);
                    used = used.saturating_add(tail);
                }
                Next::Message { skipped, length } => {
                    let found = self.message(skipped, length, draft)?;
                    let taken = skipped.saturating_add(length);
                    self.place.offset = advanced(self.place.offset, taken);
                    used = used.saturating_add(taken);
                    if let Some(step) = found {
                        return Ok((used, step));
                    }
                }
            }
        }
        let rest = input.get(used..).unwrap_or_default();
        let filler = framing::filler(rest);
        self.place.offset = advanced(self.place.offset, filler);
        if filler < rest.len() {
            let expected = "filler behind the end of the messages";
            let reason = Reason::new("after_the_end").expected_found(expected, "other bytes");
            return Err(self.here(Refusal::new(reason)));
        }
        Ok((input.len(), if end_of_content { Step::End } else { Step::More }))
    }

    fn summary(&self) -> Option<&Summary> {
        self.place.summary.as_ref()
    }

    fn offset(&self) -> i64 {
        self.place.offset
    }

    fn next_index(&self) -> i64 {
        self.place.next_index
    }
}

impl Ipm {
    /// Settles the framing by the content's first bytes.
    fn begin(&mut self, first: &[u8]) -> Result<Framing, Refusal> {
        let first = first.get(..super::DETECT_BYTES).unwrap_or(first);
        let detected = Self::detect(first);
        if detected.is_none() && framing::is_pre_edit(first) {
            let reason = Reason::new("pre_edit")
                .expected_found("ipm in VBS, blocked or not, or with RDW", "a pre-edit container")
                .remedy("ask for the file as the network delivers it");
            return Err(self.here(Refusal::new(reason)));
        }
        let framing = match (self.framing, detected) {
            (Framing::Auto, Some(detected)) => detected.framing,
            (Framing::Auto, None) => {
                let reason = Reason::new("wrong_format")
                    .expected_found("ipm: a length and an MTI", "something else");
                return Err(self.here(Refusal::new(reason)));
            }
            (named, _) => {
                self.is_framed(named, first)?;
                named
            }
        };
        self.place.framing = Some(framing);
        Ok(framing)
    }

    /// Refuses by name content that reads under another framing than the feed's, and not under it.
    fn is_framed(&self, named: Framing, first: &[u8]) -> Result<(), Refusal> {
        let walk = |framing| framing::walk(framing, self.mapping.encoding, first);
        if walk(named).holds {
            return Ok(());
        }
        for other in [Framing::Vbs, Framing::Blocked, Framing::Rdw] {
            let walked = walk(other);
            if other != named && walked.holds && walked.count > 0 {
                let reason = Reason::new("wrong_framing")
                    .expected_found(named.as_str(), other.as_str())
                    .remedy("change the feed's framing");
                return Err(self.here(Refusal::new(reason)));
            }
        }
        Ok(())
    }

    /// Reads the message in `bytes`; gives none where it is a header or a trailer.
    fn message(
        &mut self,
        skipped: usize,
        length: usize,
        draft: &mut Draft,
    ) -> Result<Option<Step>, Refusal> {
        self.text.clear();
        match self.mapping.encoding.page() {
            None => self.text.extend_from_slice(&self.bytes),
            Some(page) => self.text.extend(
                self.bytes.iter().map(|byte| page.get(usize::from(*byte)).copied().unwrap_or(b' ')),
            ),
        }
        let found = self.spans.find(&self.bytes, &self.text);
        let mti = self.text.get(..4).unwrap_or_default();
        let function = self.spans.get(&self.text, 24).unwrap_or_default();
        let meaning = kinds::meaning(mti, function);
        if matches!(meaning, Some(Meaning::Header | Meaning::Trailer)) {
            let done = match found {
                Ok(()) => self.structure(meaning == Some(Meaning::Header)),
                Err(fault) => Err(refusal(fault)),
            };
            return done.map(|()| None).map_err(|refusal| self.here(refusal));
        }

        let (control, is_numbered) = self.count(skipped, length, found.is_ok(), draft)?;
        let mti = self.text.get(..4).unwrap_or_default();
        let function = self.spans.get(&self.text, 24).unwrap_or_default();
        let mut code = |part: &[u8]| self.mapping.encoding.push_text(&mut draft.record.code, part);
        if found.is_ok() {
            code(mti);
            code(b"/");
            code(function);
        }
        let read = match found {
            Err(fault) => Err(fault),
            Ok(()) if !is_numbered => Err(Fault::new(
                "message_number",
                elements::name(71),
                "a message number in digits",
                "none",
            )),
            Ok(()) => match meaning {
                None => Err(Fault::new(
                    "message_type",
                    "MTI and DE 24 function code",
                    "a pair that is known",
                    format!("{}/{}", shown(mti), shown(function)),
                )),
                Some(meaning) => Subelements::find(&self.spans, &self.text).and_then(|found| {
                    let message =
                        Message { spans: &self.spans, text: &self.text, subelements: &found };
                    mapping::read(self.mapping, meaning, &message, draft)
                }),
            },
        };
        draft.close();
        Ok(Some(match read {
            Ok(FellBack(fell_back)) => {
                let place = &mut self.place;
                place.fell_back = place.fell_back.saturating_add(i64::from(fell_back));
                Step::Record
            }
            Err(fault) => Step::Rejected(fault.into_reject(control)),
        }))
    }

    /// Places a message that is a record, and counts it: gives what it adds to the file's sum,
    /// where that can be read, and whether it has the message number that it needs.
    fn count(
        &mut self,
        skipped: usize,
        length: usize,
        is_whole: bool,
        draft: &mut Draft,
    ) -> Result<(Option<Control>, bool), Refusal> {
        let place = &mut self.place;
        let Some(logical) = &mut place.logical else {
            let reason = Reason::new("file_header_missing")
                .expected_found("a file header (1644/697) before other messages", "a message");
            return Err(self.here(Refusal::new(reason)));
        };
        draft.clear("mastercard");
        draft.place(place.next_index, advanced(place.offset, skipped), advanced(0, length), None);
        let control = control(&self.spans, &self.text, is_whole);
        draft.control = control.unwrap_or_default();
        logical.count = logical.count.saturating_add(1);
        logical.sum_unknown |= control.is_none();
        logical.sum = logical.sum.saturating_add(draft.control.unsigned);
        let is_numbered = match self.spans.get(&self.text, 71) {
            // Of a message that is damaged, no number is believed.
            _ if !is_whole => true,
            None => false,
            Some(digits) => match number(digits) {
                Some(number) if number > logical.last_number => {
                    logical.last_number = number;
                    true
                }
                Some(number) => {
                    let mut reason = Reason::new("message_numbers_not_ascending");
                    reason.field = Some(elements::name(71).to_owned());
                    let last = logical.last_number;
                    let reason =
                        reason.expected_found(format!("more than {last}"), number.to_string());
                    return Err(self.here(Refusal::new(reason)));
                }
                None => false,
            },
        };
        place.next_index = place.next_index.saturating_add(1);
        Ok((control, is_numbered))
    }

    /// The refusal, placed at the message that is being read.
    fn here(&self, refusal: Refusal) -> Refusal {
        let mut reason = refusal.into_reason();
        reason.index = Some(self.place.next_index);
        reason.byte_offset = Some(self.place.offset);
        Refusal::new(reason)
    }
}

/// What a message adds to PDS 0301: its DE 4. None where it may have one that can't be read.
fn control(spans: &Spans, text: &[u8], is_whole: bool) -> Option<Control> {
    match spans.get(text, 4) {
        Some(digits) => number(digits).map(|unsigned| Control { debits: 0, credits: 0, unsigned }),
        None if is_whole => Some(Control::default()),
        // It broke off before DE 4, or behind where DE 4 would have been: a later element tells.
        None if (5..128).any(|bit| spans.get(text, bit).is_some()) => Some(Control::default()),
        None => None,
    }
}

fn advanced(offset: i64, bytes: usize) -> i64 {
    offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))
}
