//! NACHA ACH: batches of entries in lines of 94 characters.
//!
//! Sources: the public test files of moov-io/ach (Apache-2.0) and their verdicts; see
//! `docs/formats/nacha.md`, which has the layouts, the codes, and a worked example.
//!
//! # Format
//!
//! A file is `1 (5 (6 7*)* 8)* 9`, then lines of nines up to a multiple of ten records:
//!
//! ```text
//! 101 091000019 0910000192611220425A094101                                       file header
//! 5200                                    1234567890PPDPAYROLL         260722   1091000010000001
//! 6220114015330072             0000124050               JANE DOE                0091000010000001
//! 820000000100011401530000000000000000001240501234567890                         091000010000001
//! 9000001000001000000010001140153000000000000000000124050                        file control
//! 9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999
//! ```
//!
//! A record of ours is an entry (6) with its addenda (7); headers and controls are structure.

pub(crate) mod layout;
mod line;
mod codes;
mod entry;
mod totals;
mod structure;

use schemas::arrival::Reason;
use serde::{Deserialize, Serialize};

use self::codes::EntryClass;
use self::entry::{Addenda, BatchHeader};
use self::layout::file_header;
use self::line::{Cut, Cutter, LENGTH, Line, Next, Peek};
use self::totals::Totals;
use super::columns::{Column, number};
use super::fault::refusal;
use super::{Detected, Draft, Encoding, FormatReader, Framing, Refusal, Settings, Step, Summary};

pub(crate) use self::entry::routing_check_digit;

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// More warnings of one file are counted, not kept.
const WARNINGS_MAX: usize = 20;

/// A reader of NACHA files.
#[derive(Clone, Debug)]
pub(super) struct Nacha {
    cutter: Cutter,
    place: Place,
}

/// Where the reader stands: all that it keeps from one record to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    offset: i64,
    /// The line that begins at the offset, from 1.
    line: i64,
    next_index: i64,
    /// Records of 94 characters so far, padding apart: blocks are counted by them.
    records: i64,
    cut: Option<Cut>,
    identifier: Option<String>,
    batch: Option<BatchHeader>,
    batch_totals: Totals,
    batches: i64,
    adv_batches: i64,
    last_number: i64,
    file_totals: Totals,
    summary: Option<Summary>,
    warnings: Vec<Reason>,
}

impl FormatReader for Nacha {
    const NAME: &'static str = "nacha";
    const REVISION: i32 = 1;

    fn detect(first: &[u8]) -> Option<Detected> {
        [Encoding::Ascii, Encoding::Cp500].into_iter().find_map(|encoding| {
            let cutter = Cutter { cut: Cut::of(first, encoding), encoding, bytes_max: usize::MAX };
            let Ok(Next::Line(line)) = cutter.next(first, true) else { return None };
            let is_header = file_header::RECORD_TYPE.of(&line.text) == b"1"
                && file_header::RECORD_SIZE.of(&line.text) == b"094"
                && file_header::BLOCKING.of(&line.text) == b"10";
            is_header.then_some(Detected { format: Self::NAME, encoding, framing: Framing::Auto })
        })
    }

    fn resembles(first: &[u8]) -> Option<Detected> {
        let first = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first);
        [Encoding::Ascii, Encoding::Cp500].into_iter().find_map(|encoding| {
            let cutter = Cutter { cut: Cut::of(first, encoding), encoding, bytes_max: usize::MAX };
            let Ok(Next::Line(line)) = cutter.next(first, true) else { return None };
            let detected = Detected { format: Self::NAME, encoding, framing: Framing::Auto };
            begins_a_record(&line.text).then_some(detected)
        })
    }

    fn new(settings: &Settings) -> Self {
        Self {
            cutter: Cutter {
                cut: Cut::Ended,
                encoding: settings.encoding,
                bytes_max: settings.record_bytes_max,
            },
            place: Place {
                offset: 0,
                line: 1,
                next_index: 0,
                records: 0,
                cut: None,
                identifier: None,
                batch: None,
                batch_totals: Totals::default(),
                batches: 0,
                adv_batches: 0,
                last_number: 0,
                file_totals: Totals::default(),
                summary: None,
                warnings: Vec::new(),
            },
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
        let cut = *self.place.cut.get_or_insert_with(|| Cut::of(input, self.cutter.encoding));
        self.cutter.cut = cut;
        let mut used = 0_usize;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let line = match self.cutter.next(rest, end_of_content).map_err(|at| self.here(at))? {
                Next::More => return Ok((used, Step::More)),
                Next::End => return self.end(rest.len()).map(|step| (input.len(), step)),
                Next::Line(line) => line,
            };
            if file_header::RECORD_TYPE.of(&line.text) == b"6" {
                return match self.entry(&line, rest, end_of_content, draft)? {
                    Some((length, step)) => Ok((used.saturating_add(length), step)),
                    None => Ok((used, Step::More)),
                };
            }
            self.structure(&line).map_err(|refusal| self.at(&line, refusal))?;
            used = used.saturating_add(self.advance(&line));
        }
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

impl Nacha {
    /// Reads the entry that begins with `line`, and its addenda; none where they aren't all there.
    fn entry(
        &mut self,
        line: &Line,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<Option<(usize, Step)>, Refusal> {
        let place = &self.place;
        let batch = place.batch.as_ref();
        let Some((header, class)) = batch.and_then(|header| Some((header, header.class()?))) else {
            let missing = match place.identifier {
                Some(_) => "batch_header_missing",
                None => "file_header_missing",
            };
            return Err(self.at(
                line,
                refusal(missing, "record type", "a header before the first entry", "an entry"),
            ));
        };
        let Some((addenda, length, lines)) = self.addenda(line, class, input, end_of_content)?
        else {
            return Ok(None);
        };
        draft.clear("ach");
        draft.place(
            place.next_index,
            advanced(place.offset, line.skipped),
            advanced(0, length.saturating_sub(line.skipped)),
            (self.cutter.cut == Cut::Ended)
                .then_some(place.line.saturating_add(line.lines_skipped)),
        );
        let (rdfi, control) = entry::control(&line.text, class);
        draft.control = control.unwrap_or_default();
        let found = entry::read(header, class, line, &addenda, self.cutter.encoding, draft);
        draft.close();

        let records = addenda.count.saturating_add(1);
        let place = &mut self.place;
        let added = place.batch_totals.add(records, rdfi, control);
        place.records = place.records.saturating_add(records);
        place.next_index = place.next_index.saturating_add(1);
        if added.is_none() {
            return Err(self.at(line, refusal("total_too_large", "amount", "64 bits", "more")));
        }
        self.place.offset = advanced(self.place.offset, length);
        self.place.line = self.place.line.saturating_add(lines);
        let step = match found {
            Ok(()) => Step::Record,
            Err(fault) => Step::Rejected(fault.into_reject(control)),
        };
        Ok(Some((length, step)))
    }

    /// Takes the addenda behind the entry of `line`, and the bytes and lines of both together; none
    /// where they aren't all there.
    fn addenda(
        &self,
        line: &Line,
        class: &EntryClass,
        input: &[u8],
        end_of_content: bool,
    ) -> Result<Option<(Addenda, usize, i64)>, Refusal> {
        let mut addenda = Addenda::default();
        let mut length = line.skipped.saturating_add(line.length);
        let mut lines = line.lines_skipped.saturating_add(1);
        loop {
            let rest = input.get(length..).unwrap_or_default();
            match self.cutter.peek(rest, end_of_content).map_err(|at| self.here(at))? {
                Peek::More if length > self.cutter.bytes_max => return Err(self.too_long(line)),
                Peek::More => return Ok(None),
                Peek::Character(b'7') => (),
                Peek::Character(_) | Peek::End => break,
            }
            match self.cutter.next(rest, end_of_content).map_err(|at| self.here(at))? {
                Next::Line(line) => {
                    addenda.push(&line, class, self.cutter.encoding);
                    length = length.saturating_add(line.skipped).saturating_add(line.length);
                    lines = lines.saturating_add(line.lines_skipped).saturating_add(1);
                }
                Next::More | Next::End => return Ok(None),
            }
            if length > self.cutter.bytes_max {
                return Err(self.too_long(line));
            }
        }
        Ok(Some((addenda, length, lines)))
    }

    /// The content is over: `rest` bytes of blank lines are left.
    fn end(&mut self, rest: usize) -> Result<Step, Refusal> {
        let place = &mut self.place;
        place.offset = advanced(place.offset, rest);
        if place.summary.is_some() {
            return Ok(Step::End);
        }
        let (code, field, expected) = match (&place.identifier, &place.batch) {
            (None, _) => ("file_header_missing", "file header", "a file header"),
            (_, Some(_)) => ("truncated", "batch control", "a batch control"),
            (_, None) => ("truncated", "file control", "a file control"),
        };
        let found = refusal(code, field, expected, "the end of the content");
        Err(self.here(found))
    }

    fn advance(&mut self, line: &Line) -> usize {
        let length = line.skipped.saturating_add(line.length);
        let place = &mut self.place;
        place.offset = advanced(place.offset, length);
        place.line = place.line.saturating_add(line.lines_skipped).saturating_add(1);
        length
    }

    fn warn(&mut self, code: &str, field: &str) {
        if self.place.warnings.len() < WARNINGS_MAX {
            let mut reason = Reason::new(code);
            reason.field = Some(field.to_owned());
            reason.line = self.line_number();
            self.place.warnings.push(reason);
        }
    }

    /// The line that is being read, where lines end.
    fn line_number(&self) -> Option<i64> {
        (self.cutter.cut == Cut::Ended).then_some(self.place.line)
    }

    fn too_long(&self, line: &Line) -> Refusal {
        let expected = format!("at most {} bytes an entry with its addenda", self.cutter.bytes_max);
        self.at(line, refusal("record_too_long", "addenda", expected, "more"))
    }

    /// The refusal, placed at a line behind the offset's blank ones.
    fn at(&self, line: &Line, refusal: Refusal) -> Refusal {
        self.placed(
            refusal,
            advanced(self.place.offset, line.skipped),
            self.place.line.saturating_add(line.lines_skipped),
        )
    }

    /// The refusal, placed at the offset.
    fn here(&self, refusal: Refusal) -> Refusal {
        self.placed(refusal, self.place.offset, self.place.line)
    }

    fn placed(&self, refusal: Refusal, byte_offset: i64, line: i64) -> Refusal {
        let mut reason = refusal.into_reason();
        reason.index = Some(self.place.next_index);
        reason.byte_offset = Some(byte_offset);
        reason.line = (self.cutter.cut == Cut::Ended).then_some(line);
        Refusal::new(reason)
    }
}

/// True where a line has the type of a record, and digits where a record of this type must have
/// them.
fn begins_a_record(line: &[u8; LENGTH]) -> bool {
    use layout::{batch_control, batch_header, entry, file_control};
    let is_text = line.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let are_digits = |columns: &[Column]| {
        is_text && columns.iter().all(|column| number(column.of(line)).is_some())
    };
    match file_header::RECORD_TYPE.of(line) {
        b"1" => are_digits(&[file_header::DATE]),
        b"5" => {
            let is_class = batch_header::SEC.of(line).iter().all(u8::is_ascii_uppercase);
            is_class && are_digits(&[batch_header::CLASS])
        }
        b"6" => are_digits(&[entry::CODE, entry::RDFI]),
        b"8" => are_digits(&[batch_control::CLASS, batch_control::COUNT, batch_control::HASH]),
        b"9" => are_digits(&[file_control::BATCHES, file_control::BLOCKS, file_control::COUNT]),
        _ => false,
    }
}

/// A number in decimal digits, added to a text.
fn write_number(into: &mut String, value: i64) {
    use std::fmt::Write as _;
    // Writing to a string can't fail.
    let _ = write!(into, "{value}");
}

fn advanced(offset: i64, bytes: usize) -> i64 {
    offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))
}
