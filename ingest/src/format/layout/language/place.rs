//! Places in a unit: `"82-96"`, `143`, `"Net Credit (NC)"`.

use super::file::File;
use super::value::Value;
use crate::format::layout::model::{Header, Place};

/// More cells of a row than any report has.
const CELLS_MAX: i64 = 4_096;

/// The place that a value names; else a mistake.
pub(super) fn place(value: Value<'_>, file: &File<'_>, columns: &mut Vec<String>) -> Option<Place> {
    if let Some(rows) = file.rows() {
        if value.if_integer().is_some() {
            let cell = value.integer(1..=CELLS_MAX)?;
            return Some(Place::Cell(usize::try_from(cell).ok()?));
        }
        let name = value.some_text()?;
        if rows.header == Header::None {
            let remedy = String::from("or say in [file] where the names of columns are");
            value.mistake_with("the number of a cell, from 1", value.shown(), remedy);
            return None;
        }
        return Some(named(name, columns));
    }
    if let Some(column) = value.if_integer() {
        return range(value, &column.to_string(), file);
    }
    range(value, value.text()?, file)
}

/// The place of the cell below this name.
pub(super) fn named(name: &str, columns: &mut Vec<String>) -> Place {
    let known = columns.iter().position(|known| known == name);
    Place::Named(known.unwrap_or_else(|| {
        columns.push(name.to_owned());
        columns.len().saturating_sub(1)
    }))
}

/// True where this is written as a column, or as columns.
pub(super) fn is_columns(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// `"82-96"`, or `"143"`; else a mistake.
pub(super) fn range(value: Value<'_>, text: &str, file: &File<'_>) -> Option<Place> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        value.mistake("columns from 1, such as \"14\" or \"82-96\"", format!("{text:?}"));
        return None;
    };
    let what = match (first, last) {
        (0, _) => "columns from 1",
        _ if last < first => "the first column before the last one",
        _ if file.length > 0 && last > file.length => {
            value.mistake(format!("columns within 1 to {}", file.length), format!("{text:?}"));
            return None;
        }
        _ => return Some(Place::Columns(first, last)),
    };
    value.mistake(what, format!("{text:?}"));
    None
}
