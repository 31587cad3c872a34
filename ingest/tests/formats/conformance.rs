//! What every format has to hold, over a table of samples: a line a format.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::sync::LazyLock;

use ingest::format::{Encoding, Framing, Reader, Settings};
use ingest::generate::Plan;

use crate::generated::{bytes, plan, settings_of};
use crate::whole::{Whole, read, read_in_pieces, read_on};

/// A file that is in order, and where to break it.
struct Sample {
    name: &'static str,
    settings: Settings,
    content: Vec<u8>,
    /// Behind its last byte that counts: cut before that, it is refused.
    significant: usize,
    /// A digit of something that it states about itself.
    stated: usize,
    /// A byte of a record's field that must be a number, a date or a code.
    field: usize,
    whole: Whole,
}

/// A place in content of lines: a line, from 0 or from the end, and a column from 1.
#[derive(Clone, Copy)]
enum At {
    Line(usize, usize),
    FromEnd(usize, usize),
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
        match self {
            Self::Line(line, column) => starts[line] + column - 1,
            Self::FromEnd(line, column) => starts[starts.len() - 1 - line] + column - 1,
            Self::Back(bytes) => content.len() - bytes,
            Self::Byte(byte) => byte,
        }
    }
}

/// A generated sample: the last column that counts, a digit that is stated, a byte of a field.
fn generated(plan: Plan, last: At, stated: At, field: At) -> Sample {
    let content = bytes(&plan).0;
    let name = Box::leak(plan.format.clone().into_boxed_str());
    sample(name, settings_of(&plan), content, last, stated, field)
}

fn sample(
    name: &'static str,
    settings: Settings,
    content: Vec<u8>,
    last: At,
    stated: At,
    field: At,
) -> Sample {
    let whole = read(&settings, &content).unwrap();
    let [last, stated, field] = [last, stated, field].map(|at| at.offset(&content));
    Sample { name, settings, content, significant: last + 1, stated, field, whole }
}

/// The table. A file has some records before and behind the one that is broken.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let small = |format: &str, encoding| Plan { encoding, accounts: 7, ..plan(format, 12) };
    let ascii = |format| small(format, Encoding::Ascii);
    let latin1 = |format| small(format, Encoding::Latin1);
    let vbs = |plan| Plan { framing: Framing::Vbs, ..plan };
    use At::{Back, Byte, FromEnd, Line};
    vec![
        generated(ascii("nacha"), FromEnd(3, 55), FromEnd(3, 40), Line(3, 35)),
        generated(vbs(ascii("ipm")), Back(5), Back(4 + 8 + 15 + 2), Byte(400)),
        generated(latin1("cnab240"), FromEnd(0, 29), FromEnd(1, 40), Line(6, 90)),
        generated(latin1("cnab400"), FromEnd(0, 400), FromEnd(0, 400), Line(5, 160)),
    ]
});

#[test]
fn cut_anywhere_a_file_is_refused() {
    for Sample { name, settings, content, significant, .. } in &*SAMPLES {
        for cut in 0..*significant {
            assert!(read(settings, &content[..cut]).is_err(), "{name} cut at {cut}");
        }
    }
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
