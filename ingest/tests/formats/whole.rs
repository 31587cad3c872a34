//! Reads whole contents, in pieces of any size.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::fmt::Write as _;

use ingest::format::{
    DETECT_BYTES, Draft, Encoding, Framing, Posted, Reader, Refusal, Reject, Settings, Side, Step,
    Summary,
};

/// A record as it was read, or why it was not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) draft: Draft,
    pub(crate) reject: Option<Reject>,
}

/// A file that was read to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) found: Vec<Found>,
    pub(crate) summary: Summary,
}

/// The settings of a feed for tests.
pub(crate) fn settings(format: &str, encoding: Encoding) -> Settings {
    Settings {
        format: format.to_owned(),
        layout: None,
        encoding,
        framing: Framing::Auto,
        side: Side::Issuer,
        posted: Posted::Billing,
        record_bytes_max: 1 << 20,
    }
}

/// Reads content that is given in pieces of these sizes, over and over.
///
/// The first step gets what it waits for at once; from the first record on, what the reader has not
/// used is taken back, and everything comes in pieces.
pub(crate) fn read_in_pieces(
    settings: &Settings,
    content: &[u8],
    pieces: &[usize],
) -> Result<Whole, Refusal> {
    let mut reader = Reader::new(settings).unwrap();
    read_on(&mut reader, content, pieces, |_| ())
}

/// Reads content from where the reader stands; `between` is called after each record.
pub(crate) fn read_on(
    reader: &mut Reader,
    content: &[u8],
    pieces: &[usize],
    between: impl Fn(&mut Reader),
) -> Result<Whole, Refusal> {
    let mut draft = Draft::new("feed", "format");
    let mut found = Vec::new();
    let mut start = usize::try_from(reader.offset()).unwrap();
    let mut end = content.len().min(start + DETECT_BYTES);
    let mut pieces = pieces.iter().cycle();
    loop {
        let is_end = end == content.len();
        let (used, step) = reader.step(&content[start..end], is_end, &mut draft)?;
        start += used;
        assert_eq!(reader.offset(), i64::try_from(start).unwrap());
        let reject = match step {
            Step::More => {
                assert!(!is_end, "a reader asks for more at the end of the content");
                end = content.len().min(end.saturating_add(*pieces.next().unwrap()));
                continue;
            }
            Step::Record => None,
            Step::Rejected(reject) => Some(reject),
            Step::End => {
                assert!(is_end, "a reader ends before the content does");
                let summary = reader.summary().unwrap().clone();
                return Ok(Whole { found, summary });
            }
        };
        if found.is_empty() {
            end = start;
        }
        let record = &draft.record;
        assert_eq!(usize::try_from(record.index).unwrap(), found.len());
        assert!(record.byte_length > 0);
        assert!(record.byte_offset + record.byte_length <= i64::try_from(content.len()).unwrap());
        found.push(Found { draft: draft.clone(), reject });
        between(reader);
    }
}

/// Reads content in one piece.
pub(crate) fn read(settings: &Settings, content: &[u8]) -> Result<Whole, Refusal> {
    read_in_pieces(settings, content, &[usize::MAX])
}

/// All that was read as text, a line a record: the golden beside each sample.
///
/// Accounts are shown as their masked form: a golden holds no number.
pub(crate) fn text(whole: &Result<Whole, Refusal>) -> String {
    let mut text = String::new();
    let whole = match whole {
        Err(refusal) => return format!("refused: {}\n", refusal.0),
        Ok(whole) => whole,
    };
    for Found { draft, reject } in &whole.found {
        let record = &draft.record;
        write!(text, "{} @{}+{}", record.index, record.byte_offset, record.byte_length).unwrap();
        if let Some(line) = record.line {
            write!(text, " line {line}").unwrap();
        }
        if let Some(reject) = reject {
            let Reject { reason, field, expected, found, control } = reject;
            write!(text, " {} rejected {reason}: {field}: ", record.code).unwrap();
            writeln!(text, "expected {expected}, found {found}; control {control:?}").unwrap();
            continue;
        }
        write!(text, " {} {} {}", record.code, record.kind, record.direction).unwrap();
        write!(text, " {}", record.amount_minor).unwrap();
        if let Some(currency) = record.currency {
            write!(text, " {currency}/{}", record.exponent).unwrap();
        }
        if !draft.account.is_empty() {
            write!(text, " {}", draft.account).unwrap();
        }
        for amount in &record.amounts {
            write!(text, " {}={} {}", amount.role, amount.amount_minor, amount.currency).unwrap();
        }
        for (name, value) in [
            ("control", record.control_amount.map(|value| value.to_string())),
            ("occurred", record.occurred_at.map(|value| value.to_string())),
            ("value", record.value_date.map(|value| value.to_string())),
            ("reference", record.reference.clone()),
            ("counterparty", record.counterparty.clone()),
        ] {
            if let Some(value) = value {
                write!(text, " {name}={value:?}").unwrap();
            }
        }
        for (name, value) in record.attributes.iter() {
            write!(text, " {name}={value:?}").unwrap();
        }
        text.push('\n');
    }
    let Summary { identifier, control_totals, warnings, .. } = &whole.summary;
    writeln!(text, "file {}", identifier.as_deref().unwrap_or("without identifier")).unwrap();
    for total in control_totals {
        let proven = if total.proven { "" } else { " unproven" };
        writeln!(text, "total {}: {} seen {}{proven}", total.name, total.claimed, total.seen)
            .unwrap();
    }
    for warning in warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    text
}
