//! Headers, controls and padding: what is around the entries.

use schemas::Date;
use schemas::arrival::Reason;

use super::codes::{self, Form6};
use super::entry::BatchHeader;
use super::layout::{batch_control, batch_header, file_control, file_header, iat_batch_header};
use super::line::{LENGTH, Line};
use super::totals::{self, Totals};
use super::{BYTE_ORDER_MARK, Nacha};
use crate::format::columns::{Column, number, shown, trim};
use crate::format::fault::refusal;
use crate::format::{Refusal, Summary};

impl Nacha {
    /// Takes a line that is no entry: a header, a control, or padding.
    pub(super) fn structure(&mut self, line: &Line) -> Result<(), Refusal> {
        let kind = file_header::RECORD_TYPE.of(&line.text);
        let is_padding = trim(&line.text).iter().all(|byte| *byte == b'9');
        if self.place.summary.is_some() {
            return self.padding(line, is_padding);
        }
        if kind != b"1" && self.place.identifier.is_none() {
            return Err(refusal(
                "file_header_missing",
                "file header: record type",
                "a file header (1) as the first record",
                if line.text.starts_with(BYTE_ORDER_MARK) {
                    "a byte order mark (EF BB BF)"
                } else {
                    described(kind)
                },
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

    /// Takes a line behind the file control: nines, or the sign by which DOS ends a text.
    fn padding(&mut self, line: &Line, is_nines: bool) -> Result<(), Refusal> {
        let text = trim(&line.text);
        if is_nines && !line.overlong {
            return Ok(());
        }
        if text.iter().all(|byte| *byte == END_OF_TEXT) && !line.overlong {
            let mut reason = Reason::new("end_of_text")
                .expected_found("lines of nines after the file control", "the byte 1A");
            reason.line = self.line_number();
            if let Some(summary) = &mut self.place.summary {
                summary.warnings.push(reason);
            }
            return Ok(());
        }
        let (field, found) = if is_nines {
            ("length", "a line of nines with more behind column 94")
        } else if text.iter().all(|byte| *byte == 0) {
            ("record type", "bytes of zero")
        } else {
            ("record type", "another line")
        };
        let expected = "lines of nines after the file control";
        Err(refusal("after_the_file_control", field, expected, found))
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
        if date(DATE.of(line)).is_none() {
            let expected = "a date, YYMMDD";
            return Err(header_refusal("file header", DATE.name, expected, DATE.of(line)));
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
        let fault = |column: &Column, expected: &str| {
            header_refusal("batch header", column.name, expected, column.of(line))
        };
        let class = number(CLASS.of(line)).filter(|class| codes::service_class(*class).is_some());
        let Some(service_class) = class else {
            return Err(fault(&CLASS, "200, 220, 225 or 280"));
        };
        let Some(entry_class) = codes::entry_class(SEC.of(line)) else {
            return Err(fault(&SEC, "a standard entry class"));
        };
        let is_advice = entry_class.form == Form6::Adv;
        if is_advice != (service_class == codes::ADVICES) {
            let expected = if is_advice { "280 for ADV" } else { "200, 220 or 225" };
            return Err(fault(&CLASS, expected));
        }
        let description = trim(DESCRIPTION.of(line));
        if description.iter().all(|byte| *byte == b'0') {
            let field = format!("batch header: {}", DESCRIPTION.name);
            let found = if description.is_empty() { "a blank field" } else { "zeros only" };
            return Err(refusal("field", &field, "a text", found));
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
        let free_text = |bytes: &[u8]| {
            let mut text = String::new();
            self.cutter.encoding.push_free_text(&mut text, trim(bytes));
            text
        };
        let is_iat = entry_class.form == Form6::Iat || COMPANY.of(line).starts_with(b"IATCOR");
        let (company, currencies) = if is_iat {
            use iat_batch_header::{DESTINATION_CURRENCY as TO, ORIGINATING_CURRENCY as FROM};
            (String::new(), Some((text(FROM.of(line)), text(TO.of(line)))))
        } else {
            (free_text(COMPANY.of(line)), None)
        };
        self.place.batch = Some(BatchHeader {
            service_class,
            entry_class: entry_class.code.to_owned(),
            company,
            description: free_text(description),
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
                let expected = format!("{stated} as in the batch header");
                return Err(header_refusal(
                    "batch control",
                    column.name,
                    &expected,
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
            identifiers: self.place.identifier.iter().cloned().collect(),
            control_totals,
            claimed_debits: Some(claimed_debits),
            claimed_credits: Some(claimed_credits),
            claimed_unsigned: None,
            warnings: std::mem::take(&mut self.place.warnings),
        });
        Ok(())
    }
}

/// A field of a header or control: none of them bears the number of an account, so what was found
/// is told.
fn header_refusal(record: &str, field: &str, expected: &str, found: &[u8]) -> Refusal {
    refusal("field", &format!("{record}: {field}"), expected, shown(trim(found)))
}

/// What DOS wrote behind the end of a text.
const END_OF_TEXT: u8 = 0x1a;

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
