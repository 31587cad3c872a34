//! Every cut in tables: content, and the units that it gives, whatever the chunks it comes in.

#![expect(clippy::arithmetic_side_effects, reason = "a test may stop where it overflows")]

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::{Blank, Cut, CutError, Cutter, Fields, Memory, Next, Prefix, Separated, Word};
use crate::format::Encoding;

const BYTES_MAX: usize = 64;

fn fixed(length: usize) -> Cut {
    Cut::Fixed(NonZeroUsize::new(length).unwrap())
}

fn lines_or_fixed(length: usize) -> Cut {
    Cut::LinesOrFixed(NonZeroUsize::new(length).unwrap())
}

fn prefixed(word: Word, includes_itself: bool, blocked: bool) -> Cut {
    Cut::Prefixed(Prefix { word, includes_itself, blocked })
}

fn rows(separator: u8) -> Cut {
    Cut::Rows(Separated { separator, quote: Some(b'"') })
}

fn plain(field: &[u8]) -> String {
    field.escape_ascii().to_string().replace("\\\"", "\"")
}

/// A unit in words: where its own bytes begin, its line, and its fields.
fn shown(cutter: &Cutter, offset: usize, line: i64, bytes: &[u8]) -> String {
    let mut fields = Fields::default();
    cutter.fields(bytes, &mut fields);
    let fields: Vec<String> =
        (0..fields.len()).map(|index| plain(fields.get(index).unwrap())).collect();
    format!("{offset}/{line}:{}", fields.join("|"))
}

/// The units of content that comes `chunk` bytes at a time; what the cutter must know from one to
/// the next goes through JSON.
fn cut(cut: Cut, encoding: Encoding, content: &[u8], chunk: usize) -> Vec<String> {
    let cutter = Cutter::new(cut, encoding, BYTES_MAX);
    let mut memory = Memory::default();
    let (mut at, mut line, mut there) = (0, 1, 0);
    let mut found = Vec::new();
    loop {
        let end_of_content = there == content.len();
        match cutter.next(memory, &content[at..there], end_of_content) {
            Ok(Next::More) => {
                assert!(!end_of_content, "more is asked for at the end of the content");
                there = content.len().min(there + chunk);
            }
            Ok(Next::Blank(blank)) => {
                assert!(blank.length > 0);
                at += blank.length;
                line += blank.lines;
                memory = blank.after;
            }
            Ok(Next::End { end_of_text }) => {
                if end_of_text {
                    found.push("1a".to_owned());
                }
                return found;
            }
            Ok(Next::Unit(unit)) => {
                at += unit.skipped;
                line += unit.lines_skipped;
                found.push(shown(&cutter, at, line, unit.bytes));
                at += unit.length;
                line += unit.lines;
                assert_eq!(cutter.has_lines(unit.after), unit.lines > 0);
                memory = serde_json::from_slice(&serde_json::to_vec(&unit.after).unwrap()).unwrap();
            }
            Err(CutError { refusal, at: behind, lines }) => {
                let reason = refusal.into_reason();
                let (expected, found_there) = (reason.expected, reason.found);
                found.push(format!(
                    "{}/{}:{}: {}, {}",
                    at + behind,
                    line + lines,
                    reason.code,
                    expected.unwrap_or_default(),
                    found_there.unwrap_or_default()
                ));
                return found;
            }
        }
    }
}

/// Cuts content in one piece, byte by byte, and by five: each time the same.
fn units(how: Cut, encoding: Encoding, content: &[u8]) -> Vec<String> {
    let whole = cut(how, encoding, content, content.len().max(1));
    for chunk in [1, 2, 5] {
        assert_eq!(cut(how, encoding, content, chunk), whole, "by {chunk} bytes");
    }
    whole
}

fn check(how: Cut, encoding: Encoding, table: &[(&[u8], &[&str])]) {
    for (content, expected) in table {
        assert_eq!(units(how, encoding, content), *expected, "{}", content.escape_ascii());
    }
}

#[test]
fn lines_end_by_any_line_end_and_blank_ones_are_stepped_over() {
    check(
        Cut::Lines,
        Encoding::Ascii,
        &[
            (b"", &[]),
            (b"ab\ncd\r\nef\rgh", &["0/1:ab", "3/2:cd", "7/3:ef", "10/4:gh"]),
            (b"\n  \r\n\nab  \n \n", &["6/4:ab  "]),
            (b"\xef\xbb\xbfab\ncd\n", &["3/1:ab", "6/2:cd"]),
            (b"ab\n\xef\xbb\xbfcd\n", &["0/1:ab", "3/2:\\xef\\xbb\\xbfcd"]),
            // The end of a text, and the same byte elsewhere.
            (b"ab\n\x1a", &["0/1:ab", "1a"]),
            (b"ab\n\x1a\x1a \r\n\n", &["0/1:ab", "1a"]),
            (b"ab\n\x1a\ncd\n", &["0/1:ab", "3/2:\\x1a", "5/3:cd"]),
            // Zeros are a line like others: its format says that it knows no such record.
            (b"ab\n\0\0\0", &["0/1:ab", "3/2:\\x00\\x00\\x00"]),
        ],
    );
    let ebcdic: &[(&[u8], &[&str])] =
        &[(b"\xf1\x25\x40\x40\x15\xf2\x0d\x25\xf3\x15", &["0/1:\\xf1", "5/3:\\xf2", "8/4:\\xf3"])];
    check(Cut::Lines, Encoding::Cp037, ebcdic);
}

/// Blank lines are used as soon as they are there: nothing keeps them, or reads them again.
#[test]
fn blank_lines_without_a_unit_behind_them_are_used() {
    for how in [Cut::Lines, lines_or_fixed(7), rows(b';')] {
        let cutter = Cutter::new(how, Encoding::Ascii, BYTES_MAX);
        let Ok(Next::Unit(first)) = cutter.next(Memory::default(), b"1234567\n", true) else {
            panic!("no unit");
        };
        for (rest, end_of_content, length, lines) in [
            (&b"\n\n  \n"[..], false, 5, 3),
            (b"\n\n  \n12", false, 5, 3),
            (b"\n\n", true, 2, 2),
            (b"\n\x1a", true, 1, 1),
        ] {
            let expected = Next::Blank(Blank { length, lines, after: first.after });
            assert_eq!(cutter.next(first.after, rest, end_of_content), Ok(expected), "{rest:?}");
        }
    }
}

#[test]
fn a_line_without_end_is_refused_at_its_place() {
    let content = [b"ab\n\n".as_slice(), &[b'x'; BYTES_MAX]].concat();
    let expected = ["0/1:ab", "4/3:line_too_long: a line end within 64 bytes, none"];
    assert_eq!(units(Cut::Lines, Encoding::Ascii, &content), expected);
}

#[test]
fn blocks_are_cut_whatever_their_bytes_and_must_be_whole() {
    check(
        fixed(4),
        Encoding::Cp037,
        &[
            (b"", &[]),
            (
                b"ab\ncd\r\n\0\0\0\0\0",
                &["0/1:ab\\nc", "4/1:d\\r\\n\\x00", "8/1:\\x00\\x00\\x00\\x00"],
            ),
            (b"    \x1a   ", &["0/1:    ", "4/1:\\x1a   "]),
            (
                b"abcdefg",
                &[
                    "0/1:abcd",
                    "4/1:truncated: content of a multiple of 4 bytes, 3 bytes behind the last whole 4",
                ],
            ),
        ],
    );
}

#[test]
fn the_first_bytes_tell_lines_from_blocks() {
    check(
        lines_or_fixed(4),
        Encoding::Ascii,
        &[
            (b"", &[]),
            (b"abcd\nefgh\n", &["0/1:abcd", "5/2:efgh"]),
            (b"abcd  \r\nef\r\nghijk", &["0/1:abcd  ", "8/2:ef", "12/3:ghijk"]),
            (b"ab", &["0/1:ab"]),
            (b"abcd", &["0/1:abcd"]),
            (b"abcdefghijkl", &["0/1:abcd", "4/1:efgh", "8/1:ijkl"]),
            (b"abcdefgh\r\n", &["0/1:abcd", "4/1:efgh"]),
            (b"abcdefgh\r\nijkl  \n\x1a\r\n", &["0/1:abcd", "4/1:efgh", "10/1:ijkl", "1a"]),
            (b"abcd    efgh", &["0/1:abcd", "8/1:efgh"]),
            (b"\xef\xbb\xbfabcdefgh\x1a", &["3/1:abcd", "7/1:efgh", "1a"]),
            (
                b"abcdefghij",
                &[
                    "0/1:abcd",
                    "4/1:efgh",
                    "8/1:truncated: content of a multiple of 4 bytes, 2 bytes behind the last whole 4",
                ],
            ),
            // A byte within a block that looks like a line end.
            (b"abcdefg\nhijk", &["0/1:abcd", "4/1:efg\\n", "8/1:hijk"]),
            (b"a\nbcefghijkl", &["0/1:a\\nbc", "4/1:efgh", "8/1:ijkl"]),
            (b"a\nbcefgh", &["0/1:a\\nbc", "4/1:efgh"]),
            (b"ab\ncd", &["0/1:ab", "3/2:cd"]),
        ],
    );
}

#[test]
fn lengths_are_read_in_both_orders_with_and_without_themselves() {
    let ascii = Encoding::Ascii;
    check(
        prefixed(Word::Big, true, false),
        ascii,
        &[
            (b"", &[]),
            (b"\0\x06\0\0ab\0\x05\0\0c", &["0/1:ab", "6/1:c"]),
            (b"\0\x04\0\0", &["0/1:framing_lost: a length of a record of at least 5, 4"]),
            (b"\0\0\0\0", &["0/1:framing_lost: a length of a record of at least 5, 0"]),
            (b"\0\x45\0\0", &["0/1:framing_lost: a record of at most 64 bytes, a length of 65"]),
            (
                b"\0\0\x06\0ab",
                &["0/1:framing_lost: the length of a record and two bytes of zero, other bytes"],
            ),
            (
                b"\0\x06\0\0a",
                &["0/1:truncated: 2 bytes of a record, the end of the content after 1"],
            ),
            (
                b"\0\x05\0\0a\0\x06",
                &["0/1:a", "5/1:truncated: 4 bytes of a length, the end of the content after 2"],
            ),
        ],
    );
    check(
        prefixed(Word::Big, false, false),
        ascii,
        &[
            (b"\0\x02\0\0ab\0\x01\0\0c", &["0/1:ab", "6/1:c"]),
            (b"\0\0\0\0", &["0/1:framing_lost: a length of a record of at least 1, 0"]),
        ],
    );
    check(
        prefixed(Word::Little, true, false),
        ascii,
        &[
            (b"\0\0\x06\0ab\0\0\x05\0c", &["0/1:ab", "6/1:c"]),
            (
                b"\0\x06\0\0ab",
                &["0/1:framing_lost: two bytes of zero and the length of a record, other bytes"],
            ),
        ],
    );
    check(prefixed(Word::Little, false, false), ascii, &[(b"\0\0\x02\0ab", &["0/1:ab"])]);
}

#[test]
fn records_fill_their_blocks() {
    check(
        prefixed(Word::Big, true, true),
        Encoding::Ascii,
        &[
            (
                b"\0\x0f\0\0\0\x06\0\0ab\0\x05\0\0c\0\x09\0\0\0\x05\0\0d",
                &["4/1:ab", "10/1:c", "19/1:d"],
            ),
            // An extended block.
            (b"\x80\0\0\x0a\0\x06\0\0ab", &["4/1:ab"]),
            (
                b"\0\x0b\0\0\0\x06\0\0ab\0",
                &["4/1:ab", "10/1:truncated: 4 bytes of a length, the end of the content after 1"],
            ),
            (
                b"\0\x0c\0\0\0\x06\0\0ab\0\x05\0\0c",
                &[
                    "4/1:ab",
                    "10/1:framing_lost: a record within the 2 bytes left of its block, one of 5",
                ],
            ),
            (b"\0\x04\0\0", &["0/1:framing_lost: a length of a block of at least 5, 4"]),
        ],
    );
    check(
        prefixed(Word::Little, false, true),
        Encoding::Ascii,
        &[(b"\0\0\x06\0\0\0\x02\0ab", &["4/1:ab"])],
    );
}

#[test]
fn quoted_fields_hold_separators_quotes_and_line_ends() {
    check(
        rows(b';'),
        Encoding::Latin1,
        &[
            (b"", &[]),
            (b"a;b\n;\n\nc", &["0/1:a|b", "4/2:|", "7/4:c"]),
            (b"\xef\xbb\xbf\"a\";b\r\nc;d\r\n", &["3/1:a|b", "10/2:c|d"]),
            (b"\"a;\"\"b\"\"\";\"\"\nc", &["0/1:a;\"b\"|", "13/2:c"]),
            (b"\"a\nb\r\nc\rd\";e\nf\n", &["0/1:a\\nb\\r\\nc\\rd|e", "13/5:f"]),
            (b"a;\"b\"", &["0/1:a|b"]),
            (b"a\n\x1a\n", &["0/1:a", "1a"]),
        ],
    );
    let separated = Separated { separator: b'\t', quote: None };
    check(Cut::Rows(separated), Encoding::Ascii, &[(b"5\"\ta\"b\n", &["0/1:5\"|a\"b"])]);
    check(rows(b';'), Encoding::Cp037, &[(b"\xf1\x5e\x7f\x5e\x7f\x15", &["0/1:\\xf1|^"])]);
}

#[test]
fn fields_are_translated_by_a_page() {
    let mut fields = Fields::default();
    Cutter::new(rows(b';'), Encoding::Cp037, 64).fields(b"\xf1\x5e\xc1\xd0", &mut fields);
    fields.translate(Encoding::Cp037.page().unwrap());
    assert_eq!([fields.get(0), fields.get(1), fields.get(2)], [Some(&b"1"[..]), Some(b"A}"), None]);
}

#[test]
fn bad_quoting_is_refused_at_its_place() {
    let beside = "quoting: quotes around a whole field, and two for one within it, \
                  another character beside a quote";
    for (content, place) in [
        ("a;b\nc;d\"e\n", "7/2"),
        ("a;b\n\"c\"d;e\n", "7/2"),
        ("a;b\n c; \"d\"\n", "8/2"),
        ("a;b\n\"c\nd\"e\n", "9/3"),
    ] {
        let expected = ["0/1:a|b".to_owned(), format!("{place}:{beside}")];
        assert_eq!(units(rows(b';'), Encoding::Ascii, content.as_bytes()), expected);
    }
    let open = "quoting: a closing quote within 64 bytes, none";
    for content in ["a;b\nc;\"d\ne;f\n".to_owned(), format!("a;b\nc;\"d{}", "\nef".repeat(40))] {
        let expected = ["0/1:a|b".to_owned(), format!("6/2:{open}")];
        assert_eq!(units(rows(b';'), Encoding::Ascii, content.as_bytes()), expected);
    }
    let long = "x;".repeat(40);
    let expected = ["0/1:row_too_long: the end of a row within 64 bytes, none"];
    assert_eq!(units(rows(b';'), Encoding::Ascii, long.as_bytes()), expected);
}

proptest! {
    /// Any bytes, under any cut: the same units whatever the chunks, and no panic.
    #[test]
    fn chunks_do_not_matter(
        how in prop_oneof![
            Just(Cut::Lines), Just(fixed(7)), Just(lines_or_fixed(7)), Just(rows(b';')),
            Just(prefixed(Word::Big, true, false)), Just(prefixed(Word::Little, false, true)),
        ],
        encoding in prop_oneof![Just(Encoding::Ascii), Just(Encoding::Cp1047)],
        content in prop::collection::vec(
            prop_oneof![
                4 => Just(b'a'), 2 => Just(0), 1 => 0..12_u8, 1 => any::<u8>(),
                1 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b'"'), 1 => Just(b';'),
                1 => Just(0x1a), 1 => Just(b' '), 1 => Just(0x15), 1 => Just(0x40),
            ],
            0..200,
        ),
        chunk in 1..40_usize,
    ) {
        let whole = cut(how, encoding, &content, content.len().max(1));
        prop_assert_eq!(cut(how, encoding, &content, chunk), whole);
    }

    /// What another program's rules write as rows is read back: fields quoted where they must be
    /// and where they need not.
    #[test]
    fn rows_are_read_back(
        written in prop::collection::vec(
            prop::collection::vec(("[a-c;\"\r\n ]{0,6}", any::<bool>()), 1..5),
            0..6,
        ),
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let mut content = String::new();
        let mut expected = Vec::new();
        for row in &written {
            let texts: Vec<String> = row
                .iter()
                .map(|(field, quoted)| match *quoted || field.contains([';', '"', '\r', '\n']) {
                    true => format!("\"{}\"", field.replace('"', "\"\"")),
                    false => field.clone(),
                })
                .collect();
            let text = texts.join(";");
            if text.trim_matches(' ').is_empty() || text.len() + 2 >= BYTES_MAX {
                continue;
            }
            content.push_str(&text);
            content.push_str(end);
            let fields: Vec<_> = row.iter().map(|(field, _)| plain(field.as_bytes())).collect();
            expected.push(fields.join("|"));
        }
        let found: Vec<String> = cut(rows(b';'), Encoding::Ascii, content.as_bytes(), 5)
            .into_iter()
            .map(|unit| unit.split_once(':').unwrap().1.to_owned())
            .collect();
        prop_assert_eq!(found, expected);
    }
}
