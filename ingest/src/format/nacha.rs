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

use schemas::Date;
use schemas::arrival::Reason;
use serde::{Deserialize, Serialize};

use self::codes::Form6;
use self::entry::{Addenda, BatchHeader};
use self::layout::{batch_control, batch_header, file_control, file_header, iat_batch_header};
use self::line::{Cut, Cutter, LENGTH, Line, Next, Peek};
use self::totals::{Totals, refusal};
use super::layout::{masked, number, trim};
use super::{
    Detected, Draft, Encoding, FormatReader, Framing, Refusal, Reject, Settings, Step, Summary,
};

pub(crate) use self::entry::routing_check_digit;

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
            let cutter = Cutter { cut: Cut::of(first, encoding), encoding, bytes_max: first.len() };
            let Ok(Next::Line(line)) = cutter.next(first, true) else { return None };
            let is_header = file_header::RECORD_TYPE.of(&line.text) == b"1"
                && file_header::RECORD_SIZE.of(&line.text) == b"094"
                && file_header::BLOCKING.of(&line.text) == b"10";
            is_header.then_some(Detected { format: Self::NAME, encoding, framing: Framing::Auto })
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
            Err(fault) => Step::Rejected(Reject {
                reason: fault.reason,
                field: fault.field,
                expected: fault.expected,
                found: fault.found,
                control,
            }),
        };
        Ok(Some((length, step)))
    }

    /// Takes a line that is no entry: a header, a control, or padding.
    fn structure(&mut self, line: &Line) -> Result<(), Refusal> {
        let kind = file_header::RECORD_TYPE.of(&line.text);
        let is_padding = trim(&line.text).iter().all(|byte| *byte == b'9');
        if self.place.summary.is_some() {
            return if is_padding {
                Ok(())
            } else {
                Err(refusal(
                    "after_the_file_control",
                    "record type",
                    "lines of nines after the file control",
                    "another line",
                ))
            };
        }
        if kind != b"1" && self.place.identifier.is_none() {
            return Err(refusal(
                "file_header_missing",
                "file header: record type",
                "a file header (1) as the first record",
                described(kind),
            ));
        }
        if line.overlong {
            return Err(refusal(
                "record_length",
                &format!("{}: length", described(kind)),
                format!("{LENGTH} characters"),
                "more",
            ));
        }
        self.place.records = self.place.records.saturating_add(1);
        match kind {
            b"1" => self.file_header(&line.text),
            b"5" => self.batch_header(&line.text),
            b"8" => self.batch_control(&line.text),
            b"9" if is_padding => Err(refusal(
                "file_control_missing",
                "file control",
                "a file control before the lines of nines",
                "none",
            )),
            b"9" => self.file_control(&line.text),
            b"7" => Err(refusal(
                "addenda_without_entry",
                "addenda: record type",
                "an entry before its addenda",
                "an addenda",
            )),
            other => {
                Err(refusal("record_type", "record type", "1, 5, 6, 7, 8 or 9", described(other)))
            }
        }
    }

    fn file_header(&mut self, line: &[u8; LENGTH]) -> Result<(), Refusal> {
        use file_header::{
            BLOCKING, DATE, DESTINATION, FORMAT_CODE, MODIFIER, ORIGIN, RECORD_SIZE, TIME,
        };
        if self.place.identifier.is_some() {
            let found = "another file header";
            return Err(refusal("file_header_twice", "file header", "one file header", found));
        }
        for (column, expected) in [(RECORD_SIZE, "094"), (BLOCKING, "10"), (FORMAT_CODE, "1")] {
            if column.of(line) != expected.as_bytes() {
                return Err(header_refusal("file header", column.name, expected, column.of(line)));
            }
        }
        let destination = trim(DESTINATION.of(line));
        if number(destination).is_none() {
            let expected = "a routing number in digits";
            return Err(header_refusal("file header", DESTINATION.name, expected, destination));
        }
        if number(DATE.of(line)).is_none() {
            return Err(header_refusal("file header", DATE.name, "YYMMDD", DATE.of(line)));
        }
        let mut identifier = String::new();
        for column in [ORIGIN, DESTINATION, DATE, TIME, MODIFIER] {
            if !identifier.is_empty() {
                identifier.push(',');
            }
            self.cutter.encoding.push_text(&mut identifier, trim(column.of(line)));
        }
        self.place.identifier = Some(identifier);
        Ok(())
    }

    fn batch_header(&mut self, line: &[u8; LENGTH]) -> Result<(), Refusal> {
        use batch_header::{
            CLASS, COMPANY, COMPANY_ID, DESCRIPTION, EFFECTIVE_DATE, NUMBER, ODFI, SEC,
        };
        if self.place.batch.is_some() {
            return Err(refusal(
                "batch_control_missing",
                "batch control: record type",
                "a batch control before the next batch header",
                "a batch header",
            ));
        }
        let fault = |column: &super::layout::Column, expected: &str| {
            header_refusal("batch header", column.name, expected, column.of(line))
        };
        let class = number(CLASS.of(line)).filter(|class| codes::service_class(*class).is_some());
        let Some(service_class) = class else {
            return Err(fault(&CLASS, "200, 220, 225 or 280"));
        };
        let Some(entry_class) = codes::entry_class(SEC.of(line)) else {
            return Err(fault(&SEC, "a standard entry class"));
        };
        let description = trim(DESCRIPTION.of(line));
        if description.iter().all(|byte| *byte == b'0') {
            return Err(fault(&DESCRIPTION, "a text that is not only blanks and zeros"));
        }
        if number(ODFI.of(line)).is_none() {
            return Err(fault(&ODFI, "8 digits"));
        }
        let Some(batch_number) = number(NUMBER.of(line)) else {
            return Err(fault(&NUMBER, "7 digits"));
        };
        if let Some(at) = line.iter().position(|byte| !self.cutter.encoding.is_text(*byte)) {
            let found = format!("a byte that is none in column {}", at.saturating_add(1));
            return Err(refusal("not_text", "batch header", "characters", found));
        }
        if batch_number <= self.place.last_number {
            self.warn("batch_numbers_not_ascending", "batch header: batch number");
        }
        let text = |bytes: &[u8]| {
            let mut text = String::new();
            self.cutter.encoding.push_text(&mut text, trim(bytes));
            text
        };
        let is_iat = entry_class.form == Form6::Iat || COMPANY.of(line).starts_with(b"IATCOR");
        let (company, currencies) = if is_iat {
            use iat_batch_header::{DESTINATION_CURRENCY as TO, ORIGINATING_CURRENCY as FROM};
            (String::new(), Some((text(FROM.of(line)), text(TO.of(line)))))
        } else {
            (text(COMPANY.of(line)), None)
        };
        self.place.batch = Some(BatchHeader {
            service_class,
            entry_class: entry_class.code.to_owned(),
            company,
            description: text(description),
            effective_date: date(EFFECTIVE_DATE.of(line)),
            currencies,
            company_id: text(COMPANY_ID.of(line)),
            odfi: text(ODFI.of(line)),
            number: text(NUMBER.of(line)),
        });
        self.place.batch_totals = Totals::default();
        self.place.last_number = batch_number;
        Ok(())
    }

    fn batch_control(&mut self, line: &[u8; LENGTH]) -> Result<(), Refusal> {
        use batch_control::{CLASS, COMPANY_ID, NUMBER, ODFI};
        let Some(header) = self.place.batch.take() else {
            let expected = "a batch header before its control";
            return Err(refusal("batch_header_missing", "batch header", expected, "a control"));
        };
        let is_adv = header.class().is_some_and(|class| class.form == Form6::Adv);
        if number(CLASS.of(line)) != Some(header.service_class) {
            let expected = format!("{} as in the batch header", header.service_class);
            return Err(header_refusal("batch control", CLASS.name, &expected, CLASS.of(line)));
        }
        for (column, stated) in [(ODFI, &header.odfi), (NUMBER, &header.number)] {
            if column.of(line) != stated.as_bytes() {
                let expected = "the same as in the batch header";
                return Err(header_refusal(
                    "batch control",
                    column.name,
                    expected,
                    column.of(line),
                ));
            }
        }
        let company_id = trim(COMPANY_ID.of(line));
        if !is_adv && !company_id.is_empty() && company_id != header.company_id.as_bytes() {
            self.warn("company_differs", "batch control: company identification");
        }
        let totals = self.place.batch_totals;
        totals::compare(line, totals::batch_columns(is_adv), &totals)
            .map_err(|refusal| of("batch control", refusal))?;
        let place = &mut self.place;
        place.batches = place.batches.saturating_add(1);
        place.adv_batches = place.adv_batches.saturating_add(i64::from(is_adv));
        if place.file_totals.merge(&totals).is_none() {
            return Err(refusal("total_too_large", "batch control", "64 bits", "more"));
        }
        Ok(())
    }

    fn file_control(&mut self, line: &[u8; LENGTH]) -> Result<(), Refusal> {
        use file_control::{BATCHES, BLOCKS};
        if self.place.batch.is_some() {
            return Err(refusal(
                "batch_control_missing",
                "batch control: record type",
                "a batch control before the file control",
                "a file control",
            ));
        }
        if self.place.next_index == 0 {
            let expected = "at least one entry";
            return Err(refusal(
                "no_entries",
                "file control: entry and addenda count",
                expected,
                "none (a ping)",
            ));
        }
        let in_control = |refusal| of("file control", refusal);
        let place = &self.place;
        let totals = place.file_totals;
        let is_adv = place.adv_batches > 0 && place.adv_batches == place.batches;
        let blocks = place.records.saturating_add(9).checked_div(10).unwrap_or_default();
        let mut control_totals = vec![
            totals::agree(line, BATCHES, place.batches, true).map_err(in_control)?,
            totals::agree(line, BLOCKS, blocks, true).map_err(in_control)?,
        ];
        let sums =
            totals::compare(line, totals::file_columns(is_adv), &totals).map_err(in_control)?;
        let [_, _, debits, credits] = &sums;
        let (claimed_debits, claimed_credits) = (debits.claimed, credits.claimed);
        control_totals.extend(sums);
        self.place.summary = Some(Summary {
            identifier: self.place.identifier.clone(),
            control_totals,
            claimed_debits: Some(claimed_debits),
            claimed_credits: Some(claimed_credits),
            claimed_unsigned: None,
            warnings: std::mem::take(&mut self.place.warnings),
        });
        Ok(())
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
            reason.line = (self.cutter.cut == Cut::Ended).then_some(self.place.line);
            self.place.warnings.push(reason);
        }
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

/// A number in decimal digits, added to a text.
fn write_number(into: &mut String, value: i64) {
    use std::fmt::Write as _;
    // Writing to a string can't fail.
    let _ = write!(into, "{value}");
}

fn advanced(offset: i64, bytes: usize) -> i64 {
    offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn header_refusal(record: &str, field: &str, expected: &str, found: &[u8]) -> Refusal {
    refusal("field", &format!("{record}: {field}"), expected, masked(found))
}

/// The refusal, with the record before the field's name.
fn of(record: &str, refusal: Refusal) -> Refusal {
    let mut reason = refusal.into_reason();
    reason.field = reason.field.map(|field| format!("{record}: {field}"));
    Refusal::new(reason)
}

fn described(kind: &[u8]) -> &'static str {
    match kind {
        b"1" => "file header",
        b"5" => "batch header",
        b"6" => "entry",
        b"7" => "addenda",
        b"8" => "batch control",
        b"9" => "file control",
        _ => "another record",
    }
}

/// The date of YYMMDD in this century; none where the calendar has none such.
fn date(digits: &[u8]) -> Option<Date> {
    let value = number(digits)?;
    let part = |divisor: i64| value.checked_div(divisor).map(|part| part.rem_euclid(100));
    Date::new(
        i16::try_from(part(10_000)?).ok()?.checked_add(2_000)?,
        i8::try_from(part(100)?).ok()?,
        i8::try_from(part(1)?).ok()?,
    )
}
