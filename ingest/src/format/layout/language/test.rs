//! Tests: `when = { "8" = "3", "14" = ["T", "U"] }`.

use super::file::File;
use super::mistake::one_of;
use super::names::Within;
use super::place::{is_columns, named, range};
use super::value::{Entry, Value};
use crate::format::layout::model::{Field, Header, Place, Test, Tested};

/// What tests can look at.
pub(super) struct Sight<'s, 'a> {
    /// How content is cut.
    pub(super) file: &'s File<'a>,
    /// The names that can be seen.
    pub(super) within: &'s Within<'s, 'a>,
    /// The fields of the unit, by their numbers, where its columns are tested; none where only
    /// fields can be.
    pub(super) unit: Option<&'s [Option<Field>]>,
}

/// Reads the tests of `when` or `only`; none where one of them is a mistake.
pub(super) fn tests<'a>(
    value: Option<Value<'a>>,
    sight: &Sight<'_, 'a>,
    columns: &mut Vec<String>,
) -> Option<Vec<Test>> {
    let Some(value) = value else { return Some(Vec::new()) };
    let entries = value.any_table()?.entries().into_iter();
    let tests: Vec<_> = entries.map(|entry| test(entry, sight, columns)).collect();
    tests.into_iter().collect()
}

fn test<'a>(entry: Entry<'a>, sight: &Sight<'_, 'a>, columns: &mut Vec<String>) -> Option<Test> {
    let of = tested(entry, sight, columns);
    let (is_not, listed) = match entry.value.if_table() {
        Some(table) if table.get("not").is_some() => {
            table.only(&["not"]);
            (true, table.get("not")?)
        }
        _ if entry.is_cut_at_a_point("a value or a list of values") => return None,
        _ => (false, entry.value),
    };
    let of = of?;
    let width = match of {
        Tested::Place(Place::Columns(first, last)) => Some(last.saturating_sub(first)),
        _ => None,
    };
    let width = width.map(|less| less.saturating_add(1));
    let values: Vec<Option<Vec<Vec<u8>>>> = match width {
        Some(_) => {
            let of_columns = |value| latin1(value, width).map(|value| vec![value]);
            listed.list().into_iter().map(of_columns).collect()
        }
        None => listed.list().into_iter().map(|value| forms(value, sight.file)).collect(),
    };
    let values: Option<Vec<Vec<Vec<u8>>>> = values.into_iter().collect();
    let values = values?.concat();
    if values.is_empty() {
        listed.mistake("at least one value", "none");
        return None;
    }
    Some(Test { of, values, is_not })
}

/// What a key of a test looks at.
fn tested(entry: Entry<'_>, sight: &Sight<'_, '_>, columns: &mut Vec<String>) -> Option<Tested> {
    let Entry { key, value, .. } = entry;
    let Some(unit) = sight.unit else {
        if is_columns(key) {
            let remedy = String::from("give the columns a name among the record's fields");
            entry.mistake("the name of a field", Some(remedy));
            return None;
        }
        return sight.within.field(value, key).map(Tested::Field);
    };
    if is_columns(key) {
        return match (sight.file.rows(), key.parse()) {
            (Some(_), Ok(cell @ 1..)) => Some(Tested::Place(Place::Cell(cell))),
            (Some(_), _) => {
                entry.mistake("the number of a cell, from 1", None);
                None
            }
            (None, _) => range(value, key, sight.file).map(Tested::Place),
        };
    }
    if sight.within.names_a_record(key) {
        return sight.within.field(value, key).map(Tested::Field);
    }
    if sight.within.has_own(key) {
        let own = sight.within.field(value, key)?;
        return unit.get(own.field)?.as_ref().map(|field| Tested::Place(field.place));
    }
    match sight.file.rows() {
        Some(rows) if rows.header != Header::None => Some(Tested::Place(named(key, columns))),
        _ => {
            let own = sight.within.own.map_or(&[][..], |own| sight.within.names.fields(own));
            let known = match own {
                [] => String::new(),
                own => format!(", or a field: {}", one_of(own.iter().copied())),
            };
            let expected = format!("columns, such as \"14\" or \"1-3\"{known}");
            entry.mistake(expected, super::mistake::did_you_mean(key, own.iter().copied()));
            None
        }
    }
}

/// The forms in which a word may stand in a cell. Rows may be in UTF-8, where letters beyond ASCII
/// have several bytes, or in a page of one byte a letter, as lines always are.
pub(super) fn forms(value: Value<'_>, file: &File<'_>) -> Option<Vec<Vec<u8>>> {
    let text = value.text()?;
    if file.rows().is_none() || text.is_ascii() {
        return latin1(value, None).map(|form| vec![form]);
    }
    let in_latin1: Option<Vec<u8>> = text.chars().map(|it| u8::try_from(it).ok()).collect();
    Some([Some(text.as_bytes().to_vec()), in_latin1].into_iter().flatten().collect())
}

/// The characters of a value, one byte each, as many as there are columns; else a mistake.
pub(super) fn latin1(value: Value<'_>, width: Option<usize>) -> Option<Vec<u8>> {
    let text = value.text()?;
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
    let Some(bytes) = bytes else {
        value.mistake("characters of ISO 8859-1", value.shown());
        return None;
    };
    match width {
        Some(width) if width != bytes.len() => {
            let letters = if width == 1 { "character" } else { "characters" };
            let expected = format!("{width} {letters}, as wide as its columns");
            value.mistake(expected, format!("{} in {text:?}", bytes.len()));
            None
        }
        _ => Some(bytes),
    }
}
