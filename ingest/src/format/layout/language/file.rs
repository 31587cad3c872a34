//! The head of a layout and its `[file]`: how content is cut, and the page it is in.

use super::value::{Table, Value};
use crate::format::Encoding;
use crate::format::layout::model::{Cut, Header, Rows};

/// The keys at the top of a layout.
pub(super) const TOP: &[&str] = &[
    "layout", "title", "revision", "network", "side", "file", "record", "event", "sequence",
    "total",
];

const KEYS: &[&str] = &[
    "cut",
    "length",
    "encoding",
    "identifier",
    "control",
    "prefix_includes_itself",
    "separator",
    "quote",
    "decimal",
    "thousands",
    "header",
    "ended",
];

/// The keys that rows alone have.
const OF_ROWS: &[&str] = &["separator", "quote", "header"];

/// How content is cut, and what its numbers and texts are written in.
#[derive(Debug)]
pub(super) struct File<'a> {
    /// The table itself.
    pub(super) table: Table<'a>,
    /// How content is cut.
    pub(super) cut: Cut,
    /// Characters of a unit; zero where they vary.
    pub(super) length: usize,
    /// Whether the last line or row has its end too, where the layout says so.
    pub(super) ended: Option<bool>,
    /// The page of a feed that names none.
    pub(super) encoding: Encoding,
    /// The point of decimal numbers.
    pub(super) point: u8,
    /// What stands between groups of three digits of decimal numbers.
    pub(super) group: Option<u8>,
}

#[derive(Clone, Copy)]
enum Kind {
    Lines,
    Fixed,
    LinesOrFixed,
    Rdw,
    RdwLittle,
    BdwRdw,
    Rows,
}

const CUTS: &[(&str, Kind)] = &[
    ("lines", Kind::Lines),
    ("fixed", Kind::Fixed),
    ("lines_or_fixed", Kind::LinesOrFixed),
    ("rdw", Kind::Rdw),
    ("rdw_little", Kind::RdwLittle),
    ("bdw_rdw", Kind::BdwRdw),
    ("rows", Kind::Rows),
];

/// The longest unit that a layout may describe: longer ones are none of a clearing file.
const LENGTH_MAX: i64 = 65_536;

impl<'a> File<'a> {
    /// Reads `[file]`.
    pub(super) fn read(top: Table<'a>) -> Option<Self> {
        let table = top.require("file")?.table(KEYS)?;
        let kind = table.require("cut").and_then(|value| value.word(CUTS));
        let length = table.get("length").and_then(|value| value.integer(1..=LENGTH_MAX));
        let length = usize::try_from(length.unwrap_or_default()).unwrap_or_default();
        let encoding = table.require("encoding").and_then(encoding);
        let kind = kind?;
        match kind {
            Kind::Fixed | Kind::LinesOrFixed if table.get("length").is_none() => {
                table.mistake("the key length: how long a block is", "none");
            }
            Kind::Rdw | Kind::RdwLittle | Kind::BdwRdw | Kind::Rows => {
                refuse(table, &["length"], "of units that are all as long");
            }
            _ => (),
        }
        if !matches!(kind, Kind::Rows) {
            refuse(table, OF_ROWS, "of rows only");
        }
        if encoding == Some(Encoding::Utf8)
            && !matches!(kind, Kind::Rows)
            && let Some(value) = table.get("encoding")
        {
            let expected = "a page of one byte a character, since columns are counted in bytes";
            let remedy = String::from("name the page that the sender writes, such as latin1");
            value.mistake_with(expected, value.shown(), remedy);
        }
        if !matches!(kind, Kind::Rdw | Kind::RdwLittle) {
            refuse(table, &["prefix_includes_itself"], "of rdw and rdw_little only");
        }
        if !matches!(kind, Kind::Lines | Kind::LinesOrFixed | Kind::Rows) {
            refuse(table, &["ended"], "of lines and rows only");
        }
        let includes_itself =
            table.get("prefix_includes_itself").and_then(Value::flag).unwrap_or_default();
        let point = table.get("decimal").and_then(mark).unwrap_or(b'.');
        let group = table.get("thousands").and_then(mark);
        if group == Some(point)
            && let Some(value) = table.get("thousands")
        {
            value.mistake("another character than the decimal point", value.shown());
        }
        let cut = match kind {
            Kind::Lines => Cut::Lines,
            Kind::Fixed => Cut::Fixed,
            Kind::LinesOrFixed => Cut::LinesOrFixed,
            Kind::Rdw => Cut::Rdw { is_little: false, includes_itself },
            Kind::RdwLittle => Cut::Rdw { is_little: true, includes_itself },
            Kind::BdwRdw => Cut::BdwRdw,
            Kind::Rows => Cut::Rows(rows(table)),
        };
        let ended = table.get("ended").and_then(Value::flag);
        Some(Self { table, cut, length, ended, encoding: encoding?, point, group })
    }

    /// Takes the names of the columns from this record; a mistake where they stand elsewhere too.
    pub(super) fn names_in_a_record(&mut self, record: Table<'_>) {
        let Cut::Rows(rows) = &mut self.cut else { return };
        if rows.header == Header::FirstRow {
            let remedy = String::from("say header = false in [file]");
            record.mistake_with("column names in one place", "two beside header = true", remedy);
        }
        rows.header = Header::Record;
    }

    /// Whether the last line or row has its end as the others have. Where nobody says: it has, if
    /// there is no file trailer, without which nothing else tells that a file was cut off there.
    pub(super) fn is_ended(&self, has_trailer: bool) -> bool {
        let has_ends = matches!(self.cut, Cut::Lines | Cut::LinesOrFixed | Cut::Rows(_));
        self.ended.unwrap_or(has_ends && !has_trailer)
    }

    /// How rows are written, where content is cut into rows.
    pub(super) fn rows(&self) -> Option<Rows> {
        match self.cut {
            Cut::Rows(rows) => Some(rows),
            _ => None,
        }
    }
}

fn rows(table: Table<'_>) -> Rows {
    let separator = table.require("separator").and_then(mark).unwrap_or(b',');
    let quote = match table.get("quote") {
        Some(value) if value.if_text() == Some("") => None,
        Some(value) => mark(value),
        None => Some(b'"'),
    };
    if let Some(value) = table.get("separator").filter(|_| quote == Some(separator)) {
        value.mistake("another character than the quote", value.shown());
    }
    for key in ["decimal", "thousands"] {
        if let (Some(value), Some(quote)) = (table.get(key), quote)
            && value.if_text().is_some_and(|text| text.as_bytes() == [quote])
        {
            value.mistake("another character than the quote", value.shown());
        }
    }
    let has_header = table.require("header").and_then(Value::flag).unwrap_or_default();
    Rows { separator, quote, header: if has_header { Header::FirstRow } else { Header::None } }
}

/// Notes each of these keys that is there.
pub(super) fn refuse(table: Table<'_>, keys: &[&str], why: &str) {
    for entry in table.entries() {
        if keys.contains(&entry.key) {
            entry.mistake(format!("no key {}, which is {why}", entry.key), None);
        }
    }
}

fn encoding(value: Value<'_>) -> Option<Encoding> {
    let words: Vec<(&str, Encoding)> =
        (Encoding::WORDS.iter()).filter_map(|word| Some((*word, word.parse().ok()?))).collect();
    value.word(&words)
}

/// One character that stands between or around what is written: none of a number, and none that
/// ends a line; else a mistake.
fn mark(value: Value<'_>) -> Option<u8> {
    let found = character(value)?;
    let is_one = !found.is_ascii_alphanumeric() && !matches!(found, b'+' | b'-');
    if !is_one || (found.is_ascii_control() && found != b'\t') {
        let expected = "a character that is no letter, digit, sign or line end";
        value.mistake(expected, value.shown());
        return None;
    }
    Some(found)
}

/// One ASCII character; else a mistake.
pub(super) fn character(value: Value<'_>) -> Option<u8> {
    let text = value.text()?;
    match text.as_bytes() {
        [character] if character.is_ascii() => Some(*character),
        _ => {
            value.mistake("one ASCII character", value.shown());
            None
        }
    }
}
