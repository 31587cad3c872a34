//! Logical files: a header, messages, a trailer, and what the trailer states of them.

use schemas::arrival::Reason;
use schemas::file::ControlTotal;

use super::elements;
use super::subelements::Subelements;
use super::{FILE_ID_BYTES_MAX, Ipm, LOGICAL_FILES_MAX, Logical};
use crate::format::columns::{masked, number, trim};
use crate::format::fault::Fault;
use crate::format::{Refusal, Summary};

impl Ipm {
    /// Takes a file header or trailer.
    pub(super) fn structure(&mut self, is_header: bool) -> Result<(), Refusal> {
        let subelements = Subelements::find(&self.spans, &self.text).map_err(refusal)?;
        let id = trim(subelements.file_id.unwrap_or_default());
        let mut identifier = String::new();
        self.mapping.encoding.push_text(&mut identifier, id);
        let sequence = self.spans.get(&self.text, 71).and_then(number);
        let place = &mut self.place;
        if is_header {
            if place.logical.is_some() {
                return Err(field("file_trailer_missing", "1644/695", "a trailer", "a header"));
            }
            if identifier.is_empty() {
                return Err(field("file_id_missing", "PDS 0105 file ID", "a file ID", "none"));
            }
            if id.len() > FILE_ID_BYTES_MAX {
                let expected = format!("at most {FILE_ID_BYTES_MAX} characters");
                let found = id.len().to_string();
                return Err(field("file_id_length", "PDS 0105 file ID", &expected, &found));
            }
            if sequence != Some(1) {
                let found = sequence.map_or(String::from("none"), |number| number.to_string());
                return Err(field("message_number", elements::name(71), "1", &found));
            }
            if place.logical_files >= LOGICAL_FILES_MAX {
                let expected = format!("at most {LOGICAL_FILES_MAX} logical files");
                return Err(field("too_many_logical_files", "1644/697", &expected, "more"));
            }
            if let Some(earlier) = place.identifiers.iter().position(|known| *known == identifier) {
                let expected = "a file ID that did not come before in this object";
                let found =
                    format!("`{identifier}`, as of logical file {}", earlier.saturating_add(1));
                return Err(field("file_id_twice", "PDS 0105 file ID", expected, &found));
            }
            place.identifiers.push(identifier.clone());
            place.logical = Some(Logical {
                id: identifier,
                count: 1,
                last_number: 1,
                sum: 0,
                sum_unknown: false,
            });
            return Ok(());
        }
        let Some(logical) = place.logical.take() else {
            return Err(field("file_header_missing", "1644/697", "a header", "a trailer"));
        };
        if identifier != logical.id {
            let expected = format!("`{}` as in the header", logical.id);
            let found = format!("`{identifier}`");
            return Err(field("file_id_differs", "PDS 0105 file ID", &expected, &found));
        }
        if sequence.is_none_or(|sequence| sequence <= logical.last_number) {
            let expected = format!("more than {}", logical.last_number);
            return Err(field(
                "message_numbers_not_ascending",
                elements::name(71),
                &expected,
                &sequence.map_or(String::from("none"), |number| number.to_string()),
            ));
        }
        let count = logical.count.saturating_add(1);
        let checksum = agree(
            "PDS 0301 file amount checksum",
            subelements.checksum,
            logical.sum,
            !logical.sum_unknown,
        )?;
        let count = agree("PDS 0306 file message count", subelements.count, count, true)?;
        let overflow = || field("total_too_large", "PDS 0301", "64 bits", "more");
        place.claimed = place.claimed.checked_add(checksum.claimed).ok_or_else(overflow)?;
        place.control_totals.extend([checksum, count]);
        place.logical_files = place.logical_files.saturating_add(1);
        Ok(())
    }

    /// The messages are over.
    pub(super) fn over(&mut self, terminated: bool) -> Result<(), Refusal> {
        if self.place.logical.is_some() || self.place.logical_files == 0 {
            let found = field("truncated", "1644/695", "a file trailer", "the end of the messages");
            return Err(self.here(found));
        }
        let place = &mut self.place;
        place.is_over = true;
        if !terminated {
            let reason = Reason::new("terminator_missing");
            place
                .warnings
                .push(reason.expected_found("a length of 0 behind the last message", "none"));
        }
        if place.fell_back > 0 {
            let mut reason = Reason::new("billing_amount_missing");
            reason.field = Some(elements::name(6).to_owned());
            place.warnings.push(reason.expected_found(
                "an amount in the cardholder's currency",
                format!("none in {} records: their transaction amount is posted", place.fell_back),
            ));
        }
        place.summary = Some(Summary {
            identifier: place.identifiers.first().cloned(),
            identifiers: std::mem::take(&mut place.identifiers),
            control_totals: std::mem::take(&mut place.control_totals),
            claimed_debits: None,
            claimed_credits: None,
            claimed_unsigned: Some(place.claimed),
            warnings: std::mem::take(&mut place.warnings),
        });
        Ok(())
    }
}

/// Compares a total of the trailer with what was counted.
fn agree(
    name: &'static str,
    stated: Option<&[u8]>,
    seen: i64,
    proven: bool,
) -> Result<ControlTotal, Refusal> {
    let Some(digits) = stated else {
        return Err(field("control_total_missing", name, "a total in the trailer", "none"));
    };
    let Some(claimed) = number(digits) else {
        return Err(field("not_digits", name, "digits", &masked(digits)));
    };
    if claimed == seen || (!proven && claimed > seen) {
        return Ok(ControlTotal { name: name.to_owned(), claimed, seen, proven });
    }
    let expected = format!("{seen} as counted");
    Err(field("totals_differ", name, &expected, &format!("{claimed} as stated")))
}

fn field(code: &str, field: &str, expected: &str, found: &str) -> Refusal {
    let mut reason = Reason::new(code).expected_found(expected, found);
    reason.field = Some(field.to_owned());
    Refusal::new(reason)
}

pub(super) fn refusal(fault: Fault) -> Refusal {
    field(fault.reason, fault.field, &fault.expected, &fault.found)
}
