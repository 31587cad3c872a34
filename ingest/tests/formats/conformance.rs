//! What every format has to hold, over a table of samples: a line a format.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::sync::LazyLock;

use ingest::format::{Encoding, Framing, Reader, Settings, names};
use ingest::generate::Plan;
use schemas::Direction;

use crate::generated::{bytes, plan, settings_of};
use crate::whole::{Found, Whole, read, read_in_pieces, read_on};

/// A file that is in order, and where to break it.
struct Sample {
    name: &'static str,
    settings: Settings,
    content: Vec<u8>,
    whole_by: WholeBy,
    /// A digit of something that it states about itself.
    stated: usize,
    /// A byte of a record's field that must be a number, a date or a code.
    field: usize,
    whole: Whole,
}

/// By what a format tells that a file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WholeBy {
    /// By a trailer that ends with this byte: cut at it or before it a file is refused, and nothing
    /// behind it counts.
    Trailer(usize),
    /// By its records alone, which balance: the format has no trailer. Cut within a record a file
    /// is refused. Cut at a record's end it is refused unless what is left balances; then nothing
    /// tells.
    Balance,
}

/// A place in content. Lines count from 0, from the end where it says so; columns from 1.
#[derive(Clone, Copy)]
enum At {
    Line(usize, usize),
    FromEnd(usize, usize),
    /// Behind this text in a line.
    In(usize, &'static str),
    InFromEnd(usize, &'static str),
    /// So many bytes before the end.
    Back(usize),
    Byte(usize),
}

impl At {
    fn offset(self, content: &[u8]) -> usize {
        let ends = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let starts: Vec<usize> = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .filter(|at| *at < content.len())
            .collect();
        let behind = |start: usize, text: &str| {
            let mut places = content[start..].windows(text.len());
            start + places.position(|found| found == text.as_bytes()).unwrap() + text.len()
        };
        match self {
            Self::Line(line, column) => starts[line] + column - 1,
            Self::FromEnd(line, column) => starts[starts.len() - 1 - line] + column - 1,
            Self::In(line, text) => behind(starts[line], text),
            Self::InFromEnd(line, text) => behind(starts[starts.len() - 1 - line], text),
            Self::Back(bytes) => content.len() - bytes,
            Self::Byte(byte) => byte,
        }
    }
}

impl Sample {
    /// A generated one: the last byte that counts where there is a trailer, a digit that is stated,
    /// a byte of a field.
    fn generated(plan: &Plan, trailer: Option<At>, stated: At, field: At) -> Self {
        let (content, settings) = (bytes(plan).0, settings_of(plan));
        let name = names().iter().find(|name| **name == plan.format).unwrap();
        let whole = read(&settings, &content).unwrap();
        let whole_by = match trailer {
            Some(last) => WholeBy::Trailer(last.offset(&content)),
            None => WholeBy::Balance,
        };
        let (stated, field) = (stated.offset(&content), field.offset(&content));
        Self { name, settings, content, whole_by, stated, field, whole }
    }

    /// The records' ends, from the one before the first on, each with the balance up to it.
    fn ends(&self) -> Vec<(usize, i64)> {
        let byte = |offset: i64| usize::try_from(offset).unwrap();
        let first = &self.whole.found[0].draft.record;
        let mut ends = vec![(byte(first.byte_offset), 0)];
        let mut balance = 0;
        for Found { draft, .. } in &self.whole.found {
            let record = &draft.record;
            balance += match &record.direction {
                side if *side == Direction::CREDIT => record.amount_minor,
                _ => -record.amount_minor,
            };
            ends.push((byte(record.byte_offset + record.byte_length), balance));
        }
        ends
    }

    /// How many records are left of it where it is cut there and passes for whole.
    fn passes(&self, cut: usize) -> Option<usize> {
        match self.whole_by {
            WholeBy::Trailer(last) => (cut > last).then_some(self.whole.found.len()),
            WholeBy::Balance => self.ends().iter().position(|end| *end == (cut, 0)),
        }
    }
}

/// The table. A file has some records before and behind the one that is broken.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let small = |format: &str, encoding| Plan { encoding, accounts: 7, ..plan(format, 12) };
    let ascii = |format| small(format, Encoding::Ascii);
    let latin1 = |format| small(format, Encoding::Latin1);
    let nacha = ascii("nacha");
    let ipm = Plan { framing: Framing::Vbs, ..ascii("ipm") };
    let cnab240 = latin1("cnab240");
    let cnab400 = latin1("cnab400");
    let base2 = latin1("base2");
    let base2_itf = small("base2_itf", Encoding::Cp500);
    // Two batches, so that it balances between them too.
    let adyen = Plan { records: 26, ..latin1("adyen_settlement") };
    let paypal = latin1("paypal_stl");
    let statement = latin1("statement_csv");
    use At::{Back, Byte, FromEnd, In, InFromEnd, Line};
    let of = Sample::generated;
    vec![
        of(&nacha, Some(FromEnd(3, 55)), FromEnd(3, 40), Line(3, 35)),
        of(&ipm, Some(Back(5)), Back(4 + 8 + 15 + 2), Byte(400)),
        of(&cnab240, Some(FromEnd(0, 29)), FromEnd(1, 40), Line(6, 90)),
        of(&cnab400, Some(FromEnd(0, 400)), FromEnd(0, 400), Line(5, 160)),
        of(&base2, Some(FromEnd(0, 116)), FromEnd(0, 42), Line(6, 58)),
        of(&base2_itf, Some(Back(1)), Back(170 - 43), Byte(6 * 170 + 59)),
        of(&adyen, None, InFromEnd(0, ",EUR,"), In(3, ",2026-07-2")),
        of(&paypal, Some(Back(1)), InFromEnd(1, "\"RC\","), In(7, "-0700,\"")),
        of(&statement, Some(Back(1)), FromEnd(0, 3), In(3, ";22/07/20")),
    ]
});

#[test]
fn every_format_is_in_the_table() {
    let there: Vec<&str> = SAMPLES.iter().map(|sample| sample.name).collect();
    assert_eq!(there, names());
}

#[test]
fn cut_anywhere_a_file_is_refused() {
    for sample in &*SAMPLES {
        let Sample { name, settings, content, whole, .. } = sample;
        for cut in 0..content.len() {
            match (read(settings, &content[..cut]), sample.passes(cut)) {
                (Err(_), None) => (),
                (Ok(read), Some(records)) => {
                    assert_eq!(read.found, whole.found[..records], "{name} cut at {cut}");
                }
                (read, passes) => {
                    let is_read = read.is_ok();
                    assert_eq!(is_read, passes.is_some(), "{name} cut at {cut}");
                }
            }
        }
    }
}

/// Of no other format, and there at the ends of records only: where nothing is left, and where a
/// batch is paid out.
#[test]
fn without_a_trailer_a_cut_between_what_balances_passes() {
    let without = SAMPLES.iter().filter(|sample| sample.whole_by == WholeBy::Balance);
    let without: Vec<(&str, Vec<usize>)> = without
        .map(|sample| {
            let cuts = 0..sample.content.len();
            (sample.name, cuts.filter_map(|cut| sample.passes(cut)).collect())
        })
        .collect();
    assert_eq!(without, [("adyen_settlement", vec![0, 20])]);
}

#[test]
fn one_damaged_total_refuses_the_file_and_names_what_was_expected_and_found() {
    for Sample { name, settings, content, stated, .. } in &*SAMPLES {
        let mut content = content.clone();
        content[*stated] ^= 1;
        let refusal = read(settings, &content).unwrap_err();
        let reason = *refusal.0;
        let expected = reason.expected.clone().unwrap_or_default();
        let found = reason.found.clone().unwrap_or_default();
        let has_number = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
        assert!(has_number(&expected) && has_number(&found), "{name}: {reason}");
        assert_ne!(expected, found, "{name}: {reason}");
        assert!(["totals_differ", "sequence"].contains(&reason.code.as_str()), "{name}: {reason}");
    }
}

#[test]
fn one_damaged_record_is_one_reject_and_the_rest_is_as_it_was() {
    for Sample { name, settings, content, field, whole, .. } in &*SAMPLES {
        let mut content = content.clone();
        content[*field] = b'*';
        let damaged = read(settings, &content).unwrap();
        assert_eq!(damaged.found.len(), whole.found.len(), "{name}");
        let mut rejects = 0;
        for (now, before) in damaged.found.iter().zip(&whole.found) {
            match &now.reject {
                None => assert_eq!(now, before, "{name}"),
                Some(reject) => {
                    rejects += 1;
                    let record = &now.draft.record;
                    let from = usize::try_from(record.byte_offset).unwrap();
                    let to = from + usize::try_from(record.byte_length).unwrap();
                    assert!((from..to).contains(field), "{name}: {reject:?}");
                    assert_eq!(record.line, before.draft.record.line, "{name}");
                }
            }
        }
        assert_eq!(rejects, 1, "{name}");
    }
}

#[test]
fn resumed_behind_any_record_the_rest_is_the_same() {
    for Sample { name, settings, content, whole, .. } in &*SAMPLES {
        let mut reader = Reader::new(settings).unwrap();
        let resumed = read_on(&mut reader, content, &[64], |reader| {
            let state = reader.state().unwrap();
            assert!(state.len() < 4_000, "{name}: {} bytes of state", state.len());
            *reader = Reader::resume(settings, &state).unwrap();
        });
        assert_eq!(&resumed.unwrap(), whole, "{name}");
    }
}

#[test]
fn a_few_bytes_at_a_time_are_the_whole() {
    for Sample { name, settings, content, whole, .. } in &*SAMPLES {
        for size in [1, 5, 240, 241, 400] {
            let pieces = read_in_pieces(settings, content, &[size]).unwrap();
            assert_eq!(&pieces, whole, "{name} by {size}");
        }
    }
}

/// Nothing that a file's records tell shows the number of an account.
#[test]
fn no_account_is_shown() {
    for Sample { name, whole, .. } in &*SAMPLES {
        for found in &whole.found {
            let number = found.draft.account.reveal().rsplit(':').next().unwrap_or_default();
            let record = &found.draft.record;
            let shown = format!("{:?} {:?}", record, found.reject);
            assert!(number.len() < 9 || !shown.contains(number), "{name}: {number} in {shown}");
        }
    }
}
